"""``ffr diff``: one sample, and what two runs made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.options import benchmark_option, protocol_option, split_option

if TYPE_CHECKING:
    from ffr_eval.metrics.protocols import ProtocolName


@click.command(
    epilog="""\b
Examples:
  ffr diff runs/bm25 runs/tfidf --sample en-02#2
  ffr diff runs/bm25 runs/tfidf --sample en-02#2 --around 0
  ffr diff a.jsonl b.jsonl --benchmark my-benchmark --sample d7#1 --all
  FORCE_COLOR=1 ffr diff runs/bm25 runs/tfidf --sample en-02#2 | less -R
""",
)
@click.argument("run_a", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("run_b", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option("--sample", "sample_id", metavar="ID", required=True, help="The sample.")
@benchmark_option
@split_option
@protocol_option("strict")
@click.option(
    "--around",
    metavar="N",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How many turns are shown around each marked one.",
)
@click.option("--all", "everything", is_flag=True, help="Show all turns.")
def diff(
    run_a: Path,
    run_b: Path,
    sample_id: str,
    benchmark: str | None,
    split: str | None,
    protocol: ProtocolName | None,
    around: int,
    everything: bool,
) -> None:
    """Show one sample: its dialogue, with the gold and the answers of two runs beside each turn.

    Also each run's figures on the sample, and ids that the dialogue does not have.
    """
    from ffr_eval.cli.output import progress
    from ffr_eval.disagreement import answers_to
    from ffr_eval.errors import InputError
    from ffr_eval.report.dialogue_view import view
    from ffr_eval.report.diff_terminal import print_diff
    from ffr_eval.same_samples import load_runs
    from ffr_eval.sources import Request

    request = Request(benchmark=benchmark, split=split, protocol=protocol, keep_predictions=True)
    with progress("reading two runs …"):
        loaded = load_runs((run_a, run_b), request)
    if loaded.benchmark is None:
        message = "an inference file has no dialogues to show"
        remedy = "import it as a benchmark: `ffr data import mswift`"
        raise InputError(message, file=run_a, remedy=remedy)
    found = view(loaded.benchmark, sample_id)
    if found.query is None:
        message = f"{sample_id!r} is a dialogue, not a sample"
        known = ", ".join(query.sample_id for query in found.queries) or "none"
        raise InputError(message, field="--sample", remedy=f"its samples: {known}")
    print_diff(found, answers_to(loaded, sample_id), None if everything else around)
