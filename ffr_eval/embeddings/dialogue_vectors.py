"""Vectors of a dialogue's utterances and images, from an ``.npz`` or any other provider."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

QUERY_KEY: Final = "q"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_BLOCK: Final = 32  # the vectors of that many pairs stay in the processor's cache
_TABLE_CELLS: Final = 64  # a table of all pairs may have that many times the pairs asked for
_REMEDY: Final = (
    "an .npz has a vector for each key u<utterance id>, i<image id>, and q for the query"
)


@dataclass(frozen=True, slots=True, eq=False)
class DialogueEmbeddings:
    """The vectors of one dialogue; of an encoder of text and images into one space.

    Attributes:
        vectors: Shape ``(m, d)``, of any float type; may be memory-mapped. Need not be normalised.
        utterances, images: Row of each id that has a vector.
        query: Row of the query, if it has one.
    """

    vectors: NDArray[Any]
    utterances: Mapping[int, int]
    images: Mapping[int, int]
    query: int | None = None

    def rows(self, modality: str, ids: IntArray) -> IntArray:
        """The row of each id, -1 without one."""
        found = self.utterances if modality == "utterance" else self.images
        return np.fromiter(map(found.get, ids.tolist(), repeat(-1)), np.int64, len(ids))

    def read(self, rows: IntArray) -> Vectors:
        """The vectors at some rows; none at row -1."""
        stored = np.asarray(self.vectors)
        if not stored.size:
            return Vectors(np.zeros((len(rows), 1)), np.full(len(rows), np.nan))
        values = stored[rows]
        if values.dtype.itemsize < np.dtype(np.float32).itemsize:
            values = values.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.vecdot(values, values).astype(np.float64)
        unusable = (rows < 0) | ~(np.isfinite(squares) & (squares > 0))
        if unusable.any():
            values[unusable] = 0.0
            squares[unusable] = np.nan
        return Vectors(values, np.sqrt(squares))


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors read for use.

    Attributes:
        values: Shape ``(m, d)``, as stored, at least float32; 0 where there is none, or none with a
            direction (NaN, infinity or nothing but 0 in it).
        lengths: Shape ``(m,)``; NaN there.
    """

    values: NDArray[Any]
    lengths: FloatArray

    def cosines(self, left: IntArray, right: IntArray) -> FloatArray:
        """Cosines of pairs with ``left < right``; NaN where one has no direction."""
        return _cosine(self._dots(left, right), self.lengths[left] * self.lengths[right])

    def cosines_with(self, other: Vectors) -> FloatArray:
        """The cosine of each with the only one of another."""
        return _cosine(self.values @ other.values[0], self.lengths * other.lengths[0])

    def _dots(self, left: IntArray, right: IntArray) -> FloatArray:
        """Dot products of pairs.

        A pair that occurs many times is multiplied once, and pairs at a distance that many rows
        occur at by slices of all rows, as copying the rows of pairs costs more than multiplying.
        """
        m = len(self.values)
        if m * m > _TABLE_CELLS * max(len(left), m):
            return self._dots_one_by_one(left, right)
        key = left * m + right
        asked = np.zeros(m * m, dtype=np.bool_)
        asked[key] = True
        one, other = np.divmod(np.flatnonzero(asked), m)
        distance = other - one
        often = np.bincount(distance, minlength=m) * 6 > np.arange(m, 0, -1)
        table = np.empty(m * m)
        for step in np.flatnonzero(often).tolist():
            dots = np.vecdot(self.values[:-step], self.values[step:])
            table[step : (m - step) * m : m + 1] = dots
        rest = ~often[distance]
        one, other = one[rest], other[rest]
        table[one * m + other] = self._dots_one_by_one(one, other)
        found: FloatArray = table[key]
        return found

    def _dots_one_by_one(self, left: IntArray, right: IntArray) -> FloatArray:
        dots = np.empty(len(left))
        for start in range(0, len(left), _BLOCK):
            block = slice(start, start + _BLOCK)
            dots[block] = np.vecdot(self.values[left[block]], self.values[right[block]])
        return dots


def _cosine(dots: NDArray[Any], lengths: FloatArray) -> FloatArray:
    cosines: FloatArray = dots / lengths
    return np.clip(cosines, -1.0, 1.0, out=cosines)


def embeddings_of(vectors: Mapping[str, Any], where: object = None) -> DialogueEmbeddings:
    """Embeddings from vectors by key: ``u<id>``, ``i<id>``, and ``q`` for the query.

    Raises:
        InputError: If a key is another, or the vectors are not of one dimension.
    """
    rows: dict[str, dict[int, int]] = {"u": {}, "i": {}}
    stacked: list[NDArray[Any]] = []
    query = None
    for key, value in vectors.items():
        vector = np.asarray(value)
        if vector.ndim != 1 or vector.dtype.kind != "f":
            message = f"{key} is no vector of floats: shape {vector.shape}, type {vector.dtype}"
            raise InputError(message, file=where, field=key, remedy=_REMEDY)
        if stacked and vector.shape != stacked[0].shape:
            message = f"{len(vector)} dimensions, others have {len(stacked[0])}"
            raise InputError(message, file=where, field=key, remedy="use one encoder for all")
        if key == QUERY_KEY:
            query = len(stacked)
        elif key[:1] in rows and _NUMBER.fullmatch(key[1:]):
            rows[key[0]][int(key[1:])] = len(stacked)
        else:
            raise InputError(f"unknown key {key!r}", file=where, field=key, remedy=_REMEDY)
        stacked.append(vector)
    matrix = np.stack(stacked) if stacked else np.zeros((0, 0), dtype=np.float32)
    return DialogueEmbeddings(matrix, rows["u"], rows["i"], query)


@lru_cache(maxsize=4096)
def read_embeddings(path: Path) -> DialogueEmbeddings:
    """Read an ``.npz``; once for each path. Pickles are not loaded.

    Raises:
        InputError: If it cannot be read, or is not what it should be.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return embeddings_of({key: archive[key] for key in archive.files}, path)
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy=_REMEDY) from None
    except (
        OSError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
        AttributeError,
        TypeError,
    ) as error:
        raise InputError(f"is no .npz of vectors: {error}", file=path, remedy=_REMEDY) from None
