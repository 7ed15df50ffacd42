"""The samples page in Chromium: a long dialogue, keys, images, and text that would be a page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from leaderboard.site.schema import DIALOGUES, QUERIES
from tests.leaderboard.browser.driving import emulate, ready, visit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.leaderboard.browser.driving import Board, Watched

pytestmark = pytest.mark.slow

MODELS = "models=gpt-4o-zero-shot,qwen2.5-vl-7b-zero-shot"
LONG = f"samples?{MODELS}&sample=dlg-0002%2325"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    " ![t](https://evil.example/t.png) [a](javascript:alert(1)) :material/verified: </textarea>"
)

# The marked turn on top of the box, and where it is.
CURRENT = """
() => {
  const root = document.querySelector('[data-testid="stBidiComponentIsolated"]').shadowRoot;
  const box = root.querySelector('.box').getBoundingClientRect();
  const turn = root.querySelector('.turn.current');
  const at = turn.getBoundingClientRect();
  return {utt: Number(turn.dataset.utt), top: at.top - box.top, height: box.height,
          count: root.querySelector('.count').textContent, gold: turn.classList.contains('gold'),
          focused: root.activeElement === turn};
}
"""


@pytest.fixture(scope="module")
def hostile_site(
    samples_site: Path, rewrite: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The site with hostile texts in a dialogue and its queries."""
    site = tmp_path_factory.mktemp("hostile") / "site"
    shutil.copytree(samples_site, site)
    rewrite(site, DIALOGUES, _spoil_dialogue)
    rewrite(site, QUERIES, _spoil_query)
    return site


def _spoil_dialogue(row: dict[str, Any]) -> dict[str, Any]:
    if row["dialogue_id"] == "dlg-0002":
        for turn in row["turns"]:
            turn |= {"text": HOSTILE, "speaker": HOSTILE, "time": HOSTILE}
        for image in row["images"]:
            image |= {"caption": HOSTILE}
    return row


def _spoil_query(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"query": HOSTILE} if row["dialogue_id"] == "dlg-0002" else row


