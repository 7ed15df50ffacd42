"""The protocols: what counts, and how per-sample counts become figures (metrics.md).

``official`` computes what the original release computes, for figures comparable with the papers.
``strict`` is ours, the default for benchmark folders. Both sum or average what the kernel counts;
they differ in a few rules, and a :class:`Protocol` is these rules. A protocol never changes: where
one of its answers has to, the new rules get a new number, and the old ones stay computable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import count
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffr_eval.metrics.counts import Counts
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import ModalityColumns, PredictionTable
    from ffr_eval.ragged import IntArray


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of a protocol.

    Attributes:
        name: With its version, such as ``strict-1``.
        parse: How raw responses are read unless something else is asked for.
        fixed_parse: Whether nothing else can be asked for.
        real_ids: U is the ids that the dialogue has; otherwise ``{0 … M}``, M the largest of them,
            :data:`OFFICIAL_ABSENT` where there is none.
        unanswered_counts: A record without a response is a sample without an answer; otherwise it
            is left out.
        failures_score_zero: In macro, a sample without a usable answer scores 0 also where the gold
            is empty; otherwise its silence is right there.
        absent_is_null: A modality with nothing to count is null in micro and left out of the joint;
            in macro it is left out of samples whose dialogue does not have it.
        outside_in_sample_mcc: The MCC of a sample counts ids outside U in fp and fn.
        undefined_mcc_left_out: The MCC of a sample does not count where the gold is empty or all of
            U; otherwise it is 0 there.
    """

    name: str
    parse: Literal["official", "lenient"]
    fixed_parse: bool
    real_ids: bool
    unanswered_counts: bool
    failures_score_zero: bool
    absent_is_null: bool
    outside_in_sample_mcc: bool
    undefined_mcc_left_out: bool

    @property
    def family(self) -> str:
        """The name without the version."""
        return self.name.rpartition("-")[0]


OFFICIAL_1: Final = Protocol(
    name="official-1",
    parse="official",
    fixed_parse=True,
    real_ids=False,
    unanswered_counts=False,
    failures_score_zero=False,
    absent_is_null=False,
    outside_in_sample_mcc=False,
    undefined_mcc_left_out=False,
)
"""What the original release computes."""

STRICT_1: Final = Protocol(
    name="strict-1",
    parse="lenient",
    fixed_parse=False,
    real_ids=True,
    unanswered_counts=True,
    failures_score_zero=True,
    absent_is_null=True,
    outside_in_sample_mcc=True,
    undefined_mcc_left_out=True,
)
"""Ours."""

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol for protocol in (OFFICIAL_1, STRICT_1)
}
"""All versions by name, oldest first."""

_LATEST: Final = {protocol.family: protocol for protocol in PROTOCOLS.values()}

PROTOCOL_NAMES: Final = (*_LATEST, *PROTOCOLS)
"""What a user may ask for: a family is its latest version."""

ProtocolName: TypeAlias = str
"""One of :data:`PROTOCOL_NAMES`."""


