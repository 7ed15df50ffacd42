"""The ids that a dialogue's text marks, for many texts at once.

Equal to ``re.findall`` of start marker, digits, end marker on each text, but as array work over all
texts together: on inference files this is most of what there is to do beside decoding the JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.markup import IMG_ID, UTT_ID
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ffr_eval.ragged import IntArray

_PATTERNS: Final = tuple(
    re.compile(rf"{re.escape(start)}(\d+){re.escape(end)}") for start, end in (UTT_ID, IMG_ID)
)
_MAX_DIGITS: Final = 18
_BAR: Final = ord("|")
_START_WIDTH: Final = len(UTT_ID[0]) - 3  # from one | of a marker to its other one
_END_WIDTH: Final = len(UTT_ID[1]) - 3
_WORD: Final = 8  # characters compared at a time: eight bytes are a 64-bit number
_PADDING: Final = "\n" * len(UTT_ID[0])  # so that no comparison runs over the end


def marked_ids(texts: Sequence[str]) -> tuple[Ragged, Ragged]:
    """Utterance ids and image ids that each text marks, in order of appearance.

    Ids of more than 18 digits are left out (they would not fit an integer column).
    """
    found = _by_arrays(texts)
    if found is None:
        utterances, images = (
            Ragged.from_lists([_by_regex(text, pattern) for text in texts]) for pattern in _PATTERNS
        )
        return utterances, images
    return found


def _by_regex(text: str, pattern: re.Pattern[str]) -> list[int]:
    return [int(digits) for digits in pattern.findall(text) if len(digits) <= _MAX_DIGITS]


def _by_arrays(texts: Sequence[str]) -> tuple[Ragged, Ragged] | None:
    """The same by arrays; ``None`` where a number is not of 1 to 18 ASCII digits."""
    # One byte a character: what is not ASCII becomes "?", which is in no marker.
    data = "\n".join([*texts, _PADDING]).encode("ascii", "replace")
    units = np.frombuffer(data, dtype=np.uint8)
    text_ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    # A marked id is <|utt_id_start|>DIGITS<|utt_id_end|>: its four bars are neighbours among all
    # bars, at known distances.
    bars = np.flatnonzero(units == _BAR)
    gaps = np.diff(bars)
    first = np.flatnonzero((gaps[:-2] == _START_WIDTH) & (gaps[2:] == _END_WIDTH))
    opening, closing = bars[first] - 1, bars[first + 2] - 1
    if len(opening) and opening[0] < 0:
        opening, closing = opening[1:], closing[1:]
    starts, ends = _words_at(data, opening, UTT_ID[0]), _words_at(data, closing, UTT_ID[1])
    found: list[Ragged] = []
    for start, end in (UTT_ID, IMG_ID):
        matches = _all_equal(starts, start) & _all_equal(ends, end)
        matches &= closing > opening + len(start)  # instructions name the markers without an id
        begins = opening[matches] + len(start)
        numbers = _numbers(units, begins, closing[matches] - begins)
        if numbers is None:
            return None
        rows = np.searchsorted(text_ends, begins, side="right")
        found.append(Ragged.from_lengths(numbers, np.bincount(rows, minlength=len(texts))))
    return found[0], found[1]


def _steps(marker: str) -> tuple[int, ...]:
    """Where the words begin that cover a marker; the last one may overlap the one before."""
    return (*range(0, len(marker) - _WORD, _WORD), len(marker) - _WORD)


def _words_at(data: bytes, places: IntArray, marker: str) -> list[NDArray[np.uint64]]:
    """The words that stand where those of ``marker`` would, for all places."""
    words: NDArray[np.uint64] = np.ndarray(
        shape=(len(data) - _WORD + 1,), dtype="<u8", buffer=data, strides=(1,)
    )
    return [words[places + step] for step in _steps(marker)]


def _all_equal(words: Sequence[NDArray[np.uint64]], marker: str) -> NDArray[np.bool_]:
    """Whether the words are those of a marker."""
    wanted = [
        int.from_bytes(marker[step : step + _WORD].encode(), "little") for step in _steps(marker)
    ]
    equal: NDArray[np.bool_] = words[0] == np.uint64(wanted[0])
    for word, value in zip(words[1:], wanted[1:], strict=True):
        equal &= word == np.uint64(value)
    return equal


def _numbers(units: NDArray[np.uint8], begins: IntArray, widths: IntArray) -> IntArray | None:
    """The decimal numbers at some places; ``None`` if one is not of 1 to 18 ASCII digits."""
    if not len(begins):
        return np.zeros(0, dtype=np.int64)
    longest = int(widths.max())
    if longest > _MAX_DIGITS or int(widths.min()) < 1:
        return None
    numbers = np.zeros(len(begins), dtype=np.int64)
    for step in range(longest):
        inside = step < widths
        digits = units[begins + step] - np.uint8(ord("0"))  # below "0" wraps to large numbers
        if (inside & (digits > 9)).any():
            return None
        numbers = np.where(inside, numbers * 10 + digits, numbers)
    return numbers
