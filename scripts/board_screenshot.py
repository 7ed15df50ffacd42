"""Draws the screenshots of the documentation: the board in Chromium, light, dark and narrow.

    python scripts/board_screenshot.py RUNS_DIR docs/screenshots [--run LABEL] [--all]

Needs Chromium, chromedriver and the Python package selenium.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOTS = (
    # file, width, height, dark, scale, query
    ("board.png", 1280, 2580, False, {}),
    ("board-dark.png", 1280, 2580, True, {}),
    ("board-narrow.png", 400, 1500, False, {}),
    ("board-reported.png", 1360, 1300, False, {"tab": "Reported in papers"}),
    ("board-definitions.png", 1360, 1300, False, {"tab": "What is computed"}),
    ("board-unscored.png", 1360, 700, False, {"tab": "Not scored"}),
)
DOCUMENTED = ("board.png", "board-dark.png", "board-narrow.png")
SECONDS = 60


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", help="the run whose details are shown")
    parser.add_argument("--all", action="store_true", help="the other tabs too")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with board(arguments.runs_dir) as url, browser() as driver:
        for name, width, height, dark, query in SHOTS:
            if name not in DOCUMENTED and not arguments.all:
                continue
            emulate(driver, width, height, dark)
            shown = dict(query)
            if arguments.run and not query:
                shown["run"] = arguments.run
            driver.get(f"{url}/?{urlencode(shown)}")
            wait_until_drawn(driver)
            path = arguments.out / name
            path.write_bytes(screenshot(driver))
            print(f"{path}: {path.stat().st_size // 1000} kB")


@contextlib.contextmanager
def board(runs_dir: Path) -> Iterator[str]:
    """The board on a free port; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "ffr_eval", "board", str(runs_dir), "--no-browser"]
    process = subprocess.Popen([*command, "--port", str(port)])  # noqa: S603
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()  # noqa: S310
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("the board did not start") from None
                time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium without a window."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:  # named, or Selenium would look on the network
        raise SystemExit("Chromium is missing: apt-get install chromium chromium-driver")
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


def emulate(driver: webdriver.Chrome, width: int, height: int, dark: bool) -> None:
    """Set the size of the page, and what the page is told about dark mode."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def wait_until_drawn(driver: webdriver.Chrome) -> None:
    """Wait until Streamlit has run the script and nothing is loading."""

    def is_drawn(driver: Any) -> bool:
        def count(selector: str) -> int:
            return len(driver.find_elements(By.CSS_SELECTOR, selector))

        running = count('[data-testid="stApp"][data-test-script-state="running"]')
        skeletons = count('[data-testid="stSkeleton"]')
        return not running and not skeletons and bool(count('[data-testid="stTabs"]'))

    WebDriverWait(driver, SECONDS).until(is_drawn)
    time.sleep(2.5)  # canvases and fonts have no event to wait for


def screenshot(driver: webdriver.Chrome) -> bytes:
    """A PNG with few colours, a third of the size."""
    data = base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"])
    try:
        from PIL import Image
    except ImportError:
        return data
    stream = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


if __name__ == "__main__":
    main()
