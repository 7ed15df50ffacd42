"""Tokens: of this session, unchanged, fresh; and what they are signed with."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import itsdangerous
import msgspec
import pytest

from ffr_eval.errors import InputError
from leaderboard.arena.store import ArenaStore, VoteRefused
from leaderboard.arena.tokens import LIFETIME, SECRET, Pair, Tokens, read_tokens
from leaderboard.arena.votes import CRITERIA, TIE

if TYPE_CHECKING:
    from pathlib import Path

CHOICES: dict[Any, str] = dict.fromkeys(CRITERIA, "b")


@pytest.fixture
def tokens(state: Path) -> Tokens:
    return read_tokens(state)


@pytest.fixture
def session(tokens: Tokens) -> str:
    return tokens.voter("session", "one")


def pair(session: str, **given: Any) -> Pair:
    values: dict[str, Any] = {
        "board_id": "board-1",
        "sample_id": "d1#0",
        "dialogue_id": "d1",
        "form": "pair",
        "runs": ("b", "a"),
        "criteria": CRITERIA,
    }
    return Pair(session, **(values | given))


def refusal(tokens: Tokens, token: str, session: str, choices: Any = None) -> str:
    with pytest.raises(VoteRefused) as refused:
        tokens.ballot(token, session, "address", CHOICES if choices is None else choices)
    return refused.value.reason


def test_a_token_becomes_votes_on_what_was_drawn(tokens: Tokens, session: str) -> None:
    drawn = pair(session)
    choices: dict[Any, str] = {**CHOICES, "coherence": TIE}
    ballot = tokens.ballot(tokens.issue(drawn), session, "address", choices)
    assert ballot.nonce == drawn.nonce
    assert ballot.voters == (session, "address")
    assert {vote.criterion: vote.choice for vote in ballot.votes} == choices
    for vote in ballot.votes:
        assert (vote.board_id, vote.sample_id, vote.dialogue_id) == ("board-1", "d1#0", "d1")
        assert (vote.runs, vote.form) == (("b", "a"), "pair")
        assert (vote.rater, vote.rater_kind, vote.source) == (session, "human", "arena")
    assert len({vote.vote_id for vote in ballot.votes}) == 3


def test_a_token_is_good_once(tokens: Tokens, session: str, store: ArenaStore) -> None:
    token = tokens.issue(pair(session))
    store.cast(tokens.ballot(token, session, "address", CHOICES))
    with pytest.raises(VoteRefused) as refused:
        store.cast(tokens.ballot(token, session, "address", CHOICES))
    assert refused.value.reason == "used"


def test_a_token_of_another_session_is_refused(tokens: Tokens, session: str) -> None:
    token = tokens.issue(pair(session))
    assert refusal(tokens, token, tokens.voter("session", "two")) == "foreign"


def test_a_changed_token_is_refused(tokens: Tokens, session: str) -> None:
    token = tokens.issue(pair(session))
    body, time, signature = token.rsplit(".", 2)
    other = tokens.issue(pair(session, runs=("a", "b"))).rsplit(".", 2)
    for changed in (
        f"{other[0]}.{time}.{signature}",  # other runs
        f"{body}.{'B' if time[0] == 'A' else 'A'}{time[1:]}.{signature}",  # another time
        f"{body}.{time}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        f"{body}.{time}.",
        body,
        "",
        "ä",
    ):
        assert refusal(tokens, changed, session) == "tampered"


def test_a_token_signed_elsewhere_is_refused(tokens: Tokens, session: str) -> None:
    forged = Tokens(b"x" * 32).issue(pair(session))
    assert refusal(tokens, forged, session) == "tampered"


def test_what_is_signed_for_something_else_is_no_token(
    tokens: Tokens, session: str, state: Path
) -> None:
    secret = (state / SECRET).read_bytes()
    for salt in ("something else", "itsdangerous"):
        other = itsdangerous.URLSafeTimedSerializer(
            secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256}
        )
        token = other.dumps(msgspec.to_builtins(pair(session)))
        assert refusal(tokens, str(token), session) == "tampered"


def test_an_old_token_is_refused(
    tokens: Tokens, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000]
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda _: now[0])
    token = tokens.issue(pair(session))
    now[0] += LIFETIME
    assert tokens.ballot(token, session, "address", CHOICES).expires == now[0]
    now[0] += 1
    assert refusal(tokens, token, session) == "expired"


@pytest.mark.parametrize(
    "choices",
    [
        {**CHOICES, "coverage": "c"},
        {**CHOICES, "coverage": ""},
        {"coverage": "a"},
        {},
        {**CHOICES, "beauty": "a"},
    ],
)
def test_only_what_was_shown_can_be_chosen(tokens: Tokens, session: str, choices: Any) -> None:
    assert refusal(tokens, tokens.issue(pair(session)), session, choices) == "tampered"


def test_the_best_of_several_is_no_tie(tokens: Tokens, session: str) -> None:
    token = tokens.issue(pair(session, form="best_of", runs=("c", "b", "a")))
    assert refusal(tokens, token, session, dict.fromkeys(CRITERIA, TIE)) == "tampered"
    assert tokens.ballot(token, session, "address", CHOICES).votes[0].choice == "b"


def test_the_secret_is_random_kept_and_private(state: Path, tmp_path: Path) -> None:
    first = read_tokens(state)
    file = state / SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 32
    assert first.voter("session", "x") == read_tokens(state).voter("session", "x")
    assert first.voter("session", "x") != read_tokens(tmp_path / "b").voter("session", "x")
    assert first.voter("session", "x") != first.voter("address", "x")


def test_all_who_start_at_once_have_the_same_secret(state: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda _: read_tokens(state).voter("session", "x"), range(16)))
    assert len(set(hashes)) == 1
    assert not list(state.glob("*.new"))


@pytest.mark.parametrize(("mode", "size"), [(0o644, 32), (0o640, 32), (0o600, 8)])
def test_a_secret_that_is_not_secret_is_refused(state: Path, mode: int, size: int) -> None:
    state.mkdir()
    (state / SECRET).write_bytes(b"s" * size)
    (state / SECRET).chmod(mode)
    with pytest.raises(InputError, match="delete it, and a new one is made"):
        read_tokens(state)
