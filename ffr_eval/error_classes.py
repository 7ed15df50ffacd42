"""What kinds of errors a run makes, and how much the headline would gain without each kind.

In the spirit of TIDE (Bolya et al. 2020): every wrong id (predicted, not gold) and every missed one
(gold, not predicted) belongs to exactly one class, and the gain of a class is what the metric would
rise by if only the errors of that class were put right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import parse_metric
from ffr_eval.metrics.tolerance import count_matches
from ffr_eval.places import NOWHERE, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ffr_eval.metrics.counts import Counts
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.places import Places
    from ffr_eval.ragged import IntArray, Ragged

    BoolArray = NDArray[np.bool_]

CLASSES: Final[dict[str, str]] = {
    "no answer": "missed: no usable answer",
    "wrong topic": "no id right, nothing within a turn of the gold",
    "wrong modality": "only images for only utterances, or the reverse",
    "boundary": "utterances off by one turn",
    "over-retrieval": "all other wrong ids",
    "under-retrieval": "all other missed ids",
}
"""The classes and what they hold; an error belongs to the first one that fits."""

_NAMES: Final = tuple(CLASSES)


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """The errors of one class.

    Attributes:
        name: One of :data:`CLASSES`.
        n_wrong: Ids that were predicted and are not gold.
        n_missed: Ids that are gold and were not predicted.
        n_samples: How many samples have such an error.
        gain: What ``micro.joint.f1`` would rise by without these errors; ``None`` where it is
            undefined with or without them, as where there is no gold at all.
        example: The sample with the most such errors (of several the first); ``None`` without one.
        n_invented: Those of ``n_wrong`` that the dialogue does not have.
        gains: The same of ``micro.utterance.f1`` and ``micro.image.f1``, by modality.
    """

    name: str
    n_wrong: int
    n_missed: int
    n_samples: int
    gain: float | None
    example: str | None
    n_invented: int = 0
    gains: Mapping[str, float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary; values unrounded."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of one modality, one entry for each wrong or missed id.

    Attributes:
        row: The sample.
        code: The id, as coded in the table.
        wrong: Whether it was predicted and is not gold; otherwise it was missed.
        invented: Whether it was predicted and the dialogue does not have it.
        inside: Whether the dialogue has it.
        kind: The class, as its place in :data:`CLASSES`.
    """

    row: IntArray
    code: IntArray
    wrong: BoolArray
    invented: BoolArray
    inside: BoolArray
    kind: IntArray


def decompose(evaluation: Evaluation) -> tuple[ErrorClass, ...]:
    """The errors of a run by class, in the order of :data:`CLASSES`.

    Args:
        evaluation: Under ``strict``.
    """
    errors = classify(evaluation)
    before = _values(evaluation)
    row = np.concatenate([found.row for found in errors.values()])
    kind = np.concatenate([found.kind for found in errors.values()])
    classes = []
    for place, name in enumerate(_NAMES):
        after = _values(without_errors(evaluation, errors, place))
        gains = {modality: _gain(before[modality], after[modality]) for modality in MODALITIES}
        per_sample = np.bincount(row[kind == place], minlength=len(evaluation))
        some = bool(per_sample.any())
        classes.append(
            ErrorClass(
                name,
                n_wrong=_number(errors, place, "wrong"),
                n_missed=int(per_sample.sum()) - _number(errors, place, "wrong"),
                n_samples=int(np.count_nonzero(per_sample)),
                gain=gains.pop("joint"),
                example=evaluation.table.sample_id[int(per_sample.argmax())] if some else None,
                n_invented=_number(errors, place, "invented"),
                gains=gains,
            )
        )
    return tuple(classes)


def classify(evaluation: Evaluation) -> dict[str, Errors]:
    """Every error of an evaluation, with its class, by modality."""
    places = places_of(evaluation.table)
    topic = _wrong_topic(evaluation, places)
    return {
        "utterance": _errors(
            evaluation, "utterance", places.gold_utterance, places.predicted_utterance, topic
        ),
        "image": _errors(evaluation, "image", places.gold_image, places.predicted_image, topic),
    }


def without_errors(
    evaluation: Evaluation, errors: Mapping[str, Errors], kind: int | None = None
) -> Evaluation:
    """The evaluation with the errors of one class put right, or of all without ``kind``.

    Only its counts change, which is all that micro figures are computed from.
    """
    counts = {}
    for modality, found in errors.items():
        chosen = found.kind == kind if kind is not None else np.ones_like(found.wrong)
        counts[modality] = _put_right(evaluation.counts(modality), found, chosen)
    return replace(evaluation, utterance_counts=counts["utterance"], image_counts=counts["image"])


