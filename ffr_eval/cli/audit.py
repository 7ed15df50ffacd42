"""``ffr audit``: what each rule does to a figure, and what kinds of errors are left."""

from __future__ import annotations

from pathlib import Path

import click

from ffr_eval.cli.options import benchmark_option, json_option, split_option


@click.command(
    epilog="""\b
Examples:
  ffr audit runs/bm25
  ffr audit inference.jsonl --metric micro.joint.mcc
  ffr audit predictions.jsonl --benchmark my-benchmark --split test --json audit.json
""",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@benchmark_option
@split_option
@click.option(
    "--metric",
    default="micro.joint.f1",
    show_default=True,
    help="What the rules move; `ffr metrics` lists all.",
)
@json_option("the audit")
def audit(
    file: Path, benchmark: str | None, split: str | None, metric: str, json_file: Path | None
) -> None:
    """Show how far each rule moves a figure from official to strict, and what errors are left.

    FILE is a run folder, a prediction file, or ms-swift inference output. The rules are applied one
    after the other. The errors under strict are divided into classes; the gain of a class is what
    micro.joint.f1 would rise by if only its errors were put right.
    """
    from ffr_eval.audit import audit as audited
    from ffr_eval.cli.output import progress, require_writable, write_report
    from ffr_eval.report.audit_terminal import print_audit

    require_writable(json_file)
    with progress(f"reading {file} …"):
        found = audited(file, benchmark, split=split, metric=metric)
    if json_file is not None:
        write_report(found.to_dict(), json_file)
    if str(json_file) != "-":
        print_audit(found)
