"""Finding run folders."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError
from ffr_eval.runs import PREDICTIONS, RECORD
from leaderboard import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CARD: Final = "card.json"
"""What a run folder may say of itself beside its record."""

DEEPEST: Final = 2
"""How many levels below the given folder run folders are looked for."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A folder that is, or claims to be, a run.

    Attributes:
        path: The folder.
        label: Its path below the folder that is shown, safe to show, unlike any other's.
    """

    path: Path
    label: str


def find_runs(root: Path) -> list[RunPlace]:
    """All run folders: ``root`` itself, or those up to two levels below it.

    A folder with only one of a run's two files counts, as does one that cannot be listed: it is
    shown with the reason why it could not be scored.

    Raises:
        InputError: If ``root`` is not a folder that can be listed.
    """
    remedy = "give a folder with run folders, as `ffr run … --out RUNS_DIR/NAME` makes them"
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise InputError(what, file=root, remedy=remedy)
    try:
        entries = set(os.listdir(root))  # noqa: PTH208 - names only
    except OSError as error:
        raise InputError(f"cannot be listed: {error.strerror}", file=root) from None
    if RECORD in entries:
        return [RunPlace(root, names.name(root.resolve().name))]
    paths = list(_below(root, 1))
    labels = names.unique(names.name(path.relative_to(root).as_posix()) for path in paths)
    return [RunPlace(path, label) for path, label in zip(paths, labels, strict=True)]


def require_runs(root: Path) -> list[RunPlace]:
    """As :func:`find_runs`, but there must be a run.

    Raises:
        InputError: If there is none.
    """
    places = find_runs(root)
    if not places:
        remedy = f"make one: ffr run bm25 ffr-sample --split test --out {root}/bm25 (or: ffr demo)"
        raise InputError("no run folders in here", file=root, remedy=remedy)
    return places


def irregular_file(path: Path) -> Path | None:
    """A file of a run folder that is no ordinary one: reading a pipe would never end."""
    for file in (path / RECORD, path / PREDICTIONS, path / CARD):
        try:
            mode = file.stat().st_mode
        except (OSError, ValueError):
            continue
        if not stat.S_ISREG(mode):
            return file
    return None


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        child = folder / name
        if name.startswith(".") or not _is_folder(child):
            continue
        try:
            entries = set(os.listdir(child))  # noqa: PTH208
        except OSError:
            yield child
            continue
        if entries & {RECORD, PREDICTIONS}:
            yield child
        elif depth < DEEPEST:
            yield from _below(child, depth + 1)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
