"""Coherence of fragments: order consistency and query similarity, as pure functions on arrays.

Fragment order consistency is the mean cosine of adjacent elements (F2RVLM Eq. 3), query similarity
the mean cosine of the elements with the query. Cosines have no unit and lie in -1 to 1. Nothing
here reads a file: ``ffr score --coherence`` and the rewards of ``ffr_train`` bring the vectors.

Both figures are easily gamed by turns that say the same thing. What stands beside them here is
exact, nothing is drawn: :func:`expected_order` and :func:`expected_similarity` are the means over
all random fragments of a size, and :func:`centred` takes away what all elements share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

    BoolArray = NDArray[np.bool_]

_NO_DIRECTION: Final = 1e-6  # shorter than that is what rounding leaves of nothing (float32)
_PAIRS_AT_ONCE: Final = 2**20
_KEPT_UNIVERSE: Final = 256  # probabilities of larger dialogues are not kept
_TYPES: Final = ((2, 0), (1, 1), (0, 2))  # utterances and images of a pair


def order_consistency(vectors: ArrayLike) -> float | None:
    """Fragment order consistency: the mean cosine of adjacent elements (F2RVLM Eq. 3).

    Args:
        vectors: Of the elements in dialogue order, shape ``(m, d)``; they need not be normalised.

    Returns:
        -1 to 1; ``None`` below two elements.

    Raises:
        ValueError: If it is of another shape, or a vector has no direction (0, NaN or infinity).
    """
    unit = _units(vectors, "vectors")
    if len(unit) < 2:
        return None
    return float(np.clip(np.vecdot(unit[:-1], unit[1:]), -1.0, 1.0).mean())


def query_similarity(vectors: ArrayLike, query: ArrayLike) -> float | None:
    """Query-fragment similarity: the mean cosine of the elements with the query.

    Args:
        vectors: Of the elements, shape ``(m, d)``; they need not be normalised.
        query: Of the query, shape ``(d,)``.

    Returns:
        -1 to 1; ``None`` without elements.

    Raises:
        ValueError: If the shapes are others, or a vector has no direction (0, NaN or infinity).
    """
    asked = np.asarray(query)
    if asked.ndim != 1:
        raise ValueError(f"query has the shape {asked.shape}, not (d,)")
    unit = _units(vectors, "vectors")
    if not len(unit):
        return None
    if unit.shape[1] != len(asked):
        raise ValueError(f"vectors have {unit.shape[1]} dimensions, query has {len(asked)}")
    return float(np.clip(unit @ _units(asked[None], "query")[0], -1.0, 1.0).mean())


def centred(vectors: ArrayLike, modality: ArrayLike, means: FloatArray | None = None) -> FloatArray:
    """Vectors of length 1, minus the mean of their modality.

    Encoders put texts and images into different corners of their space (the modality gap), and
    all texts into one; cosines of centred vectors compare what is left.

    Args:
        vectors: Shape ``(m, d)``; they need not be normalised.
        modality: Of each vector, shape ``(m,)``: whole numbers from 0, or truth values.
        means: The mean of each modality over vectors of length 1, shape ``(k, d)``; by default over
            ``vectors``.

    Returns:
        Shape ``(m, d)``, not normalised again; about 0 where a vector is the mean.

    Raises:
        ValueError: If the shapes do not fit, or a vector has no direction (0, NaN or infinity).
    """
    unit = _units(vectors, "vectors")
    kind = np.asarray(modality).astype(np.int64)
    if kind.shape != (len(unit),):
        raise ValueError(f"modality has the shape {kind.shape}, not ({len(unit)},)")
    if means is None:
        k = int(kind.max(initial=-1)) + 1
        number = np.bincount(kind, minlength=k)
        means = modality_sums(unit, kind, k) / np.maximum(number, 1)[:, None]
    return unit - means[kind]


def modality_sums(unit: NDArray[Any], modality: IntArray, k: int) -> FloatArray:
    """Sum of the vectors of each of ``k`` modalities, shape ``(k, d)``."""
    which = (modality == np.arange(k)[:, None]).astype(unit.dtype)
    sums: FloatArray = (which @ unit).astype(np.float64)
    return sums


def units(vectors: NDArray[Any]) -> tuple[NDArray[Any], BoolArray]:
    """Vectors of length 1, and which have a direction.

    Args:
        vectors: Shape ``(m, d)``, of any float type.

    Returns:
        Shape ``(m, d)``, 0 where a vector has no direction: NaN or infinity in it, or shorter than
        what rounding leaves of 0; and shape ``(m,)``.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.vecdot(vectors, vectors))
    usable = np.isfinite(lengths) & (lengths > _NO_DIRECTION)
    if not usable.all():
        vectors = np.where(usable[:, None], vectors, 0)
        lengths = np.where(usable, lengths, 1)
    return vectors / lengths[:, None], usable


