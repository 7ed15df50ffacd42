"""Computing a report: the runs are read, and every figure that is shown is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.comparison_notes import incomplete_notes
from ffr_eval.errors import InputError
from ffr_eval.metrics.named import ADJUSTED, FIGURES, HEADLINE, parse_metric
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.report.run_report import sections
from ffr_eval.report.run_report.contents import (
    TRIVIAL_MODELS,
    Estimate,
    PairRow,
    Report,
    RunRow,
)
from ffr_eval.report.run_report.sections import LoadedRun, estimates
from ffr_eval.same_samples import (
    CEILING_MODELS,
    require_different,
    require_same_samples,
    short_names,
    with_benchmark,
)
from ffr_eval.sources import Request, load_source
from ffr_eval.types import Outcome
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.report.run_report.contents import Role
    from ffr_eval.sources import Source

MACRO: Final = "macro.joint.f1"
COLUMNS: Final = (
    HEADLINE,
    *(f"micro.{modality}.{figure}" for modality in sections.MODALITIES for figure in FIGURES),
    MACRO,
    ADJUSTED,
)
"""Metrics of the main table, beside the one that ranks."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a report is to be of.

    Attributes:
        group_by: Groupings; without any, those that divide the samples.
        common: Only samples that no run lacks.
    """

    benchmark: str | Path | None = None
    split: str | None = None
    metric: str = HEADLINE
    protocol: ProtocolName = "strict"
    group_by: Sequence[str] = ()
    resampling: Resampling = field(default_factory=Resampling)
    common: bool = False


def build_report(
    runs: Sequence[Path],
    options: Options,
    command: Callable[[Sequence[str]], str] = lambda _: "",
    step: Callable[[float], None] = lambda _: None,
) -> Report:
    """Compute a report.

    Args:
        runs: Run folders or prediction files of one benchmark and split.
        options: Of what.
        command: The names of the runs to the command that is shown.
        step: Called with the part that is done, 0 to 1.

    Raises:
        InputError: If a run cannot be read, they are not of one benchmark and split, or an option
            is wrong.
    """
    metric = parse_metric(options.metric)
    if metric.better == "none":
        message = f"{metric.name} does not say which run is better"
        remedy = "choose another one (`ffr metrics` lists them)"
        raise InputError(message, field="--metric", remedy=remedy)
    notes: list[str] = []
    loaded = _load(runs, options, notes, lambda part: step(0.5 * part))
    ranked = [run for run in loaded if run.model not in CEILING_MODELS] or loaded
    ceilings = [run for run in loaded if run.model in CEILING_MODELS and ranked is not loaded]
    first = loaded[0]
    table, benchmark = first.evaluation.table, first.source.benchmark
    assert benchmark is not None  # noqa: S101  # inference files are refused
    n_dialogues = len(set(table.dialogue_id))
    if n_dialogues < 2:
        notes.append(
            "all samples are on one dialogue: there are no intervals and no tests, because one"
            " dialogue says nothing about how much dialogues differ"
        )
    everyone = [*ranked, *ceilings]
    values = estimates([run.evaluation for run in everyone], metric, None, options.resampling)
    incomplete = incomplete_notes(
        [run.name for run in loaded],
        [run.evaluation.table.outcome for run in loaded],
        _repeatable(loaded),
    )
    notes += incomplete.values()
    rows = [
        _row(run, value, run.name in incomplete)
        for run, value in zip(everyone, values, strict=True)
    ]
    step(0.6)
    rows[: len(ranked)], pairs = _ranked(ranked, rows, metric, options, notes)
    by_name = {run.name: run for run in loaded}
    everyone = [by_name[row.name] for row in rows]
    ranked = everyone[: len(ranked)]
    step(0.75)
    left_out: dict[str, str] = {}
    grouped = sections.groupings(everyone, metric, options.group_by, options.resampling, left_out)
    step(0.9)
    curves = sections.calibrations(ranked, left_out)
    errors, classes = sections.errors(ranked, left_out)
    floors = sections.floors(first, metric, {run.model for run in loaded}, options.resampling)
    from ffr_eval import __version__

    step(1.0)
    return Report(
        benchmark=benchmark.name,
        hash=benchmark.content_hash,
        split=first.source.split,
        n_samples=len(table),
        n_dialogues=n_dialogues,
        protocol=first.source.protocol.name,
        metric=metric,
        resampling=options.resampling,
        version=__version__,
        command=command([run.name for run in loaded]),
        rows=rows[: len(ranked)],
        ceilings=rows[len(ranked) :],
        floors=floors,
        best_cuts=sections.best_cuts(ranked, metric),
        pairs=pairs,
        groupings=grouped,
        calibrations=curves,
        errors=errors,
        error_classes=classes,
        left_out=left_out,
        notes=tuple(dict.fromkeys(notes)),
    )


def _load(
    runs: Sequence[Path], options: Options, notes: list[str], step: Callable[[float], None]
) -> list[LoadedRun]:
    if not runs:
        raise InputError("nothing to report on", field="RUN…", remedy="give run folders")
    require_different(runs)
    request = Request(
        benchmark=options.benchmark,
        split=options.split,
        protocol=options.protocol,
        keep_predictions=True,
    )
    sources: list[Source] = []
    for place, run in enumerate(runs):
        known = sources[0].benchmark if sources else None
        source = load_source(run, with_benchmark(run, request, known))
        if source.predictions is not None and not sections.has_scores(source.predictions):
            source = replace(source, predictions=None)
        elif (trouble := sections.trouble_with_scores(source)) is not None:
            notes.append(f"{source.name}: its scores are not used: {trouble}")
            source = replace(source, predictions=None)
        sources.append(source)
        require_same_samples(runs[0], sources[0], run, source, "compare")
        step((place + 1) / len(runs))
    names = short_names(runs, sources)
    missing = OUTCOME_CODE[Outcome.MISSING]
    lacking = np.stack([source.table.outcome == missing for source in sources])
    if options.common:
        sources = _common(sources, lacking, notes)
    else:
        notes += [
            f"{name} lacks {n:,} of {lacking.shape[1]:,} samples, which count as without a usable"
            " answer (--common compares on the samples that no run lacks)"
            for name, n in zip(names, lacking.sum(axis=1).tolist(), strict=True)
            if n
        ]
    for name, source in zip(names, sources, strict=True):
        notes += [f"{name}: {note}" for note in source.table.notes]
    return [
        LoadedRun(name, source, evaluate(source.table, source.protocol))
        for name, source in zip(names, sources, strict=True)
    ]


def _common(sources: list[Source], lacking: np.ndarray, notes: list[str]) -> list[Source]:
    kept = np.flatnonzero(~lacking.any(axis=0))
    if not len(kept):
        message = "there is no sample that every run has a prediction for"
        raise InputError(message, field="--common", remedy="leave out the run that lacks most")
    n = lacking.shape[1]
    if len(kept) < n:
        notes.append(
            f"only the {len(kept):,} samples that no run lacks are compared;"
            f" {n - len(kept):,} are left out"
        )
    return [replace(source, table=source.table.take(kept)) for source in sources]


def _repeatable(runs: Sequence[LoadedRun]) -> set[str]:
    """The names of those whose samples can be asked again."""
    return {run.name for run in runs if run.source.run is not None}


def _row(run: LoadedRun, headline: Estimate, incomplete: bool) -> RunRow:
    evaluation = run.evaluation
    table = evaluation.table
    model = run.model
    role: Role = "run"
    if model in CEILING_MODELS or model in TRIVIAL_MODELS:
        role = "ceiling" if model in CEILING_MODELS else "trivial"
    cost = table.cost[~np.isnan(table.cost)] if table.cost is not None else np.array([])
    return RunRow(
        name=run.name,
        model=model,
        role=role,
        headline=headline,
        figures={name: parse_metric(name).of(evaluation) for name in COLUMNS},
        n_samples=len(table),
        n_scored=int(table.answered.sum()),
        outcomes=table.outcome_counts(),
        latency_s=_mean(table.latency_s),
        cost=_mean(table.cost),
        cost_total=float(cost.sum()) if len(cost) else None,
        incomplete=incomplete,
    )


def _mean(values: FloatArray | None) -> float | None:
    known = values[~np.isnan(values)] if values is not None else np.array([])
    return float(known.mean()) if len(known) else None


def _ranked(
    ranked: Sequence[LoadedRun],
    rows: Sequence[RunRow],
    metric: Metric,
    options: Options,
    notes: list[str],
) -> tuple[list[RunRow], list[PairRow]]:
    """The rows of the ranked runs, best first, with tiers; and every two of them compared."""
    if len(ranked) < 2:
        notes.append("one run: there is nothing to compare it with")
        return list(rows[: len(ranked)]), []
    from ffr_eval.comparison import compare_evaluations

    found = compare_evaluations(
        [run.name for run in ranked],
        [run.evaluation for run in ranked],
        metric,
        options.resampling,
        repeatable=_repeatable(ranked),
    )
    notes += found.notes  # some a second time: of notes that are equal one is shown
    by_name = {row.name: row for row in rows}
    ordered = [
        replace(by_name[place.model], tier=place.tier, rank_lo=place.rank_lo, rank_hi=place.rank_hi)
        for place in found.ranks
    ]
    pairs = [
        PairRow(pair.a, pair.b, Estimate(pair.delta, pair.ci95), pair.p, pair.p_holm)
        for pair in found.pairs
    ]
    return ordered, pairs
