"""Folders for work that may be killed, and errors of a full disk."""

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

_LOCK: Final = "lock"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def downloads_folder() -> Path:
    """Where archives are kept: ``$FFR_DATA``, or ``ffr/downloads`` in the user's cache folder."""
    if given := os.environ.get("FFR_DATA"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "ffr" / "downloads"


def readable_size(n_bytes: float) -> str:
    """A size as people write it, for example ``3.1 GB``."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse at once what a disk cannot hold.

    Raises:
        FfrError: If less than ``needed`` bytes are free where ``folder`` is.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = (
            f"{folder}: {readable_size(needed)} are needed {purpose}, but {readable_size(free)}"
            " are free on this disk\n  → free some space, or choose a folder on another disk"
        )
        raise FfrError(message)


@contextlib.contextmanager
def explain_full_disk(folder: Path, kept: str) -> Iterator[None]:
    """Turn the system's error for a full disk into one that says what was kept.

    Raises:
        FfrError: If the disk that ``folder`` is on got full.
    """
    try:
        yield
    except (OSError, InputError) as error:
        cause: BaseException | None = error
        while cause is not None and not (isinstance(cause, OSError) and cause.errno in _FULL):
            cause = cause.__context__  # what an error about an image file was raised for
        if not isinstance(cause, OSError):
            raise
        message = (
            f"{folder}: {cause.strerror}; {kept}"
            "\n  → free some space, or choose a folder on another disk, and run it again"
        )
        raise FfrError(message) from None


@contextlib.contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, removed at the end.

    Those that killed runs left behind are removed as well; one that another process works in is
    not, which its lock shows.

    Raises:
        InputError: If it cannot be made.
    """
    from filelock import FileLock, Timeout

    parent, prefix = target.parent, f".{target.name}.fetch-"
    new_parents = [path for path in (parent, *parent.parents) if not path.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{glob.escape(prefix)}*"):
            with contextlib.suppress(Timeout), FileLock(left / _LOCK, blocking=False):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        remedy = "choose a new folder in a place that you may write to"
        message = f"cannot be written: {error.strerror}"
        raise InputError(message, file=target, remedy=remedy) from None
    lock = FileLock(folder / _LOCK)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in new_parents:
            with contextlib.suppress(OSError):
                path.rmdir()
