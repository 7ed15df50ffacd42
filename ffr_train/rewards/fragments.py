"""Elements of fragments in dialogue order, and the cosines between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.metrics.coherence import adjacent, fragment_means
from ffr_eval.metrics.element_order import KnownIds, Layout
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.embeddings.dialogue_vectors import DialogueEmbeddings
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_train.rewards.batch import BoolArray, DialogueIds

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
    dialogues: Sequence[DialogueIds], dialogue: IntArray, utterances: ListedIds, images: ListedIds
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
    layout = _layout(dialogues, utterances, images)
    fragment, element = layout.elements(dialogue, utterances.codes, images.codes)
    size = np.bincount(fragment, minlength=n)
    first = adjacent(fragment)
    vector = np.concatenate(
        [
            _vectors(dialogues, utterances.ids, "utterance"),
            _vectors(dialogues, images.ids, "image"),
        ]
    )
    cosines = _Cosines(dialogues, layout.bounds, vector[layout.entry], element, first)
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
        order=_where_none(fragment_means(fragment[first], cosines.pairs, size - 1), trouble),
        query=_where_none(fragment_means(fragment, cosines.query[element], size), query_trouble),
        size=size,
        trouble=trouble,
        query_trouble=query_trouble,
    )


class ListedIds(KnownIds):
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
        super().__init__(
            Ragged.from_lists(
                sorted(occurring.get(place, ())) if found is None else found
                for place, found in enumerate(given)
            )
        )
        self.codes = self.universe.encode(lists, dialogue)


def _layout(dialogues: Sequence[DialogueIds], turns: ListedIds, shown: ListedIds) -> Layout:
    """The elements that the dialogues have.

    Where the ids of a dialogue are not known, they are those that occur. The place of an image
    whose turn is not known is the largest integer.
    """
    turn_known = np.array([d.utt_ids is not None for d in dialogues], dtype=np.bool_)
    turn_place = np.where(turn_known[turns.ids.rows], turns.within(), turns.ids.values)
    image_place = _image_places(dialogues, turns, turn_place, turn_known, shown.ids)
    return Layout(turns, shown, turn_place, image_place)


def _image_places(
    dialogues: Sequence[DialogueIds],
    turns: ListedIds,
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
        element_bounds: Where the elements of each begin, and the number of all.
        vector: Row of each element's vector; -1 without one.
        element: The elements of all fragments, sorted by dialogue.
        first: Where among them a pair of adjacent ones begins.

    Attributes:
        pairs: Cosine of each pair; NaN where a vector is not usable.
        query: Cosine of each element with the query of its dialogue; NaN where a
            vector is not usable, and for those that no fragment has.
        usable: Which elements have a usable vector, of those that a fragment has.
        asked: Which dialogues have a usable vector of the query.
    """

    def __init__(
        self,
        dialogues: Sequence[DialogueIds],
        element_bounds: IntArray,
        vector: IntArray,
        element: IntArray,
        first: IntArray,
    ) -> None:
        self.pairs: FloatArray = np.full(len(first), np.nan)
        self.query: FloatArray = np.full(len(vector), np.nan)
        self.usable: BoolArray = np.zeros(len(vector), dtype=np.bool_)
        self.asked: BoolArray = np.zeros(len(dialogues), dtype=np.bool_)
        wanted = np.zeros(len(vector), dtype=np.bool_)
        wanted[element] = True
        needed = np.flatnonzero(wanted)
        bounds = np.searchsorted(needed, element_bounds)
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
                    vector[needed[start:stop]],
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


def _where_none(means: FloatArray, trouble: dict[str, BoolArray]) -> FloatArray:
    """The means of fragments that no trouble is with; NaN for others."""
    for rows in trouble.values():
        means = np.where(rows, np.nan, means)
    return means