def _units(vectors: ArrayLike, name: str) -> FloatArray:
    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"{name} has the shape {values.shape}, not (m, d)")
    largest = np.abs(values).max(axis=1, initial=0.0)
    lost = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
    if len(lost):
        raise ValueError(f"{name}: row {lost[0]} has no direction (0, NaN or infinity)")
    scaled = values / largest[:, None]  # so that squares neither vanish nor overflow
    found: FloatArray = scaled / np.sqrt(np.vecdot(scaled, scaled))[:, None]
    return found


def adjacent(fragment: IntArray) -> IntArray:
    """Where in a list of elements, sorted by fragment, a pair of adjacent ones begins.

    Args:
        fragment: The fragment of each element, shape ``(t,)``.
    """
    return np.flatnonzero(fragment[1:] == fragment[:-1])


def fragment_means(fragment: IntArray, values: FloatArray, number: IntArray) -> FloatArray:
    """The mean of the values of each fragment, shape ``(n,)``; NaN where it has none.

    Args:
        fragment: The fragment of each value, shape ``(t,)``.
        values: Cosines, shape ``(t,)``.
        number: How many values each fragment has, shape ``(n,)``; not above 0 for none.
    """
    sums = np.bincount(fragment, values, len(number))
    some = number > 0
    return np.where(some, sums / np.where(some, number, 1), np.nan)


@dataclass(frozen=True, slots=True)
class FragmentCoherence:
    """Of ``n`` fragments of one dialogue; each shape ``(n,)``.

    Attributes:
        order: Mean cosine of adjacent elements; NaN below two.
        query: Mean cosine of the elements with the query; NaN without elements, or where the query
            has no direction.
        random_order: The same on average over all fragments with as many utterances and as many
            images, of the dialogue's elements that have a direction.
        random_query: Likewise.
    """

    order: FloatArray
    query: FloatArray
    random_order: FloatArray
    random_query: FloatArray


