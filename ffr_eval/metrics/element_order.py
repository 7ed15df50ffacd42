"""The elements of fragments in dialogue order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.coding import Universe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffr_eval.ragged import IntArray, Ragged

    BoolArray = NDArray[np.bool_]


class KnownIds:
    """The ids of one modality that each of ``m`` dialogues has.

    Args:
        ids: One list a dialogue, without repetition.

    Attributes:
        universe: Translates ids to codes.
    """

    def __init__(self, ids: Ragged) -> None:
        self.ids = ids
        self.universe = Universe(ids)
        sizes = self.universe.sizes
        self._starts = np.cumsum(sizes) - sizes
        codes = self.universe.encode(ids)
        self._entry = np.zeros(int(sizes.sum()), dtype=np.int64)
        self._entry[self._starts[codes.rows] + codes.values] = np.arange(len(codes.values))

    def within(self) -> IntArray:
        """The place of each id in the list of its dialogue."""
        lengths = self.ids.lengths
        return np.arange(len(self.ids.values)) - np.repeat(self.ids.offsets[:-1], lengths)

    def find(self, codes: Ragged, dialogue: IntArray) -> tuple[IntArray, IntArray]:
        """List and place among :attr:`ids` of each code of an id that the dialogue has.

        Args:
            codes: Lists of ids in the codes of :attr:`universe`.
            dialogue: The row of each list's dialogue.
        """
        row, values = codes.rows, codes.values
        home = np.repeat(dialogue, codes.lengths)
        inside = (values >= 0) & (values < self.universe.sizes[home])
        if not inside.all():
            row, home, values = row[inside], home[inside], values[inside]
        return row, self._entry[self._starts[home] + values]


class Layout:
    """The elements that dialogues have, numbered in dialogue order, dialogue after dialogue.

    An utterance stands before the images of its turn, images of one turn by id.

    Args:
        utterances, images: The ids of the dialogues.
        utterance_place, image_place: The place of each one's turn in its dialogue.

    Attributes:
        bounds: Where the elements of each dialogue begin, and the number of all.
        entry: Of each element, shape ``(total,)``: its place among all utterance ids followed by
            all image ids.
        image: Which elements are images.
        place: Place of each element's turn.
    """

    def __init__(
        self,
        utterances: KnownIds,
        images: KnownIds,
        utterance_place: IntArray,
        image_place: IntArray,
    ) -> None:
        self._known = utterances, images
        turns, shown = utterances.ids, images.ids
        places = np.concatenate([utterance_place, image_place])
        image = np.arange(len(places)) >= len(utterance_place)
        self.entry: IntArray = np.lexsort(
            (
                np.concatenate([turns.values, shown.values]),
                image,
                places,
                np.concatenate([turns.rows, shown.rows]),
            )
        )
        self._number = np.empty_like(self.entry)
        self._number[self.entry] = np.arange(len(self.entry))
        self.place: IntArray = places[self.entry]
        self.image: BoolArray = image[self.entry]
        self.bounds: IntArray = turns.offsets + shown.offsets

    def elements(
        self, dialogue: IntArray, utterances: Ragged, images: Ragged
    ) -> tuple[IntArray, IntArray]:
        """Fragment and number of each element, once, sorted by dialogue, fragment and number.

        Args:
            dialogue: The row of each fragment's dialogue, shape ``(n,)``.
            utterances: The utterance ids of each fragment in codes; repetitions do not matter, and
                ids that the dialogue does not have are no elements.
            images: The image ids.
        """
        by_dialogue = np.argsort(dialogue, kind="stable")
        position = np.empty_like(by_dialogue)
        position[by_dialogue] = np.arange(len(by_dialogue))
        all_elements = max(len(self.entry), 1)
        start, keys = 0, []
        for known, codes in zip(self._known, (utterances, images), strict=True):
            fragment, entry = known.find(codes, dialogue)
            keys.append(position[fragment] * all_elements + self._number[start + entry])
            start += len(known.ids.values)
        key = np.sort(np.concatenate(keys))
        key = key[np.diff(key, prepend=-1) != 0]
        at, element = np.divmod(key, all_elements)
        return by_dialogue[at], element
