"""The coherence kernel against a plain one, written from metrics.md."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.metrics.coherence import (
    Fragments,
    centred,
    expected_order,
    order_consistency,
    query_similarity,
    units,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def plain_order(vectors: Sequence[np.ndarray]) -> float:
    """NaN below two elements."""
    cosines = [cosine(a, b) for a, b in pairwise(vectors)]
    return sum(cosines) / len(cosines) if cosines else float("nan")


def plain_query(vectors: Sequence[np.ndarray], query: np.ndarray) -> float:
    cosines = [cosine(vector, query) for vector in vectors]
    return sum(cosines) / len(cosines) if cosines else float("nan")


def plain_random(
    vectors: np.ndarray, image: np.ndarray, n_utterances: int, n_images: int, query: np.ndarray
) -> tuple[float, float]:
    """Over every fragment of that size."""
    utterances, images = np.flatnonzero(~image).tolist(), np.flatnonzero(image).tolist()
    every = [
        [vectors[i] for i in sorted((*a, *b))]
        for a, b in product(combinations(utterances, n_utterances), combinations(images, n_images))
    ]
    orders = [plain_order(fragment) for fragment in every]
    similar = [plain_query(fragment, query) for fragment in every]
    return sum(orders) / len(orders), sum(similar) / len(similar)


@st.composite
def dialogues(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[list[int]]]:
    """Vectors of up to 7 elements, which are images, queries, and fragments (one a query)."""
    m = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = np.array(draw(st.lists(st.booleans(), min_size=m, max_size=m)), dtype=np.bool_)
    fragments = draw(st.lists(st.sets(st.integers(0, m - 1)), min_size=1, max_size=4))
    vectors = rng.normal(size=(m, 5)) + rng.normal(size=5)
    without = draw(st.sets(st.integers(0, m - 1), max_size=2))
    vectors[list(without)] = 0
    return vectors, image, rng.normal(size=(len(fragments), 5)), [sorted(f) for f in fragments]


def of_fragments(
    vectors: np.ndarray, image: np.ndarray, queries: np.ndarray, fragments: list[list[int]]
) -> np.ndarray:
    """Rows order, query, random order, random query."""
    fragment = np.repeat(np.arange(len(fragments)), [len(f) for f in fragments])
    element = np.array([i for f in fragments for i in f], dtype=np.int64)
    kernel = Fragments(image, fragment, element, np.arange(len(fragments)))
    found = kernel.coherence(vectors, queries)
    return np.stack([found.order, found.query, found.random_order, found.random_query])


@given(dialogues())
def test_fragments_are_as_the_plain_reference_says_and_random_ones_as_all_of_them(
    given_dialogue: tuple[np.ndarray, np.ndarray, np.ndarray, list[list[int]]],
) -> None:
    vectors, image, queries, fragments = given_dialogue
    has = vectors.any(axis=1)
    expected = []
    for fragment, query in zip(fragments, queries, strict=True):
        kept = [i for i in fragment if has[i]]
        n_images = int(image[kept].sum())
        sizes = len(kept) - n_images, n_images
        random = plain_random(vectors[has], image[has], *sizes, query)
        expected.append((plain_order(vectors[kept]), plain_query(vectors[kept], query), *random))
    for precision, tolerance in ((np.float64, 1e-12), (np.float32, 1e-6)):
        found = of_fragments(vectors.astype(precision), image, queries.astype(precision), fragments)
        np.testing.assert_allclose(found.T, np.array(expected), rtol=0, atol=tolerance)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(0, 6))
def test_the_expected_order_of_larger_dialogues_is_what_draws_come_to(
    seed: int, n_utterances: int, n_images: int
) -> None:
    rng = np.random.default_rng(seed)
    m = n_utterances + n_images
    vectors = rng.normal(size=(m, 4)) + 0.5
    image = np.zeros(m, dtype=np.bool_)
    image[rng.choice(m, n_images, replace=False)] = True
    sizes = int(rng.integers(2, n_utterances + 1)), int(rng.integers(0, n_images + 1))
    draws = []
    for _ in range(300):
        chosen = [
            rng.choice(np.flatnonzero(of), size, replace=False)
            for of, size in zip((~image, image), sizes, strict=True)
        ]
        draws.append(plain_order(vectors[np.sort(np.concatenate(chosen))]))
    found = expected_order(vectors, image, [sizes[0]], [sizes[1]])[0]
    error = np.std(draws) / np.sqrt(len(draws)) + 1e-9
    assert abs(found - np.mean(draws)) < 6 * error


def test_large_dialogues_are_cut_into_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors, image = rng.normal(size=(50, 8)), rng.random(50) < 0.3
    fragments = [[0, 7, 30, 49], [3, 4], list(range(50))]
    queries = rng.normal(size=(3, 8))
    whole = of_fragments(vectors, image, queries, fragments)
    monkeypatch.setattr("ffr_eval.metrics.coherence._PAIRS_AT_ONCE", 200)
    monkeypatch.setattr("ffr_eval.metrics.coherence._KEPT_UNIVERSE", 3)
    np.testing.assert_allclose(
        of_fragments(vectors, image, queries, fragments), whole, rtol=0, atol=1e-12
    )


@given(dialogues())
def test_single_fragments_and_centred_vectors_are_as_the_plain_reference_says(
    given_dialogue: tuple[np.ndarray, np.ndarray, np.ndarray, list[list[int]]],
) -> None:
    vectors, image, queries, _ = given_dialogue
    has = vectors.any(axis=1)
    vectors, image = vectors[has], image[has]
    order, query = order_consistency(vectors), query_similarity(vectors, queries[0])
    assert order == (pytest.approx(plain_order(vectors)) if len(vectors) > 1 else None)
    assert query == (pytest.approx(plain_query(vectors, queries[0])) if len(vectors) else None)
    moved = centred(vectors, image)
    unit = [vector / np.linalg.norm(vector) for vector in vectors]
    for i, kind in enumerate(image.tolist()):
        mean = np.mean([u for u, k in zip(unit, image.tolist(), strict=True) if k == kind], axis=0)
        np.testing.assert_allclose(moved[i], unit[i] - mean, rtol=0, atol=1e-12)


def test_scale_and_extreme_lengths_do_not_matter() -> None:
    vectors = np.array([[3.0, 4.0], [4.0, 3.0], [-3.0, -4.0]])
    expected = (0.96 - 0.96) / 2
    for scale in (1.0, 1e-200, 1e200):
        assert order_consistency(vectors * scale) == pytest.approx(expected, abs=1e-12)
        assert query_similarity(vectors[:2], vectors[0] * scale) == pytest.approx(0.98)


def test_a_vector_that_is_its_modalitys_mean_has_no_direction() -> None:
    assert units(centred(np.array([[1.0, 2.0], [0.0, 1.0]]), [0, 1]))[1].tolist() == [False, False]


def test_wrong_shapes_and_vectors_without_direction_are_refused() -> None:
    for bad in (np.zeros(3), np.zeros((1, 2, 3))):
        with pytest.raises(ValueError, match=r"not \(m, d\)"):
            order_consistency(bad)
    good = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"query has the shape \(1, 3\)"):
        query_similarity(good, good[:1])
    with pytest.raises(ValueError, match="3 dimensions, query has 2"):
        query_similarity(good, np.ones(2))
    with pytest.raises(ValueError, match="modality has the shape"):
        centred(good, [0])
    for value in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="row 1 has no direction"):
            order_consistency(np.array([[1.0, 2.0], [value, 0.0]]))
    with pytest.raises(ValueError, match="query: row 0 has no direction"):
        query_similarity(good, np.zeros(3))