class Fragments:
    """Fragments of one dialogue.

    Args:
        image: Which elements of the dialogue are images, in its order, shape ``(m,)``.
        fragment: The fragment of each of their elements, shape ``(t,)``, sorted.
        element: The place of each in the dialogue, shape ``(t,)``, ascending in each fragment.
        asked: The row of each fragment's query, shape ``(n,)``.
    """

    def __init__(
        self, image: BoolArray, fragment: IntArray, element: IntArray, asked: IntArray
    ) -> None:
        self._image = image
        self._fragment = fragment
        self._element = element
        self._asked = asked
        self._first = adjacent(fragment)
        self._size = np.bincount(fragment, minlength=len(asked))
        self._shown = np.bincount(fragment[image[element]], minlength=len(asked))
        self._between = Between(image)
        self._weights = _weights(image, self._size - self._shown, self._shown)

    def coherence(self, vectors: NDArray[Any], queries: NDArray[Any]) -> FragmentCoherence:
        """Coherence of the fragments; equal ones get exactly equal figures.

        Elements whose vector has no direction are passed over.

        Args:
            vectors: Of the dialogue's elements, shape ``(m, d)``; 0 for none.
            queries: Of its queries, shape ``(k, d)``; 0 for none.
        """
        unit, usable = units(vectors)
        if not usable.all():
            number = np.cumsum(usable) - 1
            there = usable[self._element]
            fragment, element = self._fragment[there], number[self._element[there]]
            less = Fragments(self._image[usable], fragment, element, self._asked)
            return less.coherence(unit[usable], queries)
        asking, has_query = units(queries)
        similar = np.clip(asking @ unit.T, -1.0, 1.0)
        similar[~has_query] = np.nan
        first, fragment, size = self._first, self._fragment, self._size
        cosines, sums = self._between.cosines(unit, self._element[first], self._element[first + 1])
        total = np.zeros(len(size))
        for of_kind, (spoken, shown) in zip(sums, self._weights, strict=False):
            total += np.vecdot(spoken @ of_kind, shown)
        return FragmentCoherence(
            order=fragment_means(fragment[first], cosines, size - 1),
            query=fragment_means(fragment, similar[self._asked[fragment], self._element], size),
            random_order=np.where(size > 1, total / np.maximum(size - 1, 1), np.nan),
            random_query=expected_similarity(
                similar, self._image, self._asked, size - self._shown, self._shown
            ),
        )


