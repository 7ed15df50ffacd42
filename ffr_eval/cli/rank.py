"""``ffr rank``: the leaderboard in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.protocols import ProtocolName


@click.command(
    epilog="""\b
Examples:
  ffr rank runs/*
  ffr rank runs/* --split test --metric micro.utterance.f1 --json ranks.json
  ffr rank a.jsonl b.jsonl --benchmark my-benchmark
""",
)
@click.argument("runs", metavar="RUNS…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--benchmark", metavar="DIR", help="Benchmark folder, or a bundled one by name.")
@click.option("--split", help="Only this split.  [default: that of the runs]")
@click.option("--metric", default="micro.joint.f1", show_default=True, help="What to rank by.")
@click.option(
    "--protocol",
    type=click.Choice(["official", "strict"]),
    default="strict",
    show_default=True,
    help="official: as the papers; strict: ours.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the ranking as JSON, unrounded; - is standard output.",
)
def rank(
    runs: tuple[Path, ...],
    benchmark: str | None,
    split: str | None,
    metric: str,
    protocol: ProtocolName,
    json_file: Path | None,
) -> None:
    """Rank run folders or prediction files of one benchmark and split.

    Figures are computed from the stored raw outputs. A sample without a prediction counts as one
    without a usable answer.
    """
    from ffr_eval.cli.output import write_report
    from ffr_eval.ranking import rank_runs
    from ffr_eval.report import terminal

    ranking = rank_runs(runs, benchmark=benchmark, split=split, metric=metric, protocol=protocol)
    if str(json_file) != "-":
        terminal.print_ranking(ranking)
    if json_file is not None:
        write_report(ranking.to_dict(), json_file)


def print_ranking(runs: Sequence[Path]) -> None:
    """Print the ranking of runs by the headline metric."""
    from ffr_eval.ranking import rank_runs
    from ffr_eval.report import terminal

    terminal.print_ranking(rank_runs(runs))
