"""What protects visitors whatever a page does: the policy, errors without details, own sessions."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from ffr_eval.uncertainty import Resampling
from leaderboard.publishing import publish
from leaderboard.site.schema import TABLES
from tests.leaderboard.browser.driving import emulate, free_port, ready, start_board, visit
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import FilePayload, Page, Request

    from tests.leaderboard.browser.driving import Board, Watched

PAGES = ("", "compare", "samples", "model", "arena", "submit", "about")

# Every way to fetch something or to run something that the policy has to stop.
ATTACKS = """
async () => {
  const add = (tag, set) => {
    const made = document.createElement(tag);
    Object.entries(set).forEach(([name, value]) => made.setAttribute(name, value));
    document.body.append(made);
    return made;
  };
  add('script', {}).textContent = 'window.ran = "inline"';
  const script = document.createElement('script');
  script.textContent = 'window.ran = "inline script"';
  document.body.append(script);
  add('script', {src: 'http://127.0.0.2:9/a.js'});
  add('script', {src: 'data:text/javascript,window.ran="data"'});
  add('img', {src: 'x', onerror: 'window.ran = "handler"'});
  add('img', {src: 'http://127.0.0.2:9/a.png'});
  add('iframe', {src: 'http://127.0.0.2:9/frame'});
  add('iframe', {srcdoc: '<script>top.ran = "frame"</scr' + 'ipt>'});
  add('object', {data: 'http://127.0.0.2:9/object'});
  add('link', {rel: 'stylesheet', href: 'http://127.0.0.2:9/a.css'});
  add('style', {}).textContent = 'body { background: url(http://127.0.0.2:9/background) }';
  add('video', {src: 'http://127.0.0.2:9/video'});
  add('base', {href: 'http://127.0.0.2:9/'});
  setTimeout('window.ran = "eval"', 0);
  await fetch('http://127.0.0.2:9/fetch').catch(() => {});
  try { new WebSocket('ws://127.0.0.2:9/socket'); } catch {}
  navigator.sendBeacon('http://127.0.0.2:9/beacon');
  const form = add('form', {action: 'http://127.0.0.2:9/form', method: 'post'});
  form.submit();
  await new Promise(resolve => setTimeout(resolve, 500));
  return [window.ran ?? null, document.baseURI];
}
"""

# Of the window, and how much further its content goes.
WIDTHS = """
() => {
  const main = document.querySelector('[data-testid=stMain]');
  return [document.documentElement.scrollWidth, main.scrollWidth - main.clientWidth];
}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("protected") / "site")


@pytest.fixture(scope="module")
def board(boards: Callable[..., Board], site: Path) -> Board:
    return boards(site, "--access-log")


@pytest.fixture(scope="module")
def runs(site: Path) -> list[str]:
    found: list[str] = pq.read_table(site / TABLES["runs"].file).column("run_id").to_pylist()
    return found


def test_the_policy_stops_what_gets_into_a_page(page: Page, board: Board, watched: Watched) -> None:
    visit(page, f"{board.url}/about")
    assert watched.unexpected == []
    ran, base = page.evaluate(ATTACKS)
    assert ran is None
    assert urlsplit(base).netloc == urlsplit(board.url).netloc
    assert urlsplit(page.url).netloc == urlsplit(board.url).netloc
    refused = " ".join(watched.blocked)
    for directive in (
        "script-src",
        "img-src",
        "frame-src",
        "object-src",
        "style-src",
        "base-uri",
        "connect-src",
        "form-action",
    ):
        assert f"{directive} '" in refused, directive
    # Chromium names what it blocked as asked for, but nothing of it leaves the browser.
    watched.foreign.clear()


@pytest.mark.parametrize("name", PAGES, ids=lambda name: name or "board")
def test_a_page_keeps_the_policy_and_fits(
    page: Page, board: Board, watched: Watched, runs: list[str], name: str
) -> None:
    """It needs nothing that the policy forbids, and is not wider than a phone, light or dark."""
    visit(page, f"{board.url}/{name}?models={','.join(runs[:2])}")
    assert page.get_by_text("Something went wrong here").count() == 0
    emulate(page, 400, dark=True)
    ready(page)
    assert page.evaluate(WIDTHS) == [400, 0]
    assert watched.unexpected == []


def test_nobody_may_frame_it(visitor: Callable[..., Page], board: Board, watched: Watched) -> None:
    outside = visitor()
    outside.set_content(f"<iframe src='{board.url}/about'></iframe>")
    outside.wait_for_timeout(1_000)
    shown = [frame for frame in outside.frames if frame.url.startswith(board.url)]
    assert all(frame.locator('[data-testid="stApp"]').count() == 0 for frame in shown)
    assert "frame-ancestors" in " ".join(watched.errors)


