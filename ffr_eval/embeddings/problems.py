"""What LMDB's and the system's errors mean for a user of the embedding store."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import FfrError, InputError
from ffr_eval.writing import FREE_SPACE, FULL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn LMDB's and the system's errors into ones that name the folder and what to do.

    Raises:
        InputError: If the space is damaged, or may not be read or written.
        FfrError: If the disk or the memory is full.
    """
    import lmdb

    try:
        yield
    except (
        lmdb.CorruptedError,
        lmdb.InvalidError,
        lmdb.PageNotFoundError,
        lmdb.VersionMismatchError,
        lmdb.NotFoundError,
        lmdb.IncompatibleError,
        lmdb.BadValsizeError,
        lmdb.BadDbiError,
    ) as error:
        raise damaged(folder, str(error)) from None
    except (lmdb.Error, OSError, MemoryError) as error:
        raise of_system(folder, error) from None


def damaged(folder: Path, what: str) -> InputError:
    """The error for a space that is not as it was written."""
    remedy = f"its embeddings can be computed again: remove the folder {folder}"
    return InputError(f"is damaged: {what}", file=folder, remedy=remedy)


def of_system(folder: Path, error: Exception) -> FfrError:
    """What an error number means; LMDB's errors have its text only."""
    import lmdb

    text = (error.strerror if isinstance(error, OSError) else None) or str(error)

    def is_one_of(numbers: frozenset[int]) -> bool:
        if isinstance(error, OSError):
            return error.errno in numbers
        return any(os.strerror(number) in text for number in numbers)

    if is_one_of(FULL):
        return FfrError(f"{folder}: cannot be written: {text}\n  → {FREE_SPACE}")
    if is_one_of(frozenset({errno.ENOMEM})) or isinstance(error, MemoryError):
        remedy = "allow more (virtual) memory (`ulimit -v unlimited`), and run it again"
        return FfrError(f"{folder}: not enough memory: {text}\n  → {remedy}")
    if is_one_of(frozenset({errno.EIO})):  # what LMDB makes of a write that did not fit
        remedy = "free some space on that disk, or see whether it works at all, and run it again"
        return FfrError(f"{folder}: cannot be read or written: {text}\n  → {remedy}")
    if is_one_of(_DENIED) or isinstance(error, lmdb.ReadonlyError):
        remedy = "make it yours to read and write, or choose another folder for the store"
        return InputError(f"may not be used: {text}", file=folder, remedy=remedy)
    if is_one_of(frozenset({errno.ENOENT})):
        return damaged(folder, text)
    remedy = "choose another folder for the store, on a local disk"
    return InputError(f"cannot be used: {text}", file=folder, remedy=remedy)