def protocol_named(name: ProtocolName) -> Protocol:
    """The protocol of a name; ``official`` and ``strict`` are their latest versions.

    Raises:
        InputError: If there is none.
    """
    found = _LATEST.get(name) or PROTOCOLS.get(name)
    if found is None:
        remedy = nearest(name, PROTOCOL_NAMES)
        raise InputError(f"unknown protocol {name!r}", field="protocol", remedy=remedy)
    return found


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
        protocol: Its rules.
        table: What was counted.
        utterance_counts, image_counts: The kernel's counts.
        utterance, image, joint: Per-sample figures.
    """

    protocol: Protocol
    table: PredictionTable
    utterance_counts: Counts
    image_counts: Counts
    utterance: SampleFigures
    image: SampleFigures
    joint: SampleFigures

    def __len__(self) -> int:
        return len(self.table)

    def micro(self, rows: IntArray) -> Micro:
        """Micro figures over some samples."""
        nullable = self.protocol.absent_is_null
        utterance = _micro_figures(self.utterance_counts, rows, nullable=nullable)
        image = _micro_figures(self.image_counts, rows, nullable=nullable)
        return Micro(utterance, image, _joint(utterance, image))

    def macro(self, rows: IntArray) -> Macro:
        """Macro figures over some samples."""
        return Macro(self.utterance.mean(rows), self.image.mean(rows), self.joint.mean(rows))

    def counts(self, modality: str) -> Counts:
        """The counts of ``utterance`` or ``image``."""
        return self.utterance_counts if modality == "utterance" else self.image_counts

    def columns(self, modality: str) -> ModalityColumns:
        """The columns of ``utterance`` or ``image``."""
        return self.table.utterance if modality == "utterance" else self.table.image

    def counted(self, modality: str) -> NDArray[np.bool_]:
        """In which samples ``utterance`` or ``image`` counts in macro, shape ``(n,)``."""
        return _counted(self.counts(modality), self.columns(modality), self.protocol)

    @property
    def silence(self) -> FloatArray:
        """What saying nothing is worth in macro where the gold is empty, shape ``(n,)``."""
        return _silence(self.table.answered, self.protocol)


def evaluate(table: PredictionTable, protocol: Protocol) -> Evaluation:
    """Count a prediction table and compute its per-sample figures under a protocol.

    Args:
        table: Coded for the same protocol.
        protocol: Its rules.
    """
    utterance_counts, image_counts = _counts(table.utterance), _counts(table.image)
    utterance = _samples(utterance_counts, table.utterance, table.answered, protocol)
    image = _samples(image_counts, table.image, table.answered, protocol)
    joint = _joint_samples(utterance, image)
    return Evaluation(protocol, table, utterance_counts, image_counts, utterance, image, joint)


def _counts(columns: ModalityColumns) -> Counts:
    return count(columns.gold, columns.predicted, columns.universe)


def _samples(
    counts: Counts, columns: ModalityColumns, answered: NDArray[np.bool_], protocol: Protocol
) -> SampleFigures:
    """Per-sample figures of a modality; NaN where a sample does not count."""
    gold = counts.tp + counts.fn
    nothing = gold + counts.fp == 0
    counted = _counted(counts, columns, protocol)
    silence = _silence(answered, protocol)

    def figure(values: FloatArray) -> FloatArray:
        return np.where(counted, np.where(nothing, silence, values), np.nan)

    return SampleFigures(
        figure(retrieval.precision(counts.tp, counts.fp)),
        figure(retrieval.recall(counts.tp, counts.fn)),
        figure(retrieval.f1(counts.tp, counts.fp, counts.fn)),
        np.where(counted, _sample_mcc(counts, columns, protocol), np.nan),
    )


def _counted(counts: Counts, columns: ModalityColumns, protocol: Protocol) -> NDArray[np.bool_]:
    if not protocol.absent_is_null:
        return np.ones(len(counts), dtype=np.bool_)
    return (columns.universe > 0) | (counts.tp + counts.fp + counts.fn > 0)


def _silence(answered: NDArray[np.bool_], protocol: Protocol) -> FloatArray:
    return np.where(answered | (not protocol.failures_score_zero), 1.0, 0.0)


def _sample_mcc(counts: Counts, columns: ModalityColumns, protocol: Protocol) -> FloatArray:
    """The MCC of each sample.

    The original takes wrong and missed ids inside U only, and every right one: that alone
    reproduces its figures on gold ids outside U.
    """
    fp, fn = counts.fp, counts.fn
    if not protocol.outside_in_sample_mcc:
        fp, fn = fp - counts.fp_outside, fn - counts.fn_outside
    values = retrieval.mcc(counts.tp, fp, fn, counts.tn)
    if protocol.undefined_mcc_left_out:
        gold = counts.tp + counts.fn
        everything = gold - counts.tp_outside - counts.fn_outside == columns.universe
        values = np.where((gold == 0) | everything, np.nan, values)
    return values


def _joint_samples(a: SampleFigures, b: SampleFigures) -> SampleFigures:
    return SampleFigures(
        retrieval.of_those_that_count(a.precision, b.precision, retrieval.harmonic_mean),
        retrieval.of_those_that_count(a.recall, b.recall, retrieval.harmonic_mean),
        retrieval.of_those_that_count(a.f1, b.f1, retrieval.arithmetic_mean),
        retrieval.of_those_that_count(a.mcc, b.mcc, retrieval.arithmetic_mean),
    )


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
