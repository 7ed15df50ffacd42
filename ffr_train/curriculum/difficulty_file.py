"""The difficulty file: JSON Lines, one line a sample with its F1, entropy and level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.jsonl import encode_line, read_bytes, read_records
from ffr_eval.writing import replacing
from ffr_train.curriculum.levels import LEVELS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ffr_train.curriculum.levels import FloatArray, LevelArray

_CODE: Final[dict[str | None, int]] = {
    None: UNKNOWN,
    **{name: code for code, name in enumerate(LEVELS)},
}


class DifficultyRecord(msgspec.Struct, frozen=True, gc=False):
    """A line of the file; what was not measured is null."""

    sample_id: str
    f1: float | None
    entropy: float | None
    entropy_kind: str | None
    level: Literal["easy", "medium", "confusing", "hard"] | None


@dataclass(frozen=True, slots=True, eq=False)
class Difficulty:
    """The columns of a difficulty file.

    Attributes:
        sample_id: Each once.
        f1: Shape ``(n,)``; NaN where it was not measured.
        entropy: Shape ``(n,)``; NaN where it was not measured.
        entropy_kind: Of each sample; ``None`` where the entropy was not measured.
        level: Codes of :data:`~ffr_train.curriculum.levels.LEVELS`, shape ``(n,)``.
    """

    sample_id: Sequence[str]
    f1: FloatArray
    entropy: FloatArray
    entropy_kind: Sequence[str | None]
    level: LevelArray

    def __len__(self) -> int:
        return len(self.sample_id)

    def levels_of(self, sample_ids: Iterable[str]) -> LevelArray:
        """The level of each of these samples; unknown also where the file has no such sample."""
        found = dict(zip(self.sample_id, self.level.tolist(), strict=True))
        return np.array([found.get(name, UNKNOWN) for name in sample_ids], dtype=np.int8)


def read(path: Path) -> Difficulty:
    """Read a difficulty file.

    Raises:
        InputError: If it cannot be read, a line is no such record, or a sample stands twice.
    """
    records = _records(path)
    names = [record.sample_id for record in records]
    if len(set(names)) < len(names):
        raise _twice(path, names)
    return Difficulty(
        names,
        np.array([record.f1 for record in records], dtype=np.float64),
        np.array([record.entropy for record in records], dtype=np.float64),
        [record.entropy_kind for record in records],
        np.array([_CODE[record.level] for record in records], dtype=np.int8),
    )


def write(difficulty: Difficulty, path: Path) -> None:
    """Write a difficulty file; what is there is replaced in one step.

    Raises:
        InputError: If it cannot be written.
        FfrError: If the disk is full.
    """
    names = {code: name for name, code in _CODE.items()}
    columns = zip(
        difficulty.sample_id,
        difficulty.f1.tolist(),
        difficulty.entropy.tolist(),
        difficulty.entropy_kind,
        difficulty.level.tolist(),
        strict=True,
    )
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for sample_id, f1, entropy, kind, code in columns:
            line = {
                "sample_id": sample_id,
                "f1": _or_null(f1),
                "entropy": _or_null(entropy),
                "entropy_kind": kind,
                "level": names[code],
            }
            stream.write(encode_line(line))


def _records(path: Path) -> list[DifficultyRecord]:
    """All lines at once; line by line if one is wrong, to say which."""
    data = read_bytes(path)
    try:
        records = msgspec.json.Decoder(DifficultyRecord).decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        records = [located.record for located in read_records(path, DifficultyRecord)]
    if not records:
        remedy = "`ffr train difficulty BENCH --model …` writes one"
        raise InputError("no records", file=path, remedy=remedy)
    return records


def _twice(path: Path, names: Sequence[str]) -> InputError:
    seen: set[str] = set()
    for located in read_records(path, DifficultyRecord):
        name = located.record.sample_id
        if name in seen:
            message = f"the sample {name!r} stands twice"
            remedy = "keep one line a sample"
            return InputError(
                message, file=path, line=located.line, field="sample_id", remedy=remedy
            )
        seen.add(name)
    raise AssertionError(f"{len(names)} names without a repetition")


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else value
