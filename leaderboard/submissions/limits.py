"""How often somebody may upload, and ask how good predictions on hidden gold are.

Each figure on hidden gold says a little about the gold, so that asking is limited by the day (UTC).
What is asked is counted before it is answered: a crash in between counts.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.errors import FfrError
from ffr_eval.writing import cannot_write
from leaderboard.submissions.store import Hasher, submissions_folder
from leaderboard.visitors import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILE: Final = "limits.sqlite"
Action: TypeAlias = Literal["upload", "score", "send"]
Scope: TypeAlias = Literal["team", "session", "address", "board"]

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_BUSY: Final = 30.0  # seconds to wait for others who write
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (time REAL NOT NULL, action TEXT NOT NULL, who TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_recent ON events (who, action, time);
CREATE INDEX IF NOT EXISTS events_old ON events (time);
"""


@dataclass(frozen=True, slots=True)
class DailyLimits:
    """How often.

    Attributes:
        team: Scores on a board with hidden gold a day, of a team at one address.
        session: The same, of a session of the browser.
        address: The same, of an address whatever team it names: more, as a university may be one.
        board: The same, of everybody together.
        uploads_an_hour: Uploads that are read, of an address, on all boards.
        sends_a_day: Submissions for review, of an address.
    """

    team: int = 5
    session: int = 5
    address: int = 20
    board: int = 200
    uploads_an_hour: int = 60
    sends_a_day: int = 20


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who uploads; none of it is ever written down as it is.

    Attributes:
        session: Something random of the session.
        address: Where the request comes from, if that is known.
        team: The name that it gives itself.
    """

    session: str
    address: str | None
    team: str = ""


class LimitReached(FfrError):  # noqa: N818 - not wrong, but over
    """Nothing more is answered for now.

    Attributes:
        scope: Whose limit it is.
        most: How often.
        hours: How long to wait, at most.
    """

    def __init__(self, scope: Scope, most: int, hours: int) -> None:
        super().__init__(f"the limit of {most} for this {scope} is reached")
        self.scope: Scope = scope
        self.most = most
        self.hours = hours


class Limiter:
    """Counts what submitters do, in the state folder; threads and processes may share it.

    Args:
        state: The state folder.
        limits: By default those of the server.
        clock: Seconds since 1970.

    Raises:
        InputError: If the state folder cannot be written.
    """

    def __init__(
        self,
        state: Path,
        limits: DailyLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder = submissions_folder(state)
        self.limits = limits or DailyLimits()
        self._path = folder / FILE
        self._hasher = Hasher(folder)
        self._clock = clock

    def count_upload(self, who: Submitter) -> None:
        """Count an upload before it is read.

        Raises:
            LimitReached: If there were too many in this hour; this one is not counted.
        """
        address = self._hasher.of("address", network_of(who.address))
        self._take("upload", _HOUR, [("address", address, self.limits.uploads_an_hour)])

    def count_score(self, who: Submitter, board: str) -> int:
        """Count a question about hidden gold before it is answered; how many are left today.

        Args:
            who: Asks.
            board: What about: the hash of its benchmark and its split, so that a board that is
                published under another name is the same one.

        Raises:
            LimitReached: If there were too many today; this one is not counted.
        """
        return self._take("score", _DAY, self._scopes(who, board))

    def count_send(self, who: Submitter) -> None:
        """Count a submission before it is kept for review.

        Raises:
            LimitReached: If there were too many today; this one is not counted.
        """
        address = self._hasher.of("address", network_of(who.address))
        self._take("send", _DAY, [("address", address, self.limits.sends_a_day)])

    def scores_left(self, who: Submitter, board: str) -> int:
        """How often a submitter may still ask today."""
        now = self._clock()
        with self._database() as database:
            return max(
                0,
                min(
                    most - self._number(database, "score", key, _window(now, _DAY))
                    for _, key, most in self._scopes(who, board)
                ),
            )

    def _scopes(self, who: Submitter, board: str) -> list[tuple[Scope, str, int]]:
        address = network_of(who.address)
        team = " ".join(who.team.casefold().split())
        of, limits = self._hasher.of, self.limits
        return [
            ("team", of("team", board, team, address), limits.team),
            ("session", of("session", board, who.session), limits.session),
            ("address", of("address", board, address), limits.address),
            ("board", of("board", board), limits.board),
        ]

    def _take(self, action: Action, period: int, scopes: list[tuple[Scope, str, int]]) -> int:
        now = self._clock()
        since = _window(now, period)
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")  # nobody else counts in between
            left = []
            for scope, key, most in scopes:
                number = self._number(database, action, key, since)
                if number >= most:
                    database.execute("ROLLBACK")
                    raise LimitReached(scope, most, -int(-(since + period - now) // _HOUR))
                left.append(most - number - 1)
            rows = [(now, action, key) for _, key, _ in scopes]
            database.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
            database.execute("DELETE FROM events WHERE time < ?", (now - 2 * _DAY,))
            database.execute("COMMIT")
        return min(left)

    @staticmethod
    def _number(database: sqlite3.Connection, action: Action, key: str, since: float) -> int:
        query = "SELECT count(*) FROM events WHERE who = ? AND action = ? AND time >= ?"
        return int(database.execute(query, (key, action, since)).fetchone()[0])

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The database, for one transaction.

        Raises:
            FfrError: If it cannot be written or read.
        """
        try:
            with contextlib.closing(
                sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
            ) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(_SCHEMA)
                self._path.chmod(0o600)
                yield database
        except sqlite3.Error as error:
            raise FfrError(f"{self._path}: cannot be used: {error}") from None
        except OSError as error:
            raise cannot_write(self._path, error) from None


def _window(now: float, period: int) -> float:
    """When the hour or the day (UTC) began."""
    return now - now % period
