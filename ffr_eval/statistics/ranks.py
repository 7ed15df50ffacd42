"""Ranks with their uncertainty: what significant differences say about the order of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ffr_eval.ragged import IntArray


def rank_intervals(values: ArrayLike, better: NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """The best and the worst rank that each model may have, given the significant differences.

    The best is 1 plus the number of models significantly better, the worst is the number of models
    less those significantly worse. With family-wise adjusted tests (``holm``) all intervals
    together hold the true ranks with the confidence of the tests.

    Args:
        values: The metric of each model, shape ``(n,)``; one that is NaN is not ranked and does not
            count among the others.
        better: ``better[i, j]``: model ``i`` is significantly better than ``j``, shape ``(n, n)``.

    Returns:
        The best and the worst rank of each model, from 1, shape ``(n,)`` each; 0 and 0 for a model
        that is not ranked.

    Raises:
        ValueError: If ``better`` has another shape, or two models are each better than the other.
    """
    matrix = _checked(better)
    ranked = ~np.isnan(np.asarray(values, dtype=np.float64))
    if ranked.shape != matrix.shape[:1]:
        raise ValueError(f"{ranked.shape} values for comparisons of shape {matrix.shape}")
    among = matrix & ranked[:, None] & ranked
    lo = np.where(ranked, 1 + among.sum(axis=0, dtype=np.int64), 0)
    hi = np.where(ranked, np.count_nonzero(ranked) - among.sum(axis=1, dtype=np.int64), 0)
    return lo, hi


def tiers(order: Sequence[int], better: NDArray[np.bool_]) -> list[int]:
    """Group models, from best to worst, into tiers.

    A tier ends where the next model is significantly worse than the tier's *first*. Models of one
    tier can differ significantly from each other where neither is its first, and models of two
    neighbouring tiers need not.

    Args:
        order: Models from best to worst, as places in ``better``.
        better: ``better[i, j]``: model ``i`` is significantly better than ``j``, shape ``(n, n)``.

    Returns:
        The tier of each entry of ``order``, from 1.

    Raises:
        ValueError: If ``better`` is not square, or two models are each better than the other.
    """
    matrix = _checked(better)
    result: list[int] = []
    tier, first = 0, -1
    for model in order:
        if not result or matrix[first, model]:
            tier, first = tier + 1, model
        result.append(tier)
    return result


def _checked(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    matrix = np.asarray(better, dtype=bool)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"comparisons of all pairs are a square matrix, got {matrix.shape}")
    if (matrix & matrix.T).any():
        raise ValueError("two models cannot each be better than the other, or one than itself")
    return matrix
