from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ffr_eval.statistics.permutation as module
from ffr_eval.metrics import retrieval
from ffr_eval.statistics import sign_flip

SUMS = st.tuples(st.integers(2, 4), st.integers(1, 6), st.integers(0, 10**6)).map(
    lambda shape: np.random.default_rng(shape[2]).integers(0, 4, (*shape[:2], 3)).astype(float)
)


def micro_f1(sums: np.ndarray) -> np.ndarray:
    tp, fp, fn = np.moveaxis(sums, -1, 0)
    return 2 * tp / (2 * tp + fp + fn)


def first(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0]


def swaps(clusters: int, replicates: int, seed: int) -> list[list[bool]]:
    words = -(-clusters // 32)
    packed = np.frombuffer(np.random.default_rng(seed).bytes(replicates * words * 4), np.uint8)
    bits = np.unpackbits(packed.reshape(replicates, -1), axis=1)[:, :clusters]
    return bits.astype(bool).tolist()


def loop(a: np.ndarray, b: np.ndarray, replicates: int, seed: int) -> float:
    """The p-value of micro F1, each replicate summed cluster by cluster."""

    def f1(tp: float, fp: float, fn: float) -> float:
        return 2 * tp / (2 * tp + fp + fn) if tp or fp or fn else float("nan")

    observed = f1(*a.sum(axis=0)) - f1(*b.sum(axis=0))
    if np.isnan(observed):
        return float("nan")
    as_large = 0
    for swapped in swaps(len(a), replicates, seed):
        totals = [[0.0] * 3, [0.0] * 3]
        for cluster, swap in enumerate(swapped):
            for run, rows in enumerate((b, a) if swap else (a, b)):
                totals[run] = [x + y for x, y in zip(totals[run], rows[cluster], strict=True)]
        difference = f1(*totals[0]) - f1(*totals[1])
        as_large += not abs(difference) < abs(observed) - 1e-12
    return (1 + as_large) / (replicates + 1)


@given(SUMS, st.integers(0, 3))
def test_p_values_are_those_of_a_loop(sums: np.ndarray, seed: int) -> None:
    pairs = [(i, j) for i in range(len(sums)) for j in range(len(sums))]
    found = sign_flip(sums, micro_f1, pairs, 30, seed)
    expected = [loop(sums[i], sums[j], 30, seed) for i, j in pairs]
    assert np.array_equal(found, expected, equal_nan=True)
    p = dict(zip(pairs, found.tolist(), strict=True))
    for (i, j), value in p.items():
        assert np.isnan(value) or 1 / 31 <= value <= 1
        assert value == p[j, i] or np.isnan(value)
        assert i != j or value == 1 or np.isnan(value)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6])
