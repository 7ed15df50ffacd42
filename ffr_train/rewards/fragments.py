"""Elements of fragments in dialogue order, and the cosines between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.coding import Universe
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_train.rewards.batch import BoolArray, DialogueIds
    from ffr_train.rewards.embeddings import DialogueEmbeddings

NO_EMBEDDINGS: Final = "no embeddings"
NO_VECTOR: Final = "an id of the dialogue has no usable vector"
NO_TURN: Final = "the turn of an image is not known"
NO_QUERY: Final = "no usable vector of the query"

_UNPLACED: Final = np.iinfo(np.int64).max
_NO_TURN: Final = -1


@dataclass(frozen=True, slots=True)
class Coherence:
    """Of ``n`` fragments.

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

    def take(self, index: IntArray) -> Coherence:
        """The coherence of some fragments."""
        return Coherence(
            self.order[index],
            self.query[index],
            self.size[index],
            {reason: rows[index] for reason, rows in self.trouble.items()},
            {reason: rows[index] for reason, rows in self.query_trouble.items()},
        )


def coherence(
    dialogues: Sequence[DialogueIds], dialogue: IntArray, utterances: KnownIds, images: KnownIds
) -> Coherence:
    """Coherence of fragments.

    Elements stand in dialogue order, an utterance before the images of its turn, images of one turn
    by id; each counts once. Ids that the dialogue does not have are no elements. Equal fragments of
    one dialogue get exactly equal figures.

    Args:
        dialogues: The dialogues.
        dialogue: The place of each fragment's among them, shape ``(n,)``.
        utterances: The utterance ids of the fragments; repetitions do not matter.
        images: Their image ids.
    """
    n = len(dialogue)
    layout = _Layout(dialogues, dialogue, utterances, images)
    fragment, element = layout.elements()
    size = np.bincount(fragment, minlength=n)
    first = np.flatnonzero(fragment[1:] == fragment[:-1])
    cosines = _Cosines(dialogues, layout, element, first)
    order_sums = _sums(fragment[first], cosines.pairs, n)
    query_sums = _sums(fragment, cosines.query[element], n)
    no_vector = np.bincount(fragment, ~cosines.usable[element], n) > 0
    unplaced = np.bincount(fragment, layout.place[element] == _UNPLACED, n) > 0
    without = ~np.array([d.embeddings is not None for d in dialogues], dtype=np.bool_)[dialogue]
    no_query = ~cosines.asked[dialogue]
    trouble = {
        NO_EMBEDDINGS: without,
        NO_VECTOR: no_vector & ~without,
        NO_TURN: unplaced & (size > 1) & ~no_vector,
    }
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


class _Layout:
    """The elements that the dialogues have, numbered in dialogue order, dialogue after dialogue.

    Where the ids of a dialogue are not known, they are those that occur.

    Attributes:
        bounds: Where the elements of each dialogue begin, and the number of all.
        place: Place of each element's turn in the dialogue; the largest integer where the turn is
            not known.
        vector: Row of its vector; -1 without one.
    """

    def __init__(
        self,
        dialogues: Sequence[DialogueIds],
        dialogue: IntArray,
        turns: KnownIds,
        shown: KnownIds,
    ) -> None:
        self._dialogue = dialogue
        self._ids = turns, shown
        turn_known = np.array([d.utt_ids is not None for d in dialogues], dtype=np.bool_)
        turn_place = np.where(turn_known[turns.ids.rows], turns.within(), turns.ids.values)
        image_place = _image_places(dialogues, turns, turn_place, turn_known, shown.ids)
        places = np.concatenate([turn_place, image_place])
        vectors = np.concatenate(
            [
                _vectors(dialogues, turns.ids, "utterance"),
                _vectors(dialogues, shown.ids, "image"),
            ]
        )
        order = np.lexsort(
            (
                np.concatenate([turns.ids.values, shown.ids.values]),
                np.arange(len(places)) >= len(turn_place),
                places,
                np.concatenate([turns.ids.rows, shown.ids.rows]),
            )
        )
        self._number = np.empty_like(order)
        self._number[order] = np.arange(len(order))
        self.place: IntArray = places[order]
        self.vector: IntArray = vectors[order]
        self.bounds: IntArray = turns.ids.offsets + shown.ids.offsets

    def elements(self) -> tuple[IntArray, IntArray]:
        """Fragment and number of each element, once, sorted by dialogue, fragment and number."""
        by_dialogue = np.argsort(self._dialogue, kind="stable")
        position = np.empty_like(by_dialogue)
        position[by_dialogue] = np.arange(len(by_dialogue))
        all_elements = max(len(self.place), 1)
        start, keys = 0, []
        for ids in self._ids:
            fragment, entry = ids.find(ids.codes, self._dialogue)
            keys.append(position[fragment] * all_elements + self._number[start + entry])
            start += len(ids.ids.values)
        key = np.sort(np.concatenate(keys))
        key = key[np.diff(key, prepend=-1) != 0]
        at, element = np.divmod(key, all_elements)
        return by_dialogue[at], element


