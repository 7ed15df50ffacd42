"""The parts of a report beyond its main table: groups, thresholds, errors, floors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.metrics.groups import NO_GOLD, group_rows
from ffr_eval.metrics.named import parse_metric
from ffr_eval.report.run_report.contents import (
    Calibration,
    ErrorRow,
    Estimate,
    Group,
    Grouping,
    ReferenceRow,
)
from ffr_eval.statistics import Clusters, bootstrap
from ffr_eval.uncertainty import interval_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray
    from ffr_eval.sources import Source
    from ffr_eval.types import Prediction
    from ffr_eval.uncertainty import Resampling

DEFAULT_GROUPS: Final = ("turns", "kind", "language", "position", "dispersion")
"""Groupings that are tried where none are asked for."""

MODALITIES: Final = ("utterance", "image")


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A run, read and counted; its source keeps predictions only where they hold scores."""

    name: str
    source: Source
    evaluation: Evaluation

    @property
    def model(self) -> str:
        """The model, empty where it is not known."""
        return self.source.model or ""


# --- estimates ------------------------------------------------------------------------------------


def estimates(
    evaluations: Sequence[Evaluation],
    metric: Metric,
    rows: IntArray | None,
    resampling: Resampling,
) -> list[Estimate]:
    """A metric of several runs over the same samples, with intervals from the same draws."""
    ids = evaluations[0].table.dialogue_id
    clusters = Clusters.of(ids if rows is None else [ids[row] for row in rows.tolist()])
    terms = [metric.terms(evaluation) for evaluation in evaluations]
    sums = [clusters.sums(found if rows is None else found[rows]) for found in terms]
    replicates = bootstrap(
        [(found, metric.resampled(found)) for found in sums], resampling.replicates, resampling.seed
    )
    return [
        Estimate(
            metric.of_terms(found), interval_of(found, metric, replicates[:, place], resampling)
        )
        for place, found in enumerate(sums)
    ]


# --- groups ---------------------------------------------------------------------------------------


def groupings(
    runs: Sequence[LoadedRun],
    metric: Metric,
    group_by: Sequence[str],
    resampling: Resampling,
    left_out: dict[str, str],
) -> list[Grouping]:
    """The metric of each run in each group.

    Args:
        runs: On the same samples in the same order.
        metric: Of the report.
        group_by: Groupings; without any, those of :data:`DEFAULT_GROUPS` that divide the samples.
        resampling: How intervals are computed.
        left_out: Gets a sentence under ``groups`` if there is nothing to show.

    Raises:
        InputError: If a grouping is unknown.
    """
    evaluations = [run.evaluation for run in runs]
    table = evaluations[0].table
    chosen = group_by or tuple(_dividing(table))
    found = []
    for by in chosen:
        rows_of = group_rows(table, by)
        if "kind" in chosen and len(rows_of) > 1:
            rows_of.pop(NO_GOLD, None)  # the same samples as kind negative
        groups = []
        for name, rows in rows_of.items():
            dialogues = {table.dialogue_id[row] for row in rows.tolist()}
            values = estimates(evaluations, metric, rows, resampling)
            groups.append(Group(name, len(rows), len(dialogues), values))
        found.append(Grouping(by, groups))
    if not found:
        left_out["groups"] = (
            "No grouping divides these samples: all are in one group of "
            + ", ".join(DEFAULT_GROUPS)
            + "."
        )
    return found


def _dividing(table: PredictionTable) -> Iterator[str]:
    """The default groupings that put the samples into more than one group."""
    for by in DEFAULT_GROUPS:
        if len(set(group_rows(table, by)) - {NO_GOLD}) > 1:
            yield by
        elif by == "turns":
            edges = turn_edges(table.turns)
            if edges:
                yield f"turns({','.join(map(str, edges))})"


def turn_edges(turns: IntArray) -> list[int]:
    """Round edges near the thirds, for benchmarks whose dialogues the usual ones do not divide."""
    thirds = np.quantile(turns, (1 / 3, 2 / 3))
    step = 50 if thirds[0] >= 200 else 10 if thirds[0] >= 20 else 1
    edges = sorted({int(round(edge / step) * step) for edge in thirds.tolist()})
    return [edge for edge in edges if turns.min() < edge <= turns.max()]


# --- thresholds -----------------------------------------------------------------------------------


def has_scores(predictions: Mapping[str, Prediction]) -> bool:
    """Whether some prediction holds the scores of its model."""
    return any(prediction.scores for prediction in predictions.values())


def calibrations(runs: Sequence[LoadedRun], left_out: dict[str, str]) -> list[Calibration]:
    """F1 over the thresholds of every run with scores, and modality that has gold."""
    from ffr_eval.threshold_sweep import score_columns

    found = []
    for run in runs:
        columns = score_columns(run.source) if run.source.predictions is not None else None
        for modality in MODALITIES if columns is not None else ():
            assert columns is not None  # noqa: S101  # for the type checker
            curve = columns[modality].curve
            if curve.best is None:
                continue
            reached = parse_metric(f"micro.{modality}.f1").of(run.evaluation)
            best = float(curve.f1.max())
            found.append(
                Calibration(
                    run.name, modality, curve.thresholds, curve.f1, curve.best, best, reached
                )
            )
    if not found:
        left_out["calibration"] = (
            "No run carries the scores of its model (`ffr run … --save-scores` keeps them), so"
            " there is no threshold to look at."
        )
    return found


def trouble_with_scores(source: Source) -> str | None:
    """Why the scores of a run do not fit its samples, if they do not."""
    from ffr_eval.threshold_sweep import score_columns

    try:
        score_columns(source)
    except InputError as error:
        return f"{error.problem.field}: {error.problem.message}"
    return None


def best_cuts(runs: Sequence[LoadedRun], metric: Metric) -> list[ReferenceRow]:
    """The metric of every run with scores at its best thresholds."""
    from ffr_eval.threshold_sweep import oracle_value

    summary = "its scores cut at the thresholds that are best on these very samples"
    return [
        ReferenceRow(run.name, summary, oracle_value(run.source, metric))
        for run in runs
        if run.source.predictions is not None
    ]


# --- errors and floors ----------------------------------------------------------------------------


def errors(
    runs: Sequence[LoadedRun], left_out: dict[str, str]
) -> tuple[list[ErrorRow], dict[str, str]]:
    """The gains of every run by class of errors, and what the classes hold."""
    from ffr_eval.error_classes import CLASSES, decompose

    if runs[0].evaluation.protocol.family != "strict":
        left_out["errors"] = "Errors are put into classes under the protocol strict only."
        return [], {}
    rows = [
        ErrorRow(run.name, {found.name: found.gain for found in decompose(run.evaluation)})
        for run in runs
    ]
    if all(gain is None for row in rows for gain in row.gains.values()):
        left_out["errors"] = "There is no gold, and so nothing to be gained."
        return [], {}
    return rows, dict(CLASSES)


def floors(
    run: LoadedRun, metric: Metric, models: Collection[str], resampling: Resampling
) -> list[ReferenceRow]:
    """The floors on the samples of a run; without those that are among the runs."""
    from ffr_eval import floors as without_model

    found = without_model.floors(
        run.source.table, run.source.protocol, metric, resampling.seed, run.source.benchmark
    )
    same = {"none", "all"} & set(models)  # their runs say the same
    return [
        ReferenceRow(floor.name, floor.summary, floor.value)
        for floor in found
        if floor.name not in same
    ]
