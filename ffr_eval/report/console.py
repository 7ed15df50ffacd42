"""The console that reports are printed on."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 160
"""Columns where the output goes to a file or a pipe."""


def open_console(width: int = PLAIN_WIDTH) -> Console:
    """Standard output: a terminal as it is; otherwise plain text of a fixed width.

    Markup and emoji codes are off: what is printed may come from users.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, emoji=False, width=width)
