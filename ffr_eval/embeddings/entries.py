"""What is kept under a key: a vector, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

_AT_A_TIME: Final = 1024  # vectors that are normalised together


class FailureReason(StrEnum):
    """Why an element has no vector."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    NO_DIRECTION = "no_direction"
    NOT_ENCODED = "not_encoded"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an element has no vector, and what was wrong with it."""

    reason: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be kept under a key; either ``vector`` or ``failure`` is given.

    Attributes:
        key: From :mod:`ffr_eval.embeddings.keys`.
        vector: Shape ``(d,)``, of any floating type and length.
        failure: Why there is no vector.
        cut_tokens: The full length in tokens of a text that was cut to the model's limit.
    """

    key: bytes
    vector: FloatArray | None = None
    failure: Failure | None = None
    cut_tokens: int | None = None


def with_directions(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with vectors of length 1 (float32, computed in float64).

    A vector without direction (zero, or with NaN or infinite values) becomes a failure.

    Raises:
        ValueError: If an entry has both a vector and a failure, or neither, or a vector that is
            no vector.
    """
    done: list[Entry] = []
    for start in range(0, len(entries), _AT_A_TIME):
        part = entries[start : start + _AT_A_TIME]
        for entry in part:
            if (entry.vector is None) == (entry.failure is None):
                raise ValueError("an entry has either a vector or a failure")
            if entry.vector is not None and (entry.vector.ndim != 1 or not entry.vector.size):
                raise ValueError(f"a vector has one axis, not the shape {entry.vector.shape}")
        done += map(_with_direction, part)
    return done


def _with_direction(entry: Entry) -> Entry:
    if entry.vector is None:
        return entry
    vector = entry.vector.astype(np.float64)
    largest = float(np.abs(vector).max())
    if not np.isfinite(largest) or largest == 0:
        what = "is zero" if largest == 0 else "has values that are not finite"
        failure = Failure(FailureReason.NO_DIRECTION, f"the vector {what}")
        return Entry(entry.key, None, failure, entry.cut_tokens)
    vector /= largest  # so that squares neither vanish nor overflow
    vector /= np.sqrt(vector @ vector)
    return Entry(entry.key, vector.astype("<f4"), None, entry.cut_tokens)


def encode_failure(failure: Failure) -> bytes:
    """A failure as it is kept."""
    return f"{failure.reason.value}\0{failure.message}".encode(errors="surrogatepass")


def decode_failure(data: bytes) -> Failure:
    """A failure as it was kept.

    Raises:
        ValueError: If these are not the bytes of one.
    """
    reason, _, message = data.decode(errors="surrogatepass").partition("\0")
    return Failure(FailureReason(reason), message)
