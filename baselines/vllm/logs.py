"""What vLLM's processes print: kept for error messages, and away from standard output."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_LINES: Final = 2000
_WARNING: Final = re.compile(r"\bWARNING \d\d-\d\d ")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_ERROR: Final = re.compile(r"(?:^|[\s.])([A-Za-z_]\w*(?:Error|Exception)): (\S.*)")
_SECONDARY: Final = ("See root cause", "See stack trace")


class EngineLog:
    """Reads what vLLM's processes print.

    They are started with a pipe in the place of standard output and standard error, and keep it as
    long as they live. Warnings are passed on to standard error; everything is, if the user asks
    for it by ``VLLM_LOGGING_LEVEL``.

    Args:
        everything: Pass everything on.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._streams: list[TextIO] = []

    @property
    def text(self) -> str:
        """The last lines, without colours."""
        return "\n".join(tuple(self._lines))

    @property
    def cause(self) -> str | None:
        """The first error that it shows: the others follow from it."""
        for line in tuple(self._lines):
            found = _ERROR.search(line)
            if found is not None and not any(words in line for words in _SECONDARY):
                return f"{found.group(1)}: {found.group(2).strip()}"
        return None

    def clear(self) -> None:
        """Forget what was printed so far."""
        self._lines.clear()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Processes that are started in this block print to the log.

        What this program itself prints through ``sys.stdout`` and ``sys.stderr`` is not affected.
        """
        _flush()
        reader, writer = os.pipe()
        real = {number: os.dup(number) for number in (1, 2)}
        before = (sys.stdout, sys.stderr)
        threading.Thread(
            target=self._read, args=(reader, os.dup(2)), name="vllm-log", daemon=True
        ).start()
        sys.stdout, sys.stderr = self._copy(sys.stdout, 1), self._copy(sys.stderr, 2)
        for number in (1, 2):
            os.dup2(writer, number)
        os.close(writer)
        try:
            yield
        finally:
            _flush()
            sys.stdout, sys.stderr = before
            for number, copy in real.items():
                os.dup2(copy, number)
                os.close(copy)

    def _copy(self, stream: TextIO, number: int) -> TextIO:
        """The same stream, if it is one of the process's, on a descriptor that is not moved.

        vLLM's logger may keep it, so it stays open.
        """
        try:
            moved = stream.fileno() == number
        except (OSError, ValueError, AttributeError):
            return stream
        if not moved:
            return stream
        copy = os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="replace")
        self._streams.append(copy)
        return copy

    def _read(self, reader: int, out: int) -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
            for line in pipe:
                plain = _COLOUR.sub("", line.rstrip("\n"))
                self._lines.append(plain)
                if self._everything or _WARNING.search(plain):
                    with suppress(OSError):
                        os.write(out, line.encode(errors="replace"))
        os.close(out)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
