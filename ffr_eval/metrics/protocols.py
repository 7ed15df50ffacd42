"""The protocols: what counts, and how per-sample counts become figures (metrics.md).

``official`` computes what the original release computes, for figures comparable with the papers.
``strict`` is ours, the default for benchmark folders. Both sum or average what the kernel counts;
they differ in the universe, in undefined cases, and in what a failed sample is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ffr_eval.metrics.counts import Counts
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import ModalityColumns, PredictionTable
    from ffr_eval.ragged import IntArray

ProtocolName: TypeAlias = Literal["official", "strict"]

OFFICIAL_ABSENT: Final = 20
"""The largest id that ``official`` assumes where no id of a modality is marked."""


@dataclass(frozen=True, slots=True)
class MicroFigures:
    """Figures of one modality over summed counts; values in 0-1, MCC in -1 to 1."""

    precision: float
    recall: float
    f1: float
    mcc: float
    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True, slots=True)
class JointFigures:
    """Figures over both modalities: harmonic means of P and R, arithmetic means of F1 and MCC."""

    precision: float
    recall: float
    f1: float
    mcc: float


@dataclass(frozen=True, slots=True)
class MacroFigures:
    """Means of per-sample figures; ``None`` where no sample counts.

    Attributes:
        n: How many samples count for precision, recall and F1.
        n_mcc: How many samples count for MCC.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    mcc: float | None
    n: int
    n_mcc: int


@dataclass(frozen=True, slots=True)
class Micro:
    """Micro figures; ``None`` where a modality has nothing to count (``strict`` only)."""

    utterance: MicroFigures | None
    image: MicroFigures | None
    joint: JointFigures | None


@dataclass(frozen=True, slots=True)
class Macro:
    """Macro figures."""

    utterance: MacroFigures
    image: MacroFigures
    joint: MacroFigures


