"""Writing whole or not at all: files that are replaced in one step, and folders to work in."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a disk that cannot hold what is written."""

FREE_SPACE: Final = "free some space, or choose a place on another disk, and run it again"

_LOCK: Final = "lock"


def cannot_write(
    path: object, error: OSError, remedy: str = "choose a place that you may write to"
) -> FfrError:
    """The error for something that cannot be written: the user's mistake, or a full disk."""
    message = f"cannot be written: {error.strerror or error}"
    if error.errno in FULL:
        return FfrError(f"{path}: {message}\n  → {FREE_SPACE}")
    return InputError(message, file=path, remedy=remedy)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is there at the end takes the place of ``path`` in one step.

    Raises:
        InputError: If ``path`` is no name of a file, or cannot be written.
        FfrError: If the disk is full.
    """
    if not path.name or path.is_dir():
        raise InputError("is a folder", file=path, remedy="give the name of a file")
    in_place = path.is_symlink() or (path.exists() and not path.is_file())  # a link, /dev/stdout
    temporary = path if in_place else temporary_name(path)
    try:
        yield temporary
        if not in_place:
            temporary.replace(path)
    except BaseException as error:
        if not in_place:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            remedy = "give a file in an existing folder that you may write to"
            raise cannot_write(path, error, remedy) from None
        raise


def temporary_name(path: Path) -> Path:
    """A hidden name beside a file, of this process alone."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def unfinished(path: Path) -> list[Path]:
    """What killed processes left of writing a file, and running ones are writing."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.new"))


@contextlib.contextmanager
def work_folder(target: Path, purpose: str) -> Iterator[Path]:
    """A new folder beside ``target``, removed at the end; folders above it are made if need be.

    Those that killed runs with the same target and purpose left behind are removed as well; one
    that another process works in is not, which its lock shows.

    Args:
        target: What is going to be made.
        purpose: A word for the folder's name.

    Raises:
        InputError: If ``target`` has no name, or the folder cannot be made.
        FfrError: If the disk is full.
    """
    if not target.name:
        raise InputError("has no name of its own", file=target, remedy="name what is to be made")
    parent, prefix = target.parent, f".{target.name}.{purpose}-"
    new_parents = [path for path in (parent, *parent.parents) if not path.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{glob.escape(prefix)}*"):
            _remove_left(left)
        folder, lock = _locked_folder(parent, prefix)
    except OSError as error:
        _remove_empty(new_parents)
        remedy = "choose a new one in a place that you may write to"
        raise cannot_write(target, error, remedy) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release(force=True)
        _remove_empty(new_parents)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, BaseFileLock]:
    """A new folder with its lock held; another process may take it for one that was left."""
    from filelock import FileLock

    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = FileLock(folder / _LOCK)
        # Another process may remove the folder while the lock is made in it.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            lock.acquire()
            if (folder / _LOCK).exists():
                return folder, lock
        lock.release(force=True)


def _remove_left(folder: Path) -> None:
    """Remove what a killed run left, unless another process works in it."""
    from filelock import FileLock, Timeout

    with (
        contextlib.suppress(Timeout, OSError, RecursionError),
        FileLock(folder / _LOCK, blocking=False),
    ):
        shutil.rmtree(folder)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
