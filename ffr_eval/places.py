"""Where ids lie in a dialogue: the turn of each utterance and image."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.coding import Universe
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from ffr_eval.benchmark.tables import DialogueTable
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray

NOWHERE = -1
"""The place of an id that the dialogue does not have, or whose turn is not known."""


@dataclass(frozen=True, slots=True)
class Places:
    """The turn of every gold and predicted id, counted from 0; :data:`NOWHERE` without one.

    Attributes:
        gold_utterance, predicted_utterance, gold_image, predicted_image: Ragged, one list a sample,
            in the order of the ids in the table's columns.
    """

    gold_utterance: Ragged
    predicted_utterance: Ragged
    gold_image: Ragged
    predicted_image: Ragged

    def take(self, rows: IntArray) -> Places:
        """Some samples."""
        return Places(*(getattr(self, field.name).take(rows) for field in fields(self)))

    @property
    def gold(self) -> Ragged:
        """The turns that hold gold, sorted and without repetition, one list a sample."""
        return distinct_turns(self.gold_utterance, self.gold_image)

    @property
    def predicted(self) -> Ragged:
        """The turns that hold something predicted, sorted and without repetition."""
        return distinct_turns(self.predicted_utterance, self.predicted_image)


def distinct_turns(*parts: Ragged) -> Ragged:
    """The known turns of several ragged arrays together, sorted and without repetition."""
    n = len(parts[0])
    rows = np.concatenate([part.rows for part in parts])
    turns = np.concatenate([part.values for part in parts])
    known = turns != NOWHERE
    rows, turns = rows[known], turns[known]
    order = np.lexsort((turns, rows))
    rows, turns = rows[order], turns[order]
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (rows[1:] != rows[:-1]) | (turns[1:] != turns[:-1])
    return Ragged.from_lengths(turns[first], np.bincount(rows[first], minlength=n))


class TurnIndex:
    """The turn of every id of the dialogues of a benchmark."""

    def __init__(self, dialogues: DialogueTable) -> None:
        utt_ids, turn_images = dialogues.utt_ids, dialogues.turn_images
        turn_of_row = np.arange(len(utt_ids.values)) - np.repeat(
            utt_ids.offsets[:-1], utt_ids.lengths
        )
        image_turns = np.repeat(turn_of_row, turn_images.lengths)
        images = Ragged(turn_images.values, turn_images.offsets[utt_ids.offsets])
        self._utterances = _Lookup(utt_ids, turn_of_row)
        self._images = _Lookup(images, image_turns)

    def utterances(self, ids: Ragged, dialogue: IntArray) -> Ragged:
        """Turns of utterance ids; sample ``i`` is on the dialogue in row ``dialogue[i]``."""
        return self._utterances.find(ids, dialogue)

    def images(self, ids: Ragged, dialogue: IntArray) -> Ragged:
        """Turns of image ids."""
        return self._images.find(ids, dialogue)


class _Lookup:
    def __init__(self, ids: Ragged, turns: IntArray) -> None:
        self._universe = Universe(ids)
        sizes = self._universe.sizes
        self._starts = np.cumsum(sizes) - sizes
        self._sizes = sizes
        self._turns = np.full(int(sizes.sum()), NOWHERE, dtype=np.int64)
        codes = self._universe.encode(ids)
        self._turns[self._starts[codes.rows] + codes.values] = turns

    def find(self, ids: Ragged, dialogue: IntArray) -> Ragged:
        codes = self._universe.encode(ids, dialogue)
        rows = np.repeat(dialogue, ids.lengths)
        known = (codes.values >= 0) & (codes.values < self._sizes[rows])
        turns = np.full(len(codes.values), NOWHERE, dtype=np.int64)
        turns[known] = self._turns[self._starts[rows[known]] + codes.values[known]]
        return Ragged(turns, ids.offsets)


def places_of(table: PredictionTable) -> Places:
    """The places of a table's ids.

    Inference files do not say which turn shows an image, and their utterances are numbered in
    order: there an utterance's code is its turn, and the turn of an image is not known.
    """
    if table.places is not None:
        return table.places
    utterance, image = table.utterance, table.image
    return Places(
        _codes_as_turns(utterance.gold, utterance.universe),
        _codes_as_turns(utterance.predicted, utterance.universe),
        _nowhere(image.gold),
        _nowhere(image.predicted),
    )


def _codes_as_turns(codes: Ragged, universe: IntArray) -> Ragged:
    known = (codes.values >= 0) & (codes.values < np.repeat(universe, codes.lengths))
    return Ragged(np.where(known, codes.values, NOWHERE), codes.offsets)


def _nowhere(codes: Ragged) -> Ragged:
    return Ragged(np.full(len(codes.values), NOWHERE, dtype=np.int64), codes.offsets)
