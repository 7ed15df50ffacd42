# ruff: noqa: F811 - fixtures are imported
"""The arena in a real Chromium: nothing on the wire says whose fragments are shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from leaderboard.arena.store import ArenaStore
from leaderboard.arena.votes import CRITERIA
from tests.leaderboard.browser.conftest import (  # noqa: F401 - fixtures
    boards,
    chromium,
    page,
    visitor,
    watched,
)
from tests.leaderboard.browser.driving import READY, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from leaderboard.site.reader import Site
    from tests.leaderboard.browser.driving import Board


def choose(page: Page, criterion: str, option: str) -> None:
    group = page.locator(f'[class*="st-key-arena-{criterion}"]')
    group.get_by_text(option, exact=True).click()
    page.evaluate(READY, 250)


@pytest.fixture
def board(boards: Callable[..., Board], arena_site: Site) -> Board:
    return boards(arena_site.path)


def test_names_come_after_the_vote_and_keys_are_enough(
    board: Board,
    page: Page,
    arena_site: Site,
    board_id: str,
) -> None:
    sent: list[bytes] = []
    page.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived",
            lambda frame: sent.append(frame if isinstance(frame, bytes) else frame.encode()),
        ),
    )
    visit(page, f"{board.url}/arena?board={board_id}")
    labels = arena_site.labels(board_id)
    names = {*labels, *labels.values()}
    for criterion in CRITERIA:
        choose(page, criterion, "B")
    wire = b"".join(sent)
    assert b"Coverage: which fragment" in wire
    assert not [name for name in names if name.encode() in wire]
    page.keyboard.press("v")
    page.get_by_text("Your vote was taken").wait_for()
    votes = ArenaStore(board.state).votes()[-3:]
    assert [vote.choice for vote in votes] == [votes[0].runs[1]] * 3
    heads = page.get_by_role("heading", level=5).all_inner_texts()
    assert heads == [f"{at} · {labels[run]}" for at, run in zip("AB", votes[0].runs, strict=True)]
    page.keyboard.press("n")
    page.get_by_text("Submit vote").wait_for()
    assert page.get_by_role("heading", level=5).all_inner_texts() == ["A", "B"]
    said = board.said()
    assert not re.search(r"Find the messages|找出与", said)  # no queries in the log
    assert not [name for name in names if name in said]


@pytest.mark.parametrize("tab", [0, 1])
def test_a_phone_shows_one_below_the_other(
    board: Board,
    visitor: Callable[..., Page],
    board_id: str,
    tab: int,
) -> None:
    phone = visitor(viewport={"width": 400, "height": 800})
    visit(phone, f"{board.url}/arena?board={board_id}")
    if tab == 0:
        boxes = [head.bounding_box() for head in phone.get_by_role("heading", level=5).all()]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[1]["y"] > boxes[0]["y"] + 40
        assert abs(boxes[1]["x"] - boxes[0]["x"]) < 2
    else:
        phone.get_by_role("tab").nth(1).click()
        phone.evaluate(READY, 400)
    main = phone.get_by_test_id("stMain")
    assert main.evaluate("node => node.scrollWidth <= node.clientWidth")
