"""The console that reports are printed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        cells: One a row.
    """

    heading: str
    cells: Sequence[str]
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        """In terminal cells."""
        return max(map(cell_len, (self.heading, *self.cells)))


_GAP = 3  # between two columns, and at the edges


def tables_of(columns: Sequence[Column], width: int) -> Iterator[Table]:
    """A table, or several that repeat its first column, none of them wider than ``width``.

    Figures are never cut or broken; a single column that is too wide is left to the terminal.
    """
    first, *rest = columns
    block: list[Column] = []
    used = first.width + _GAP
    for column in rest:
        if block and used + column.width + _GAP > width:
            yield _table([first, *block])
            block, used = [], first.width + _GAP
        block.append(column)
        used += column.width + _GAP
    yield _table([first, *block])


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            Text(column.heading), justify=column.justify, no_wrap=True, min_width=column.width
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table
