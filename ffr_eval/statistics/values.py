"""What a metric is to this package: a vectorised function of summed terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from ffr_eval.metrics.retrieval import FloatArray

Value: TypeAlias = "Callable[[FloatArray], FloatArray]"
"""Summed terms of shape ``(..., k)`` to figures of shape ``(...)``, NaN where undefined.

It is called with many rows at once, and may divide by 0. The array is reused: read it, do not
change or keep it.
"""

# Figures nearer to each other than this share of their size are taken for equal: sums of fractions
# differ by rounding with the order of the additions. Unequal figures of counts are further apart.
ROUNDING = 1e-12


def evaluate(value: Value, sums: FloatArray) -> FloatArray:
    """Call a metric, without warnings of divisions by 0, and check the shape of its result.

    Raises:
        ValueError: If the metric does not return one figure for each row.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.asarray(value(sums), dtype=np.float64)
    if result.shape != sums.shape[:-1]:
        raise ValueError(
            f"a metric returned shape {result.shape} for sums of shape {sums.shape}; "
            f"one figure a row is {sums.shape[:-1]}"
        )
    return result


def finite(terms: ArrayLike, dimensions: int) -> FloatArray:
    """An array of terms as float64, checked.

    Raises:
        ValueError: If it has another number of dimensions, or holds NaN or infinity (a resample
            without that sample would be NaN too).
    """
    array = np.asarray(terms, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"expected an array of {dimensions} dimensions, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("terms must be finite: an undefined sample adds 0 and does not count")
    return array


def positive(replicates: int) -> None:
    """Check a number of replicates.

    Raises:
        ValueError: If it is below 1.
    """
    if replicates < 1:
        raise ValueError(f"at least 1 replicate is needed, got {replicates}")
