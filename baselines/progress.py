"""The progress bar over the samples of a run."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID


class SampleProgress:
    """A progress bar over samples."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._start, self._n_done = time.monotonic(), 0

    def advance(self) -> None:
        """One sample more is answered."""
        self._n_done += 1
        rate = self._n_done / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(self._task, advance=1, rate=f"{rate:.3g}/s")

    def status(self, text: str) -> None:
        """Show a text beside the rate."""
        self._bar.update(self._task, status=text)


@contextmanager
def sample_progress(
    wanted: bool, title: str, n_samples: int, n_before: int
) -> Iterator[SampleProgress]:
    """A progress bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    hide = not (wanted and console.is_terminal)
    with Progress(*columns, console=console, disable=hide) as bar:
        task = bar.add_task(title, total=n_samples, completed=n_before, rate="", status="")
        yield SampleProgress(bar, task)
