"""The board in Chromium: selecting rows, at 400 px, the downloads, and who is asked for what."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from leaderboard.downloads import METADATA
from leaderboard.queries import board as queries
from leaderboard.site.reader import Site
from leaderboard.view import View
from tests.leaderboard.browser.conftest import boards, chromium, page, served, visitor, watched
from tests.leaderboard.browser.driving import ready, visit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ["boards", "chromium", "page", "served", "visitor", "watched"]
ROW = 35  # pixels
TICK = 20


def select(tab: Page, *rows: int) -> None:
    """Tick rows of the table: it is a canvas, so by place."""
    grid = tab.locator('[data-testid="stDataFrame"] canvas').first
    for row in rows:
        grid.evaluate("element => element.scrollIntoView({block: 'center'})")
        ready(tab)
        box = grid.bounding_box()
        assert box is not None
        before = tab.url
        tab.mouse.click(box["x"] + TICK, box["y"] + ROW * (row + 1.5))
        tab.wait_for_url(lambda url: url != before)  # noqa: B023 - called at once
        ready(tab)


def models_in(url: str) -> list[str]:
    found = re.search(r"models=([^&]*)", url)
    return [] if found is None else re.split(r"%2C|,", found[1])


def test_selecting_and_comparing(
    synthetic_site: Path, served: Callable[..., str], page: Page
) -> None:
    site = Site(synthetic_site)
    ids = queries.board_table(site, View(site.board_ids[0]))["run_id"].to_pylist()
    visit(page, served(synthetic_site, "--read-only"))
    select(page, 0, 2)
    assert models_in(page.url) == [ids[0], ids[2]]
    select(page, 0)  # not any more
    assert models_in(page.url) == [ids[2]]
    select(page, 1)
    assert models_in(page.url) == [ids[2], ids[1]]
    page.get_by_role("link", name="Compare selected").click()
    page.get_by_role("heading", name="Compare models").wait_for()
    ready(page)
    assert models_in(page.url) == [ids[2], ids[1]]
    page.go_back()
    ready(page)
    assert page.get_by_role("link", name="Compare selected").is_visible()


def test_the_table_stays_where_it_is(
    synthetic_site: Path, served: Callable[..., str], page: Page
) -> None:
    visit(page, served(synthetic_site, "--read-only"))
    grid = page.locator('[data-testid="stDataFrame"]').first
    above = "element => element.getBoundingClientRect().top + element.closest("
    above += "'[data-testid=stMain]').scrollTop"
    before = grid.evaluate(above)
    select(page, 0)
    assert grid.evaluate(above) == before


def test_curves_are_named(synthetic_site: Path, served: Callable[..., str], page: Page) -> None:
    site = Site(synthetic_site)
    a, b = list(site.labels(site.board_ids[0]))[:2]
    visit(page, f"{served(synthetic_site, '--read-only')}/?models={a},{b}")
    page.get_by_role("radio", name="Lengths", exact=True).click()
    ready(page)
    legend = page.locator('[data-testid="stVegaLiteChart"] svg .role-legend')
    legend.first.wait_for()
    shown = site.shown_labels(site.board_ids[0])
    said = " ".join(legend.all_text_contents())
    assert all(shown[run_id] in said for run_id in (a, b))


def test_a_link_shows_the_selection(
    synthetic_site: Path, served: Callable[..., str], page: Page
) -> None:
    site = Site(synthetic_site)
    a, b = list(site.labels(site.board_ids[0]))[:2]
    visit(page, f"{served(synthetic_site, '--read-only')}/?models={a},{b}")
    assert page.get_by_role("link", name="Compare selected").is_visible()
    page.get_by_role("button", name="Clear selection", exact=True).click()
    ready(page)
    assert models_in(page.url) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_has_room(
    synthetic_site: Path, served: Callable[..., str], visitor: Callable[..., Page], language: str
) -> None:
    tab = visitor(viewport={"width": 400, "height": 800}, color_scheme="dark")
    visit(tab, f"{served(synthetic_site, '--read-only')}/?lang={language}")
    for name in ("scores", "tradeoff", "lengths", "heat", "reported", "unscored"):
        from leaderboard.texts import catalog

        tab.get_by_role("radio", name=catalog(language)[f"board.tab_{name}"], exact=True).click()
        ready(tab)
        wide = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= 400, name


def test_downloads(synthetic_site: Path, served: Callable[..., str], page: Page) -> None:
    site = Site(synthetic_site)
    wanted = queries.board_table(site, View(site.board_ids[0]))
    visit(page, served(synthetic_site, "--read-only"))

    def fetched(menu: str, button: str) -> tuple[str, bytes]:
        if not page.get_by_role("button", name=button, exact=True).is_visible():
            page.get_by_role("button", name=menu, exact=True).click()
            ready(page)
        with page.expect_download() as expected:
            page.get_by_role("button", name=button, exact=True).click()
        found: Any = expected.value
        return found.suggested_filename, found.path().read_bytes()

    name, content = fetched("Download", "CSV")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [row["run_id"] for row in rows] == wanted["run_id"].to_pylist()[:-1]
    assert {row["benchmark_hash"] for row in rows} == {site.manifest.boards[0].hash}
    assert re.fullmatch(r"ffr-board-[\w.-]+\.csv", name)
    name, content = fetched("Download", "JSON")
    assert json.loads(content)["about"]["metric"] == "micro.joint.f1"
    name, content = fetched("Download", "Parquet")
    about = json.loads(pq.read_table(io.BytesIO(content)).schema.metadata[METADATA])
    assert about["site_manifest"] == f"sha256:{site.key}"
    name, content = fetched("Download", "LaTeX")
    assert content.startswith(b"% board: ")
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Scores", exact=True).click()
    ready(page)
    name, content = fetched("Download this chart", "SVG")
    assert content.startswith(b"<svg")
    name, content = fetched("Download this chart", "PNG")
    assert content.startswith(b"\x89PNG")
