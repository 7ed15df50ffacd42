"""One-to-one matching of turns that may be a few places apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ffr_eval.ragged import IntArray, Ragged


def count_matches(gold: Ragged, predicted: Ragged, tolerance: int) -> IntArray:
    """The most pairs of a gold and a predicted turn at most ``tolerance`` apart, each used once.

    Walking both sorted lists and pairing the earliest two that are close enough is optimal here,
    as all intervals are equally wide.

    Args:
        gold: The gold turns of each of n samples, sorted and without repetition.
        predicted: The predicted turns of each sample, likewise.
        tolerance: In turns, at least 0.

    Returns:
        Shape ``(n,)``.
    """
    n = len(gold)
    matches = np.zeros(n, dtype=np.int64)
    g, p = gold.offsets[:-1].copy(), predicted.offsets[:-1].copy()
    g_end, p_end = gold.offsets[1:], predicted.offsets[1:]
    active = np.flatnonzero((g < g_end) & (p < p_end))
    while len(active):  # one step of all samples at a time
        apart = predicted.values[p[active]] - gold.values[g[active]]
        matches[active] += np.abs(apart) <= tolerance
        g[active] += apart >= -tolerance
        p[active] += apart <= tolerance
        active = active[(g[active] < g_end[active]) & (p[active] < p_end[active])]
    return matches
