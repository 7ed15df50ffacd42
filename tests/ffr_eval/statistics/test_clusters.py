from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.statistics import Clusters

SAMPLES = st.lists(
    st.tuples(st.text(max_size=3), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=30
)


@given(SAMPLES)
def test_sums_are_those_of_a_loop(samples: list[tuple[str, int, int]]) -> None:
    clusters = Clusters.of([name for name, _, _ in samples])
    terms = np.array([row[1:] for row in samples], dtype=float).reshape(-1, 2)
    expected: dict[str, list[int]] = {}
    for name, *row in samples:
        old = expected.get(name, [0, 0])
        expected[name] = [old[0] + row[0], old[1] + row[1]]
    assert clusters.count == len(expected)
    assert clusters.sums(terms).tolist() == [expected[name] for name in sorted(expected)]


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_changes_nothing(samples: list, random) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    both = [
        Clusters.of([row[0] for row in rows]).sums(
            np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
        )
        for rows in (samples, shuffled)
    ]
    assert np.array_equal(*both)


@given(st.lists(st.integers(0, 20)))
def test_only_the_order_of_the_ids_matters(ids: list[int]) -> None:
    a = Clusters.of([f"{number:03}" for number in ids])
    b = Clusters.of([chr(0x4E00 + 7 * number) for number in ids])
    assert (a.code.tolist(), a.count) == (b.code.tolist(), b.count)


def test_large_integers_are_exact() -> None:
    clusters = Clusters.of(["d"] * 3)
    assert clusters.sums([[2.0**52], [1.0], [1.0]])[0, 0] == 2**52 + 2


def test_many_clusters_are_fast() -> None:
    ids = [f"d{number % 100_000}" for number in range(300_000)]
    start = time.perf_counter()
    sums = Clusters.of(ids).sums(np.ones((300_000, 4)))
    assert time.perf_counter() - start < 5  # 0.2 s; a loop over clusters takes minutes
    assert (sums == 3).all()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([[1.0], [2.0]], "2 rows of terms for 3 samples"),
        ([1.0, 2.0, 3.0], "dimensions"),
        ([[1.0], [np.nan], [1.0]], "finite"),
        ([[1.0], [np.inf], [1.0]], "finite"),
    ],
)
def test_unusable_terms(terms: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Clusters.of(["a", "b", "c"]).sums(terms)
