"""``ffr rescore``: figures of runs under another version of a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.options import benchmark_option, json_option, protocol_option

if TYPE_CHECKING:
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.rescoring import Rescored


@click.command(
    epilog="""\b
Examples:
  ffr rescore runs/*
  ffr rescore runs/* --protocol official-1
  ffr rescore runs/bm25 --benchmark moved/my-benchmark --json rescored.json
""",
)
@click.argument("runs", metavar="RUNS…", nargs=-1, required=True, type=click.Path(path_type=Path))
@protocol_option("strict")
@benchmark_option
@json_option("all figures")
def rescore(
    runs: tuple[Path, ...],
    protocol: ProtocolName | None,
    benchmark: str | None,
    json_file: Path | None,
) -> None:
    """Compute figures of run folders again from their raw outputs, and store them there.

    They are stored in the run folder as scores/PROTOCOL.json, with the version of the protocol in
    the name; figures of other versions stay. Figures of prediction files are shown, not stored. A
    run that cannot be scored does not stop the others.
    """
    from ffr_eval.cli.output import progress, write_report
    from ffr_eval.errors import FfrError
    from ffr_eval.metrics.protocols import protocol_named
    from ffr_eval.rescoring import rescore as rescore_run

    rules = protocol_named(protocol or "strict")
    found: list[Rescored] = []
    failed: list[tuple[Path, FfrError]] = []
    for run in runs:
        try:
            with progress(f"scoring {run} …"):
                found.append(rescore_run(run, rules, benchmark))
        except FfrError as error:
            failed.append((run, error))
            click.echo(f"error: {error}", err=True)
            continue
        if str(json_file) != "-":
            click.echo(_line(found[-1], rules.name))
    if json_file is not None:
        report = {
            "protocol": rules.name,
            "runs": [done.to_dict() for done in found],
            "errors": [{"run": str(run), "message": str(error)} for run, error in failed],
        }
        write_report(report, json_file)
    if failed:
        click.echo(f"{len(failed)} of {len(runs)} could not be scored", err=True)
        raise SystemExit(min(error.exit_code for _, error in failed))


def _line(done: Rescored, protocol: str) -> str:
    """What is printed of a run."""
    from ffr_eval.metrics.named import HEADLINE

    value = _number(done.value)
    if done.had_figures and done.old_value != done.value:
        old = _number(done.old_value)
        same = old == value  # when rounded
        value = f"{done.old_value} → {done.value}" if same else f"{old} → {value}"
    where = "not stored: no run folder" if done.file is None else str(done.file)
    line = f"{done.run}: {HEADLINE} {value} under {protocol} ({where})"
    missing = done.scores["outcomes"]["missing"]
    if missing:
        line += f"\n  note: {missing} of {done.scores['n_samples']} samples have no prediction"
    return line if done.note is None else f"{line}\n  note: {done.note}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
