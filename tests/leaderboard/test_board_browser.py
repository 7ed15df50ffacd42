"""The page in Chromium: what it draws, and whom it talks to."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "board_screenshot.py"
FOUND = bool(
    shutil.which("chromium")
    and shutil.which("chromedriver")
    and importlib.util.find_spec("selenium")
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOUND, reason="needs chromium, chromedriver and selenium"),
]

IMAGE = "![x](http://127.0.0.2:9/tracker.png)"
BADGE = ":material/verified: best"


@pytest.fixture(scope="module")
def tools() -> Any:
    """The screenshot script, which knows how to start the board and Chromium."""
    spec = importlib.util.spec_from_file_location("board_screenshot", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["board_screenshot"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def opened(tools: Any, runs: Path) -> Iterator[tuple[str, Any]]:
    for number, text in enumerate((IMAGE, BADGE)):
        folder = runs / f"nasty-{number}"
        shutil.copytree(runs / "none", folder)
        record = json.loads((folder / "run.json").read_text())
        record |= {"model": text, "prompt_hash": text, "options": {text: text}}
        record["sessions"][0]["versions"] = {text: text}
        (folder / "run.json").write_text(json.dumps(record))
    shutil.copytree(runs / "none", runs / BADGE.replace("/", "-"))
    broken = runs / "broken"
    broken.mkdir()
    (broken / "run.json").write_text(json.dumps({"model": "m", IMAGE: 1, "benchmark": IMAGE}))
    with tools.board(runs) as url, tools.browser() as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        tools.emulate(driver, 1280, 2200, dark=False)
        yield url, driver


def visit(tools: Any, driver: Any, url: str) -> None:
    driver.get(url)
    tools.wait_until_drawn(driver)


def cells(driver: Any) -> list[str]:
    script = "return [...document.querySelectorAll('[role=gridcell]')].map(c => c.textContent)"
    found: list[str] = driver.execute_script(script)
    return found


def hosts(driver: Any) -> set[str]:
    """Whom the browser asked for anything, except for the browser's own addresses."""
    found = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            parts = urlsplit(message["params"]["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            parts = urlsplit(message["params"]["url"])
        else:
            continue
        if parts.scheme in {"http", "https", "ws", "wss"}:
            found.add(parts.hostname or "")
    return found


def test_models_are_seen_and_nobody_else_is_asked(tools: Any, opened: tuple[str, Any]) -> None:
    url, driver = opened
    visit(tools, driver, url)
    shown = cells(driver)
    assert {"oracle", "random", "none", "all"} <= set(shown)
    assert not [cell for cell in shown if "![" in cell or ":material" in cell]
    for tab in ("Reported in papers", "Not scored", "What is computed"):
        visit(tools, driver, f"{url}/?tab={quote(tab)}")
    for run in ("nasty-0", "nasty-1"):
        visit(tools, driver, f"{url}/?run={run}")
        driver.execute_script("document.querySelector('details summary').click()")
        time.sleep(1)
        assert "Score it again" in driver.page_source
        assert "127.0.0.2" in " ".join(cells(driver)) or run == "nasty-1"  # shown as plain text
    images = driver.execute_script("return [...document.images].map(i => i.src)")
    assert [source for source in images if "tracker" in source] == []
    assert hosts(driver) == {"127.0.0.1"}


def test_a_click_on_a_row_shows_its_details(tools: Any, opened: tuple[str, Any]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    url, driver = opened
    visit(tools, driver, url)
    grid = driver.find_element(By.CSS_SELECTOR, '[data-testid="stDataFrame"]')
    left, top = -grid.size["width"] // 2 + 16, -grid.size["height"] // 2 + 35 + 17
    ActionChains(driver).move_to_element_with_offset(grid, left, top).click().perform()
    time.sleep(2)
    tools.wait_until_drawn(driver)
    assert "run=oracle" in driver.current_url
    assert "Score it again" in driver.page_source


def test_a_phone(tools: Any, opened: tuple[str, Any]) -> None:
    url, driver = opened
    tools.emulate(driver, 400, 900, dark=True)
    visit(tools, driver, f"{url}/?run=random")
    wide = driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 400
    main = driver.execute_script(
        "const m = document.querySelector('[data-testid=stMain]');"
        " return m.scrollWidth - m.clientWidth"
    )
    assert main <= 0
