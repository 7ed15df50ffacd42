from __future__ import annotations

import importlib
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.metrics import retrieval
from ffr_eval.statistics import Clusters, bootstrap, jackknife, resampled_sums, standard_error
from ffr_eval.statistics.bootstrap import _CELLS, _ROWS

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray

COUNTS = st.integers(1, 12).flatmap(
    lambda clusters: st.lists(
        st.tuples(st.integers(0, clusters - 1), *[st.integers(0, 9)] * 3), min_size=1, max_size=40
    )
)


def micro_f1(sums: FloatArray) -> FloatArray:
    """NaN without anything to find, unlike ``retrieval.f1``."""
    tp, fp, fn = np.moveaxis(sums, -1, 0)
    return 2 * tp / (2 * tp + fp + fn)


def mean(sums: FloatArray) -> FloatArray:
    return sums[..., 0] / sums[..., 1]


def some_counts(seed: int = 0, dialogues: int = 30) -> tuple[list[str], FloatArray]:
    """Dialogue ids and tp, fp, fn of samples that are alike within a dialogue."""
    rng = np.random.default_rng(seed)
    ids = [f"d{d:03}" for d in range(dialogues) for _ in range(int(rng.integers(1, 6)))]
    skill = dict(zip(sorted(set(ids)), rng.beta(2, 2, dialogues), strict=True))
    gold = rng.integers(1, 9, len(ids))
    tp = rng.binomial(gold, [skill[name] for name in ids])
    return ids, np.stack([tp, rng.poisson(2, len(ids)), gold - tp], axis=1).astype(float)


