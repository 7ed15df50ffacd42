"""``ffr score``: figures of one set of predictions."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ffr_eval.cli.options import (
    benchmark_option,
    json_option,
    protocol_option,
    resampling_options,
    split_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_eval.coherence import CoherenceRequest
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.scoring import Scores
    from ffr_eval.sources import Source
    from ffr_eval.uncertainty import Method


@click.command(
    epilog="""\b
Examples:
  ffr score runs/bm25
  ffr score predictions.jsonl --benchmark my-benchmark --split test --group-by turns,kind
  ffr score runs/bm25 --metrics "exact, f_beta(0.5), tol_f1(1)" --group-by "turns*kind"
  ffr score inference.jsonl --protocol official --json scores.json
  ffr score runs/bm25 --coherence clip,sentence
""",
)
@click.argument("predictions", metavar="PRED_OR_RUN", type=click.Path(path_type=Path))
@benchmark_option
@split_option
@protocol_option("official for ms-swift, else strict")
@click.option(
    "--parse",
    type=click.Choice(["strict", "lenient", "both"]),
    help="How responses are read under strict; both: lenient, with strict beside.  "
    "[default: lenient]",
)
@click.option(
    "--merge-windows", is_flag=True, help="Merge windows NAME_split_K of an ms-swift file."
)
@click.option(
    "--metrics",
    metavar="NAME,…",
    default="",
    help="Report these metrics beside the table; `ffr metrics` lists them.",
)
@click.option(
    "--group-by",
    metavar="NAME,…",
    default="",
    help="Also by turns or turns(20,50), kind, language, dispersion, position, meta.FIELD, or "
    "two of them crossed: turns*kind.",
)
@click.option(
    "--ci/--no-ci",
    default=None,
    help="95% intervals by resampling dialogues.  [default: up to 1,000 dialogues]",
)
@resampling_options
@click.option(
    "--coherence",
    metavar="ENCODER,…",
    help="Also the coherence of fragments under NAME or NAME:MODEL; `ffr embed` fills the store. "
    "Two or more encoders: how far they agree.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The embedding store.  [default: $FFR_EMBEDDINGS, else the user's cache]",
)
@json_option("the figures")
def score(
    predictions: Path,
    benchmark: str | None,
    split: str | None,
    protocol: ProtocolName | None,
    parse: Literal["strict", "lenient", "both"] | None,
    merge_windows: bool,
    metrics: str,
    group_by: str,
    ci: bool | None,
    replicates: int,
    seed: int,
    interval: Method,
    coherence: str | None,
    store: Path | None,
    json_file: Path | None,
) -> None:
    """Score predictions: a run folder, a prediction file, or ms-swift inference output.

    A sample without a prediction counts as one without a usable answer. Ids are read again from
    the raw responses.
    """
    import os
    from dataclasses import replace

    # One thread in this process lets large files be read by forked processes, which start at once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ffr_eval.cli.output import progress, require_writable, write_report
    from ffr_eval.metrics.named import split_names
    from ffr_eval.report.coherence_terminal import print_coherence
    from ffr_eval.report.terminal import print_parsing, print_scores
    from ffr_eval.scoring import ALSO, named_metrics, score_table
    from ffr_eval.sources import Request, load_source
    from ffr_eval.uncertainty import UNASKED_DIALOGUES, Resampling

    require_writable(json_file)
    resampling = Resampling(replicates, seed, interval)
    names = tuple(split_names(metrics)) or ALSO
    named_metrics(names)  # a wrong name is refused before anything is read
    encoders = _encoders(coherence, store)
    request = Request(
        benchmark=benchmark,
        split=split,
        protocol=protocol,
        parse="lenient" if parse == "both" else parse,
        merge_windows=merge_windows,
        workers=_cpus(),
    )

    def scored(request: Request, *, ci: bool | None) -> tuple[Source, Scores]:
        with _progress() as show:
            source = load_source(predictions, replace(request, progress=show))
        groupings = split_names(group_by)
        few = len(set(source.table.dialogue_id)) <= UNASKED_DIALOGUES
        with progress("resampling dialogues …"):
            chosen = resampling if ci or (ci is None and few) else None
            return source, score_table(source.table, source.protocol, groupings, names, chosen)

    source, scores = scored(request, ci=ci)
    if encoders is not None:
        with _progress("comparing embeddings") as show:
            found = encoders.of(
                source.table, source.benchmark, source.protocol, workers=_cpus(), progress=show
            )
        scores = replace(scores, coherence=found)
    report = scores.to_dict()
    both = {}
    if parse == "both":
        both = {"strict": scored(replace(request, parse="strict"), ci=False)[1], "lenient": scores}
        report["parse"] = {name: _figures(found) for name, found in both.items()}
    if json_file is not None:
        write_report(report, json_file)
    if str(json_file) != "-":
        print_scores(scores, source, split_names(metrics))
        print_coherence(scores.coherence)
        print_parsing(both)


def _encoders(names: str | None, store: Path | None) -> CoherenceRequest | None:
    """The encoders asked for.

    Raises:
        InputError: If one is not in the store, or a store is given without encoders.
    """
    from ffr_eval.errors import InputError

    if names is not None:
        from ffr_eval.coherence import CoherenceRequest

        return CoherenceRequest(names.split(","), store)
    if store is not None:
        remedy = "say which encoder: --coherence ENCODER, or leave --store out"
        raise InputError("a store is read for coherence only", field="--store", remedy=remedy)
    return None


def _figures(scores: Scores) -> dict[str, Any]:
    """What is said of scores beside others."""
    names = ("n_samples", "n_scored", "outcomes", "micro", "macro", "rates")
    figures = scores.to_dict()
    return {name: figures[name] for name in names}


def _cpus() -> int:
    import os

    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@contextmanager
def _progress(what: str = "reading") -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error that appears when work takes more than two seconds."""
    import sys
    import time

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Drawn only when told: a drawing thread would be in the way of starting processes.
    bar = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    task = bar.add_task(what, total=1.0)
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
