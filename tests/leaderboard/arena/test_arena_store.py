"""The votes on disk: whole, only added to, and each token good for one ballot."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ffr_eval.errors import FfrError, InputError
from leaderboard.arena.store import ArenaStore, Limits, VoteRefused
from leaderboard.arena.votes import CRITERIA

if TYPE_CHECKING:
    from collections.abc import Callable

    from leaderboard.arena.store import Ballot
    from leaderboard.arena.votes import Vote

ROOT = Path(__file__).resolve().parents[3]
MANY = Limits(a_minute=10**6, a_day=10**6)

VOTER = """
import itertools, sys
from pathlib import Path
from leaderboard.arena.store import ArenaStore, Limits, VoteRefused
from tests.leaderboard.arena.conftest import make_ballot

_, state, who, number, limit, voter = sys.argv
store = ArenaStore(Path(state), limits=Limits(int(limit), int(limit)))
store.create()
for turn in itertools.islice(itertools.count(), int(number) or None):
    try:
        nonce, sample = f"{who}-{turn}", f"{who}#{turn}"
        store.cast(make_ballot(nonce, voters=(voter,), sample_id=sample, rater=who))
        print(turn, flush=True)
    except VoteRefused as error:
        print(error.reason, flush=True)
"""


def voter(
    state: Path, who: str, number: int, limit: int = 10**6, voter: str = "v"
) -> subprocess.Popen[str]:
    """A process that casts ballots; without end if ``number`` is 0."""
    command = [sys.executable, "-c", VOTER, str(state), who, str(number), str(limit), voter]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_votes_come_back_as_they_were(store: ArenaStore, vote: Callable[..., Vote]) -> None:
    votes = [
        vote(choice="tie", sample_id="x#1"),
        vote(form="best_of", runs=("c", "a", "b"), choice="c", rater_kind="judge", rater="gpt-4o"),
        vote(sample_id="対話 '; DROP TABLE votes; --#0", dialogue_id="対話", runs=("b", "a")),
    ]
    assert store.add(votes) == 3
    assert store.votes() == votes
    assert store.votes("board-1") == votes
    assert store.votes("other") == []
    assert store.boards() == ["board-1"]


def test_a_ballot_is_a_vote_a_criterion(store: ArenaStore, ballot: Callable[..., Ballot]) -> None:
    cast = ballot("n1")
    store.cast(cast)
    assert store.votes() == list(cast.votes)
    assert [vote.criterion for vote in store.votes()] == list(CRITERIA)


def test_replay_is_refused(store: ArenaStore, ballot: Callable[..., Ballot]) -> None:
    """With another sample, so that nothing but the nonce is against it."""
    store.cast(ballot("n1"))
    with pytest.raises(VoteRefused) as refused:
        store.cast(ballot("n1", sample_id="d2#0", rater="r2"))
    assert refused.value.reason == "used"
    assert len(store.votes()) == len(CRITERIA)


def test_the_same_item_is_judged_once_by_a_rater(
    store: ArenaStore, ballot: Callable[..., Ballot]
) -> None:
    store.cast(ballot("n1"))
    with pytest.raises(VoteRefused) as refused:
        store.cast(ballot("n2", runs=("b", "a")))
    assert refused.value.reason == "again"
    store.cast(ballot("n2", rater="r2"))  # the refused ballot did not use up the token
    assert len(store.votes()) == 2 * len(CRITERIA)


def test_an_expired_ballot_is_refused(state: Path, ballot: Callable[..., Ballot]) -> None:
    store = ArenaStore(state, clock=lambda: 1000.0)
    store.create()
    with pytest.raises(VoteRefused) as refused:
        store.cast(ballot("n1", expires=999.0))
    assert refused.value.reason == "expired"
    assert store.votes() == []


def test_used_nonces_outlive_their_tokens(state: Path, ballot: Callable[..., Ballot]) -> None:
    now = [1000.0]
    store = ArenaStore(state, clock=lambda: now[0], limits=MANY)
    store.create()
    store.cast(ballot("n1", expires=4600.0))
    now[0] = 4599.0
    with pytest.raises(VoteRefused, match="used"):
        store.cast(ballot("n1", expires=4600.0, sample_id="d2#0"))


def test_stuffing_is_refused_by_the_minute_and_by_the_day(
    state: Path, ballot: Callable[..., Ballot]
) -> None:
    now = [0.0]
    store = ArenaStore(state, limits=Limits(a_minute=3, a_day=5), clock=lambda: now[0])
    store.create()

    def cast(number: int) -> None:
        store.cast(ballot(f"n{number}", sample_id=f"d#{number}"))

    for number in range(3):
        cast(number)
    assert store.is_limited(["v1"])
    with pytest.raises(VoteRefused) as refused:
        cast(3)
    assert refused.value.reason == "too_many"
    now[0] = 61.0
    cast(3)
    cast(4)
    now[0] = 200.0
    with pytest.raises(VoteRefused):
        cast(5)
    now[0] = 86_400.0 + 62
    cast(5)
    assert len(store.votes()) == 6 * len(CRITERIA)


def test_each_voter_is_limited_by_itself(state: Path, ballot: Callable[..., Ballot]) -> None:
    """New sessions do not help from the same address; another address is free."""
    store = ArenaStore(state, limits=Limits(a_minute=2, a_day=100))
    store.create()
    for number in range(2):
        store.cast(ballot(f"n{number}", voters=(f"session-{number}", "address"), rater=str(number)))
    with pytest.raises(VoteRefused, match="too_many"):
        store.cast(ballot("n2", voters=("session-2", "address"), rater="2"))
    store.cast(ballot("n2", voters=("session-2", "elsewhere"), rater="2"))


def test_a_second_process_does_not_escape_the_limit(state: Path) -> None:
    first = voter(state, "p1", 4, limit=5)
    assert first.communicate()[0].split() == ["0", "1", "2", "3"]
    second = voter(state, "p2", 4, limit=5)
    assert second.communicate()[0].split() == ["0", "too_many", "too_many", "too_many"]
    assert len(ArenaStore(state).votes()) == 5 * len(CRITERIA)


def test_votes_cannot_be_changed_or_removed(store: ArenaStore, vote: Callable[..., Vote]) -> None:
    store.add([vote()])
    with sqlite3.connect(store.path) as database:
        for sql in ("UPDATE votes SET choice = 'b'", "DELETE FROM votes"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                database.execute(sql)
    database.close()
    assert [kept.choice for kept in store.votes()] == ["a"]


def test_concurrent_threads_lose_no_vote(state: Path, ballot: Callable[..., Ballot]) -> None:
    store = ArenaStore(state, limits=MANY)

    def cast(number: int) -> None:
        store.create()
        store.cast(ballot(f"n{number}", sample_id=f"d#{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cast, range(80)))
    assert len(store.votes()) == 80 * len(CRITERIA)


def test_of_concurrent_ballots_with_one_token_one_is_taken(
    store: ArenaStore, ballot: Callable[..., Ballot]
) -> None:
    barrier = threading.Barrier(8)

    def cast(number: int) -> str:
        mine = ballot("n1", sample_id=f"d#{number}")
        barrier.wait()
        try:
            store.cast(mine)
        except VoteRefused as error:
            return error.reason
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(cast, range(8)))
    assert sorted(said) == ["taken", *["used"] * 7]
    assert len(store.votes()) == len(CRITERIA)


def test_concurrent_processes_lose_no_vote(state: Path) -> None:
    """They also make the database, all at once."""
    voters = [voter(state, f"p{number}", 25, voter=str(number)) for number in range(3)]
    for process in voters:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.split() == [str(turn) for turn in range(25)]
    votes = ArenaStore(state).votes()
    assert len(votes) == 75 * len(CRITERIA)
    assert len({vote.vote_id for vote in votes}) == len(votes)


def test_a_killed_voter_leaves_whole_ballots(state: Path, ballot: Callable[..., Ballot]) -> None:
    """Killed in the middle of voting as fast as it can; all that it was told is kept is there."""
    for number in range(3):
        process = voter(state, f"killed-{number}", 0)
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(5)]
        time.sleep(0.01 * number)
        os.kill(process.pid, signal.SIGKILL)
        told += process.communicate()[0].splitlines()
        store = ArenaStore(state)
        votes = [vote for vote in store.votes() if vote.rater == f"killed-{number}"]
        assert len(votes) % len(CRITERIA) == 0
        assert len(votes) >= len(CRITERIA) * len(told)
        with sqlite3.connect(store.path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
    ArenaStore(state).cast(ballot("after"))


def test_killed_inside_a_transaction_nothing_of_it_stays(state: Path, store: ArenaStore) -> None:
    script = (
        "import os, sys, sqlite3; d = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "d.execute('BEGIN IMMEDIATE'); d.execute(\"INSERT INTO used_tokens VALUES ('n', 4e9)\");"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(store.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with sqlite3.connect(store.path) as database:
        assert database.execute("SELECT COUNT(*) FROM used_tokens").fetchone() == (0,)
    database.close()


def test_counts_are_of_ballots_of_people(
    store: ArenaStore, ballot: Callable[..., Ballot], vote: Callable[..., Vote]
) -> None:
    store.cast(ballot("n1", runs=("b", "a")))
    store.cast(ballot("n2", rater="r2"))
    store.cast(ballot("n3", sample_id="d2#0"))
    store.add([vote(rater_kind="judge"), vote(board_id="other")])
    assert store.ballots("board-1", "pair") == {("a", "b"): 3}
    assert store.ballots_on("board-1", "pair", ("b", "a")) == {"d1#0": 2, "d2#0": 1}
    assert store.rated_by("board-1", "pair", ("a", "b"), "r1") == {"d1#0", "d2#0"}
    assert store.ballots("board-1", "best_of") == {}


def test_adding_again_leaves_out_what_is_there(
    store: ArenaStore, vote: Callable[..., Vote]
) -> None:
    votes = [vote(), vote()]
    assert store.add(votes[:1]) == 1
    assert store.add(votes) == 1
    assert store.votes() == votes


def test_an_id_of_another_vote_is_refused_with_all(
    store: ArenaStore, vote: Callable[..., Vote]
) -> None:
    taken = vote()
    store.add([taken])
    other = vote(vote_id=taken.vote_id, choice="b")
    with pytest.raises(InputError, match="id of another vote"):
        store.add([vote(), other])
    assert store.votes() == [taken]


def test_only_the_owner_may_read_it(store: ArenaStore, vote: Callable[..., Vote]) -> None:
    store.add([vote()])
    with sqlite3.connect(store.path) as reader:  # keeps the other files of SQLite there
        reader.execute("SELECT * FROM votes").fetchall()
        files = list(store.path.parent.glob("arena.sqlite*"))
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    reader.close()


def test_what_is_not_a_database_of_votes_is_refused(state: Path) -> None:
    state.mkdir()
    store = ArenaStore(state)
    with pytest.raises(InputError, match="no votes yet"):
        store.votes()
    store.path.write_text("votes, votes, votes\n" * 200)
    with pytest.raises(InputError, match="is not a database of votes"):
        store.votes()
    store.path.unlink()
    with sqlite3.connect(store.path) as database:
        database.execute("CREATE TABLE votes (x)")
    database.close()
    with pytest.raises(InputError, match="is not a database of votes"):
        store.votes()


def test_a_newer_format_is_refused(store: ArenaStore) -> None:
    with sqlite3.connect(store.path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(InputError, match="format 2"):
        store.votes()


def test_a_damaged_database_is_an_error_with_a_remedy(
    store: ArenaStore, ballot: Callable[..., Ballot]
) -> None:
    with sqlite3.connect(store.path) as database:
        database.execute("DROP TABLE ballots")
    database.close()
    with pytest.raises(FfrError, match="→"):
        store.cast(ballot("n1"))


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        ArenaStore(tmp_path / "file" / "state").create()
