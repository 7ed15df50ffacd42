"""``ffr rank``: the leaderboard in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.options import (
    benchmark_option,
    json_option,
    protocol_option,
    resampling_options,
    split_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.uncertainty import Method


@click.command(
    epilog="""\b
Examples:
  ffr rank runs/*
  ffr rank runs/* --split test --metric micro.utterance.f1 --json ranks.json
  ffr rank runs/* --metric "macro.utterance.tol_f1(1)" --interval bca
  ffr rank a.jsonl b.jsonl --benchmark my-benchmark
""",
)
@click.argument("runs", metavar="RUNS…", nargs=-1, required=True, type=click.Path(path_type=Path))
@benchmark_option
@split_option
@click.option(
    "--metric",
    metavar="NAME",
    default="micro.joint.f1",
    show_default=True,
    help="What to rank by; `ffr metrics` lists what there is.",
)
@protocol_option("strict")
@click.option("--no-ci", is_flag=True, help="Leave out the 95% intervals.")
@resampling_options
@json_option("the ranking")
def rank(
    runs: tuple[Path, ...],
    benchmark: str | None,
    split: str | None,
    metric: str,
    protocol: ProtocolName | None,
    no_ci: bool,
    replicates: int,
    seed: int,
    interval: Method,
    json_file: Path | None,
) -> None:
    """Rank run folders or prediction files of one benchmark and split.

    Figures are computed from the stored raw outputs. A sample without a prediction counts as one
    without a usable answer. Intervals are of a bootstrap over dialogues. "Chance-corrected" is the
    micro joint F1 above what as many ids drawn at random get, 1 being perfect.

    Floors stand among the runs without a rank: "none" predicts nothing, "all" every id, "random"
    as many ids as the gold has, drawn at random, "window" as many side by side.
    """
    from ffr_eval.cli.output import progress, require_writable, write_report
    from ffr_eval.ranking import rank_runs
    from ffr_eval.report import ranking_terminal
    from ffr_eval.uncertainty import Resampling

    require_writable(json_file)
    resampling = Resampling(replicates, seed, interval)
    with progress("ranking …"):
        ranking = rank_runs(
            runs,
            benchmark=benchmark,
            split=split,
            metric=metric,
            protocol=protocol or "strict",
            resampling=None if no_ci else resampling,
            seed=seed,
        )
    if json_file is not None:
        write_report(ranking.to_dict(), json_file)
    if str(json_file) != "-":
        ranking_terminal.print_ranking(ranking)


def print_ranking(runs: Sequence[Path]) -> None:
    """Print the ranking of runs by the headline metric."""
    from ffr_eval.ranking import rank_runs
    from ffr_eval.report import ranking_terminal
    from ffr_eval.uncertainty import Resampling

    ranking_terminal.print_ranking(rank_runs(runs, resampling=Resampling()))
