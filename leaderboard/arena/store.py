"""The votes on disk: an SQLite database in the state folder, which many sessions write to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.errors import FfrError, InputError
from ffr_eval.writing import cannot_write
from leaderboard.arena.votes import CRITERIA, Vote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from leaderboard.arena.votes import Form

FILE: Final = "arena.sqlite"
VERSION: Final = 1

Reason: TypeAlias = Literal["used", "again", "too_many", "expired", "foreign", "tampered"]
RunSet: TypeAlias = tuple[str, ...]

_APPLICATION: Final = 0x46465241  # "FFRA"
_BUSY: Final = 30.0  # seconds to wait for others who write
_DAY: Final = 86_400
_COLUMNS: Final = (
    "vote_id",
    "time",
    "board_id",
    "sample_id",
    "dialogue_id",
    "criterion",
    "form",
    "runs",
    "choice",
    "rater",
    "rater_kind",
    "source",
)
_SCHEMA: Final = f"""
CREATE TABLE votes (
    seq INTEGER PRIMARY KEY,
    vote_id TEXT NOT NULL UNIQUE,
    time TEXT NOT NULL,
    board_id TEXT NOT NULL,
    sample_id TEXT NOT NULL,
    dialogue_id TEXT NOT NULL,
    criterion TEXT NOT NULL CHECK (criterion IN ('coverage', 'relevance', 'coherence')),
    form TEXT NOT NULL CHECK (form IN ('pair', 'best_of')),
    runs TEXT NOT NULL,
    run_set TEXT NOT NULL,
    choice TEXT NOT NULL,
    rater TEXT NOT NULL,
    rater_kind TEXT NOT NULL CHECK (rater_kind IN ('human', 'judge')),
    source TEXT NOT NULL
);
CREATE INDEX votes_shown ON votes
    (board_id, form, rater_kind, criterion, run_set, sample_id, rater);
CREATE TRIGGER votes_stay BEFORE UPDATE ON votes
    BEGIN SELECT RAISE(ABORT, 'votes are only ever added'); END;
CREATE TRIGGER votes_remain BEFORE DELETE ON votes
    BEGIN SELECT RAISE(ABORT, 'votes are only ever added'); END;
