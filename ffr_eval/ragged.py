"""Ragged integer arrays: many short lists of ids in two flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """``n`` lists of integers; list ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: All items, shape ``(total,)``, int64.
        offsets: Where each list starts, shape ``(n + 1,)``, int64, from 0 to ``total``.
    """

    values: IntArray
    offsets: IntArray

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> Ragged:
        """Pack Python lists (any iterable of integer sequences)."""
        rows = list(lists)
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        total = int(lengths.sum())
        values = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=total)
        return cls.from_lengths(values, lengths)

    @classmethod
    def from_lengths(cls, values: IntArray, lengths: IntArray) -> Ragged:
        """Pack flat values with the length of each list."""
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def concatenate(cls, parts: Sequence[Ragged]) -> Ragged:
        """Put the lists of several arrays one after the other."""
        if not parts:
            return cls.from_lists([])
        return cls.from_lengths(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.lengths for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> IntArray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> IntArray:
        """The length of each list, shape ``(n,)``."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> IntArray:
        """The list that each value belongs to, shape ``(total,)``."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def take(self, index: NDArray[np.int64]) -> Ragged:
        """The lists at ``index``, in that order."""
        lengths = self.lengths[index]
        starts = self.offsets[:-1][index]
        ends = np.cumsum(lengths)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return Ragged.from_lengths(self.values[np.repeat(starts, lengths) + within], lengths)

    def to_lists(self) -> list[list[int]]:
        """Plain Python lists."""
        return [self[i].tolist() for i in range(len(self))]
