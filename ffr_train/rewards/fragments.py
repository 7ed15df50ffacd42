"""Elements of fragments in dialogue order, and the cosines between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.coding import Universe
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_train.rewards.batch import Batch, BoolArray
    from ffr_train.rewards.embeddings import DialogueEmbeddings

NO_EMBEDDINGS: Final = "no embeddings"
NO_VECTOR: Final = "an id of the dialogue has no usable vector"
NO_TURN: Final = "the turn of an image is not known"
NO_QUERY: Final = "no usable vector of the query"

_UNPLACED: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Coherence:
    """Of one fragment a sample.

    Attributes:
        order: Mean cosine of adjacent elements, shape ``(n,)``; NaN below two elements, or where it
            cannot be computed.
        query: Mean cosine of the elements with the query; NaN without elements, or where it cannot
            be computed.
        size: How many elements it has, invented ids left out, shape ``(n,)``.
        trouble, query_trouble: Why they cannot be computed, by row; nothing for other rows.
    """

    order: FloatArray
    query: FloatArray
    size: IntArray
    trouble: dict[str, BoolArray]
    query_trouble: dict[str, BoolArray]


def coherence(batch: Batch, utterances: Ragged, images: Ragged) -> Coherence:
    """Coherence of the fragments that these ids make, one a sample.

    Elements stand in dialogue order, an utterance before the images of its turn, images of one turn
    by id; each counts once. Ids that the dialogue does not have are no elements.
    """
    n = len(batch)
    elements = _elements(batch, utterances, images)
    size = np.bincount(elements.sample, minlength=n)
    order_sums, query_sums = np.zeros(n), np.zeros(n)
    bounds = np.searchsorted(elements.dialogue, np.arange(len(batch.dialogues) + 1))
    for place, dialogue in enumerate(batch.dialogues):
        part = slice(bounds[place], bounds[place + 1])
        embeddings = dialogue.embeddings
        if embeddings is None or part.start == part.stop:
            continue
        _add_cosines(embeddings, elements, part, order_sums, query_sums)
    has = np.array([d.embeddings is not None for d in batch.dialogues], dtype=np.bool_)
    without = ~has[batch.dialogue]
    unplaced = np.zeros(n, dtype=np.bool_)
    unplaced[elements.sample[elements.place == _UNPLACED]] = True
    unplaced &= size > 1
    no_vector, no_query = np.isnan(order_sums), _no_query(batch)
    trouble = {NO_EMBEDDINGS: without, NO_VECTOR: no_vector, NO_TURN: unplaced & ~no_vector}
    query_trouble = {
        NO_EMBEDDINGS: without,
        NO_QUERY: no_query & ~without,
        NO_VECTOR: no_vector & ~no_query,
    }
    return Coherence(
        order=_mean(order_sums, size - 1, trouble),
        query=_mean(query_sums, size, query_trouble),
        size=size,
        trouble=trouble,
        query_trouble=query_trouble,
    )


@dataclass(frozen=True, slots=True)
class _Elements:
    """Sorted by dialogue, sample and place.

    Attributes:
        dialogue, sample: Where each belongs.
        place: Place of its turn in the dialogue; the largest integer where it is not known.
        vector: Row of its vector; -1 without one.
    """

    dialogue: IntArray
    sample: IntArray
    place: IntArray
    vector: IntArray


def _elements(batch: Batch, utterances: Ragged, images: Ragged) -> _Elements:
    columns: list[tuple[IntArray, ...]] = []
    for number, (modality, ids) in enumerate((("utterance", utterances), ("image", images))):
        known = _Known(batch, modality, ids)
        sample, code = known.distinct()
        columns.append(
            (
                batch.dialogue[sample],
                sample,
                known.place(sample, code),
                np.full(len(sample), number, dtype=np.int64),
                code,
                known.vector(sample, code),
            )
        )
    dialogue, sample, place, kind, code, vector = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    order = np.lexsort((code, kind, place, sample, dialogue))
    return _Elements(dialogue[order], sample[order], place[order], vector[order])


class _Known:
    """The ids of a modality that the dialogues have; where they are not known, those that occur."""

    def __init__(self, batch: Batch, modality: str, ids: Ragged) -> None:
        self._dialogue = batch.dialogue
        names = ("utt_ids", "img_ids")
        name = names[modality == "image"]
        occurring: dict[int, set[int]] = {}
        given = [getattr(dialogue, name) for dialogue in batch.dialogues]
        if any(found is None for found in given):
            rows = np.repeat(batch.dialogue, ids.lengths)
            for row, value in zip(rows.tolist(), ids.values.tolist(), strict=True):
                occurring.setdefault(row, set()).add(value)
        lists = [
            sorted(occurring.get(place, ()) if found is None else set(found))
            for place, found in enumerate(given)
        ]
        universe = Universe(Ragged.from_lists(lists))
        self._codes = universe.encode(ids, batch.dialogue)
        self._sizes = universe.sizes
        self._starts = np.cumsum(universe.sizes) - universe.sizes
        self._places: IntArray = np.fromiter(
            (
                place
                for dialogue, known in zip(batch.dialogues, lists, strict=True)
                for place in _places(dialogue.utt_ids, dialogue.image_turns, known, modality)
            ),
            np.int64,
            int(universe.sizes.sum()),
        )
        self._vectors: IntArray = np.concatenate(
            [
                np.full(len(known), -1, dtype=np.int64)
                if dialogue.embeddings is None
                else dialogue.embeddings.rows(modality, np.array(known, dtype=np.int64))
                for dialogue, known in zip(batch.dialogues, lists, strict=True)
            ]
            or [np.zeros(0, dtype=np.int64)]
        )

    def distinct(self) -> tuple[IntArray, IntArray]:
        """Sample and code of each known id, once."""
        sample, code = self._codes.rows, self._codes.values
        inside = (code >= 0) & (code < self._sizes[self._dialogue[sample]])
        stride = int(self._sizes.max(initial=0)) + 1
        keys = np.unique(sample[inside] * stride + code[inside])
        return keys // stride, keys % stride

    def place(self, sample: IntArray, code: IntArray) -> IntArray:
        places: IntArray = self._places[self._starts[self._dialogue[sample]] + code]
        return places

    def vector(self, sample: IntArray, code: IntArray) -> IntArray:
        vectors: IntArray = self._vectors[self._starts[self._dialogue[sample]] + code]
        return vectors


def _places(
    utt_ids: tuple[int, ...] | None,
    image_turns: Mapping[int, int],
    known: list[int],
    modality: str,
) -> list[int]:
    """The place of each id's turn; ids themselves where the order of turns is not known."""
    turns: list[int | None]
    turns = [image_turns.get(i) for i in known] if modality == "image" else list(known)
    if utt_ids is None:
        return [_UNPLACED if turn is None else turn for turn in turns]
    place_of = {utt_id: place for place, utt_id in enumerate(utt_ids)}
    return [_UNPLACED if turn is None else place_of.get(turn, _UNPLACED) for turn in turns]


