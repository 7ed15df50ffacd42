"""What of the gold reached the model: a bound on what it could find.

A prediction may say which ids its prompts showed (``reached_utt_ids``, ``reached_img_ids``). Where
it does not say, everything is taken to have reached the model; what did not fit into the context
has not, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.types import Outcome
from ffr_eval.window_answers import window_records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ffr_eval.ragged import IntArray, Ragged
    from ffr_eval.types import Prediction


@dataclass(frozen=True, slots=True)
class ReachedGold:
    """How many distinct gold ids of each sample reached the model, each of shape ``(n,)``."""

    utterance: IntArray
    image: IntArray

    def take(self, rows: IntArray) -> ReachedGold:
        """Some samples."""
        return ReachedGold(self.utterance[rows], self.image[rows])


@dataclass(frozen=True, slots=True)
class Reach:
    """The share of the gold that reached the model; ``None`` where there is no gold.

    Attributes:
        joint: The harmonic mean of the two modalities, as of recall.
        turns: The same of short, medium and long dialogues.
    """

    utterance: float | None
    image: float | None
    joint: float | None
    turns: Mapping[str, Reach] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all gold reached the model."""
        return all(share is None or share == 1 for share in (self.utterance, self.image))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        figures = {name: getattr(self, name) for name in ("utterance", "image", "joint")}
        if not self.turns:
            return figures
        return {**figures, "turns": {name: part.to_dict() for name, part in self.turns.items()}}


def reached_gold(
    predictions: Iterable[Prediction | None], gold_utts: Ragged, gold_imgs: Ragged
) -> ReachedGold | None:
    """What of the gold reached the model; ``None`` if no prediction says that anything did not.

    Args:
        predictions: One for each sample; ``None`` where it is missing.
        gold_utts: Gold utterance ids of each sample.
        gold_imgs: Gold image ids.
    """
    found = [_reached_ids(prediction) for prediction in predictions]
    if all(utts is None and imgs is None for utts, imgs in found):
        return None
    return ReachedGold(
        _count(gold_utts, [utts for utts, _ in found]),
        _count(gold_imgs, [imgs for _, imgs in found]),
    )


def _count(gold: Ragged, reached: Sequence[Collection[int] | None]) -> IntArray:
    numbers = [
        len(distinct) if ids is None else len(distinct.intersection(ids))
        for distinct, ids in zip(map(set, gold.to_lists()), reached, strict=True)
    ]
    return np.array(numbers, dtype=np.int64)


def _reached_ids(
    prediction: Prediction | None,
) -> tuple[Collection[int] | None, Collection[int] | None]:
    """The utterance and image ids that reached the model; ``None`` for all."""
    if prediction is None:
        return None, None
    windows = window_records(prediction)
    if not windows:
        if prediction.outcome is Outcome.CONTEXT_OVERFLOW:
            return (), ()
        return prediction.reached_utt_ids, prediction.reached_img_ids
    read = [window for window in windows if window.outcome is not Outcome.CONTEXT_OVERFLOW]
    if len(read) == len(windows):
        return prediction.reached_utt_ids, prediction.reached_img_ids
    return (
        _both(
            prediction.reached_utt_ids, {number for part in read for number in part.shown_utt_ids}
        ),
        _both(
            prediction.reached_img_ids, {number for part in read for number in part.shown_img_ids}
        ),
    )


def _both(recorded: Collection[int] | None, read: set[int]) -> set[int]:
    return read if recorded is None else read.intersection(recorded)