class KnownIds:
    """The ids of one modality that each dialogue has, and lists of ids in their codes.

    Args:
        given: The ids of each dialogue; for ``None``, they are those that its lists have.
        dialogue: The place of each list's dialogue, shape ``(n,)``.
        lists: Lists of ids.

    Attributes:
        ids: As given, sorted where they were not.
        universe: The same for the kernel.
        codes: The lists in codes.
    """

    def __init__(
        self, given: Sequence[tuple[int, ...] | None], dialogue: IntArray, lists: Ragged
    ) -> None:
        occurring: dict[int, set[int]] = {}
        if any(found is None for found in given):
            rows = np.repeat(dialogue, lists.lengths)
            for row, value in zip(rows.tolist(), lists.values.tolist(), strict=True):
                occurring.setdefault(row, set()).add(value)
        self.ids = Ragged.from_lists(
            sorted(occurring.get(place, ())) if found is None else found
            for place, found in enumerate(given)
        )
        self.universe = Universe(self.ids)
        self.codes = self.universe.encode(lists, dialogue)
        sizes = self.universe.sizes
        self._starts = np.cumsum(sizes) - sizes
        codes = self.universe.encode(self.ids)
        self._entry = np.zeros(int(sizes.sum()), dtype=np.int64)
        self._entry[self._starts[codes.rows] + codes.values] = np.arange(len(codes.values))

    def within(self) -> IntArray:
        """The place of each id in the list of its dialogue."""
        lengths = self.ids.lengths
        return np.arange(len(self.ids.values)) - np.repeat(self.ids.offsets[:-1], lengths)

    def find(self, codes: Ragged, dialogue: IntArray) -> tuple[IntArray, IntArray]:
        """List and place among :attr:`ids` of each code of an id that the dialogue has."""
        row, values = codes.rows, codes.values
        home = np.repeat(dialogue, codes.lengths)
        inside = (values >= 0) & (values < self.universe.sizes[home])
        if not inside.all():
            row, home, values = row[inside], home[inside], values[inside]
        return row, self._entry[self._starts[home] + values]


def _image_places(
    dialogues: Sequence[DialogueIds],
    turns: KnownIds,
    turn_place: IntArray,
    turn_known: BoolArray,
    images: Ragged,
) -> IntArray:
    """The place of each image's turn; the turn's id itself where the order is not known."""
    shown_in = np.fromiter(
        (
            turn
            for place, dialogue in enumerate(dialogues)
            for turn in map(dialogue.image_turns.get, images[place].tolist(), repeat(_NO_TURN))
        ),
        np.int64,
        len(images.values),
    )
    place = np.full(len(shown_in), _UNPLACED)
    each = Ragged.from_lengths(shown_in, np.ones_like(shown_in))
    found, entry = turns.find(turns.universe.encode(each, images.rows), images.rows)
    place[found] = turn_place[entry]
    as_given = ~turn_known[images.rows]
    given = np.where(shown_in == _NO_TURN, _UNPLACED, shown_in)
    return np.where(as_given, given, place)


def _vectors(dialogues: Sequence[DialogueIds], ids: Ragged, modality: str) -> IntArray:
    """The row of the vector of each id, -1 without one."""
    rows = np.full(len(ids.values), -1)
    for place, dialogue in enumerate(dialogues):
        if dialogue.embeddings is not None:
            part = slice(ids.offsets[place], ids.offsets[place + 1])
            rows[part] = dialogue.embeddings.rows(modality, ids.values[part])
    return rows


class _Cosines:
    """Cosines of adjacent elements, and of elements with the query; only what is needed is read.

    Args:
        dialogues: The dialogues.
        layout: Their elements.
        element: The elements of all fragments, sorted by dialogue.
        first: Where among them a pair of adjacent ones begins.

    Attributes:
        pairs: Cosine of each pair; NaN where a vector is not usable.
        query: Cosine of each element of the layout with the query of its dialogue; NaN where a
            vector is not usable, and for those that no fragment has.
        usable: Which elements of the layout have a usable vector, of those that a fragment has.
        asked: Which dialogues have a usable vector of the query.
    """

    def __init__(
        self,
        dialogues: Sequence[DialogueIds],
        layout: _Layout,
        element: IntArray,
        first: IntArray,
    ) -> None:
        self.pairs: FloatArray = np.full(len(first), np.nan)
        self.query: FloatArray = np.full(len(layout.vector), np.nan)
        self.usable: BoolArray = np.zeros(len(layout.vector), dtype=np.bool_)
        self.asked: BoolArray = np.zeros(len(dialogues), dtype=np.bool_)
        wanted = np.zeros(len(layout.vector), dtype=np.bool_)
        wanted[element] = True
        needed = np.flatnonzero(wanted)
        bounds = np.searchsorted(needed, layout.bounds)
        number = np.cumsum(wanted) - 1  # of an element among those needed
        left, right = number[element[first]], number[element[first + 1]]
        home = np.searchsorted(bounds[1:], left, side="right")
        pair_bounds = np.searchsorted(home, np.arange(len(dialogues) + 1))
        for place, dialogue in enumerate(dialogues):
            if dialogue.embeddings is not None:
                start, stop = bounds[place : place + 2].tolist()
                pairs = slice(*pair_bounds[place : place + 2].tolist())
                self._read(
                    place,
                    dialogue.embeddings,
                    needed[start:stop],
                    layout.vector[needed[start:stop]],
                    pairs,
                    (left[pairs] - start, right[pairs] - start),
                )

    def _read(
        self,
        place: int,
        embeddings: DialogueEmbeddings,
        elements: IntArray,
        rows: IntArray,
        pairs: slice,
        sides: tuple[IntArray, IntArray],
    ) -> None:
        vectors = embeddings.read(rows)
        self.usable[elements] = np.isfinite(vectors.lengths)
        self.pairs[pairs] = vectors.cosines(*sides)
        if embeddings.query is not None:
            query = embeddings.read(np.array([embeddings.query]))
            self.asked[place] = np.isfinite(query.lengths[0])
            self.query[elements] = vectors.cosines_with(query)


def _sums(row: IntArray, values: FloatArray, n: int) -> FloatArray:
    return np.bincount(row, values, n).astype(np.float64)


def _mean(sums: FloatArray, number: IntArray, trouble: dict[str, BoolArray]) -> FloatArray:
    some = number > 0
    for rows in trouble.values():
        some = some & ~rows
    return np.where(some, sums / np.where(some, number, 1), np.nan)
