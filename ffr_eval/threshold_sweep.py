"""What a scoring model could reach with the best threshold, and the sweep that finds it.

The threshold is chosen on the very samples that are scored: a ceiling, not a result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.floors import DialogueOrder
from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import count
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray
    from ffr_eval.sources import Source
    from ffr_eval.types import Prediction

    BoolArray = NDArray[np.bool_]

_MODALITIES: Final = ("utterance", "image")
_KEY: Final = 2**32  # more than any id that a benchmark may have


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Micro figures of predicting what scores at least a threshold, for every threshold.

    All arrays have shape ``(t,)``; scores that are equal fall together.

    Attributes:
        thresholds: The distinct scores, from the highest down.
        n_predicted: How many ids are predicted.
        n_gold: How many gold ids there are, those without a score included.
    """

    thresholds: FloatArray
    n_predicted: IntArray
    n_gold: int
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray

    @property
    def best(self) -> float | None:
        """The threshold with the highest F1, the highest of them; ``None`` to predict nothing."""
        if not len(self.f1) or not self.f1.max() > 0:
            return None
        return float(self.thresholds[self.f1.argmax()])


def threshold_curve(
    scores: ArrayLike, gold: ArrayLike, n_gold: int | None = None
) -> ThresholdCurve:
    """Precision, recall and F1 at every threshold.

    Args:
        scores: The scores of all turns (or images) of all samples, shape ``(m,)``, finite.
        gold: Whether each of them is gold, shape ``(m,)``.
        n_gold: How many gold ids there are if some have no score; by default those in ``gold``.
    """
    values = np.asarray(scores, dtype=np.float64)
    flags = np.asarray(gold, dtype=np.bool_)
    total = int(flags.sum()) if n_gold is None else n_gold
    order = np.argsort(-values, kind="stable")
    values, flags = values[order], flags[order]
    last = np.ones(len(values), dtype=np.bool_)
    last[:-1] = values[1:] != values[:-1]
    n_predicted = np.flatnonzero(last) + 1
    tp = np.cumsum(flags)[last]
    fp, fn = n_predicted - tp, total - tp
    return ThresholdCurve(
        thresholds=values[last],
        n_predicted=n_predicted,
        n_gold=total,
        precision=retrieval.precision(tp, fp),
        recall=retrieval.recall(tp, fn),
        f1=retrieval.f1(tp, fp, fn),
    )


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The scores of a modality, beside what is gold.

    Attributes:
        values: All scores, sample after sample, in dialogue order, shape ``(m,)``.
        lengths: How many each sample has, shape ``(n,)``; 0 where it has none.
        gold: Whether each of them is of a gold id, shape ``(m,)``.
        n_gold: How many gold ids there are, those without a score included.
    """

    values: FloatArray
    lengths: IntArray
    gold: BoolArray
    n_gold: int

    @property
    def curve(self) -> ThresholdCurve:
        """The figures at every threshold."""
        return threshold_curve(self.values, self.gold, self.n_gold)

    def cut(self, threshold: float | None) -> Ragged:
        """The positions that score at least a threshold; nothing for ``None``."""
        starts = np.cumsum(self.lengths) - self.lengths
        rows = np.repeat(np.arange(len(self.lengths), dtype=np.int64), self.lengths)
        kept = (
            np.zeros(len(rows), dtype=np.bool_) if threshold is None else self.values >= threshold
        )
        positions = np.flatnonzero(kept) - starts[rows[kept]]
        return Ragged.from_lengths(positions, np.bincount(rows[kept], minlength=len(starts)))


@dataclass(frozen=True, slots=True)
class OracleThreshold:
    """The predictions of a scoring model cut at the best threshold of each modality.

    Attributes:
        utterance, image: The thresholds; ``None`` where nothing is best predicted.
        n_scored: How many samples have scores.
        table: The predictions.
    """

    utterance: float | None
    image: float | None
    n_scored: int
    table: PredictionTable


def score_columns(source: Source) -> dict[str, ScoreColumns] | None:
    """The scores of both modalities; ``None`` if no sample has any.

    Args:
        source: Loaded with ``keep_predictions``.

    Raises:
        InputError: If a sample has other than one finite score for each turn or image.
    """
    if source.benchmark is None or source.predictions is None:
        return None
    given = [_scores_of(source.predictions.get(sample_id)) for sample_id in source.table.sample_id]
    if not any(given):
        return None
    order = DialogueOrder(source.table, source.protocol, source.benchmark, real=True)
    return {
        modality: _columns(source, modality, given, order.codes(modality))
        for modality in _MODALITIES
    }


def oracle_threshold(source: Source) -> OracleThreshold | None:
    """The best predictions that one threshold a modality makes of a model's scores.

    Each threshold is the one with the best micro F1 of its modality on these samples. A sample
    without scores predicts nothing, and if it had no usable answer, it has none here.

    Args:
        source: Loaded with ``keep_predictions``.

    Returns:
        ``None`` if no sample has scores.

    Raises:
        InputError: As :func:`score_columns`.
    """
    found = score_columns(source)
    if found is None:
        return None
    thresholds = {name: columns.curve.best for name, columns in found.items()}
    cuts = [found[name].cut(thresholds[name]) for name in _MODALITIES]
    order = DialogueOrder(source.table, source.protocol, source.benchmark, real=True)
    table = order.predicting(*cuts)
    scored = np.add(*(found[name].lengths for name in _MODALITIES)) > 0
    failed = ~scored & ~source.table.answered
    table = replace(table, outcome=np.where(failed, source.table.outcome, table.outcome))
    return OracleThreshold(thresholds["utterance"], thresholds["image"], int(scored.sum()), table)


def oracle_value(source: Source, metric: Metric) -> float | None:
    """A metric at the oracle threshold; ``None`` without scores, or where it is undefined.

    Raises:
        InputError: As :func:`score_columns`.
    """
    found = oracle_threshold(source)
    return None if found is None else metric.of(evaluate(found.table, source.protocol))


def _scores_of(prediction: Prediction | None) -> Mapping[str, Any]:
    if prediction is None or prediction.scores is None:
        return {}
    return prediction.scores


def _columns(
    source: Source, modality: str, given: Sequence[Mapping[str, Any]], codes: Ragged
) -> ScoreColumns:
    n = len(given)
    expected = codes.lengths
    lists = [
        _checked(scores.get(modality), int(expected[row]), source, row, modality)
        for row, scores in enumerate(given)
    ]
    lengths = np.array([len(values) for values in lists], dtype=np.int64)
    columns = source.table.utterance if modality == "utterance" else source.table.image
    gold = columns.gold
    inside = (gold.values >= 0) & (gold.values < _KEY)
    keys = gold.rows[inside] * _KEY + gold.values[inside]
    with_scores = codes.take(np.flatnonzero(lengths))
    rows = np.repeat(np.arange(n, dtype=np.int64), lengths)
    none = Ragged.from_lengths(np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.int64))
    return ScoreColumns(
        values=np.concatenate([np.zeros(0), *lists]),
        lengths=lengths,
        gold=np.isin(rows * _KEY + with_scores.values, keys),
        n_gold=int(count(gold, none, columns.universe).fn.sum()),
    )


def _checked(scores: Any, expected: int, source: Source, row: int, modality: str) -> FloatArray:
    """The scores of a sample and modality as they stand in the file, which may be anything."""
    if scores is None:
        return np.zeros(0)
    whose = f"{source.table.sample_id[row]}: scores.{modality}"
    remedy = "give one finite number for each turn and image of the dialogue, in its order"
    if not isinstance(scores, list | tuple) or not all(
        isinstance(score, int | float) and not isinstance(score, bool) for score in scores
    ):
        raise InputError("not a list of numbers", file=source.name, field=whose, remedy=remedy)
    if len(scores) != expected:
        message = f"{len(scores)} scores, the dialogue has {expected}"
        raise InputError(message, file=source.name, field=whose, remedy=remedy)
    try:
        values = np.array(scores, dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        values = np.array([np.inf])
    if not np.isfinite(values).all():
        raise InputError("not all are finite", file=source.name, field=whose, remedy=remedy)
    return values
