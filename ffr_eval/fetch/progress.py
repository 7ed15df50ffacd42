"""A progress bar for bytes: on a terminal with speed and time left, elsewhere one line."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bytes_progress(
    what: str, total: int | None = None, done: int = 0, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show how many bytes of ``what`` are done, on standard error.

    Args:
        what: For example ``downloading MLDR.tar``.
        total: How many bytes there are, if that is known.
        done: How many of them were done before.
        quiet: Say nothing where there is no terminal.

    Yields:
        A function to call with the number of bytes that were done since the last call.
    """
    from rich.console import Console

    from ffr_eval.fetch.disk import readable_size

    console = Console(stderr=True)
    if not console.is_terminal:
        size = f" ({readable_size(total)})" if total else ""
        if not quiet:
            console.print(f"{what}{size} …", markup=False, highlight=False, soft_wrap=True)
        yield lambda _: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(what, total=total, completed=done)
        yield lambda count: shown.advance(task, count)
