"""``ffr compare``: which of several runs is better, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.options import json_option, protocol_option, resampling_options

if TYPE_CHECKING:
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.uncertainty import Method


@click.command(
    epilog="""\b
Examples:
  ffr compare runs/bm25 runs/tfidf
  ffr compare runs/* --metric macro.joint.f1 --json comparison.json
  ffr compare runs/* --group kind=image --common
  ffr compare a.jsonl b.jsonl --benchmark my-benchmark --split test
""",
)
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--benchmark", metavar="DIR", help="Benchmark folder, or a bundled one by name.")
@click.option("--split", help="Only this split.  [default: that of the runs]")
@click.option("--metric", default="micro.joint.f1", show_default=True, help="What to compare by.")
@click.option("--group", metavar="BY=NAME", help="Only one group: kind=image, turns=long.")
@click.option("--common", is_flag=True, help="Only the samples that no run lacks.")
@protocol_option("official for ms-swift, else strict")
@resampling_options
@json_option("the comparison")
def compare(
    runs: tuple[Path, ...],
    benchmark: str | None,
    split: str | None,
    metric: str,
    group: str | None,
    common: bool,
    protocol: ProtocolName | None,
    replicates: int,
    seed: int,
    interval: Method,
    json_file: Path | None,
) -> None:
    """Compare run folders or prediction files of one benchmark and split.

    Differences of all pairs with 95% intervals (dialogues are drawn anew, the same for both) and
    p-values (whole dialogues are swapped between the two; adjusted for the number of pairs), the
    ranks that follow, and the samples on which two runs disagree most. A rank 2–4 says: one run is
    significantly better, and so many are significantly worse that this one is at worst the fourth.
    A tier ends where the next run is significantly worse than the tier's first. A sample without a
    prediction counts as one without a usable answer.

    Inference files of ms-swift can be compared where all have the same samples and gold.
    """
    from ffr_eval.cli.output import progress, require_writable, write_report
    from ffr_eval.comparison import compare_runs
    from ffr_eval.report.comparison_terminal import print_comparison
    from ffr_eval.uncertainty import Resampling

    require_writable(json_file)
    with progress(f"comparing {len(runs)} runs …"):
        comparison = compare_runs(
            runs,
            benchmark=benchmark,
            split=split,
            metric=metric,
            protocol=protocol,
            resampling=Resampling(replicates, seed, interval),
            common=common,
            group=group,
        )
    if json_file is not None:
        write_report(comparison.to_dict(), json_file)
    if str(json_file) != "-":
        paths = dict(zip(comparison.runs, runs, strict=True))
        print_comparison(comparison, paths, benchmark)
