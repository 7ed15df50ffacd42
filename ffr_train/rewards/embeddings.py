"""Vectors of a dialogue's utterances and images, from an ``.npz`` or any other provider."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import lru_cache
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
        return np.fromiter((found.get(i, -1) for i in ids.tolist()), np.int64, len(ids))

    def unit(self, rows: IntArray) -> FloatArray:
        """Vectors at some rows at length 1, float64; NaN for row -1, and for what has no direction.

        Without a direction are vectors with NaN or infinity in them, and zero.
        """
        there = rows >= 0
        chosen = np.full((len(rows), self.vectors.shape[1]), np.nan)
        chosen[there] = self.vectors[rows[there]]
        lengths = np.sqrt(np.einsum("ij,ij->i", chosen, chosen))
        usable = np.isfinite(lengths) & (lengths > 0)
        return chosen / np.where(usable, lengths, np.nan)[:, None]


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
        elif key[:1] in rows and key[1:].isascii() and key[1:].isdigit():
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
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError(f"is no .npz of vectors: {error}", file=path, remedy=_REMEDY) from None
