"""Precision, recall, F1 and MCC from counts, element by element, 0 where a fraction is undefined.

No epsilon anywhere. Every function takes arrays of one shape (or numbers) and returns float64 of
that shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """``numerator / denominator``, 0 where the denominator is 0."""
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)
    defined = below != 0
    result: FloatArray = np.where(defined, above / np.where(defined, below, 1.0), 0.0)
    return result


def precision(tp: ArrayLike, fp: ArrayLike) -> FloatArray:
    """``tp / (tp + fp)``."""
    return ratio(tp, np.add(tp, fp))


def recall(tp: ArrayLike, fn: ArrayLike) -> FloatArray:
    """``tp / (tp + fn)``."""
    return ratio(tp, np.add(tp, fn))


def f1(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> FloatArray:
    """``2 tp / (2 tp + fp + fn)``, the harmonic mean of precision and recall."""
    twice = np.multiply(tp, 2)
    return ratio(twice, twice + np.add(fp, fn))


def mcc(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> FloatArray:
    """Matthews correlation coefficient (Matthews 1975), 0 where a margin is 0.

    Products are taken in floating point, where they cannot overflow; a perfect answer gets exactly
    1, and rounding never leads out of -1 to 1.
    """
    tp, fp, fn, tn = (np.asarray(part, dtype=np.float64) for part in (tp, fp, fn, tn))
    margins = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    return np.clip(ratio(tp * tn - fp * fn, margins), -1.0, 1.0)


def harmonic_mean(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """``2ab / (a + b)``, 0 where both are 0."""
    return ratio(np.multiply(2.0, np.multiply(a, b)), np.add(a, b))


def arithmetic_mean(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """``(a + b) / 2``."""
    return np.add(a, b, dtype=np.float64) / 2


def of_those_that_count(
    a: FloatArray, b: FloatArray, mean: Callable[[Any, Any], FloatArray]
) -> FloatArray:
    """The mean of two values; the other one where one is NaN."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, mean(a, b)))