def draws(clusters: int, replicates: int, seed: int) -> list[list[int]]:
    """The clusters drawn in each replicate."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, clusters, (replicates, clusters)).tolist()


@given(COUNTS, st.integers(0, 5))
def test_replicates_are_those_of_a_loop_over_samples(samples: list, seed: int) -> None:
    clusters = Clusters.of([f"{row[0]:02}" for row in samples])
    sums = clusters.sums(np.array([row[1:] for row in samples]))
    found = np.concatenate(list(resampled_sums(sums, 7, seed)))
    members: list[list[tuple[int, ...]]] = [[] for _ in range(clusters.count)]
    for code, row in zip(clusters.code.tolist(), samples, strict=True):
        members[code].append(row[1:])
    for place, drawn in enumerate(draws(clusters.count, 7, seed)):
        total = [0, 0, 0]
        for cluster in drawn:
            for row in members[cluster]:
                total = [a + b for a, b in zip(total, row, strict=True)]
        assert found[place].tolist() == total


def test_metrics_of_replicates_are_those_of_the_resampled_samples() -> None:
    ids, counts = some_counts()
    clusters = Clusters.of(ids)
    share = retrieval.precision(counts[:, 0], counts[:, 1])
    macro = clusters.sums(np.stack([share, np.ones(len(share))], axis=1))
    found = bootstrap([(clusters.sums(counts), micro_f1), (macro, mean)], 20, seed=3)
    names = sorted(set(ids))
    for place, drawn in enumerate(draws(len(names), 20, 3)):
        rows = [i for d in drawn for i, name in enumerate(ids) if name == names[d]]
        tp, fp, fn = counts[rows].sum(axis=0)
        assert found[place, 0] == 2 * tp / (2 * tp + fp + fn)
        assert found[place, 1] == pytest.approx(share[rows].mean(), rel=1e-12)


def test_each_number_of_draws_has_its_probability() -> None:
    # With two clusters of 1 and 0, the sum is the number of draws of the first: 2 x 1/2.
    found = np.concatenate(list(resampled_sums(np.array([[1.0], [0.0]]), 40_000, 0)))[:, 0]
    shares = [np.mean(found == number) for number in range(3)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    ids, counts = some_counts(dialogues=200)
    values = Clusters.of(ids).sums(counts)[:, :1]
    totals = np.concatenate(list(resampled_sums(values, 20_000, 0)))[:, 0]
    assert totals.mean() == pytest.approx(values.sum(), rel=0.002)
    assert totals.std() == pytest.approx(values.std() * 200**0.5, rel=0.02)


def test_chunks_and_the_number_of_replicates_change_no_draw() -> None:
    for clusters, replicates in ((3, _ROWS + 5), (_CELLS // 3 + 1, 5), (_CELLS + 1, 2)):
        sums = np.arange(clusters, dtype=float)[:, None]
        whole = np.concatenate(list(resampled_sums(sums, replicates, 1)))
        assert whole[:, 0].tolist() == [sum(drawn) for drawn in draws(clusters, replicates, 1)]
        fewer = np.concatenate(list(resampled_sums(sums, replicates - 1, 1)))
        assert np.array_equal(fewer, whole[:-1])


def test_seeds() -> None:
    ids, counts = some_counts()
    sums = Clusters.of(ids).sums(counts)
    first, again, other = (bootstrap([(sums, micro_f1)], 50, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_all_metrics_share_the_draws() -> None:
    ids, counts = some_counts()
    sums = Clusters.of(ids).sums(counts)
    together = bootstrap([(sums, micro_f1), (sums[:, :2], mean), (sums, micro_f1)], 40, 5)
    assert np.array_equal(together[:, 0], together[:, 2])
    assert np.array_equal(together[:, 1], bootstrap([(sums[:, :2], mean)], 40, 5)[:, 0])
    # A run against itself, or one that is always better: differences without noise.
    better = sums + np.array([len(sums), 0, 0])
    pair = bootstrap([(sums, lambda s: s[..., 0]), (better, lambda s: s[..., 0])], 40, 5)
    assert (pair[:, 1] - pair[:, 0] == len(sums) ** 2).all()


def test_one_array_is_resampled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package's name `bootstrap` is the function.
    module = importlib.import_module("ffr_eval.statistics.bootstrap")
    widths = []
    original = module.resampled_sums

    def spy(sums: FloatArray, *rest: int) -> object:
        widths.append(sums.shape[1])
        return original(sums, *rest)

    monkeypatch.setattr(module, "resampled_sums", spy)
    sums = np.ones((4, 3))
    bootstrap([(sums, micro_f1), (sums, mean), (sums.copy(), mean)], 3)
    assert widths == [6]


@given(COUNTS, st.randoms())
def test_the_order_of_samples_changes_nothing(samples: list, random) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    found = [
        bootstrap([(Clusters.of([str(r[0]) for r in rows]).sums([r[1:] for r in rows]), micro_f1)])
        for rows in (samples, shuffled)
    ]
    assert np.array_equal(*found, equal_nan=True)


def test_memory_does_not_grow_with_replicates_or_samples() -> None:
    sums = np.ones((1000, 4))

    def peak(replicates: int) -> int:
        tracemalloc.start()
        for _ in resampled_sums(sums, replicates):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(20_000) < 1.1 * peak(1000) < 20e6  # 160 MB at once


def test_undefined_where_it_cannot_be_said() -> None:
    one = np.array([[3.0, 1.0, 1.0]])
    assert np.isnan(bootstrap([(one, micro_f1)], 5)).all()
    assert bootstrap([(np.zeros((0, 3)), micro_f1)], 5).shape == (5, 1)
    assert np.isnan(bootstrap([(np.zeros((3, 3)), micro_f1)], 5)).all()
    assert bootstrap([], 5).shape == (5, 0)
    assert np.concatenate(list(resampled_sums(np.zeros((0, 2)), 5))).tolist() == [[0, 0]] * 5
    sparse = np.array([[1.0, 1.0], [0.0, 0.0]])  # of two draws, both are the second in a quarter
    undefined = np.isnan(bootstrap([(sparse, mean)], 4000)[:, 0]).mean()
    assert undefined == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap([(np.ones((2, 1)), mean), (np.ones((3, 1)), mean)]), "2 and of 3"),
        (lambda: bootstrap([(np.ones((2, 2)), lambda sums: sums)], 3), "one figure a row"),
        (lambda: bootstrap([(np.full((2, 2), np.nan), mean)], 3), "finite"),
        (lambda: bootstrap([], 0), "at least 1"),
        (lambda: resampled_sums(np.ones(3), 3), "dimensions"),
        (lambda: jackknife(np.ones(3), mean), "dimensions"),
    ],
)
def test_unusable_arguments(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_jackknife_is_that_of_a_loop() -> None:
    ids, counts = some_counts()
    clusters = Clusters.of(ids)
    found = jackknife(clusters.sums(counts), micro_f1)
    names = np.array(ids)
    for place, name in enumerate(sorted(set(ids))):
        tp, fp, fn = counts[names != name].sum(axis=0)
        assert found[place] == 2 * tp / (2 * tp + fp + fn)
    assert np.isnan(jackknife(np.array([[1.0, 1.0]]), mean)).all()


def test_standard_error() -> None:
    assert standard_error(np.array([1.0, np.nan, 3.0])) == pytest.approx(2**0.5)
    assert np.isnan(standard_error(np.array([1.0, np.nan])))
    rng = np.random.default_rng(0)
    sums = np.stack([rng.normal(size=400), np.ones(400)], axis=1)
    expected = sums[:, 0].std() / 20
    assert standard_error(bootstrap([(sums, mean)])[:, 0]) == pytest.approx(expected, rel=0.03)
