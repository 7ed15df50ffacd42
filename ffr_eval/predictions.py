"""The columnar prediction table: what every protocol, group, reward and board is computed from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.benchmark.validation import kind_of
from ffr_eval.types import ANSWERED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.places import Places
    from ffr_eval.ragged import IntArray, Ragged
    from ffr_eval.reach import ReachedGold

OUTCOMES: Final = tuple(Outcome)
"""Outcomes by code: the ``outcome`` column holds positions in this tuple."""

OUTCOME_CODE: Final = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_ANSWERED: Final = np.array([outcome in ANSWERED for outcome in OUTCOMES])


@dataclass(frozen=True, slots=True)
class ModalityColumns:
    """Gold and predicted ids of one modality, as codes (see :mod:`ffr_eval.metrics.counts`).

    Attributes:
        gold: Ragged, the gold codes of each sample.
        predicted: Ragged, the predicted codes of each sample, repetitions kept.
        universe: How many ids each sample's universe has, shape ``(n,)``.
    """

    gold: Ragged
    predicted: Ragged
    universe: IntArray

    def take(self, index: IntArray) -> ModalityColumns:
        """Some samples."""
        return ModalityColumns(
            self.gold.take(index), self.predicted.take(index), self.universe[index]
        )


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """Predictions beside the gold, one row a sample.

    Attributes:
        sample_id: Shape ``(n,)``.
        dialogue_id: Shape ``(n,)``; samples of one dialogue are not independent.
        outcome: Codes of :data:`OUTCOMES`, shape ``(n,)``.
        turns: Turns of each sample's dialogue, shape ``(n,)``.
        utterance, image: The two modalities.
        language: Of each sample's dialogue, where it is known.
        meta: What the benchmark says else of each sample: the query's ``meta`` over that of its
            dialogue; ``None`` for inference files.
        places: The turns of all ids; ``None`` where no benchmark says them.
        latency_s, cost: What each answer took, in seconds and in the currency of the price table,
            shape ``(n,)``; NaN where it is not recorded.
        reached_gold: What of the gold reached the model; ``None`` if nothing says that some did
            not.
        left_out: Records that the protocol does not count.
        notes: Sentences that a reader of the figures should know.
    """

    sample_id: Sequence[str]
    dialogue_id: Sequence[str]
    outcome: NDArray[np.int8]
    turns: IntArray
    utterance: ModalityColumns
    image: ModalityColumns
    language: Sequence[str | None] | None = None
    meta: Sequence[Mapping[str, Any]] | None = None
    places: Places | None = None
    latency_s: FloatArray | None = None
    cost: FloatArray | None = None
    reached_gold: ReachedGold | None = None
    left_out: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sample_id)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which samples have a usable answer (outcome ok or empty), shape ``(n,)``."""
        flags: NDArray[np.bool_] = _ANSWERED[self.outcome]
        return flags

    @property
    def kind(self) -> NDArray[np.str_]:
        """The query kind of each sample, by its gold, shape ``(n,)``."""
        names = np.array([[kind_of(utts, imgs) for imgs in ((), (0,))] for utts in ((), (0,))])
        has_utterance = (self.utterance.gold.lengths > 0).astype(np.int64)
        has_image = (self.image.gold.lengths > 0).astype(np.int64)
        kinds: NDArray[np.str_] = names[has_utterance, has_image]
        return kinds

    def outcome_counts(self) -> dict[str, int]:
        """How many samples ended how, every outcome named."""
        numbers = np.bincount(self.outcome, minlength=len(OUTCOMES)).tolist()
        return {outcome.value: numbers[code] for code, outcome in enumerate(OUTCOMES)}

    def take(self, rows: IntArray) -> PredictionTable:
        """Some samples, with the same notes."""
        index = rows.tolist()
        return replace(
            self,
            sample_id=[self.sample_id[row] for row in index],
            dialogue_id=[self.dialogue_id[row] for row in index],
            outcome=self.outcome[rows],
            turns=self.turns[rows],
            utterance=self.utterance.take(rows),
            image=self.image.take(rows),
            language=None if self.language is None else [self.language[row] for row in index],
            meta=None if self.meta is None else [self.meta[row] for row in index],
            places=None if self.places is None else self.places.take(rows),
            latency_s=None if self.latency_s is None else self.latency_s[rows],
            cost=None if self.cost is None else self.cost[rows],
            reached_gold=None if self.reached_gold is None else self.reached_gold.take(rows),
        )

    def with_notes(self, *notes: str) -> PredictionTable:
        """The table with more notes."""
        return replace(self, notes=(*self.notes, *notes))
