"""Hostile texts in every place of a site, on every page: they are shown, and do nothing.

The Content-Security-Policy is switched off here, as it would hide what the pages do; it has tests
of its own. One test shows that what is looked for is found where texts are not made safe.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

from tests.leaderboard.browser.driving import free_port, ready, visit, wait_for
from tests.leaderboard.browser.hostile import EVIL, HOSTILE, poison, spoofed
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.leaderboard.browser.driving import Board, Watched

ACTIVE = ("![x](http", "[SPOOF](", "<img", "www.", ":", "$\\text", "a __", "**", "\u202e", "&#")
PAGES = ("", "compare", "samples", "model", "arena", "submit", "about")


def batches(texts: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """A site full of them, and the ids of its runs and samples."""
    folder = tmp_path_factory.mktemp("hostile") / "site"
    many = len(HOSTILE)
    site = write_site(folder, n_runs=many, n_samples=many + 1, n_dialogues=4)
    return site, *poison(site)


@pytest.fixture(scope="module")
def board(boards: Callable[..., Board], poisoned: tuple[Path, list[str], list[str]]) -> Board:
    return boards(poisoned[0], "--access-log")


@pytest.fixture
def tab(visitor: Callable[..., Page]) -> Page:
    """A tab without a policy, on a high screen: what is not in view is not drawn."""
    return visitor(bypass_csp=True, viewport={"width": 1280, "height": 3000})


def unfold(page: Page) -> Iterator[None]:
    """The page as it is, then with each of its folded parts and tabs open, one after the other."""
    yield
    for summary in page.locator("details:not([open]) > summary").all():
        summary.click()
    ready(page)
    yield
    for place in range(page.get_by_role("tab").count()):
        page.get_by_role("tab").nth(place).click()
        ready(page)
        for summary in page.locator("details:not([open]) > summary").all():
            if summary.is_visible():
                summary.click()
        ready(page)
        yield


def look(page: Page, url: str) -> None:
    """Open an address, look everywhere on the page, and find nothing."""
    visit(page, url)
    for _ in unfold(page):
        assert spoofed(page) == []
    assert page.get_by_text("Something went wrong here").count() == 0


def test_more_than_forty() -> None:
    assert len(set(HOSTILE)) >= 40


def test_what_is_looked_for_is_found(
    tmp_path: Path, visitor: Callable[..., Page], watched: Watched
) -> None:
    """A page that takes no care: every kind of effect is seen there."""
    script = """
        import streamlit as st
        from tests.leaderboard.browser.hostile import HOSTILE
        for text in HOSTILE:
            st.markdown(text)
            st.html(text, unsafe_allow_javascript=True)
        st.text("\\u202eFOOPS")
    """
    (tmp_path / "page.py").write_text(textwrap.dedent(script))
    port = free_port()
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    command = [sys.executable, "-m", "streamlit", "run", str(tmp_path / "page.py"), *options]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
        tab = visitor(bypass_csp=True)
        visit(tab, f"http://127.0.0.1:{port}")
        kinds = {found.partition(":")[0] for found in spoofed(tab)}
    finally:
        server.terminate()
        server.wait()
    effects = {"fetch", "link", "element", "icon", "badge", "format", "formula", "bidi", "emoji"}
    assert kinds == {*effects, "script ran"}
    assert [url for url in watched.foreign if EVIL in url]
    watched.foreign.clear()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page or "board")
def test_a_page(
    tab: Page, board: Board, poisoned: tuple[Path, list[str], list[str]], page: str
) -> None:
    _, runs, samples = poisoned
    chosen = urlencode({"models": ",".join(runs[:2]), "sample": samples[0]})
    look(tab, f"{board.url}/{page}?{chosen}")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_labels(
    tab: Page, board: Board, poisoned: tuple[Path, list[str], list[str]], language: str
) -> None:
    """Labels are shown four at a time beside each other: those that do something in one line."""
    ids = dict(zip(HOSTILE, poisoned[1], strict=True))
    telling = [text for text in HOSTILE if text.startswith(ACTIVE)]
    assert len(telling) >= 12
    for some in batches(telling if language == "en" else telling[:4], 4):
        models = ",".join(ids[text] for text in some)
        visit(tab, f"{board.url}/compare?models={models}&lang={language}")
        assert spoofed(tab) == []


def test_addresses(tab: Page, board: Board) -> None:
    """What an address asks for and is not there is named on the page."""
    asked = [text for text in HOSTILE if 0 < len(text) < 1_000]
    for page, some in zip(PAGES, batches(asked, len(asked) // len(PAGES)), strict=False):
        models, others = ",".join(some), "".join(some)
        query = f"models={quote(models)}" + "".join(
            f"&{name}={quote(others)}" for name in ("board", "bucket", "metric", "sample", "lang")
        )
        visit(tab, f"{board.url}/{page}?{query}")
        assert spoofed(tab) == []


def test_nothing_of_it_is_in_the_log(board: Board) -> None:
    """The last test of this module: whatever was opened, the log has paths only."""
    assert "GET /samples 200" in board.said()
    for text in ("SPOOF", EVIL, "DROP VIEW", "models="):
        assert text not in board.said()