CREATE TABLE used_tokens (nonce TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE ballots (voter TEXT NOT NULL, time REAL NOT NULL);
CREATE INDEX ballots_recent ON ballots (voter, time);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
"""
_INSERT: Final = (
    f"INSERT INTO votes ({', '.join(_COLUMNS)}, run_set)"  # noqa: S608 - columns of ours
    f" VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM votes"  # noqa: S608


class VoteRefused(FfrError):  # noqa: N818 - a vote that does not count
    """A vote is not taken; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"the vote is not taken: {reason}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How many ballots one session may cast, and how many one address."""

    a_minute: int = 30
    a_day: int = 600


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one person submits at once: a vote a criterion.

    Attributes:
        votes: On one sample and the same runs.
        nonce: Of the token that it was cast with.
        expires: When that token does, in seconds since 1970.
        voters: Keyed hashes of the session and of its address; each is limited by itself.
    """

    votes: tuple[Vote, ...]
    nonce: str
    expires: float
    voters: tuple[str, ...]


class ArenaStore:
    """Votes, which tokens were used, and who voted how often lately.

    Every call opens the database, does one short transaction and closes it, so that threads and
    processes may share the folder. Votes are only ever added.

    Args:
        state: The state folder.
        limits: How many ballots are taken.
        clock: Seconds since 1970.
    """

    def __init__(
        self, state: Path, *, limits: Limits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = state / FILE
        self._limits = limits or Limits()
        self._clock = clock

    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self.path.is_file()

    def create(self) -> None:
        """Make the database if it is not there; it appears complete.

        Raises:
            InputError: If the folder cannot be written.
            FfrError: If the disk is full.
        """
        if self.exists():
            return
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(".arena.lock")):
                if not self.exists():
                    self._create()
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def _create(self) -> None:
        # mkstemp: only its owner may read it; SQLite gives its other files the same mode.
        handle, name = tempfile.mkstemp(prefix=".arena-", suffix=".new", dir=self.path.parent)
        os.close(handle)
        new = Path(name)
        try:
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)

    def cast(self, ballot: Ballot) -> None:
        """Take a ballot: all of its votes, or none.

        Whether the token was used, whether the rater judged this before and how often the voter
        voted lately is asked and written in one transaction, so that nothing gets in between.

        Raises:
            VoteRefused: If it may not be taken.
        """
        now = self._clock()
        first = ballot.votes[0]
        with self._writing() as database:
            database.execute("DELETE FROM used_tokens WHERE expires < ?", [now - _DAY])
            database.execute("DELETE FROM ballots WHERE time < ?", [now - _DAY])
            if ballot.expires < now:
                raise VoteRefused("expired")
            try:
                database.execute(
                    "INSERT INTO used_tokens VALUES (?, ?)", [ballot.nonce, ballot.expires]
                )
            except sqlite3.IntegrityError:
                raise VoteRefused("used") from None
            for voter in ballot.voters:
                if self._is_over(database, voter, now):
                    raise VoteRefused("too_many")
                database.execute("INSERT INTO ballots VALUES (?, ?)", [voter, now])
            where = "board_id = ? AND form = ? AND run_set = ? AND sample_id = ? AND rater = ?"
            values = [first.board_id, first.form, _text(first.run_set)]
            values += [first.sample_id, first.rater]
            sql = f"SELECT 1 FROM votes WHERE {where} AND rater_kind = 'human'"  # noqa: S608
            if database.execute(sql, values).fetchone():
                raise VoteRefused("again")
            database.executemany(_INSERT, map(_row, ballot.votes))

    def _is_over(self, database: sqlite3.Connection, voter: str, now: float) -> bool:
        sql = "SELECT COUNT(*) FROM ballots WHERE voter = ? AND time > ?"
        return any(
            database.execute(sql, [voter, now - span]).fetchone()[0] >= limit
            for span, limit in ((60, self._limits.a_minute), (_DAY, self._limits.a_day))
        )

    def is_limited(self, voters: Sequence[str]) -> bool:
        """Whether a voter has to wait before the next ballot."""
        now = self._clock()
        with self._reading() as database:
            return any(self._is_over(database, voter, now) for voter in voters)

    def add(
        self, votes: Sequence[Vote], file: Path | None = None, lines: Sequence[int] = ()
    ) -> int:
        """Add votes from elsewhere; those that are there already are left out.

        Args:
            votes: The votes.
            file: Where they stand, for errors.
            lines: The line of each.

        Returns:
            How many were added.

        Raises:
            InputError: If an id belongs to another vote; then none is added.
        """
        n_added = 0
        with self._writing() as database:
            for place, vote in enumerate(votes):
                known = database.execute(f"{_SELECT} WHERE vote_id = ?", [vote.vote_id]).fetchone()
                if known is None:
                    database.execute(_INSERT, _row(vote))
                    n_added += 1
                elif _vote(known) != vote:
                    raise InputError(
                        f"{vote.vote_id!r} is the id of another vote",
                        file=file or self.path,
                        line=lines[place] if lines else None,
                        field="vote_id",
                        remedy="give each vote its own random id",
                    )
        return n_added

    def votes(self, board_id: str | None = None) -> list[Vote]:
        """The votes in the order they were taken, of one board or of all."""
        where, values = ("", []) if board_id is None else (" WHERE board_id = ?", [board_id])
        with self._reading() as database:
            rows = database.execute(f"{_SELECT}{where} ORDER BY seq", values)
            return list(map(_vote, rows))

    def boards(self) -> list[str]:
        """The boards that have votes."""
        with self._reading() as database:
            rows = database.execute("SELECT DISTINCT board_id FROM votes ORDER BY board_id")
            return [row[0] for row in rows]

    def last(self) -> int:
        """The number of the last vote: it grows whenever a vote is added."""
        with self._reading() as database:
            found = database.execute("SELECT MAX(seq) FROM votes").fetchone()[0]
            return int(found or 0)

    def ballots(self, board_id: str, form: Form) -> dict[RunSet, int]:
        """How many ballots of people there are on the same runs."""
        return {
            tuple(run_set.split()): number
            for run_set, number in self._counted(board_id, form, "run_set", "")
        }

    def ballots_on(self, board_id: str, form: Form, runs: Sequence[str]) -> dict[str, int]:
        """How many ballots of people there are on these runs, by sample."""
        run_set = _text(tuple(sorted(runs)))
        return dict(self._counted(board_id, form, "sample_id", "AND run_set = ?", run_set))

    def rated_by(self, board_id: str, form: Form, runs: Sequence[str], rater: str) -> set[str]:
        """The samples on which a person has judged these runs."""
        more = "AND run_set = ? AND rater = ?"
        values = (_text(tuple(sorted(runs))), rater)
        return {sample for sample, _ in self._counted(board_id, form, "sample_id", more, *values)}

    def _counted(
        self, board_id: str, form: Form, by: str, more: str, *values: str
    ) -> list[tuple[str, int]]:
        # A ballot has a vote for each criterion: those of the first are counted.
        where = "board_id = ? AND form = ? AND rater_kind = 'human' AND criterion = ?"
        sql = f"SELECT {by}, COUNT(*) FROM votes WHERE {where} {more} GROUP BY {by}"  # noqa: S608
        with self._reading() as database:
            return database.execute(sql, [board_id, form, CRITERIA[0], *values]).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that is whole or not at all, however it ends."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self.exists():
            remedy = "vote on the page Arena, or: ffr arena import --state DIR --site SITE FILE"
            raise InputError("no votes yet", file=self.path, remedy=remedy)
        try:
            place = f"{self.path.resolve().as_uri()}?mode=rw"
            opened = sqlite3.connect(place, uri=True, timeout=_BUSY, isolation_level=None)
            with contextlib.closing(opened) as database:
                self._check(database)
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            raise FfrError(f"{self.path}: {error}\n  → {_remedy(error)}") from None

    def _check(self, database: sqlite3.Connection) -> None:
        try:
            application = database.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            application = None
        if application != _APPLICATION:
            remedy = "move it away, or give another state folder"
            raise InputError("is not a database of votes", file=self.path, remedy=remedy)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            message = f"has format {version}, and this version of FFR reads format {VERSION}"
            raise InputError(message, file=self.path, remedy="use the FFR that wrote it")


def _row(vote: Vote) -> list[str]:
    values = [_text(getattr(vote, name)) for name in _COLUMNS]
    return [*values, _text(vote.run_set)]


def _vote(row: Sequence[str]) -> Vote:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Vote(**{**values, "runs": tuple(values["runs"].split())})  # type: ignore[arg-type]


def _text(value: str | RunSet) -> str:
    return value if isinstance(value, str) else " ".join(value)  # no run id has a space


def _remedy(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return "another process holds it: try again"
    return "check the disk and the permissions of the folder; the votes so far stay as they are"
