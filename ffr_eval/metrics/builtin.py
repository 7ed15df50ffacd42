"""The metrics that FFR has, registered by entry point as a third party registers its own.

How undefined cases end is written in docs/metrics.md. ``silence`` below is what saying nothing is
worth in macro where there is nothing to find: 1, or 0 if there is no usable answer at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_eval.metrics.metric import (
    MetricFamily,
    Parameter,
    Terms,
    Value,
    mean_of,
    ratio_of,
    side_by_side,
)
from ffr_eval.metrics.tolerance import count_matches
from ffr_eval.places import distinct_turns, places_of
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    Mean: TypeAlias = Callable[[Any, Any], FloatArray]
    Figure: TypeAlias = Callable[..., FloatArray]

BOTH: Final = ("utterance", "image")


# --- figures from tp, fp, fn, tn ------------------------------------------------------------------


def count_terms(evaluation: Evaluation, modality: str) -> FloatArray:
    """Columns tp, fp, fn, tn, and whether there is something to count; shape ``(n, 5)``."""
    counts = evaluation.counts(modality)
    something = _something(evaluation, modality)
    return side_by_side(counts.tp, counts.fp, counts.fn, counts.tn, something)


def _something(evaluation: Evaluation, modality: str) -> IntArray:
    """More than 0 where a sample makes its modality count in micro (metrics.md: null)."""
    counts = evaluation.counts(modality)
    something: IntArray = counts.tp + counts.fp + counts.fn
    return something if evaluation.protocol.absent_is_null else np.ones_like(something)


def _utterance_terms(evaluation: Evaluation) -> FloatArray:
    return count_terms(evaluation, "utterance")


def _image_terms(evaluation: Evaluation) -> FloatArray:
    return count_terms(evaluation, "image")


def _joint_terms(evaluation: Evaluation) -> FloatArray:
    return side_by_side(*_utterance_terms(evaluation).T, *_image_terms(evaluation).T)


_COUNT_TERMS: Final[dict[str, Terms]] = {
    "utterance": _utterance_terms,
    "image": _image_terms,
    "joint": _joint_terms,
}


def _micro(
    modality: str, terms: Terms, width: int, figure: Figure, mean: Mean
) -> tuple[Terms, Value]:
    """Micro: ``figure`` of the summed columns of a modality, whose last one is :func:`_something`.

    Args:
        modality: One of them, or ``joint``: then ``terms`` has ``2 * width`` columns.
        terms: What each sample adds.
        width: The number of columns of one modality.
        figure: Takes all columns but the last.
        mean: Of the two modalities.
    """

    def one(sums: FloatArray) -> FloatArray:
        values = figure(*(sums[..., column] for column in range(width - 1)))
        return np.where(sums[..., width - 1] > 0, values, np.nan)

    if modality == "joint":
        return terms, _Joint(one, width, mean)
    return terms, one


@dataclass(frozen=True, slots=True)
class _Joint:
    """The mean of a figure of both modalities, whose columns stand side by side.

    Attributes:
        one: The figure of one modality's sums.
        width: How many columns a modality has, the last one being :func:`_something`.
        mean: Of the two.
    """

    one: Value
    width: int
    mean: Mean

    def __call__(self, sums: FloatArray) -> FloatArray:
        width = self.width
        return retrieval.of_those_that_count(
            self.one(sums[..., :width]), self.one(sums[..., width:]), self.mean
        )

    def parts(self, sums: FloatArray) -> FloatArray:
        """How many modalities there is something to count of."""
        number: FloatArray = (sums[..., self.width - 1 :: self.width] > 0).sum(axis=-1)
        return number


def _per_modality(
    evaluation: Evaluation,
    modality: str,
    values: Callable[[Evaluation, str], FloatArray],
    mean: Mean,
) -> FloatArray:
    """Each sample's value, of both modalities together for ``joint``."""
    if modality != "joint":
        return values(evaluation, modality)
    utterance, image = (values(evaluation, name) for name in BOTH)
    return retrieval.of_those_that_count(utterance, image, mean)


