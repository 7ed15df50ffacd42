"""What SQLite's and the system's errors mean for a user of the response cache."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import FfrError, InputError
from ffr_eval.writing import FREE_SPACE, cannot_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL: Final = frozenset({sqlite3.SQLITE_FULL})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DENIED: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the system into ones that name the file and what to do.

    Raises:
        InputError: If the file is damaged, or may not be used.
        FfrError: If the disk is full or fails, or another process holds the file for too long.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _explanation(path, error) from None
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise cannot_write(path, error, "choose a place that you may write to") from None


def _explanation(path: Path, error: sqlite3.Error) -> FfrError:
    text = str(error)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the details
    if code in _DAMAGED or "no such table" in text or "decode to UTF-8" in text:
        return _damaged(path, text)
    if code in _FULL:
        return FfrError(f"{path}: cannot be written: {text}\n  → {FREE_SPACE}")
    if code == sqlite3.SQLITE_IOERR:
        remedy = "free some space on that disk, or see whether it works at all, and run it again"
        return FfrError(f"{path}: cannot be read or written: {text}\n  → {remedy}")
    if code in _BUSY:
        remedy = "see which other process uses it, or give another file"
        return FfrError(f"{path}: another process holds it for too long: {text}\n  → {remedy}")
    if code in _DENIED:
        remedy = "make the file and its folder yours to write, or choose another file"
        return InputError(f"may not be used: {text}", file=path, remedy=remedy)
    remedy = "give another file, on a local disk"
    return FfrError(f"{path}: cannot be used: {text}\n  → {remedy}")


def _damaged(path: Path, what: str) -> InputError:
    remedy = (
        "move the file away, and a new one is begun; its answers would have to be asked for again"
        f" (`sqlite3 {path.name} .recover` may save some), or go on without it: --no-cache"
    )
    return InputError(f"is damaged: {what}", file=path, remedy=remedy)
