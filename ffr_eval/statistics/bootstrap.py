"""The cluster bootstrap of additive metrics: dialogues are drawn, not samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.statistics.values import evaluate, finite, positive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.statistics.values import Value

_CELLS = 2**17  # replicates x clusters drawn at a time: what fits the cache is fastest
_ROWS = 2**12  # replicates handed on at a time: metrics are called with this many rows


def resampled_sums(
    sums: FloatArray, replicates: int = 10_000, seed: int = 0
) -> Iterator[FloatArray]:
    """Sums of resampled clusters: ``c`` clusters drawn with replacement for each replicate.

    The draws depend on the number of clusters and the seed only: all columns share them, and so
    do other calls with the same two. That is what makes the difference of two columns a paired
    one. The first replicates of a longer series are those of a shorter one. Sums of integers are
    exact (below 2**53).

    Args:
        sums: The summed terms of each cluster, shape ``(c, K)``, finite.
        replicates: How many resamples.
        seed: Seed of ``numpy.random.default_rng``.

    Returns:
        An iterator over chunks of shape ``(rows, K)``, up to 4096 rows each and ``replicates`` in
        all. Drawing takes a few MB, or three arrays of ``c`` numbers where that is more.

    Raises:
        ValueError: If the sums are not a finite matrix or no replicate is asked for.
    """
    matrix = finite(sums, 2)
    positive(replicates)
    return _resampled_sums(matrix, replicates, seed)


def _resampled_sums(sums: FloatArray, replicates: int, seed: int) -> Iterator[FloatArray]:
    clusters, columns = sums.shape
    if not clusters:
        yield np.zeros((replicates, columns))
        return
    rng = np.random.default_rng(seed)
    at_once = min(_ROWS, max(1, _CELLS // clusters))
    first_cell = np.arange(at_once, dtype=np.int64)[:, None] * clusters
    by_column = np.ascontiguousarray(sums.T)
    for start in range(0, replicates, _ROWS):
        rows = min(_ROWS, replicates - start)
        chunk = np.empty((columns, rows))
        for first in range(0, rows, at_once):
            size = min(at_once, rows - first)
            cells = rng.integers(0, clusters, (size, clusters), dtype=np.int64)
            cells += first_cell[:size]
            drawn = np.bincount(cells.ravel(), minlength=size * clusters)
            weights = drawn.reshape(size, clusters).astype(np.float64)
            chunk[:, first : first + size] = by_column @ weights.T
        yield chunk.T  # transposed, so that each column is contiguous


def bootstrap(
    metrics: Sequence[tuple[FloatArray, Value]], replicates: int = 10_000, seed: int = 0
) -> FloatArray:
    """Bootstrap replicates of several metrics, all on the same draws of clusters.

    Efron & Tibshirani 1993, chapter 6, with whole clusters as the units drawn (Davison & Hinkley
    1997, section 3.8; Field & Welsh 2007). The standard deviation of a column is the standard
    error of its metric; ``column[:, i] - column[:, j]`` are replicates of a paired difference.

    Args:
        metrics: For each metric the summed terms of each cluster, shape ``(c, k)``, and its value;
            ``c`` is the same in all, ``k`` need not be. An array given several times (the same
            object) is resampled once.
        replicates: How many resamples.
        seed: Seed of the draws.

    Returns:
        Shape ``(replicates, len(metrics))``, in the unit of each metric; NaN where a metric is
        undefined in a resample, and everywhere if there are fewer than two clusters, which say
        nothing about how dialogues differ.

    Raises:
        ValueError: If the metrics have different numbers of clusters, or terms are not finite.
    """
    positive(replicates)
    blocks: dict[int, slice] = {}
    parts: list[FloatArray] = []
    end = 0
    for sums, _ in metrics:
        if id(sums) in blocks:
            continue
        part = finite(sums, 2)
        if parts and len(part) != len(parts[0]):
            raise ValueError(f"metrics of {len(parts[0])} and of {len(part)} clusters")
        blocks[id(sums)] = slice(end, end + part.shape[1])
        end += part.shape[1]
        parts.append(part)
    result = np.full((replicates, len(metrics)), np.nan)
    if not parts or len(parts[0]) < 2:
        return result
    done = 0
    for chunk in resampled_sums(np.concatenate(parts, axis=1), replicates, seed):
        rows = slice(done, done + len(chunk))
        for place, (sums, value) in enumerate(metrics):
            result[rows, place] = evaluate(value, chunk[:, blocks[id(sums)]])
        done += len(chunk)
    return result


def jackknife(sums: FloatArray, value: Value) -> FloatArray:
    """The metric without each of the clusters in turn (Efron & Tibshirani 1993, chapter 11).

    Args:
        sums: The summed terms of each cluster, shape ``(c, k)``, finite.
        value: The metric.

    Returns:
        Shape ``(c,)``; entry ``i`` is the metric of all clusters but ``i``.

    Raises:
        ValueError: If the sums are not a finite matrix.
    """
    rows = finite(sums, 2)
    return evaluate(value, rows.sum(axis=0) - rows)


def standard_error(replicates: FloatArray) -> float:
    """Standard deviation of bootstrap replicates, with ``B - 1``; undefined ones are left out.

    Args:
        replicates: Shape ``(B,)``.

    Returns:
        In the unit of the metric; NaN with fewer than two defined replicates.
    """
    valid = replicates[~np.isnan(replicates)]
    return float(valid.std(ddof=1)) if len(valid) > 1 else float("nan")