def _sample_figure(figure: Figure) -> Callable[[Evaluation, str], FloatArray]:
    """A figure of each sample's counts, with what macro says of empty sets."""

    def values(evaluation: Evaluation, modality: str) -> FloatArray:
        counts = evaluation.counts(modality)
        found = figure(counts.tp, counts.fp, counts.fn, counts.tn)
        nothing = counts.tp + counts.fp + counts.fn == 0
        found = np.where(nothing, evaluation.silence, found)
        return np.where(evaluation.counted(modality), found, np.nan)

    return values


def _of_counts(
    figure: Figure, mean: Mean, sample_values: Callable[[Evaluation, str], FloatArray] | None = None
) -> Callable[[str, str], tuple[Terms, Value]]:
    def build(average: str, modality: str) -> tuple[Terms, Value]:
        if average == "micro":
            return _micro(modality, _COUNT_TERMS[modality], 5, figure, mean)
        values = sample_values or _sample_figure(figure)
        return mean_of(lambda e: _per_modality(e, modality, values, mean))

    return build


def _precision(tp: Any, fp: Any, fn: Any, tn: Any) -> FloatArray:  # noqa: ARG001
    return retrieval.precision(tp, fp)


def _recall(tp: Any, fp: Any, fn: Any, tn: Any) -> FloatArray:  # noqa: ARG001
    return retrieval.recall(tp, fn)


def _f1(tp: Any, fp: Any, fn: Any, tn: Any) -> FloatArray:  # noqa: ARG001
    return retrieval.f1(tp, fp, fn)


def _jaccard(tp: Any, fp: Any, fn: Any, tn: Any) -> FloatArray:  # noqa: ARG001
    return retrieval.ratio(tp, tp + fp + fn)


def _f_beta(tp: Any, fp: Any, fn: Any, tn: Any, *, beta: float) -> FloatArray:  # noqa: ARG001
    above = (1 + beta**2) * np.asarray(tp, dtype=np.float64)
    return retrieval.ratio(above, above + beta**2 * fn + fp)


PRECISION = MetricFamily(
    "precision",
    "tp / (tp + fp); joint: the harmonic mean of the modalities",
    _of_counts(_precision, retrieval.harmonic_mean),
)
RECALL = MetricFamily(
    "recall",
    "tp / (tp + fn); joint: the harmonic mean of the modalities",
    _of_counts(_recall, retrieval.harmonic_mean),
)
F1 = MetricFamily(
    "f1",
    "2 tp / (2 tp + fp + fn); joint: the mean of the modalities",
    _of_counts(_f1, retrieval.arithmetic_mean),
)
MCC = MetricFamily(
    "mcc",
    "Matthews correlation of ids predicted and ids in the gold; joint: the mean of the modalities",
    _of_counts(
        retrieval.mcc,
        retrieval.arithmetic_mean,
        lambda evaluation, modality: getattr(evaluation, modality).mcc,
    ),
)
JACCARD = MetricFamily(
    "jaccard",
    "tp / (tp + fp + fn); joint: the mean of the modalities",
    _of_counts(_jaccard, retrieval.arithmetic_mean),
)


def _build_f_beta(average: str, modality: str, beta: float) -> tuple[Terms, Value]:
    return _of_counts(partial(_f_beta, beta=beta), retrieval.arithmetic_mean)(average, modality)


F_BETA = MetricFamily(
    "f_beta",
    "F-beta: recall weighs beta times as much as precision; joint: the mean of the modalities",
    _build_f_beta,
    parameters=(Parameter("beta", "weight of recall", above=True),),
)


# --- boundaries -----------------------------------------------------------------------------------


def _tolerant_counts(evaluation: Evaluation, tolerance: int) -> tuple[IntArray, IntArray, IntArray]:
    """tp, fp, fn of utterances, a predicted turn being right within ``tolerance`` of a gold one.

    Right ids outside of the universe, which have no place, stay right.
    """
    places, counts = places_of(evaluation.table), evaluation.utterance_counts
    gold = distinct_turns(places.gold_utterance)
    predicted = distinct_turns(places.predicted_utterance)
    tp = count_matches(gold, predicted, tolerance) + counts.tp_outside
    return tp, counts.tp + counts.fp - tp, counts.tp + counts.fn - tp