def _add_cosines(
    embeddings: DialogueEmbeddings,
    elements: _Elements,
    part: slice,
    order_sums: FloatArray,
    query_sums: FloatArray,
) -> None:
    """Add up the cosines of one dialogue's elements; NaN where a vector is missing."""
    sample, vector = elements.sample[part], elements.vector[part]
    wanted, where = np.unique(vector, return_inverse=True)
    unit = embeddings.unit(wanted)
    first = np.flatnonzero(sample[1:] == sample[:-1])
    gram = unit @ unit.T
    np.add.at(order_sums, sample[first], gram[where[first], where[first + 1]])
    bad = np.isnan(unit[:, 0]) if unit.shape[1] else np.ones(len(unit), dtype=np.bool_)
    np.add.at(order_sums, sample[bad[where]], np.nan)  # also of single elements
    if embeddings.query is not None:
        asked = embeddings.unit(np.array([embeddings.query]))[0]
        np.add.at(query_sums, sample, (unit @ asked)[where])


def _no_query(batch: Batch) -> BoolArray:
    """Which samples have no usable vector of the query."""
    flags = np.ones(len(batch.dialogues), dtype=np.bool_)
    for place, dialogue in enumerate(batch.dialogues):
        found = dialogue.embeddings
        if found is not None and found.query is not None:
            flags[place] = bool(np.isnan(found.unit(np.array([found.query]))).any())
    result: BoolArray = flags[batch.dialogue]
    return result


def _mean(sums: FloatArray, number: IntArray, trouble: dict[str, BoolArray]) -> FloatArray:
    some = number > 0
    for rows in trouble.values():
        some = some & ~rows
    return np.where(some, sums / np.where(some, number, 1), np.nan)
