"""Writing the tables of a site: in the order and row groups that their schema says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from leaderboard.site.schema import Table

COMPRESSION: Final = "zstd"


class TableWriter:
    """Writes a table of a site as its rows come, which must be in its order.

    Args:
        table: Which one.
        path: The file.
    """

    def __init__(self, table: Table, path: Path) -> None:
        self._table = table
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        self._writer = pq.ParquetWriter(path, table.schema, compression=COMPRESSION)

    def __enter__(self) -> TableWriter:
        return self

    def add(self, rows: pa.Table) -> None:
        """Write some rows; they have the columns of the table, in any order."""
        if not len(rows):
            return
        schema = self._table.schema
        self._waiting.append(rows.select(schema.names).cast(schema))
        self._n_waiting += len(rows)
        if self._n_waiting >= self._table.row_group:
            self._flush(self._n_waiting - self._n_waiting % self._table.row_group)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._n_waiting:
                self._flush(self._n_waiting)
        finally:
            self._writer.close()

    def _flush(self, n_rows: int) -> None:
        everything = pa.concat_tables(self._waiting)
        self._writer.write_table(everything.slice(0, n_rows), row_group_size=self._table.row_group)
        rest = everything.slice(n_rows)
        self._waiting, self._n_waiting = [rest], len(rest)


def write_table(table: Table, path: Path, rows: pa.Table) -> None:
    """Write a table that is in memory, sorted."""
    ordered = rows.select(table.schema.names).cast(table.schema)
    ordered = ordered.sort_by([(name, "ascending") for name in table.order])
    with TableWriter(table, path) as writer:
        writer.add(ordered)


def from_rows(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of rows as mappings; what a row lacks is null."""
    found = list(rows)
    return pa.table(
        {
            name: pa.array([row.get(name) for row in found], schema.field(name).type)
            for name in schema.names
        },
        schema=schema,
    )


def without(schema: pa.Schema, *names: str) -> pa.Schema:
    """A schema without some of its columns."""
    return pa.schema([field for field in schema if field.name not in names])


def with_columns(rows: pa.Table, **values: str | None) -> pa.Table:
    """Rows with more columns of text, each the same in all rows."""
    for name, value in values.items():
        column = pa.repeat(pa.scalar(value, pa.string()), len(rows))
        rows = rows.append_column(pa.field(name, pa.string()), column)
    return rows


def save(rows: pa.Table, path: Path) -> None:
    """Write a part: an intermediate table."""
    pq.write_table(rows, path, compression=COMPRESSION)


def load(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a part."""
    return pq.read_table(path, columns=columns)
