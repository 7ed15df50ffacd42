"""The samples of a run, optionally beside another run: which fit the filters, and their rows."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from leaderboard.site.schema import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from leaderboard.site.reader import Site

    Rows = NDArray[np.int32]

PAGE_ROWS: Final = 50
"""So many samples are listed at a time."""
LONGEST_TEXT: Final = 200
"""So many characters of a free text are looked for."""

KINDS: Final = ("multimodal", "utterance", "image", "negative")

OF_ONE: Final[Mapping[str, str]] = MappingProxyType({"right": "a.f1 = 1", "wrong": "a.f1 < 1"})
"""How A answered: right is F1 1, in both modalities; wrong is less. Undefined F1 is neither."""

OF_TWO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a_right": "a.f1 = 1 AND b.f1 < 1",
        "b_right": "a.f1 < 1 AND b.f1 = 1",
        "both_wrong": "a.f1 < 1 AND b.f1 < 1",
        "differ": "a.f1 <> b.f1",
        "a_better": "a.f1 > b.f1",
        "b_better": "a.f1 < b.f1",
    }
)
"""How A and B answered; samples on which either F1 is undefined are in none of them."""

_DIFFERENCE: Final = "difference"
SORTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        _DIFFERENCE: "abs(a.f1 - b.f1) DESC NULLS LAST",
        "low": "a.f1 ASC NULLS LAST",
        "high": "a.f1 DESC NULLS LAST",
        "turns": "a.turns DESC NULLS LAST",
        "order": "a.row",
    }
)
"""Orders of the list; samples that are equal by it are in the order of the benchmark."""

_OF_B: Final = "b.outcome AS outcome_b, b.f1 AS f1_b, a.f1 - b.f1 AS delta"
_NO_B: Final = "NULL::VARCHAR AS outcome_b, NULL::DOUBLE AS f1_b, NULL::DOUBLE AS delta"
_GROUPINGS: Final[Mapping[str, str]] = MappingProxyType(
    {"turns": "a.bucket", "kind": "a.kind", "language": "a.language"}
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which samples are listed, and in what order.

    Attributes:
        board: The id of a board.
        a: The id of a run.
        b: The id of a run that it is put beside.
        grouping, bucket: A bucket of the board.
        kind: What the query asks for.
        outcome: How asking A ended.
        answers: A key of :data:`OF_ONE`, or of :data:`OF_TWO` if there is a ``b``.
        text: What the query contains, in any case.
        sort: A key of :data:`SORTS`; ``difference`` needs ``b``.
    """

    board: str
    a: str
    b: str | None = None
    grouping: str = ALL
    bucket: str = ALL
    kind: str | None = None
    outcome: str | None = None
    answers: str | None = None
    text: str = ""
    sort: str = "order"


def answers_of(two: bool) -> tuple[str, ...]:
    """The possible values of :attr:`Filters.answers`."""
    return (*OF_ONE, *OF_TWO) if two else tuple(OF_ONE)


def sorts_of(two: bool) -> tuple[str, ...]:
    """The possible values of :attr:`Filters.sort`, the default first."""
    return tuple(sort for sort in SORTS if two or sort != _DIFFERENCE)


@dataclass(frozen=True, slots=True)
class Matching:
    """The samples that fit some filters, in order.

    Attributes:
        rows: Their rows, which the board numbers.
        table: Of each: row, kind, turns, outcome, f1, and of B outcome_b, f1_b, delta; those are
            null without B.
    """

    rows: Rows
    table: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    def neighbours(self, row: int | None) -> tuple[int | None, int | None, int | None]:
        """The place of a row, and the rows before and after it.

        All are ``None`` if it is not there, but the last: then it is the first of all.
        """
        places = np.flatnonzero(self.rows == (-1 if row is None else row))
        if not len(places):
            return None, None, int(self.rows[0]) if len(self.rows) else None
        place = int(places[0])
        before = int(self.rows[place - 1]) if place else None
        after = int(self.rows[place + 1]) if place + 1 < len(self.rows) else None
        return place, before, after


def matching(site: Site, filters: Filters) -> Matching:
    """The samples that fit.

    Raises:
        KeyError: If a filter has a value that there is not.
    """
    sql, parameters = _joined(filters)
    conditions, values = _conditions(filters)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    of_b = _OF_B if filters.b is not None else _NO_B
    found = site.query(
        f"SELECT a.row, a.kind, a.turns, a.outcome, a.f1, {of_b} {sql}{where}"
        f" ORDER BY {SORTS[filters.sort]}, a.row",
        [*parameters, *values],
    )
    rows: Rows = found["row"].to_numpy().astype(np.int32, copy=False)
    return Matching(rows, found)


def listed(site: Site, board: str, found: Matching, page: int) -> pa.Table:
    """A page of the list, from 1: the columns of its table, sample_id and query."""
    some = found.table.slice((page - 1) * PAGE_ROWS, PAGE_ROWS)
    sql = (
        "SELECT row, sample_id, query FROM queries"
        " WHERE board_id = ? AND list_contains(?::INTEGER[], row)"
    )
    rows = some["row"].to_pylist()
    texts = {row.pop("row"): row for row in site.query(sql, (board, rows)).to_pylist()}
    for name in ("sample_id", "query"):
        some = some.append_column(name, pa.array([texts[row][name] for row in rows], pa.string()))
    return some


def sample_at(site: Site, board: str, row: int) -> str:
    """The id of the sample at a row that the board has."""
    sql = "SELECT sample_id FROM queries WHERE board_id = ? AND row = ?"
    sample_id: str = site.query(sql, (board, row))["sample_id"][0].as_py()
    return sample_id


def outcomes_of(site: Site, board: str, run: str) -> dict[str, int]:
    """How often asking a run ended how, the most frequent first."""
    sql = (
        "SELECT outcome, count(*) AS n FROM samples WHERE board_id = ? AND run_id = ?"
        " AND outcome IS NOT NULL GROUP BY outcome ORDER BY n DESC, outcome"
    )
    found = site.query(sql, (board, run))
    return dict(zip(found["outcome"].to_pylist(), found["n"].to_pylist(), strict=True))


def _joined(filters: Filters) -> tuple[str, list[Any]]:
    """The tables: A, the queries if they are needed, and B if there is one."""
    sql = "FROM (SELECT * FROM samples WHERE board_id = ? AND run_id = ?) AS a"
    parameters = [filters.board, filters.a]
    if filters.text:
        sql += " JOIN (SELECT * FROM queries WHERE board_id = ?) AS q ON q.row = a.row"
        parameters.append(filters.board)
    if filters.b is not None:
        sql += " LEFT JOIN (SELECT * FROM samples WHERE board_id = ? AND run_id = ?) AS b"
        sql += " ON b.row = a.row"
        parameters += [filters.board, filters.b]
    return sql, parameters


def _conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def equal(column: str, value: str) -> None:
        conditions.append(f"{column} = ?")
        values.append(value)

    if filters.grouping != ALL:
        equal(_GROUPINGS[filters.grouping], filters.bucket)
    if filters.kind is not None:
        equal("a.kind", filters.kind)
    if filters.outcome is not None:
        equal("a.outcome", filters.outcome)
    if filters.answers is not None:
        of_two = OF_TWO if filters.b is not None else {}
        conditions.append(({**OF_ONE, **of_two})[filters.answers])
    if filters.text:
        conditions.append("contains(lower(q.query), lower(?))")
        values.append(filters.text[:LONGEST_TEXT])
    return conditions, values
