"""Samples grouped by the dialogue they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.statistics.values import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which dialogue each sample belongs to.

    Queries of one dialogue are not independent: its length, its language and its images make all
    of them easier or harder. What is drawn at random is therefore the dialogue, with all its
    samples (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007).

    Attributes:
        code: The number of each sample's dialogue, shape ``(n,)``, from 0 to ``count - 1``.
        count: How many dialogues there are.
    """

    code: IntArray
    count: int

    @classmethod
    def of(cls, dialogue_ids: Sequence[str]) -> Clusters:
        """Number the dialogues of some samples, in sorted order of their ids.

        Sorted, so that the same seed draws the same dialogues in whatever order the samples come.

        Args:
            dialogue_ids: The dialogue of each sample, shape ``(n,)``.
        """
        number = {name: place for place, name in enumerate(sorted(set(dialogue_ids)))}
        code = np.fromiter(
            map(number.__getitem__, dialogue_ids), dtype=np.int64, count=len(dialogue_ids)
        )
        return cls(code, len(number))

    def sums(self, terms: ArrayLike) -> FloatArray:
        """Sum the terms of each dialogue's samples.

        Exact for integers below 2**53, which then do not depend on the order of the samples;
        fractions depend on it by rounding.

        Args:
            terms: What each sample adds, shape ``(n, k)``, finite.

        Returns:
            Shape ``(count, k)``.

        Raises:
            ValueError: If there is not one row for each sample, or a term is not finite.
        """
        rows = finite(terms, 2)
        if len(rows) != len(self.code):
            raise ValueError(f"{len(rows)} rows of terms for {len(self.code)} samples")
        result = np.empty((self.count, rows.shape[1]))
        for column in range(rows.shape[1]):
            result[:, column] = np.bincount(
                self.code, weights=rows[:, column], minlength=self.count
            )
        return result
