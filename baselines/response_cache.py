"""The response cache: what servers answered, so that no answer is paid for twice.

It is one SQLite file that several threads and processes may use at once. An answer is on the disk
when :meth:`ResponseCache.put` returns; answers that arrive together share one write to the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from baselines.request_key import request_key
from baselines.response_cache_problems import explained
from baselines.shared_writes import SharedWrites
from ffr_eval.errors import InputError
from ffr_eval.jsonl import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

__all__ = [
    "CachePruned",
    "CacheStats",
    "CachedModel",
    "CachedResponse",
    "ResponseCache",
    "default_cache",
    "request_key",
]

_APPLICATION: Final = 0x46465243  # "FFRC"
_VERSION: Final = 1
_BUSY_SECONDS: Final = 60.0
_SCHEMA: Final = """
CREATE TABLE responses (
    key TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    provider TEXT NOT NULL,
    asked TEXT NOT NULL,
    model TEXT NOT NULL,
    n_bytes INTEGER NOT NULL,
    response TEXT NOT NULL
);
"""
_COLUMNS: Final = "key, created, provider, asked, model, n_bytes, response"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class CachedResponse(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a server answered.

    Attributes:
        text: What the model wrote.
        provider: Which server was asked, as in :func:`request_key`.
        asked: The name of the model that was asked for.
        model: The name of the model that answered.
        outcome: As in a completion: set if the server itself said how it ended.
        error: As in a completion.
        finish_reason: As the server named it.
        usage: Tokens, by what they were counted as.
        latency_s: Seconds that the answer took.
        logprobs: As in a completion.
        request_id: The server's own name of the request.
        created: When it was answered, in UTC.
    """

    text: str | None
    provider: str
    asked: str
    model: str | None = None
    outcome: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    latency_s: float | None = None
    logprobs: dict[str, Any] | None = None
    request_id: str | None = None
    created: str = msgspec.field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class CachedModel:
    """What the cache holds of one model of one provider.

    Attributes:
        model: The name that was asked for.
        n_bytes: Of the answers, without what SQLite needs beside them.
        oldest, newest: When answers were given.
    """

    provider: str
    model: str
    n_entries: int
    n_bytes: int
    oldest: str
    newest: str


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds.

    Attributes:
        n_bytes: What it takes up on the disk.
        oldest, newest: When answers were given; ``None`` if there are none.
        models: By provider and model.
    """

    path: Path
    n_entries: int
    n_bytes: int
    oldest: str | None
    newest: str | None
    models: tuple[CachedModel, ...]


@dataclass(frozen=True, slots=True)
class CachePruned:
    """What was removed, or would be: answers, and their bytes."""

    n_entries: int
    n_bytes: int


def default_cache() -> Path:
    """``$FFR_RESPONSES``, or ``ffr/responses.sqlite`` in the user's cache."""
    if given := os.environ.get("FFR_RESPONSES"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "ffr" / "responses.sqlite"


class ResponseCache:
    """A cache that is open; threads may share it, and processes may open the same file.

    Args:
        path: The file; made, with its folder, if it is not there. ``None`` for the default one.

    Raises:
        InputError: If the file is no response cache, is damaged, or may not be used.
        FfrError: If the disk is full, or fails.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_cache() if path is None else path
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._puts = SharedWrites(self._write)
        with explained(self.path):
            self._make_file()
            with contextlib.ExitStack() as opened:
                self._writer = self._connected()
                opened.callback(self._writer.close)
                self._set_up()
                self._reader = self._connected()
                opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> CachedResponse | None:
        """The answer to a request; ``None`` if it is not there.

        Raises:
            InputError: If the file is damaged.
            FfrError: If it cannot be read.
        """
        query = "SELECT response FROM responses WHERE key = ?"
        with self._reading, explained(self.path):
            row = self._reader.execute(query, (key,)).fetchone()
        return None if row is None else self._decoded(key, row[0])

    def put(self, key: str, response: CachedResponse) -> None:
        """Keep an answer, in the place of one of the same key; it is on the disk when this returns.

        Calls from several threads at once are written together.

        Raises:
            FfrError: If it cannot be kept, for example because the disk is full. What is there
                stays, and later answers may be kept again.
        """
        self._puts.put(_row(key, response))

    def stats(self) -> CacheStats:
        """What the cache holds.

        Raises:
            InputError: If the file is damaged.
        """
        query = (
            "SELECT provider, asked, count(*), sum(n_bytes), min(created), max(created)"
            " FROM responses GROUP BY provider, asked ORDER BY provider, asked"
        )
        with self._reading, explained(self.path):
            models = tuple(CachedModel(*row) for row in self._reader.execute(query))
        return CacheStats(
            path=self.path,
            n_entries=sum(model.n_entries for model in models),
            n_bytes=_size(self.path),
            oldest=min((model.oldest for model in models), default=None),
            newest=max((model.newest for model in models), default=None),
            models=models,
        )

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        model: str | None = None,
        provider: str | None = None,
        everything: bool = False,
        dry_run: bool = False,
    ) -> CachePruned:
        """Remove the answers to which all that is given applies; :meth:`vacuum` frees their space.

        Args:
            older_than: Those older than this.
            model: Those of this model, asked for or answering under this name.
            provider: Those of this provider.
            everything: All, if nothing else is given.
            dry_run: Only say what would be removed.

        Raises:
            ValueError: If nothing is given.
            InputError: If the file is damaged.
            FfrError: If it cannot be written.
        """
        where, values = ["1"], []
        if older_than is not None:
            where.append("created < ?")
            values.append((datetime.now(UTC) - older_than).isoformat(timespec="seconds"))
        if model is not None:
            where.append("? IN (asked, model)")
            values.append(model)
        if provider is not None:
            where.append("provider = ?")
            values.append(provider)
        if not (values or everything):
            raise ValueError("nothing says what to remove")
        condition = " AND ".join(where)
        count = f"SELECT count(*), coalesce(sum(n_bytes), 0) FROM responses WHERE {condition}"  # noqa: S608
        with self._writing, explained(self.path), self._transaction():
            found = CachePruned(*self._writer.execute(count, values).fetchone())
            if not dry_run:
                self._writer.execute(f"DELETE FROM responses WHERE {condition}", values)  # noqa: S608
        return found

    def vacuum(self) -> None:
        """Give the space of removed answers back to the disk.

        Raises:
            FfrError: If another process holds the cache for long, or the disk has no room for a
                copy.
        """
        with self._writing, explained(self.path):
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; what was put is there."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    def _make_file(self) -> None:
        """Make the file, for its owner alone: answers may quote what was asked."""
        if self.path.is_dir():
            raise InputError("is a folder", file=self.path, remedy="give the name of a file")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with contextlib.ExitStack() as opened:
            opened.callback(connection.close)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # of macOS
            opened.pop_all()
        return connection

    def _set_up(self) -> None:
        """Make the table in a new file; refuse one that is something else.

        Raises:
            InputError: If it is.
        """
        with self._transaction():
            application, version, n_tables = (
                self._writer.execute(query).fetchone()[0]
                for query in (
                    "PRAGMA application_id",
                    "PRAGMA user_version",
                    "SELECT count(*) FROM sqlite_master",
                )
            )
            if (application, version, n_tables) == (0, 0, 0):
                self._writer.execute(_SCHEMA)
                self._writer.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._writer.execute(f"PRAGMA user_version = {_VERSION}")
            elif application != _APPLICATION:
                remedy = "give another file for the cache"
                raise InputError("is no response cache", file=self.path, remedy=remedy)
            elif version != _VERSION:
                message = f"is a response cache of version {version}; this program has {_VERSION}"
                remedy = "update ffr-eval, or give another file for the cache"
                raise InputError(message, file=self.path, remedy=remedy)
        try:
            self._writer.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # then another process is setting it
                raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:  # Ctrl-C too: nothing half-written stays open
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        insert = f"INSERT OR REPLACE INTO responses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        with self._writing, explained(self.path), self._transaction():
            self._writer.executemany(insert, rows)

    def _decoded(self, key: str, text: str) -> CachedResponse:
        try:
            return decode(text.encode(), _DECODER)
        except msgspec.DecodeError as error:
            message = f"the answer {key[:12]}… is damaged: {error}"
            remedy = "move the file away; its answers would have to be asked for again"
            raise InputError(message, file=self.path, remedy=remedy) from None


_DECODER: Final = msgspec.json.Decoder(CachedResponse)


def _row(key: str, response: CachedResponse) -> Sequence[Any]:
    try:
        text = msgspec.json.encode(response).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write as an escape
        text = json.dumps(msgspec.to_builtins(response))
    asked, model = (
        name.encode(errors="replace").decode() for name in (response.asked, response.model or "")
    )
    return (key, response.created, response.provider, asked, model, len(text), text)


def _size(path: Path) -> int:
    """The bytes of the file and of what SQLite keeps beside it."""
    total = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            total += path.with_name(path.name + suffix).stat().st_size
    return total
