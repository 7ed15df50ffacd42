"""Where an export is written before it is moved to its place whole."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    new_parents = [path for path in (parent, *parent.parents) if not path.exists()]
    moved: list[Path] = []
    with contextlib.ExitStack() as on_failure:
        for path in reversed(new_parents):
            on_failure.callback(_remove_empty, path)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".ffr-export.", dir=parent))
        except OSError as error:
            raise _not_writable(parent, error) from None
        try:
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
                raise _not_writable(target, error) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        on_failure.pop_all()


def _refuse_existing(targets: Sequence[Path]) -> None:
    for target in targets:
        if target.exists() or target.is_symlink():
            raise InputError("already exists", file=target, remedy=_REMEDY)


def _not_writable(path: Path, error: OSError) -> InputError:
    message = f"cannot be written: {error.strerror}"
    return InputError(message, file=path, remedy="choose a place that you may write to")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()
