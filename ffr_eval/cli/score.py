"""``ffr score``: figures of one set of predictions."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_eval.metrics.protocols import ProtocolName


@click.command(
    epilog="""\b
Examples:
  ffr score runs/bm25
  ffr score predictions.jsonl --benchmark my-benchmark --split test --group-by turns,kind
  ffr score inference.jsonl --protocol official --json scores.json
""",
)
@click.argument("predictions", metavar="PRED_OR_RUN", type=click.Path(path_type=Path))
@click.option("--benchmark", metavar="DIR", help="Benchmark folder, or a bundled one by name.")
@click.option("--split", help="Only this split.  [default: the run's, else all samples]")
@click.option(
    "--protocol",
    type=click.Choice(["official", "strict"]),
    help="official: as the papers; strict: ours.  [default: official for ms-swift, else strict]",
)
@click.option(
    "--parse",
    type=click.Choice(["strict", "lenient"]),
    help="How responses are read under strict.  [default: lenient]",
)
@click.option(
    "--merge-windows", is_flag=True, help="Merge windows NAME_split_K of an ms-swift file."
)
@click.option(
    "--group-by", metavar="NAME,…", default="", help="Also by turns, kind, language (commas)."
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the figures as JSON, unrounded; - is standard output.",
)
def score(
    predictions: Path,
    benchmark: str | None,
    split: str | None,
    protocol: ProtocolName | None,
    parse: Literal["strict", "lenient"] | None,
    merge_windows: bool,
    group_by: str,
    json_file: Path | None,
) -> None:
    """Score predictions: a run folder, a prediction file, or ms-swift inference output.

    A sample without a prediction counts as one without a usable answer. Ids are read again from
    the raw responses.
    """
    import os

    # One thread in this process lets large files be read by forked processes, which start at once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ffr_eval.cli.output import write_report
    from ffr_eval.report.terminal import print_scores
    from ffr_eval.scoring import score_table
    from ffr_eval.sources import Request, load_source

    with _progress() as progress:
        request = Request(
            benchmark=benchmark,
            split=split,
            protocol=protocol,
            parse=parse,
            merge_windows=merge_windows,
            workers=_cpus(),
            progress=progress,
        )
        source = load_source(predictions, request)
    groupings = [name.strip() for name in group_by.split(",") if name.strip()]
    scores = score_table(source.table, source.protocol, groupings)
    if str(json_file) != "-":
        print_scores(scores, source)
    if json_file is not None:
        write_report(scores.to_dict(), json_file)


def _cpus() -> int:
    import os

    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error that appears when reading takes more than two seconds."""
    import sys
    import time

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Drawn only when told: a drawing thread would be in the way of starting processes.
    bar = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    task = bar.add_task("reading", total=1.0)
    began = time.monotonic()

    def show(part: float) -> None:
        bar.update(task, completed=part)
        if time.monotonic() - began > 2:
            bar.start()
            bar.refresh()

    try:
        yield show
    finally:
        bar.stop()
