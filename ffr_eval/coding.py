"""Ids to codes: the translation that the kernel works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from ffr_eval.ragged import IntArray

_OUTSIDE: Final = 2**62  # added to ids that no universe holds, so that they stay distinct


class Universe:
    """The ids that each of ``m`` dialogues has.

    Args:
        ids: Ragged, the ids of each dialogue; repetitions do not matter.
    """

    def __init__(self, ids: Ragged) -> None:
        self._vocabulary, rank = np.unique(ids.values, return_inverse=True)
        self._stride = max(len(self._vocabulary), 1)
        self._keys = np.unique(ids.rows * self._stride + rank)
        self.sizes: IntArray = np.bincount(self._keys // self._stride, minlength=len(ids))
        self._starts = np.cumsum(self.sizes) - self.sizes

    def encode(self, ids: Ragged, dialogue: IntArray | None = None) -> Ragged:
        """Codes of ids: ``0 … size - 1`` for those of the dialogue, other integers for others.

        Equal ids of one dialogue get equal codes, and different ids different ones.

        Args:
            ids: Ragged, one list a sample, each id above ``-2**63``.
            dialogue: The row of each sample's dialogue, shape ``(n,)``; by default sample ``i``
                belongs to dialogue ``i``.
        """
        rows = ids.rows if dialogue is None else np.repeat(dialogue, ids.lengths)
        outside = np.where(ids.values < 0, ids.values, ids.values + _OUTSIDE)
        if not len(self._keys):
            return Ragged(outside, ids.offsets)
        rank = np.searchsorted(self._vocabulary, ids.values)
        rank = np.minimum(rank, len(self._vocabulary) - 1)
        keys = rows * self._stride + rank
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = (self._vocabulary[rank] == ids.values) & (self._keys[place] == keys)
        return Ragged(np.where(known, place - self._starts[rows], outside), ids.offsets)
