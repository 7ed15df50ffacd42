"""Paired tests of two runs by swapping their answers dialogue by dialogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.statistics.values import ROUNDING, evaluate, finite, positive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.statistics.values import Value

_CELLS = 2**20  # replicates x (clusters + columns) at a time


def sign_flip(
    sums_of_runs: FloatArray,
    value: Value,
    pairs: Sequence[tuple[int, int]],
    replicates: int = 10_000,
    seed: int = 0,
) -> FloatArray:
    """p-values of the differences of pairs of runs, by swapping whole clusters between the two.

    If two runs were equally good, each dialogue's answers could as well be the other run's. So in
    each replicate every cluster is swapped with probability 1/2, and the difference of the metric,
    of whatever additive metric, is computed anew. The p-value is two-sided,
    ``(1 + #{|T*| >= |T|}) / (B + 1)``: the observed difference is one of the possible ones, and a
    p-value is never 0 (Davison & Hinkley 1997, section 4.2; Phipson & Smyth 2010). Differences
    equal up to rounding are equal. A replicate in which a metric is undefined counts as one at
    least as large, which can only raise the p-value. All pairs share the swaps.

    Args:
        sums_of_runs: The summed terms of each run and cluster, shape ``(runs, c, k)``, finite.
        value: The metric.
        pairs: Places of the two runs of each pair.
        replicates: How many times clusters are swapped; p-values are multiples of
            ``1 / (replicates + 1)``.
        seed: Seed of ``numpy.random.default_rng``. The swaps depend on it and ``c`` only; the
            first swaps of a longer series are those of a shorter one.

    Returns:
        The p-value of each pair, shape ``(len(pairs),)``; NaN where the observed difference is
        undefined.

    Raises:
        ValueError: If the sums are not finite or not of three dimensions.
        IndexError: If a pair names a run that is not there.
    """
    runs = finite(sums_of_runs, 3)
    positive(replicates)
    figures = evaluate(value, runs.sum(axis=1))
    needed = sorted({run for pair in pairs for run in pair})
    if needed and not 0 <= needed[0] <= needed[-1] < len(runs):
        raise IndexError(f"pairs of runs {needed[0]} to {needed[-1]}, there are {len(runs)} runs")
    place = {run: new for new, run in enumerate(needed)}
    observed = np.array([figures[a] - figures[b] for a, b in pairs], dtype=np.float64)
    scale = np.array([max(abs(figures[a]), abs(figures[b])) for a, b in pairs], dtype=np.float64)
    threshold = np.abs(observed) - ROUNDING * scale
    as_large = np.zeros(len(pairs), dtype=np.int64)
    for swapped, kept in _halves(runs[needed], replicates, seed):
        mixed = np.empty((2, *kept.shape[1:]))  # the two runs after the swap, terms, replicates
        for number, (a, b) in enumerate(pairs):
            np.add(kept[place[a]], swapped[place[b]], out=mixed[0])
            np.add(kept[place[b]], swapped[place[a]], out=mixed[1])
            first, second = evaluate(value, mixed.transpose(0, 2, 1))
            smaller = np.abs(first - second) < threshold[number]
            as_large[number] += smaller.size - np.count_nonzero(smaller)
    p = (1 + as_large) / (replicates + 1)
    return np.where(np.isnan(observed), np.nan, p)


def _halves(
    runs: FloatArray, replicates: int, seed: int
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Sums of the clusters that are swapped, and of those that are not, chunk by chunk.

    Both are summed, rather than one taken from the total, so that terms that are not negative
    never become so by rounding, and sums of zeros stay 0.

    Yields:
        Two arrays of shape ``(runs, k, rows)``.
    """
    count, clusters, terms = runs.shape
    rng = np.random.default_rng(seed)
    words = -(-clusters // 32)  # whole words a replicate, so that chunks do not change the bits
    rows = max(1, _CELLS // max(1, clusters + 2 * count * terms))
    columns = np.ascontiguousarray(runs.transpose(0, 2, 1)).reshape(count * terms, clusters)
    for start in range(0, replicates, rows):
        size = min(rows, replicates - start)
        packed = np.frombuffer(rng.bytes(size * words * 4), dtype=np.uint8)
        bits = np.unpackbits(packed.reshape(size, words * 4), axis=1, count=clusters)
        weights = bits.astype(np.float64).T
        swapped = (columns @ weights).reshape(count, terms, size)
        kept = (columns @ (1 - weights)).reshape(count, terms, size)
        yield swapped, kept
