"""What a model is told while it answers: whether to stop, what was spent, where to report."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ffr_eval.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Session", "Stopped"]


def _ignore(_: str) -> None:
    """Say nothing."""


def _nothing(_: float) -> None:
    """Keep no books."""


@dataclass(frozen=True, slots=True)
class Session:
    """One start of a run.

    Attributes:
        note: Tells the user something once, on a line of its own.
        status: Shows a short text beside the progress bar, in the place of the one before.
        progress: Whether the user watches: show progress on stderr, if it is a terminal.
        spent: What the run has cost before this session.
        paid: To be told what each answer of a server has cost, also one that no prediction is made
            of, so that the next session knows.
        stop: Set when the user asks to stop: begin nothing new, finish what is under way.
    """

    note: Callable[[str], None] = _ignore
    status: Callable[[str], None] = _ignore
    progress: bool = False
    spent: float = 0.0
    paid: Callable[[float], None] = _nothing
    stop: threading.Event = field(default_factory=threading.Event)
