"""Benchmarks whose gold is hidden: which boards that concerns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ffr_eval.benchmark import read_benchmark
from ffr_eval.benchmark.reader import INFO
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ffr_eval.runs import RunRecord

_HASH: Final = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")
_HASH_START: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class HiddenGold:
    """A benchmark whose gold is hidden, or one split of it.

    Attributes:
        benchmark: Its name, or a content hash or the first digits of one.
        split: ``None`` for all of it.
    """

    benchmark: str
    split: str | None

    @classmethod
    def of(cls, text: str) -> HiddenGold:
        """What ``BENCH[:split]`` says; a benchmark folder becomes its content hash."""
        start = len(_HASH_START) if text.startswith(_HASH_START) else 0
        name, colon, split = text[start:].rpartition(":")
        benchmark = text[:start] + (name if colon else split)
        if not benchmark or (colon and not split):
            remedy = "give BENCH or BENCH:SPLIT"
            raise InputError(f"{text!r} names no benchmark", field="--hidden-gold", remedy=remedy)
        if (Path(benchmark) / INFO).is_file():
            benchmark = read_benchmark(benchmark).content_hash
        return cls(benchmark, split if colon else None)

    def __str__(self) -> str:
        return self.benchmark if self.split is None else f"{self.benchmark}:{self.split}"

    def concerns_benchmark(self, name: str, content_hash: str) -> bool:
        """Whether it is of this benchmark."""
        found = _HASH.fullmatch(self.benchmark)
        digits = content_hash.removeprefix(_HASH_START)
        return self.benchmark == name or (found is not None and digits.startswith(found[1]))

    def hides(self, name: str, content_hash: str, split: str | None) -> bool:
        """Whether it is of a board: also of one of all samples, if a split of them is hidden."""
        same = self.split is None or split is None or split == self.split
        return same and self.concerns_benchmark(name, content_hash)


def require_known(
    wanted: Sequence[HiddenGold], boards: Iterable[tuple[str, str, str | None]]
) -> None:
    """Refuse what hides nothing: a name that is misspelt would show the gold.

    Args:
        wanted: What is to be hidden.
        boards: Name, content hash and split of each board.

    Raises:
        InputError: If one is of none of the boards.
    """
    known = list(boards)
    for each in wanted:
        if not any(each.hides(*board) for board in known):
            names = sorted({f"{name}:{split}" if split else name for name, _, split in known})
            remedy = "there are runs of: " + ", ".join(names)
            message = f"{each} is not a benchmark of any run"
            raise InputError(message, field="--hidden-gold", remedy=remedy)


def by_content(
    hidden: Sequence[HiddenGold], boards: Iterable[tuple[str, str, str | None]]
) -> tuple[HiddenGold, ...]:
    """The same, and also by the content hash of what they name: another name hides it no less.

    Args:
        hidden: What is hidden.
        boards: Name, content hash and split of each board.
    """
    known = {(name, content_hash) for name, content_hash, _ in boards}
    hashes = [
        HiddenGold(content_hash, each.split)
        for each in hidden
        for name, content_hash in sorted(known)
        if each.concerns_benchmark(name, content_hash)
    ]
    return tuple(dict.fromkeys((*hidden, *hashes)))


def has_examples(record: RunRecord) -> bool:
    """Whether the prompts of a run may hold the gold of other samples."""
    return bool(record.options.get("shots")) or "shots" in (record.selection or {})