def settled(page: Page) -> dict[str, Any]:
    """Where the current turn is, once it stands still."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stBidiComponentIsolated]')"
        "?.shadowRoot?.querySelector('.turn.current')"
    )
    page.wait_for_timeout(300)
    found: dict[str, Any] = page.evaluate(CURRENT)
    return found


def test_a_dialogue_of_600_turns_opens_at_the_first_gold_turn(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/{LONG}")
    assert page.locator(".turn").count() == 600
    found = settled(page)
    rows = pq.read_table(samples_site / QUERIES.file).to_pylist()
    gold = next(row["gold_utt_ids"] for row in rows if row["sample_id"] == "dlg-0002#25")
    assert found["gold"]
    assert found["utt"] == min(gold)
    assert 0 <= found["top"] < found["height"] / 2
    # Only what is near the view is laid out.
    drawn = page.evaluate(
        """() => [...document.querySelector('[data-testid="stBidiComponentIsolated"]').shadowRoot
            .querySelectorAll('.turn .who')].filter(e => e.checkVisibility(
              {contentVisibilityAuto: true})).length"""
    )
    assert 0 < drawn < 100


def test_keys_go_from_mark_to_mark(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/{LONG}")
    first = settled(page)
    page.keyboard.press("j")
    second = settled(page)
    assert second["utt"] > first["utt"]
    assert second["focused"]
    assert 0 <= second["top"] < second["height"]
    page.keyboard.press("k")
    assert settled(page)["utt"] == first["utt"]
    page.get_by_role("button", name="Next mark").click()
    assert settled(page)["utt"] == second["utt"]
    for _ in range(60):
        page.keyboard.press("j")
    last = settled(page)
    number, total = [word for word in last["count"].split() if word.isdigit()]
    assert number == total


def test_keys_are_not_taken_from_fields(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/{LONG}")
    first = settled(page)
    page.get_by_role("button", name="Models").click()
    ready(page)
    field = page.get_by_role("combobox", name="Model A")
    field.click()
    page.keyboard.type("jjknp")
    assert page.evaluate(CURRENT)["utt"] == first["utt"]
    assert "dlg-0002%2325" in page.url
    visit(page, f"{served(samples_site)}/samples?{MODELS}")
    search = page.get_by_label("Query contains")
    search.click()
    page.keyboard.type("number 1")  # n would open the first sample
    assert search.input_value() == "number 1"
    assert "sample=" not in page.url


def test_previous_and_next_by_keys(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/samples?{MODELS}&bucket=long")
    page.keyboard.press("n")
    page.wait_for_url("**sample=**")
    ready(page)
    first = page.url
    page.keyboard.press("n")
    page.wait_for_function("before => location.href !== before", arg=first)
    ready(page)
    second = settled(page)
    page.keyboard.press("p")
    page.wait_for_function("before => location.href === before", arg=first)
    ready(page)
    assert settled(page) != second
    assert "bucket=long" in page.url


def test_the_prompt_is_one_click_away(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/{LONG}")
    page.get_by_text("The exact prompt", exact=True).click()
    page.locator(".ffr-prompt .message").first.wait_for()
    assert "<|utt_id_start|>599<|utt_id_end|>" in (page.locator(".ffr-prompt").inner_text())
    assert "show=prompt" in page.url


def test_an_image_is_enlarged_and_closed_by_escape(
    page: Page,
    served: Callable[..., str],
    samples_site: Path,
) -> None:
    visit(page, f"{served(samples_site)}/{LONG}")
    settled(page)
    button = page.locator(".enlarge").nth(8)
    button.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot"
        ".querySelectorAll('.enlarge img')].some(i => i.complete && i.naturalWidth === 64)"
    )
    button.click()
    dialog = page.locator("dialog.large")
    assert dialog.is_visible()
    page.keyboard.press("j")  # not meant for the dialogue behind it
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert (
        page.evaluate(
            "() => document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot"
            ".activeElement.className"
        )
        == "enlarge"
    )


def test_text_is_text(
    page: Page,
    served: Callable[..., str],
    hostile_site: Path,
    watched: Watched,
) -> None:
    url = served(hostile_site)
    for place in (LONG, f"{LONG}&show=prompt", f"{LONG}&show=answers", f"samples?{MODELS}"):
        visit(page, f"{url}/{place}")
        assert page.title() != "owned"
    visit(page, f"{url}/{LONG}")
    settled(page)
    assert page.locator(".turn .text").first.text_content() == HOSTILE
    assert page.locator(".turn .text *").count() == 0
    assert page.locator(".turn .who *").count() == 0
    assert page.locator("script, a", has_text="owned").count() == 0
    assert page.title() != "owned"
    assert watched.foreign == []
    assert watched.blocked == []


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(
    page: Page,
    served: Callable[..., str],
    hostile_site: Path,
    dark: bool,
) -> None:
    emulate(page, 400, dark)
    for place in (LONG, f"{LONG}&show=prompt", f"samples?{MODELS}"):
        visit(page, f"{served(hostile_site)}/{place}")
        overflow = page.evaluate(
            "() => { const m = document.querySelector('[data-testid=stMain]');"
            " return m.scrollWidth - m.clientWidth; }"
        )
        assert overflow <= 0, place
    visit(page, f"{served(hostile_site)}/{LONG}")
    settled(page)
    assert not page.locator(".header").is_visible()
    chip = page.locator(".turn.current .mark").nth(1)
    assert chip.inner_text().startswith("A:")
    box = page.locator(".box")
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_images_below_a_path(
    page: Page,
    boards: Callable[..., Board],
    samples_site: Path,
) -> None:
    board = boards(samples_site, "--public-url", "http://localhost/lab/ffr")
    visit(page, f"{board.url}/{LONG}")
    assert "/lab/ffr/" in page.url
    settled(page)
    page.wait_for_function(
        "() => [...document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot"
        ".querySelectorAll('.enlarge img')].some(i => i.complete && i.naturalWidth === 64)"
    )


def test_a_selected_row_is_opened(
    page: Page, served: Callable[..., str], samples_site: Path
) -> None:
    visit(page, f"{served(samples_site)}/samples?{MODELS}&sort=order")
    grid = page.locator('[data-testid="stDataFrame"]')
    grid.click(position={"x": 16, "y": 36 + 35 + 17})  # the second row's box
    page.wait_for_url("**sample=**")
    ready(page)
    assert "dlg-0000%231&" in f"{page.url}&"
    page.get_by_role("button", name="All samples").click()
    grid.wait_for()
    ready(page)
    assert "sample=" not in page.url
