"""A real ``ffr board`` and a real Chromium, which fails the test when it asks anybody else.

``served(site)`` starts a board (once a module for the same arguments) and gives its address;
``page`` is a fresh tab in a fresh context, ``visitor()`` makes more of them.
``tests.leaderboard.browser.driving`` has ``visit``, ``ready`` (Streamlit has drawn everything) and
``emulate``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.leaderboard.browser.driving import FLAGS, SECONDS, Watched, start_board, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.leaderboard.browser.driving import Board


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Board]]:
    """Starts boards; the same arguments give the same board. All end with the module."""
    running: dict[tuple[Any, ...], Board] = {}

    def start(place: Path, *options: str, **environment: str) -> Board:
        key = (place, options, tuple(sorted(environment.items())))
        if key not in running:
            folder = tmp_path_factory.mktemp("board")
            running[key] = start_board(place, folder, *options, **environment)
        return running[key]

    yield start
    for board in running.values():
        board.stop()


@pytest.fixture(scope="module")
def served(boards: Callable[..., Board]) -> Callable[..., str]:
    """``served(site, *options)``: the address of a board for the site."""

    def serve(site: Path, *options: str) -> str:
        return boards(site, *options).url

    return serve


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window. Not wider than a module: it keeps an event loop."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium: scripts/install_chromium.sh")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    """What the tabs of this test asked for; the test fails if they asked anybody else."""
    record = Watched()
    yield record
    assert record.foreign == [], "a page asked another host"


@pytest.fixture
def visitor(chromium: Browser, watched: Watched) -> Iterator[Callable[..., Page]]:
    """``visitor(**options)``: a tab of somebody new, with cookies and storage of their own."""
    contexts: list[BrowserContext] = []

    def arrive(**options: Any) -> Page:
        given = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", **options}
        context = chromium.new_context(**given)
        context.set_default_timeout(SECONDS * 500)
        contexts.append(context)
        watch(context, watched)
        return context.new_page()

    yield arrive
    for context in contexts:
        context.close()


@pytest.fixture
def page(visitor: Callable[..., Page]) -> Page:
    """A tab."""
    return visitor()