class Between:
    """What stands between the elements of a dialogue.

    Args:
        image: Which elements are images, in dialogue order, shape ``(m,)``.
    """

    def __init__(self, image: BoolArray) -> None:
        m, n_images = len(image), int(image.sum())
        shown = np.cumsum(image)
        spoken = np.arange(1, m + 1) - shown
        columns = n_images + 1
        cells = (m - n_images + 1) * columns
        kind = image.astype(np.int64) * cells
        self._shape = 3 if n_images else 1, m - n_images + 1, columns
        self._before = kind + (spoken - ~image) * columns + shown - image
        self._through = kind - spoken * columns - shown
        self._step = max(_PAIRS_AT_ONCE // max(m, 1), 1)
        self._only = self._pairs(0, m) if m <= self._step else None

    def cosines(
        self, unit: NDArray[Any], left: IntArray, right: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Cosines of pairs of elements, and of all pairs summed by what stands between the two.

        Args:
            unit: Vectors of length 1 in dialogue order, shape ``(m, d)``.
            left: The first of each pair, shape ``(p,)``.
            right: The second, later in the dialogue.

        Returns:
            The cosines, shape ``(p,)``; and of ``A`` utterances and ``B`` images sums of shape
            ``(3, A + 1, B + 1)``: over the pairs of two utterances, of one of each, of two images
            that have so many utterances and so many images between them; the first of the three
            only where there are no images.
        """
        m = len(unit)
        cosines = np.empty(len(left))
        sums = np.zeros(int(np.prod(self._shape)))
        for start in range(0, m, self._step):
            stop = min(start + self._step, m)
            table = unit[start:stop] @ unit.T
            if stop - start == m:
                cosines = table[left, right].astype(np.float64)
            else:
                here = (left >= start) & (left < stop)
                cosines[here] = table[left[here] - start, right[here]]
            pairs, between = self._only or self._pairs(start, stop)
            sums += np.bincount(between, table.ravel()[pairs], len(sums))
        return np.clip(cosines, -1.0, 1.0), sums.reshape(self._shape)

    def _pairs(self, start: int, stop: int) -> tuple[IntArray, IntArray]:
        """Of the rows of a table of all pairs: the cells of pairs in order, and what is between."""
        later = np.arange(len(self._before)) > np.arange(start, stop)[:, None]
        between = self._through[start:stop, None] + self._before
        return np.flatnonzero(later), between[later]


def expected_order(
    vectors: ArrayLike, image: ArrayLike, n_utterances: ArrayLike, n_images: ArrayLike
) -> FloatArray:
    """Mean order consistency of all fragments of given sizes; exactly, without drawing any.

    Two elements are adjacent in a random fragment if both are in it and none between them is, which
    has the same probability for all pairs of a kind with as many utterances and images between.

    Args:
        vectors: Of the dialogue's elements in its order, shape ``(m, d)``.
        image: Which of them are images, shape ``(m,)``.
        n_utterances: How many each fragment has, shape ``(n,)``; not more than there are.
        n_images: How many images.

    Returns:
        Shape ``(n,)``, -1 to 1; NaN below two elements.

    Raises:
        ValueError: If a vector has no direction (0, NaN or infinity).
    """
    unit = _units(vectors, "vectors")
    shown = np.asarray(image, dtype=np.bool_)
    spoken_size, shown_size = np.asarray(n_utterances), np.asarray(n_images)
    none = np.zeros(0, dtype=np.int64)
    _, sums = Between(shown).cosines(unit, none, none)
    total = np.zeros(len(spoken_size))
    for of_kind, (spoken, other) in zip(
        sums, _weights(shown, spoken_size, shown_size), strict=False
    ):
        total += np.vecdot(spoken @ of_kind, other)
    pairs = spoken_size + shown_size - 1
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def _weights(
    image: BoolArray, n_utterances: IntArray, n_images: IntArray
) -> list[tuple[FloatArray, FloatArray]]:
    """How probable pairs are to be adjacent, by the utterances and by the images between them."""
    there = int(image.sum())
    return [
        (
            _adjacent_alone(len(image) - there, spoken, n_utterances),
            _adjacent_alone(there, shown, n_images),
        )
        for spoken, shown in (_TYPES if there else _TYPES[:1])
    ]


def _adjacent_alone(universe: int, chosen: int, size: IntArray) -> FloatArray:
    """How probable it is that ``chosen`` given ones are in a random set, and ``u`` others are not.

    Shape ``(n, universe + 1)``, for ``u = 0 … universe``.
    """
    if universe <= _KEPT_UNIVERSE:
        return _every_size(universe, chosen)[size]
    return _probabilities(universe, chosen, size)


@lru_cache(maxsize=1024)
def _every_size(universe: int, chosen: int) -> FloatArray:
    return _probabilities(universe, chosen, np.arange(universe + 1))


def _probabilities(universe: int, chosen: int, size: IntArray) -> FloatArray:
    if chosen > universe:
        return np.zeros((len(size), universe + 1))
    among = size[:, None].astype(np.float64)
    steps = np.arange(universe, dtype=np.float64)
    left = universe - chosen - steps
    factors = np.ones((len(size), universe + 1))
    for taken in range(chosen):
        factors[:, :1] *= (among - taken) / (universe - taken)
    out = (universe - among - steps) / np.where(left > 0, left, 1.0)
    factors[:, 1:] = np.where(left > 0, np.maximum(out, 0.0), 0.0)
    return np.cumprod(factors, axis=1, out=factors)


def expected_similarity(
    similar: FloatArray,
    image: BoolArray,
    asked: IntArray,
    n_utterances: IntArray,
    n_images: IntArray,
) -> FloatArray:
    """Mean query similarity of all fragments of given sizes; exactly, without drawing any.

    Args:
        similar: Cosine of each query with each element, shape ``(k, m)``.
        image: Which elements are images, shape ``(m,)``.
        asked: The row of each fragment's query, shape ``(n,)``.
        n_utterances: How many each fragment has, shape ``(n,)``; not more than there are.
        n_images: How many images.

    Returns:
        Shape ``(n,)``; NaN without elements, or where the query has no direction.
    """
    size = n_utterances + n_images
    total = np.zeros(len(size))
    for which, number in ((~image, n_utterances), (image, n_images)):
        there = int(which.sum())
        if there:
            total += number * (similar[:, which].sum(axis=1) / there)[asked]
    return np.where(size > 0, total / np.maximum(size, 1), np.nan)