def test_an_error_has_a_number_and_no_details(page: Page, site: Path, tmp_path: Path) -> None:
    copy = write_site(tmp_path / "site", n_runs=3, n_samples=8)
    board = start_board(copy, tmp_path)
    try:
        visit(page, f"{board.url}/compare")  # opens the site
        (copy / TABLES["runs"].file).unlink()
        (copy / TABLES["figures"].file).unlink()
        visit(page, f"{board.url}/")
        seen = page.locator('[data-testid="stMain"]').inner_text()
        reference = re.search(r"\b[0-9a-f]{8}\b", seen)
        assert "Something went wrong here" in seen
        assert reference is not None
        for detail in ("parquet", str(tmp_path), "Traceback", "duckdb", "SELECT"):
            assert detail not in page.content()
        assert f"{reference[0]} " in board.said()
        assert "IOException at " in board.said()
        assert "No such file" not in board.said()  # the message: it could hold what was asked
        assert "SELECT" not in board.said()
    finally:
        assert board.stop() == 0
    assert "leaked" not in board.said()  # of DuckDB, after everything else


def test_visitors_do_not_share_what_they_chose(
    visitor: Callable[..., Page], board: Board, runs: list[str]
) -> None:
    first, second = visitor(), visitor()
    visit(first, f"{board.url}/compare?models={','.join(runs[:2])}")
    visit(second, f"{board.url}/compare")
    prompt = "Pick two to four models above"
    assert first.get_by_text(prompt).count() == 0
    assert second.get_by_text(prompt).count() == 1
    visit(first, f"{board.url}/samples?models={runs[0]}")
    field = first.locator('input[type="search"]').first
    field.fill("a-secret-query'; DROP VIEW runs; --")
    field.press("Enter")
    ready(first)
    visit(second, f"{board.url}/samples?models={runs[0]}")
    assert "a-secret-query" in first.url
    assert "a-secret-query" not in second.content()
    assert second.locator('input[type="search"]').first.input_value() == ""
    visit(second, f"{board.url}/")  # the view is still there
    assert second.get_by_text("Something went wrong here").count() == 0
    first.reload()  # with the query in the address
    ready(first)
    assert "secret" not in board.said()


def test_an_upload_is_seen_by_its_sender_only(
    visitor: Callable[..., Page], made: Path, tmp_path: Path
) -> None:
    for model in ("none", "all"):
        shutil.copytree(made / "runs" / model, tmp_path / "runs" / model)
    site = tmp_path / "site"
    publish([tmp_path / "runs"], site, resampling=Resampling(replicates=50))
    board = start_board(site, tmp_path)
    first, second = visitor(), visitor()
    puts: list[Request] = []
    first.on("request", lambda asked: puts.append(asked) if asked.method == "PUT" else None)
    try:
        visit(first, f"{board.url}/submit")
        visit(second, f"{board.url}/submit")
        lines = (made / "runs" / "none" / "predictions.jsonl").read_bytes()
        file: FilePayload = {"name": "mine-alone.jsonl", "mimeType": "text/plain", "buffer": lines}
        first.locator('input[type="file"]').set_input_files(file)
        first.get_by_text("mine-alone.jsonl").wait_for()
        ready(first)
        first.get_by_role("button", name="Check").click()
        first.get_by_text("Private report").wait_for()
        visit(second, f"{board.url}/submit")
        for page in (second, visitor()):
            visit(page, f"{board.url}/submit")
            assert "mine-alone" not in page.content()
            assert page.get_by_text("Private report").count() == 0
        (sent,) = puts
        stolen = second.request.fetch(sent.url, method="PUT", multipart={"file": file})
        assert stolen.status == 403  # without the token of the first
        assert second.request.delete(sent.url).status == 403
        assert b"<!DOCTYPE html>" in second.request.get(sent.url).body()  # no way to read it
        assert first.get_by_text("mine-alone.jsonl").count() == 1
        kept = [path.name for path in board.state.rglob("*")]
        assert not [name for name in kept if "mine-alone" in name]
        assert "mine-alone" not in board.said()
    finally:
        assert board.stop() == 0


def test_below_a_path(page: Page, site: Path, watched: Watched, tmp_path: Path) -> None:
    """As behind a reverse proxy that passes a path on: pages, socket, images and downloads."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/ffr"
    board = start_board(site, tmp_path, "--port", str(port), "--public-url", address)
    try:
        queries = pq.read_table(site / TABLES["queries"].file)
        run = pq.read_table(site / TABLES["runs"].file).column("run_id")[0].as_py()
        sample = queries.column("sample_id")[0].as_py()
        visit(page, f"{address}/samples?models={run}&sample={sample.replace('#', '%23')}")
        image = page.locator(".ffr-dialogue img").first
        image.scroll_into_view_if_needed()
        assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }")
        paths = [urlsplit(url).path for url in watched.asked if url.startswith(("http", "ws"))]
        assert {path.split("/")[1] for path in paths} == {"ffr"}
        assert [url for url in watched.asked if "/ffr/image/" in url]
        page.get_by_role("link", name="Compare").first.click()
        ready(page)
        assert urlsplit(page.url).path == "/ffr/compare"
        assert watched.unexpected == []
    finally:
        assert board.stop() == 0
