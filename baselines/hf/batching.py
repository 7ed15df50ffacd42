"""Which requests a model answers at once: those of nearly the same length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK: Final = 256
"""So many requests are drawn and sorted at once."""
BATCH_SIZE: Final = 8
"""Requests at once, unless ``--batch-size`` says otherwise."""
TOKENS_A_REQUEST: Final = 8192
"""A batch of N requests has at most N times so many tokens, padding and answers included."""
_STEP: Final = 64
"""Lengths within so many tokens count as the same, so that a dialogue's requests stay together."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Item]):
    """Something to put into a batch.

    Attributes:
        item: What.
        length: Its tokens.
        group: Items of one group stay together, as far as their lengths allow.
    """

    item: Item
    length: int
    group: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be.

    Attributes:
        rows: Requests.
        tokens: Tokens, padding and answers included; a batch of one may have more.
        answer: Tokens of an answer, at most.
    """

    rows: int
    tokens: int
    answer: int

    def allow(self, rows: int, longest: int) -> bool:
        """Whether so many requests, padded to the longest, are not too many."""
        return rows == 1 or (rows <= self.rows and rows * (longest + self.answer) <= self.tokens)


def batches(entries: Sequence[Entry[Item]], limits: Limits) -> list[list[Entry[Item]]]:
    """Batches of entries, the longest first: if memory is short, that shows at once.

    The same entries in the same order make the same batches.
    """
    first: dict[str, int] = {}
    for place, entry in enumerate(entries):
        first.setdefault(entry.group, place)
    ordered = sorted(entries, key=lambda entry: (-(entry.length // _STEP), first[entry.group]))
    made: list[list[Entry[Item]]] = []
    longest = 0
    for entry in ordered:
        longest = max(longest, entry.length)
        if made and limits.allow(len(made[-1]) + 1, longest):
            made[-1].append(entry)
        else:
            made.append([entry])
            longest = entry.length
    return made


def padded_tokens(batch: Sequence[Entry[Item]]) -> int:
    """The tokens of a batch's prompts, padding included."""
    return len(batch) * max(entry.length for entry in batch)
