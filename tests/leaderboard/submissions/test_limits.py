"""Daily limits: what is counted, for whom, and that neither a restart nor a race gets around it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ffr_eval.errors import FfrError
from leaderboard.submissions.limits import FILE, DailyLimits, Limiter, LimitReached, Submitter
from leaderboard.submissions.store import FOLDER, SALT

if TYPE_CHECKING:
    from pathlib import Path

NOON = 20_000 * 86_400 + 12 * 3_600.0
BOARD = "sha256:00"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reached(limiter: Limiter, who: Submitter, board: str = BOARD) -> str:
    with pytest.raises(LimitReached) as caught:
        limiter.count_score(who, board)
    return caught.value.scope


def test_five_a_day_and_the_next_day_again(state: Path, clock: Clock) -> None:
    limiter, who = Limiter(state, clock=clock), Submitter("s", "10.0.0.1", "Us")
    assert [limiter.count_score(who, BOARD) for _ in range(5)] == [4, 3, 2, 1, 0]
    with pytest.raises(LimitReached) as caught:
        limiter.count_score(who, BOARD)
    assert (caught.value.most, caught.value.hours) == (5, 12)
    assert limiter.scores_left(who, BOARD) == 0
    assert limiter.count_score(who, "sha256:11") == 4  # another benchmark
    clock.now += 11.9 * 3_600
    reached(limiter, who)
    clock.now += 0.2 * 3_600
    assert limiter.scores_left(who, BOARD) == 5


def test_neither_a_new_session_nor_another_spelling_is_a_new_team(
    state: Path, clock: Clock
) -> None:
    limiter = Limiter(state, clock=clock)
    for number in range(5):
        limiter.count_score(Submitter(f"s{number}", "10.0.0.1", "Us"), BOARD)
    assert reached(limiter, Submitter("new", "10.0.0.1", "US ")) == "team"
    assert limiter.count_score(Submitter("new", "10.0.0.1", "Others"), BOARD) == 4


def test_a_session_has_one_limit_whatever_team_it_names(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, clock=clock)
    for number in range(5):
        limiter.count_score(Submitter("s", f"10.0.0.{number}", f"Team {number}"), BOARD)
    assert reached(limiter, Submitter("s", "10.0.0.9", "Team 9")) == "session"


def test_an_address_has_a_limit_whoever_it_says_it_is(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, clock=clock)
    for number in range(20):
        limiter.count_score(Submitter(f"s{number}", "2001:db8::1", f"Team {number}"), BOARD)
    again = Submitter("s", "2001:db8:0:0:ffff::2", "Team x")  # the same /64
    assert reached(limiter, again) == "address"
    limiter.count_score(Submitter("s", "2001:db8:0:1::2", "Team x"), BOARD)


def test_a_board_has_a_limit_for_everybody_together(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, DailyLimits(board=3), clock)
    for number in range(3):
        limiter.count_score(Submitter(f"s{number}", f"10.0.{number}.1", f"T{number}"), BOARD)
    assert reached(limiter, Submitter("s", "10.1.1.1", "T")) == "board"


def test_a_refusal_is_not_counted(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, DailyLimits(team=1), clock)
    who = Submitter("s", "10.0.0.1", "Us")
    limiter.count_score(who, BOARD)
    for _ in range(10):
        reached(limiter, who)
    assert limiter.scores_left(Submitter("t", "10.0.0.1", "Them"), BOARD) == 1


def test_uploads_and_submissions_have_limits_of_their_own(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, DailyLimits(uploads_an_hour=2, sends_a_day=1), clock)
    who = Submitter("s", "10.0.0.1")
    for _ in range(2):
        limiter.count_upload(who)
    with pytest.raises(LimitReached) as caught:
        limiter.count_upload(Submitter("another session", "10.0.0.1"))
    assert (caught.value.scope, caught.value.hours) == ("address", 1)
    limiter.count_upload(Submitter("s", "10.0.0.2"))
    limiter.count_send(who)
    with pytest.raises(LimitReached):
        limiter.count_send(who)
    clock.now += 3_600
    limiter.count_upload(who)
    with pytest.raises(LimitReached):
        limiter.count_send(who)


def test_a_restart_does_not_reset_it(state: Path) -> None:
    """Each time in a process of its own, which ends without cleaning up."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from leaderboard.submissions.limits import Limiter, Submitter;"
        f"limiter = Limiter(Path({str(state)!r}), clock=lambda: {NOON});"
        "left = limiter.count_score(Submitter(str(os.getpid()), '10.0.0.1', 'Us'), 'b');"
        "sys.stdout.write(str(left)); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    run = [sys.executable, "-c", code]
    ends = [subprocess.run(run, capture_output=True, text=True, check=False) for _ in range(6)]
    assert [end.stdout for end in ends] == ["4", "3", "2", "1", "0", ""]
    assert "LimitReached" in ends[-1].stderr


# How many of 60 questions are answered, in a process of its own.
ASK = """
import contextlib, sys
from pathlib import Path
from leaderboard.submissions.limits import DailyLimits, LimitReached, Limiter, Submitter

state, number, noon = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
limiter = Limiter(state, DailyLimits(team=100), lambda: noon)
answered = 0
for question in range(60):
    who = Submitter(f"{number} {question}", f"10.{number}.{question}.1", "Us")
    with contextlib.suppress(LimitReached):
        limiter.count_score(who, "ffr-sample-test")
        answered += 1
print(answered)
"""


def test_many_processes_at_once_get_no_more_than_one(state: Path) -> None:
    Limiter(state)
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(state), str(number), str(NOON)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    answered = [int(process.communicate(timeout=120)[0]) for process in asking]
    assert [process.returncode for process in asking] == [0] * 4
    assert sum(answered) == DailyLimits().board == 200  # of 240


def test_only_salted_hashes_are_written_down(state: Path, tmp_path: Path, clock: Clock) -> None:
    who = Submitter("session-abc", "192.0.2.77", "Team Secret")
    Limiter(state, clock=clock).count_score(who, BOARD)
    folder = state / FOLDER
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    for text in (b"session-abc", b"192.0.2", b"Team Secret", b"team secret"):
        assert text not in written
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
    other = tmp_path / "other"
    Limiter(other, clock=clock).count_score(who, BOARD)
    assert keys(state) & keys(other) == set()  # another salt


def keys(state: Path) -> set[str]:
    with sqlite3.connect(state / FOLDER / FILE) as database:
        return {row[0] for row in database.execute("SELECT who FROM events")}


def test_old_counts_are_removed(state: Path, clock: Clock) -> None:
    limiter = Limiter(state, clock=clock)
    limiter.count_score(Submitter("s", "10.0.0.1", "Us"), BOARD)
    before = keys(state)
    clock.now += 3 * 86_400
    limiter.count_score(Submitter("t", "10.0.0.2", "Them"), "other")
    assert not before & keys(state)


def test_a_damaged_database_stops_it(state: Path, clock: Clock) -> None:
    """Nothing is answered if it cannot be counted."""
    limiter = Limiter(state, clock=clock)
    (state / FOLDER / FILE).write_bytes(b"rubbish" * 1_000)
    with pytest.raises(FfrError, match="cannot be used"):
        limiter.count_score(Submitter("s", None, "Us"), BOARD)


def test_a_salt_that_is_cut_off_is_refused(state: Path) -> None:
    Limiter(state)
    (state / FOLDER / SALT).write_bytes(b"x")
    with pytest.raises(FfrError, match="bytes"):
        Limiter(state)
