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
# An escaped ASCII character: a marker or a key may hide behind it.
_ASCII_ESCAPE: Final = rb"\u00"
_KEY: Final = b'"solution"'
_VALUE: Final = re.compile(rb'\s*:\s*"')
# What stands inside a JSON string as it is: no quote, escape or control character.
_IN_STRING: Final = re.compile(rb'[^"\\\x00-\x1f]*')


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
        """The frame of a record that was read; ``None`` if query or solution stand oddly.

        Whoever reads a record asks whether its frame, filled with the record itself, gives the
        query and the solution that were read.
        """
        if data.count(_QUERY_START) != 1 or data.count(_QUERY_END) != 1 or _ASCII_ESCAPE in data:
            return None
        start = data.index(_QUERY_START) + len(_QUERY_START)
        end = data.find(_QUERY_END, start)
        key = data.find(_KEY, end)
        value = _VALUE.match(data, key + len(_KEY))
        if end < 0 or key < 0 or value is None or data.count(_KEY) != 1:
            return None
        answer = value.end()
        return cls(data[:start], data[end:answer], data[data.index(b'"', answer) :])

    def fill(self, data: bytes) -> tuple[str, str] | None:
        """Query and solution of a record in this frame; ``None`` if it is another record."""
        if not (data.startswith(self.before) and data.endswith(self.after)):
            return None
        start, end = len(self.before), len(data) - len(self.after)
        middle = data.find(_QUERY_END, start)
        answer = middle + len(self.between)
        if middle < 0 or answer > end or not data.startswith(self.between, middle):
            return None
        query, solution = data[start:middle], data[answer:end]
        if not (_IN_STRING.fullmatch(query) and _IN_STRING.fullmatch(solution)):
            return None
        try:
            text = query.decode().strip()
            return None if not text or "<|" in text else (text, solution.decode())
        except UnicodeDecodeError:
            return None
