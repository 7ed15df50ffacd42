"""Correction for several tests made at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ffr_eval.metrics.retrieval import FloatArray


def holm(p: ArrayLike) -> FloatArray:
    """p-values adjusted for the number of tests (Holm 1979).

    Rejecting where the adjusted p-value is at most ``alpha`` keeps the probability of any false
    rejection at ``alpha``, whatever the dependence of the tests.

    Args:
        p: p-values, shape ``(m,)``; NaN is a test that was not made, and does not count in ``m``.

    Returns:
        Shape ``(m,)``, at least ``p``, at most 1, in the order of ``p``; NaN where ``p`` is.

    Raises:
        ValueError: If a p-value is not between 0 and 1, or ``p`` is not one list.
    """
    raw = np.asarray(p, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(raw))
    if raw.ndim != 1 or (raw[made] < 0).any() or (raw[made] > 1).any():
        raise ValueError("p-values are one list of numbers from 0 to 1")
    adjusted = np.full(raw.shape, np.nan)
    order = made[np.argsort(raw[made], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