def test_scipy_gives_the_same_p_value(shift: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=30), rng.normal(size=30) + shift

    def statistic(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return x.mean(axis=axis) - y.mean(axis=axis)

    theirs = stats.permutation_test(
        (a, b), statistic, permutation_type="samples", n_resamples=20_000, vectorized=True, rng=1
    ).pvalue
    ours = sign_flip(np.stack([a, b])[:, :, None], first, [(0, 1)], 20_000)[0]
    assert ours == pytest.approx(theirs, abs=0.02)


def test_all_swaps_of_few_clusters() -> None:
    # 8 clusters that all favour one run: 2 of the 256 swaps are as extreme.
    sums = np.stack([np.ones((8, 1)), np.zeros((8, 1))])
    assert sign_flip(sums, first, [(0, 1)], 100_000)[0] == pytest.approx(2 / 256, rel=0.15)


def test_p_values_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(0)
    runs = rng.binomial(9, 0.5, (60, 40, 3)).astype(float)
    p = sign_flip(runs, micro_f1, [(2 * i, 2 * i + 1) for i in range(30)], 999)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    better = runs.copy()
    better[::2, :, 0] += 3
    assert sign_flip(better, micro_f1, [(0, 1), (2, 3)], 999).tolist() == [0.001, 0.001]


def test_pairs_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(0).integers(0, 9, (5, 70, 3)).astype(float)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    together = sign_flip(sums, micro_f1, pairs, 500, 4)
    assert [sign_flip(sums, micro_f1, [pair], 500, 4)[0] for pair in pairs] == together.tolist()
    monkeypatch.setattr(module, "_CELLS", 777)
    assert np.array_equal(sign_flip(sums, micro_f1, pairs, 500, 4), together)
    assert not np.array_equal(sign_flip(sums, micro_f1, pairs, 500, 5), together)


def test_fractions_stay_usable() -> None:
    # One run's terms are 0 in all clusters but one: swapped sums must be 0, not -1e-17.
    def strict(sums: np.ndarray) -> np.ndarray:
        assert (sums >= 0).all()
        return np.sqrt(sums[..., 0]) / sums[..., 1]

    share = np.random.default_rng(3).random((2, 200, 1))
    share[1, 5:] = 0
    sums = np.concatenate([share, np.ones((2, 200, 1))], axis=2)
    assert sign_flip(sums, strict, [(0, 1)], 200)[0] == 1 / 201


def test_equal_up_to_rounding_is_equal() -> None:
    # All differences are one of +-0.1: sums of them tie often, and differ in the last bits.
    expected = stats.binomtest(11, 15).pvalue
    for seed in range(5):
        a = np.random.default_rng(seed).random((1, 15, 1))
        b = a + np.where(np.arange(15) < 11, 0.1, -0.1)[:, None]
        ours = sign_flip(np.concatenate([a, b]), first, [(0, 1)], 100_000)[0]
        assert ours == pytest.approx(expected, rel=0.05)


def test_counts_are_exact() -> None:
    sums = np.array([[[2.0**50 + 1], [3.0]], [[2.0**50], [4.0]]])  # the totals are equal
    assert sign_flip(sums, first, [(0, 1)], 99)[0] == 1


def test_undefined() -> None:
    zeros = np.zeros((1, 4, 3))
    ones = np.ones((1, 4, 3))
    assert np.isnan(sign_flip(np.concatenate([zeros, ones]), micro_f1, [(0, 1)], 9)).all()
    # Each is defined, but swapping the one cluster that has anything can empty the other.
    a, b = np.zeros((2, 3, 3))
    a[0], b[1] = [1, 0, 0], [1, 1, 1]
    p = sign_flip(np.stack([a, b]), micro_f1, [(0, 1)], 999)[0]
    assert p == 1  # a is better; swaps give +-1/2 or one run without anything: as large
    assert sign_flip(np.zeros((2, 0, 3)), first, [(0, 1)], 9).tolist() == [1]
    assert sign_flip(ones[:, :1].repeat(2, axis=0), first, [(0, 1)], 9).tolist() == [1]
    assert sign_flip(ones, first, [], 9).shape == (0,)


def test_one_cluster_can_show_nothing() -> None:
    sums = np.array([[[9.0, 0.0, 0.0]], [[1.0, 5.0, 5.0]]])
    assert sign_flip(sums, micro_f1, [(0, 1)], 99).tolist() == [1]


def test_metrics_of_the_package_can_be_used() -> None:
    sums = np.random.default_rng(0).integers(0, 9, (2, 20, 3)).astype(float)
    found = sign_flip(sums, lambda s: retrieval.f1(*np.moveaxis(s, -1, 0)), [(0, 1)], 99)
    assert found[0] == sign_flip(sums, micro_f1, [(0, 1)], 99)[0]


def test_memory_does_not_grow_with_replicates() -> None:
    sums = np.ones((4, 1000, 3))

    def peak(replicates: int) -> int:
        tracemalloc.start()
        sign_flip(sums, micro_f1, [(0, 1), (2, 3)], replicates)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(20_000) < 1.1 * peak(1000) < 40e6


@pytest.mark.parametrize(
    ("sums", "pairs", "error"),
    [
        (np.ones((2, 3)), [(0, 1)], ValueError),
        (np.full((2, 3, 1), np.nan), [(0, 1)], ValueError),
        (np.ones((2, 3, 1)), [(0, 2)], IndexError),
        (np.ones((2, 3, 1)), [(-1, 0)], IndexError),
    ],
)
def test_unusable_arguments(sums: np.ndarray, pairs: list, error: type[Exception]) -> None:
    with pytest.raises(error):
        sign_flip(sums, first, pairs, 9)
