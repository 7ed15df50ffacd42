"""A progress bar that appears only once something takes long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

_AFTER: Final = 2.0  # seconds


class Bar:
    """A progress bar on stderr, if that is a terminal; a context manager.

    Args:
        title: What is done.
        total: How many steps there are; ``None`` if that is not known.
        wanted: Whether to show it at all.
    """

    def __init__(self, title: str, total: int | None, wanted: bool) -> None:
        self._title = title
        self._total = total
        self._wanted = wanted
        self._n_done = 0
        self._start = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def advance(self, n_steps: int) -> None:
        """Count steps that were done."""
        self._n_done += n_steps
        if not self._wanted:
            return
        seconds = time.monotonic() - self._start
        if self._shown is None and seconds > _AFTER:
            self._shown = self._appeared()
            self._wanted = self._shown is not None
        if self._shown is not None:
            bar, task = self._shown
            bar.update(task, completed=self._n_done, rate=f"{self._n_done / seconds:.3g}/s")

    def _appeared(self) -> tuple[Progress, TaskID] | None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        if not console.is_terminal:
            return None
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
        )
        task = bar.add_task(self._title, total=self._total, rate="")
        bar.start()
        return bar, task
