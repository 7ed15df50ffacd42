"""Addresses in a real browser: links that can be sent, and going back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from leaderboard.site.reader import Site
from tests.leaderboard.browser.driving import ready, visit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).first.click()
    page.get_by_role("option", name=option).click()
    ready(page)


def test_going_back_comes_to_what_was_seen(
    synthetic_site: Path, served: Callable[..., str], page: Page
) -> None:
    url = served(synthetic_site)
    visit(page, url)
    choose(page, "Dialogues and queries", "queries for images")
    assert "bucket=image" in page.url
    page.go_back()
    ready(page)
    assert "bucket=image" not in page.url
    assert page.get_by_text("all samples").count() > 0
    page.get_by_role("link", name=re.compile("short dialogues")).first.click()
    page.get_by_role("heading", name="Compare models").wait_for()
    ready(page)
    assert "bucket=short" in page.url
    page.go_back()
    page.get_by_role("heading", name="Compare models").wait_for(state="detached")
    ready(page)
    assert "bucket=short" not in page.url


def test_the_menu_keeps_the_view(
    synthetic_site: Path, served: Callable[..., str], page: Page
) -> None:
    site = Site(synthetic_site)
    board = next(name for name in site.board_ids if not site.board(name).hidden_gold)
    a, b, *_ = site.labels(board)
    visit(page, f"{served(synthetic_site)}/compare?board={board}&models={a},{b}&bucket=long")
    page.get_by_role("link", name="Samples", exact=True).click()
    page.get_by_role("heading", name="Samples").wait_for()
    ready(page)
    assert "bucket=long" in page.url
    assert a in page.url


def test_a_link_shows_the_same_to_somebody_else(
    synthetic_site: Path, served: Callable[..., str], visitor: Callable[..., Page]
) -> None:
    first, second = visitor(), visitor(locale="zh-CN")
    visit(first, served(synthetic_site))
    first.get_by_role("link", name=re.compile("long dialogues")).first.click()
    first.get_by_role("heading", name="Compare models").wait_for()
    ready(first)
    said = first.locator("strong").first.inner_text()
    visit(second, f"{first.url}&lang=en")
    assert second.locator("strong").first.inner_text() == said