@dataclass(frozen=True, slots=True)
class SampleFigures:
    """Figures of each sample, each of shape ``(n,)``; NaN where a sample does not count."""

    precision: FloatArray
    recall: FloatArray
    f1: FloatArray
    mcc: FloatArray

    def mean(self, rows: IntArray) -> MacroFigures:
        """The means over some samples."""
        precision, n = _mean(self.precision[rows])
        mcc, n_mcc = _mean(self.mcc[rows])
        recall, f1 = _mean(self.recall[rows])[0], _mean(self.f1[rows])[0]
        return MacroFigures(precision, recall, f1, mcc, n, n_mcc)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A prediction table counted under a protocol; figures of any part of it are cheap.

    Attributes:
        protocol: Its name.
        utterance_counts, image_counts: The kernel's counts.
        utterance, image, joint: Per-sample figures.
    """

    protocol: ProtocolName
    utterance_counts: Counts
    image_counts: Counts
    utterance: SampleFigures
    image: SampleFigures
    joint: SampleFigures

    def micro(self, rows: IntArray) -> Micro:
        """Micro figures over some samples."""
        nullable = self.protocol == "strict"
        utterance = _micro_figures(self.utterance_counts, rows, nullable=nullable)
        image = _micro_figures(self.image_counts, rows, nullable=nullable)
        return Micro(utterance, image, _joint(utterance, image))

    def macro(self, rows: IntArray) -> Macro:
        """Macro figures over some samples."""
        return Macro(self.utterance.mean(rows), self.image.mean(rows), self.joint.mean(rows))


def evaluate(table: PredictionTable, protocol: ProtocolName) -> Evaluation:
    """Count a prediction table and compute its per-sample figures under a protocol.

    The table's codes and universes must have been made for the same protocol.
    """
    figures = _SAMPLE_FIGURES[protocol]
    utterance_counts, image_counts = _counts(table.utterance), _counts(table.image)
    utterance = figures(utterance_counts, table.utterance, table.answered)
    image = figures(image_counts, table.image, table.answered)
    joint = _joint_samples(utterance, image)
    return Evaluation(protocol, utterance_counts, image_counts, utterance, image, joint)


def _counts(columns: ModalityColumns) -> Counts:
    return count(columns.gold, columns.predicted, columns.universe)


def _official_samples(
    counts: Counts,
    columns: ModalityColumns,  # noqa: ARG001  # one signature for all protocols
    answered: NDArray[np.bool_],  # noqa: ARG001
) -> SampleFigures:
    """Per-sample figures as the original computes them, 0 where they are undefined.

    Its MCC takes wrong and missed ids inside U only, and every right one: that alone reproduces
    its figures on gold ids outside U.
    """
    nothing = counts.tp + counts.fp + counts.fn == 0
    precision = np.where(nothing, 1.0, retrieval.precision(counts.tp, counts.fp))
    recall = np.where(nothing, 1.0, retrieval.recall(counts.tp, counts.fn))
    mcc = retrieval.mcc(
        counts.tp,
        counts.fp - counts.fp_outside,
        counts.fn - counts.fn_outside,
        counts.tn,
    )
    return SampleFigures(precision, recall, retrieval.harmonic_mean(precision, recall), mcc)


def _strict_samples(
    counts: Counts, columns: ModalityColumns, answered: NDArray[np.bool_]
) -> SampleFigures:
    """Per-sample figures of ``strict``.

    A modality that the dialogue lacks does not count unless ids were invented there. A sample
    without a usable answer scores 0. MCC does not count where the gold is empty or all of U.
    """
    gold = counts.tp + counts.fn
    nothing = gold + counts.fp == 0
    counted = (columns.universe > 0) | ~nothing
    wise_silence = np.where(answered, 1.0, 0.0)

    def figure(values: FloatArray) -> FloatArray:
        return np.where(counted, np.where(nothing, wise_silence, values), np.nan)

    everything = gold - counts.tp_outside - counts.fn_outside == columns.universe
    mcc = retrieval.mcc(counts.tp, counts.fp, counts.fn, counts.tn)
    return SampleFigures(
        figure(retrieval.precision(counts.tp, counts.fp)),
        figure(retrieval.recall(counts.tp, counts.fn)),
        figure(retrieval.f1(counts.tp, counts.fp, counts.fn)),
        np.where(counted & (gold > 0) & ~everything, mcc, np.nan),
    )


_SAMPLE_FIGURES: Final[
    dict[str, Callable[[Counts, ModalityColumns, NDArray[np.bool_]], SampleFigures]]
] = {"official": _official_samples, "strict": _strict_samples}


def _joint_samples(a: SampleFigures, b: SampleFigures) -> SampleFigures:
    return SampleFigures(
        _of_those_that_count(a.precision, b.precision, retrieval.harmonic_mean),
        _of_those_that_count(a.recall, b.recall, retrieval.harmonic_mean),
        _of_those_that_count(a.f1, b.f1, _arithmetic_mean),
        _of_those_that_count(a.mcc, b.mcc, _arithmetic_mean),
    )


def _of_those_that_count(
    a: FloatArray, b: FloatArray, mean: Callable[[Any, Any], FloatArray]
) -> FloatArray:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, mean(a, b)))


def _arithmetic_mean(a: FloatArray, b: FloatArray) -> FloatArray:
    return (a + b) / 2


def _mean(values: FloatArray) -> tuple[float | None, int]:
    counted = values[~np.isnan(values)]
    return (float(counted.mean()) if len(counted) else None), len(counted)


def _micro_figures(counts: Counts, rows: IntArray, *, nullable: bool) -> MicroFigures | None:
    tp, fp, fn, tn = (
        _total(column[rows]) for column in (counts.tp, counts.fp, counts.fn, counts.tn)
    )
    if nullable and tp + fp + fn == 0:
        return None
    return MicroFigures(
        precision=float(retrieval.precision(tp, fp)),
        recall=float(retrieval.recall(tp, fn)),
        f1=float(retrieval.f1(tp, fp, fn)),
        mcc=float(retrieval.mcc(tp, fp, fn, tn)),
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
    )


def _total(column: IntArray) -> int:
    """The exact sum; under ``official`` one marked id makes universes near the limit of int64."""
    return (int((column >> 32).sum()) << 32) + int((column & 0xFFFFFFFF).sum())


def _joint(a: MicroFigures | None, b: MicroFigures | None) -> JointFigures | None:
    if a is None or b is None:
        only = a or b
        if only is None:
            return None
        return JointFigures(only.precision, only.recall, only.f1, only.mcc)
    return JointFigures(
        precision=float(retrieval.harmonic_mean(a.precision, b.precision)),
        recall=float(retrieval.harmonic_mean(a.recall, b.recall)),
        f1=(a.f1 + b.f1) / 2,
        mcc=(a.mcc + b.mcc) / 2,
    )
