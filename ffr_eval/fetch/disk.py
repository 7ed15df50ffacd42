"""Where archives are kept, and disks that are full."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ffr_eval.errors import FfrError, InputError
from ffr_eval.writing import FREE_SPACE, FULL

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        while cause is not None and not (isinstance(cause, OSError) and cause.errno in FULL):
            cause = cause.__context__  # what an error about an image file was raised for
        if not isinstance(cause, OSError):
            raise
        message = f"{folder}: {cause.strerror}; {kept}\n  → {FREE_SPACE}"
        raise FfrError(message) from None
