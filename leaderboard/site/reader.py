"""Reading a site: its manifest, and queries on its tables through DuckDB."""

from __future__ import annotations

import threading
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.types import Kind
from leaderboard import names
from leaderboard.site.manifest import MANIFEST, file_hash, read_manifest, wrong_files
from leaderboard.site.schema import ALL, PROTOCOLS, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from leaderboard.site.manifest import BoardRecord, Manifest

MEMORY: Final = "192MB"
THREADS: Final = 2
_BUCKETS: Final = (
    (ALL, ALL),
    *(("turns", name) for name in ("short", "medium", "long")),
    *(("kind", kind.value) for kind in Kind),
)


class Site:
    """A published site, open for reading; threads may share it.

    Its tables are views of one read-only DuckDB database in memory, which reads the Parquet files
    below ``public`` and nothing else: the rest of the disk is closed to it.

    Args:
        path: The folder.
        verify: Compare the hashes of the tables with those in the manifest.

    Raises:
        InputError: If it is no site, or a table is missing or not the one that was published.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self.path = path.resolve()
        self.manifest: Manifest = read_manifest(self.path)
        self.key = file_hash(self.path / MANIFEST)
        tables = [table.file for table in TABLES.values()]
        missing = [name for name in tables if name not in self.manifest.files]
        wrong = [f"{name}: is not in the manifest" for name in missing]
        if verify and not wrong:
            wrong = wrong_files(self.path, self.manifest, tables)
        if wrong:
            remedy = "publish it anew: ffr publish RUNS… --site DIR"
            raise InputError("; ".join(wrong[:3]), file=self.path, remedy=remedy)
        self._local = threading.local()
        self._known: dict[tuple[str, str], Any] = {}
        self._samples: set[tuple[str, str]] = set()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The rows of a query.

        Args:
            sql: A statement over the site's tables. Values belong into ``parameters``: no text
                that a user gave may be part of it.
            parameters: The values of ``?``.
        """
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self._database.cursor()
        return cursor.sql(sql, params=list(parameters)).to_arrow_table()

    @property
    def board_ids(self) -> tuple[str, ...]:
        """The boards: those with most runs first."""
        return tuple(self._boards)

    def labels(self, board_id: str) -> Mapping[str, str]:
        """The names of a board's runs by run id, in the order of the ids."""
        found: Mapping[str, str] = self.kept("labels", board_id, self._read_labels)
        return found

    def shown_labels(self, board_id: str) -> Mapping[str, str]:
        """As :meth:`labels`, safe in every widget and all different."""
        found: Mapping[str, str] = self.kept("shown", board_id, self._read_shown)
        return found

    def buckets(self, board_id: str) -> Sequence[tuple[str, str]]:
        """Grouping and bucket of what a board has figures of; that of all samples first."""
        found: Sequence[tuple[str, str]] = self.kept("buckets", board_id, self._read_buckets)
        return found

    def kept(self, what: str, board_id: str, read: Callable[[str], Any]) -> Any:
        """Something of a board, read the first time that it is asked for; never to be changed.

        Args:
            what: Its name.
            board_id: The board.
            read: Reads it.
        """
        key = what, board_id
        if key not in self._known:
            self._known[key] = read(board_id)
        return self._known[key]

    def has_sample(self, board_id: str, sample_id: str) -> bool:
        """Whether a board has a sample of this id."""
        key = board_id, sample_id
        if key in self._samples:
            return True
        sql = "SELECT 1 FROM queries WHERE board_id = ? AND sample_id = ? LIMIT 1"
        there = bool(self.query(sql, key).num_rows)
        if there:  # as many as the site has, at most; what is not there is not remembered
            self._samples.add(key)
        return there

    def board(self, board_id: str) -> BoardRecord:
        """The record of a board.

        Raises:
            KeyError: If there is none.
        """
        return self._boards[board_id]

    def _read_labels(self, board_id: str) -> dict[str, str]:
        sql = "SELECT run_id, label FROM runs WHERE board_id = ? ORDER BY run_id"
        found = self.query(sql, (board_id,))
        return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def _read_shown(self, board_id: str) -> dict[str, str]:
        labels = self.labels(board_id)
        shown = names.unique(map(names.name, labels.values()))
        return dict(zip(labels, shown, strict=True))

    def _read_buckets(self, board_id: str) -> list[tuple[str, str]]:
        sql = (
            "SELECT DISTINCT grouping, bucket FROM figures"
            " WHERE board_id = ? AND protocol = ? AND metric = ?"
        )
        found = self.query(sql, (board_id, PROTOCOLS[0], HEADLINE))
        pairs = set(zip(*(column.to_pylist() for column in found.columns), strict=True))
        known = [pair for pair in _BUCKETS if pair in pairs]
        return known + sorted(pairs - set(known))

    @cached_property
    def _boards(self) -> dict[str, BoardRecord]:
        counts = Counter(run.board_id for run in self.manifest.runs)
        boards = sorted(self.manifest.boards, key=lambda board: -counts[board.board_id])
        return {board.board_id: board for board in boards}

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        settings: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": THREADS,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        database = duckdb.connect(":memory:", config=settings)
        for table in TABLES.values():
            # A name of ours; the path is quoted as SQL quotes, and no parameter is allowed here.
            place = str(self.path / table.file).replace("'", "''")
            database.execute(f"CREATE VIEW {table.name} AS FROM read_parquet('{place}')")
        public = str(self.path / "public").replace("'", "''")
        database.execute(f"SET allowed_directories = ['{public}']")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        return database
