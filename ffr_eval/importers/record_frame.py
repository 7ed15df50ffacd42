"""Recognising records that repeat the one before them but for the query and the answer.

A dialogue with ten queries stands ten times in an ms-swift file. Reading its turns again each time
would take most of an import, so a line is first held against the last one that was read in full.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ffr_eval import markup

_QUERY_START, _QUERY_END = (marker.encode() for marker in markup.QUERY)
_SOLUTION: Final = re.compile(rb'"solution"\s*:\s*"')
# What stands inside a JSON string as it is: no quote, escape or control character.
_IN_STRING: Final = re.compile(rb'[^"\\\x00-\x1f]*')
# The same without a marker.
_PLAIN: Final = re.compile(rb'(?:[^"\\\x00-\x1f<]|<(?!\|))*')


@dataclass(frozen=True, slots=True)
class RecordFrame:
    """The bytes of a record before its query, between query and solution, and after the solution.

    Bytes that differ from the record's only in plain text at these two places are JSON of the same
    structure, and say the same but for query and solution.
    """

    before: bytes
    between: bytes
    after: bytes

    @classmethod
    def of(cls, data: bytes) -> RecordFrame | None:
        """The frame of a record that was read; ``None`` if query or solution stand oddly."""
        if data.count(_QUERY_START) != 1 or data.count(_QUERY_END) != 1:
            return None
        start = data.index(_QUERY_START) + len(_QUERY_START)
        end = data.find(_QUERY_END, start)
        solutions = list(_SOLUTION.finditer(data))
        if end < 0 or len(solutions) != 1 or solutions[0].start() < end:
            return None
        answer = solutions[0].end()
        return cls(data[:start], data[end:answer], data[data.index(b'"', answer) :])

    def fill(self, data: bytes) -> tuple[str, str] | None:
        """Query and solution of a record in this frame; ``None`` if it is another record."""
        if not (data.startswith(self.before) and data.endswith(self.after)):
            return None
        start, end = len(self.before), len(data) - len(self.after)
        middle = data.find(_QUERY_END, start)
        answer = middle + len(self.between)
        if middle < 0 or answer > end or data[middle:answer] != self.between:
            return None
        query, solution = data[start:middle], data[answer:end]
        if not query.strip() or not _PLAIN.fullmatch(query) or not _IN_STRING.fullmatch(solution):
            return None
        try:
            return query.decode(), solution.decode()
        except UnicodeDecodeError:
            return None
