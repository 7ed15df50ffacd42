"""What the board keeps in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leaderboard import library
from leaderboard.library import Library

if TYPE_CHECKING:
    from pathlib import Path


class LeftError(Exception):
    """As Streamlit ends a page that the user has left."""


def test_what_was_scored_before_the_page_was_left_is_kept(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []
    score_run = library.score_run

    def counted(*args: object) -> object:
        scored.append(args[0])
        return score_run(*args)  # type: ignore[arg-type]

    def leave_at_two(done: int, _: int) -> None:
        if done == 2:
            raise LeftError

    monkeypatch.setattr(library, "score_run", counted)
    board = Library(runs)
    for _ in range(3):
        with pytest.raises(LeftError):
            board.load("strict", leave_at_two)
    assert len(scored) == 2
    found, left_out = board.load("strict", lambda *_: None)
    assert len(scored) == len(set(scored)) == len(found) + len(left_out) > 2
