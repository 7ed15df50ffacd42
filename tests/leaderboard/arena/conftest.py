"""A small published site, a state folder, and votes to fill it with."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from leaderboard.arena.store import ArenaStore, Ballot
from leaderboard.arena.votes import CRITERIA, Vote
from leaderboard.site.reader import Site
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def arena_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two boards, the second with hidden gold; read only."""
    path = tmp_path_factory.mktemp("arena") / "site"
    return Site(write_site(path, n_boards=2, n_runs=8, n_samples=24, n_dialogues=6, hidden=True))


@pytest.fixture
def board_id(arena_site: Site) -> str:
    """The board with public gold."""
    return next(i for i in arena_site.board_ids if not arena_site.board(i).hidden_gold)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> ArenaStore:
    made = ArenaStore(state)
    made.create()
    return made


def make_vote(**given: Any) -> Vote:
    """A vote; what is not given is as usual."""
    values: dict[str, Any] = {
        "vote_id": uuid.uuid4().hex,
        "time": "2026-06-01T10:00:00Z",
        "board_id": "board-1",
        "sample_id": "d1#0",
        "dialogue_id": "d1",
        "criterion": "coverage",
        "form": "pair",
        "runs": ("a", "b"),
        "choice": "a",
        "rater": "r1",
        "rater_kind": "human",
    }
    return Vote(**(values | given))


@pytest.fixture
def vote() -> Callable[..., Vote]:
    return make_vote


def make_ballot(nonce: str, *, expires: float = 4e9, voters: Any = ("v1",), **given: Any) -> Ballot:
    """A ballot with a vote a criterion."""
    votes = tuple(make_vote(criterion=criterion, **given) for criterion in CRITERIA)
    return Ballot(votes, nonce, expires, voters)


@pytest.fixture
def ballot() -> Callable[..., Ballot]:
    return make_ballot
