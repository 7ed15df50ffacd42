"""Uploads in a real browser: hostile text draws nothing and asks nobody; the log keeps silent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from leaderboard.submissions.queue import Queue
from tests.leaderboard.browser.conftest import (  # noqa: F401 - fixtures
    boards,
    chromium,
    visitor,
    watched,
)
from tests.leaderboard.browser.driving import ready, visit
from tests.leaderboard.submissions.conftest import Published, upload_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.leaderboard.browser.driving import Board, Watched

HOSTILE = [
    "![x](https://evil.example/a.png)",
    "<img src=https://evil.example/b.png onerror=alert(1)>",
    "<script>fetch('https://evil.example/c')</script>",
    "[x](javascript:alert(1))",
    ":material/verified: :red[x]",
    "$\\href{https://evil.example/d}{x}$",
    "\u202eevil",
    "](https://evil.example/e.png)",
]


def check(page: Page, data: bytes, name: str = "mine.jsonl") -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    page.set_input_files("input[type=file]", file)  # type: ignore[arg-type]
    page.wait_for_selector('[data-testid="stFileChip"], [data-testid="stFileUploaderFile"]')
    ready(page)
    page.get_by_role("button", name="Check", exact=True).click()
    ready(page, 1_000)


def test_hostile_uploads_draw_nothing_and_ask_nobody(
    boards: Callable[..., Board],  # noqa: F811
    visitor: Callable[..., Page],  # noqa: F811
    watched: Watched,  # noqa: F811
    published: Published,
) -> None:
    board = boards(published.site.path)
    page = visitor()
    dialogs: list[Any] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    visit(page, f"{board.url}/submit")
    records = [{"sample_id": text, "utt_ids": [], "img_ids": []} for text in HOSTILE]
    check(page, upload_of(records), "![x](https:evil.example).jsonl")
    text = page.inner_text('[data-testid="stMain"]')
    assert f"must be corrected: {len(HOSTILE)} of {len(HOSTILE)};" in text
    assert "![x](https://evil.example/a.png)" in text  # as it is, and nothing else
    assert not page.query_selector_all('[data-testid="stMain"] img')
    assert watched.foreign == []
    assert dialogs == []
    assert "evil" not in board.said()


def test_an_upload_is_sent_and_neither_contact_nor_answers_are_logged(
    boards: Callable[..., Board],  # noqa: F811
    visitor: Callable[..., Page],  # noqa: F811
    published: Published,
) -> None:
    board = boards(published.site.path)
    page, other = visitor(), visitor()
    visit(page, f"{board.url}/submit")
    records = published.predictions()
    records[0]["response"] = "the secret answer"
    check(page, upload_of(records))
    page.get_by_role("textbox", name="Model name").fill("Mine 7B")
    page.get_by_role("textbox", name="Team").fill("Us")
    page.get_by_role("textbox", name="Contact").fill("me@secret.example")
    for name in ("Weights", "Setting"):
        page.get_by_role("combobox", name=name).click()
        page.keyboard.type("unknown", delay=30)
        page.wait_for_timeout(300)  # the menu has no state that tells that it is filtered
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert page.get_by_role("combobox", name=name).input_value() == "unknown"
    page.get_by_role("button", name="Send to review").click()
    page.wait_for_selector("text=This is the number of your submission")
    ready(page)
    (submission,) = Queue(board.state).all()
    assert submission.id in page.inner_text('[data-testid="stMain"]')
    visit(other, f"{board.url}/submit")
    elsewhere = other.inner_text('[data-testid="stMain"]')
    assert submission.id not in elsewhere
    assert "Private report" not in elsewhere
    for word in ("secret", submission.id, "Mine 7B"):
        assert word not in board.said()


def test_an_upload_that_is_too_large_is_refused_by_the_server(
    boards: Callable[..., Board],  # noqa: F811
    visitor: Callable[..., Page],  # noqa: F811
    published: Published,
    tmp_path: Path,
) -> None:
    board = boards(published.site.path)
    page = visitor()
    visit(page, f"{board.url}/submit")
    large = tmp_path / "large.jsonl"
    line = json.dumps({"sample_id": "d0#0", "response": "x" * 1_000_000}) + "\n"
    large.write_text(line * 34)
    page.set_input_files("input[type=file]", large)
    page.wait_for_selector("text=/exceed|too large|must be/i")
    assert page.get_by_role("button", name="Check", exact=True).is_disabled()