def _tolerant(figure: Figure) -> Callable[[str, str, int], tuple[Terms, Value]]:
    def build(average: str, modality: str, tolerance: int) -> tuple[Terms, Value]:
        def terms(evaluation: Evaluation) -> FloatArray:
            tp, fp, fn = _tolerant_counts(evaluation, tolerance)
            something = _something(evaluation, "utterance")
            return side_by_side(tp, fp, fn, np.zeros_like(tp), something)

        def values(evaluation: Evaluation) -> FloatArray:
            tp, fp, fn = _tolerant_counts(evaluation, tolerance)
            found = np.where(tp + fp + fn == 0, evaluation.silence, figure(tp, fp, fn, 0))
            return np.where(evaluation.counted("utterance"), found, np.nan)

        if average == "micro":
            return _micro(modality, terms, 5, figure, retrieval.arithmetic_mean)
        return mean_of(values)

    return build


_TOLERANCE: Final = (Parameter("k", "turns that a prediction may be off", integer=True),)
_ONE_TO_ONE: Final = (
    "of utterances, a predicted turn within ±k of a gold turn being right (one-to-one)"
)

TOL_PRECISION = MetricFamily(
    "tol_precision",
    f"precision {_ONE_TO_ONE}",
    _tolerant(_precision),
    modalities=("utterance",),
    parameters=_TOLERANCE,
)
TOL_RECALL = MetricFamily(
    "tol_recall",
    f"recall {_ONE_TO_ONE}",
    _tolerant(_recall),
    modalities=("utterance",),
    parameters=_TOLERANCE,
)
TOL_F1 = MetricFamily(
    "tol_f1",
    f"F1 {_ONE_TO_ONE}",
    _tolerant(_f1),
    modalities=("utterance",),
    parameters=_TOLERANCE,
)


# --- against chance -------------------------------------------------------------------------------


def _chance_terms(evaluation: Evaluation, modality: str) -> FloatArray:
    """Columns tp, sizes |P| + |G|, expected tp at random, and :func:`_something`.

    |P| ids drawn at random from U hit |P||G|/|U| of the gold on average; ids outside U never do.
    """
    counts = evaluation.counts(modality)
    predicted, gold = counts.tp + counts.fp, counts.tp + counts.fn
    inside_predicted = predicted - counts.tp_outside - counts.fp_outside
    inside_gold = gold - counts.tp_outside - counts.fn_outside
    universe = evaluation.columns(modality).universe
    expected = retrieval.ratio(inside_predicted.astype(np.float64) * inside_gold, universe)
    something = _something(evaluation, modality)
    return side_by_side(counts.tp, predicted + gold, expected, something)


def _chance_f1(tp: Any, sizes: Any, expected: Any) -> FloatArray:  # noqa: ARG001
    return retrieval.ratio(2 * expected, sizes)


def _adjusted_f1(tp: Any, sizes: Any, expected: Any) -> FloatArray:
    chance = retrieval.ratio(2 * expected, sizes)
    room = 1 - chance
    can_be_told = room > 1e-12  # else everything is gold and predicted: chance is perfect too
    value = (retrieval.ratio(2 * tp, sizes) - chance) / np.where(can_be_told, room, 1.0)
    return np.where(can_be_told, value, np.nan)


