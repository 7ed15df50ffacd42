"""Where an export is written before it is moved to its place whole."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from ffr_eval.errors import InputError
from ffr_eval.writing import cannot_write, work_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_REMEDY = "choose another place for --out, or remove what is there"


@contextlib.contextmanager
def staged(targets: Sequence[Path]) -> Iterator[Path]:
    """A folder to write into; what is in it under the targets' names is moved when all is well.

    The targets are in one folder. They are moved in their order, so that the last of them appears
    when the others are there; one that was not written is passed over. Nothing is replaced, and
    after a failure nothing is left behind.

    Raises:
        InputError: If there is something at a target, or it cannot be written.
    """
    parent = targets[0].resolve().parent
    _refuse_existing(targets)
    moved: list[Path] = []
    with work_folder(targets[-1].resolve(), "export") as work:
        yield work
        _refuse_existing(targets)
        try:
            for target in targets:
                if (work / target.name).exists():
                    (work / target.name).replace(parent / target.name)
                    moved.append(parent / target.name)
        except OSError as error:
            for path in moved:
                _remove(path)
            raise cannot_write(target, error) from None


def _refuse_existing(targets: Sequence[Path]) -> None:
    for target in targets:
        if target.exists() or target.is_symlink():
            raise InputError("already exists", file=target, remedy=_REMEDY)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