def _put_right(counts: Counts, errors: Errors, chosen: BoolArray) -> Counts:
    def number(flags: BoolArray) -> IntArray:
        return np.bincount(errors.row[chosen & flags], minlength=len(counts))

    wrong, missed = number(errors.wrong), number(~errors.wrong)
    missed_outside = number(~errors.wrong & ~errors.inside)
    invented = number(errors.invented)
    return replace(
        counts,
        tp=counts.tp + missed,
        fp=counts.fp - wrong,
        fn=counts.fn - missed,
        tn=counts.tn + wrong - invented,
        tp_outside=counts.tp_outside + missed_outside,
        fp_outside=counts.fp_outside - invented,
        fn_outside=counts.fn_outside - missed_outside,
    )


def _values(evaluation: Evaluation) -> dict[str, float | None]:
    return {
        modality: parse_metric(f"micro.{modality}.f1").of(evaluation) for modality in MODALITIES
    }


def _gain(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _number(errors: Mapping[str, Errors], kind: int, flag: str) -> int:
    return sum(
        int(np.count_nonzero(getattr(found, flag)[found.kind == kind])) for found in errors.values()
    )


def _wrong_topic(evaluation: Evaluation, places: Places) -> BoolArray:
    """In which samples no predicted id is gold, nor within a turn of one, shape ``(n,)``.

    Where the turns of one side are not known, having no id in common decides.
    """
    right = evaluation.utterance_counts.tp + evaluation.image_counts.tp
    near = count_matches(places.gold, places.predicted, 1)
    found: BoolArray = _both_given(evaluation) & (right == 0) & (near == 0)
    return found


def _both_given(evaluation: Evaluation) -> BoolArray:
    """Which answered samples have gold and predict something, shape ``(n,)``."""
    table = evaluation.table
    gold = table.utterance.gold.lengths + table.image.gold.lengths
    predicted = table.utterance.predicted.lengths + table.image.predicted.lengths
    found: BoolArray = table.answered & (gold > 0) & (predicted > 0)
    return found


def _nothing_in_common(evaluation: Evaluation) -> BoolArray:
    """Which samples have gold in one modality and predictions in the other only."""
    apart = _both_given(evaluation)
    for columns in (evaluation.table.utterance, evaluation.table.image):
        apart &= (columns.gold.lengths == 0) | (columns.predicted.lengths == 0)
    return apart


def _errors(
    evaluation: Evaluation,
    modality: str,
    gold_turns: Ragged,
    predicted_turns: Ragged,
    topic: BoolArray,
) -> Errors:
    """The errors of a modality; ``topic`` is :func:`_wrong_topic`."""
    columns = evaluation.columns(modality)
    gold, predicted = columns.gold, columns.predicted
    row = np.concatenate([gold.rows, predicted.rows])
    code = np.concatenate([gold.values, predicted.values])
    turn = np.concatenate([gold_turns.values, predicted_turns.values])
    is_predicted = np.repeat([False, True], [len(gold.values), len(predicted.values)])
    order = np.lexsort((code, row))
    row, code, turn, is_predicted = row[order], code[order], turn[order], is_predicted[order]
    starts = np.ones(len(row), dtype=np.bool_)
    starts[1:] = (row[1:] != row[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(starts)
    if len(first):  # an id that is on one side only, however often
        in_predicted = np.logical_or.reduceat(is_predicted, first)
        in_gold = np.logical_or.reduceat(~is_predicted, first)
        first, wrong = first[in_predicted != in_gold], in_predicted[in_predicted != in_gold]
    else:
        wrong = np.zeros(0, dtype=np.bool_)
    row, code, turn = row[first], code[first], turn[first]
    boundary = np.zeros(len(row), dtype=np.bool_)
    if modality == "utterance":
        boundary[wrong] = _next_to(row[wrong], turn[wrong], gold.rows, gold_turns.values)
        missed = ~wrong
        boundary[missed] = _next_to(
            row[missed], turn[missed], predicted.rows, predicted_turns.values
        )
    kind = np.select(
        [
            ~evaluation.table.answered[row],
            topic[row],
            _nothing_in_common(evaluation)[row],
            boundary,
            wrong,
        ],
        range(len(_NAMES) - 1),
        len(_NAMES) - 1,
    )
    inside = (code >= 0) & (code < columns.universe[row])
    return Errors(row, code, wrong, wrong & ~inside, inside, kind)


def _next_to(row: IntArray, turn: IntArray, other_row: IntArray, other_turn: IntArray) -> BoolArray:
    """Whether each turn is the one right before or right after another one of its sample."""
    other_row, other_turn = other_row[other_turn != NOWHERE], other_turn[other_turn != NOWHERE]
    values = np.unique(np.concatenate([other_turn, turn - 1, turn + 1]))
    others = other_row * len(values) + np.searchsorted(values, other_turn)
    found = np.zeros(len(turn), dtype=np.bool_)
    for step in (-1, 1):
        found |= np.isin(row * len(values) + np.searchsorted(values, turn + step), others)
    found &= turn != NOWHERE
    return found