def _against_chance(figure: Figure) -> Callable[[str, str], tuple[Terms, Value]]:
    def build(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
        names = BOTH if modality == "joint" else (modality,)

        def terms(evaluation: Evaluation) -> FloatArray:
            return side_by_side(*(c for name in names for c in _chance_terms(evaluation, name).T))

        return _micro(modality, terms, 4, figure, retrieval.arithmetic_mean)

    return build


CHANCE_F1 = MetricFamily(
    "chance_f1",
    "F1 to be expected of as many ids as predicted, drawn at random from each dialogue",
    _against_chance(_chance_f1),
    averages=("micro",),
    better="none",
)
ADJUSTED_F1 = MetricFamily(
    "adjusted_f1",
    "F1 corrected for chance: (F1 - chance_f1) / (1 - chance_f1); 0 is chance, 1 perfect",
    _against_chance(_adjusted_f1),
    averages=("micro",),
)


# --- sizes ----------------------------------------------------------------------------------------


def _sizes(evaluation: Evaluation, modality: str) -> tuple[IntArray, IntArray]:
    """|P| and |G| of each sample, distinct ids; of both modalities together for ``joint``."""
    names = BOTH if modality == "joint" else (modality,)
    counts = [evaluation.counts(name) for name in names]
    predicted: IntArray = np.sum([part.tp + part.fp for part in counts], axis=0)
    gold: IntArray = np.sum([part.tp + part.fn for part in counts], axis=0)
    return predicted, gold


def _counted(evaluation: Evaluation, modality: str) -> BoolArray:
    if modality == "joint":
        return evaluation.counted("utterance") | evaluation.counted("image")
    return evaluation.counted(modality)


def _build_cardinality(average: str, modality: str) -> tuple[Terms, Value]:
    if average == "micro":
        return ratio_of(lambda evaluation: _sizes(evaluation, modality))

    def values(evaluation: Evaluation) -> FloatArray:
        predicted, gold = _sizes(evaluation, modality)
        return np.where(gold > 0, retrieval.ratio(predicted, gold), np.nan)

    return mean_of(values)


CARDINALITY_RATIO = MetricFamily(
    "cardinality_ratio",
    "|P| / |G|, distinct ids; joint: ids of both modalities together",
    _build_cardinality,
    better="none",
)


def _share(
    of: Callable[[IntArray, IntArray], BoolArray],
) -> Callable[[str, str], tuple[Terms, Value]]:
    def build(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
        def values(evaluation: Evaluation) -> FloatArray:
            found = of(*_sizes(evaluation, modality)).astype(np.float64)
            return np.where(_counted(evaluation, modality), found, np.nan)

        return mean_of(values)

    return build


OVER_RETRIEVAL = MetricFamily(
    "over_retrieval",
    "share of samples with more ids predicted than in the gold",
    _share(np.greater),
    averages=("macro",),
    better="lower",
)
UNDER_RETRIEVAL = MetricFamily(
    "under_retrieval",
    "share of samples with fewer ids predicted than in the gold",
    _share(np.less),
    averages=("macro",),
    better="lower",
)


def _exact(tp: Any, fp: Any, fn: Any, tn: Any) -> FloatArray:  # noqa: ARG001
    return np.asarray(fp + fn == 0, dtype=np.float64)


def _build_exact(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
    return mean_of(lambda e: _per_modality(e, modality, _sample_figure(_exact), np.minimum))


EXACT = MetricFamily(
    "exact",
    "share of samples whose prediction is the gold set; joint: in both modalities",
    _build_exact,
    averages=("macro",),
)


# --- what reached the model -----------------------------------------------------------------------


def _reached(evaluation: Evaluation, modality: str) -> tuple[IntArray, IntArray]:
    """How many distinct gold ids reached the model, and how many did not."""
    counts, reached = evaluation.counts(modality), evaluation.table.reached_gold
    gold: IntArray = counts.tp + counts.fn
    if reached is None:
        return gold, np.zeros_like(gold)
    there: IntArray = getattr(reached, modality)
    return there, gold - there


def _reach_terms(evaluation: Evaluation, modality: str) -> FloatArray:
    """Columns reached and not reached, and whether there is gold, of each modality."""
    names = BOTH if modality == "joint" else (modality,)
    found = [_reached(evaluation, name) for name in names]
    return side_by_side(
        *(column for there, lost in found for column in (there, lost, there + lost))
    )


def _reachable(evaluation: Evaluation, modality: str) -> FloatArray:
    """The recall of each sample's perfect answer, which is right to be empty without gold."""
    there, lost = _reached(evaluation, modality)
    found = np.where(there + lost > 0, retrieval.recall(there, lost), 1.0)
    possible = (evaluation.columns(modality).universe > 0) | (there + lost > 0)
    return np.where(possible | (not evaluation.protocol.absent_is_null), found, np.nan)


def _build_reachable(average: str, modality: str) -> tuple[Terms, Value]:
    if average == "micro":
        terms = partial(_reach_terms, modality=modality)
        return _micro(modality, terms, 3, retrieval.recall, retrieval.harmonic_mean)
    return mean_of(lambda e: _per_modality(e, modality, _reachable, retrieval.harmonic_mean))


REACHABLE_RECALL = MetricFamily(
    "reachable_recall",
    "gold ids that reached the model, among all: the recall that a perfect one could have had",
    _build_reachable,
    better="none",
)


# --- invented and repeated ids --------------------------------------------------------------------


def _invented(evaluation: Evaluation, modality: str) -> tuple[Any, Any]:
    names = BOTH if modality == "joint" else (modality,)
    counts = [evaluation.counts(name) for name in names]
    outside = np.sum([part.tp_outside + part.fp_outside for part in counts], axis=0)
    return outside, np.sum([part.tp + part.fp for part in counts], axis=0)


def _duplicates(evaluation: Evaluation, modality: str) -> tuple[Any, Any]:
    names = BOTH if modality == "joint" else (modality,)
    counts = [evaluation.counts(name) for name in names]
    repeats = np.sum([part.duplicates for part in counts], axis=0)
    return repeats, np.sum([part.tp + part.fp + part.duplicates for part in counts], axis=0)


def _rate(
    parts: Callable[[Evaluation, str], tuple[Any, Any]],
) -> Callable[[str, str], tuple[Terms, Value]]:
    def build(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
        return ratio_of(lambda evaluation: parts(evaluation, modality), undefined=0.0)

    return build


INVENTED_RATE = MetricFamily(
    "invented_rate",
    "ids that the dialogue does not have, among the distinct predicted ids",
    _rate(_invented),
    averages=("micro",),
    better="lower",
)
DUPLICATE_RATE = MetricFamily(
    "duplicate_rate",
    "repetitions, among all predicted items",
    _rate(_duplicates),
    averages=("micro",),
    better="lower",
)


# --- answering at all -----------------------------------------------------------------------------


def _abstention_terms(evaluation: Evaluation) -> FloatArray:
    predicted, gold = _sizes(evaluation, "joint")
    negative = gold == 0
    abstained = evaluation.table.answered & (predicted == 0)
    columns = (abstained & negative, abstained & ~negative, ~abstained & negative)
    tp, fp, fn = columns
    return side_by_side(*columns, np.zeros_like(tp), tp | fp | fn)


def _abstention(figure: Figure) -> Callable[[str, str], tuple[Terms, Value]]:
    def build(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
        return _micro("", _abstention_terms, 5, figure, retrieval.arithmetic_mean)

    return build


ABSTENTION_PRECISION = MetricFamily(
    "abstention_precision",
    "of the samples to which the model said 'nothing', the share that has no gold",
    _abstention(_precision),
    averages=("micro",),
    modalities=("joint",),
)
ABSTENTION_RECALL = MetricFamily(
    "abstention_recall",
    "of the samples without gold, the share to which the model said 'nothing'",
    _abstention(_recall),
    averages=("micro",),
    modalities=("joint",),
)
ABSTENTION_F1 = MetricFamily(
    "abstention_f1",
    "F1 of saying 'nothing' to the samples without gold",
    _abstention(_f1),
    averages=("micro",),
    modalities=("joint",),
)


def _build_answered(average: str, modality: str) -> tuple[Terms, Value]:  # noqa: ARG001
    return mean_of(lambda evaluation: evaluation.table.answered.astype(np.float64))


ANSWERED_RATE = MetricFamily(
    "answered_rate",
    "share of samples with a usable answer (outcome ok or empty)",
    _build_answered,
    averages=("macro",),
    modalities=("joint",),
)


def _build_outcome(average: str, modality: str, outcome: str) -> tuple[Terms, Value]:  # noqa: ARG001
    code = OUTCOME_CODE[Outcome(outcome)]
    return mean_of(lambda evaluation: (evaluation.table.outcome == code).astype(np.float64))


OUTCOME_RATE = MetricFamily(
    "outcome_rate",
    "share of samples that ended so",
    _build_outcome,
    averages=("macro",),
    modalities=("joint",),
    parameters=(
        Parameter("outcome", "an outcome", choices=tuple(outcome.value for outcome in Outcome)),
    ),
    better="none",
)
