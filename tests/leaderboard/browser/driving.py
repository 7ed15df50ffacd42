"""Driving a real ``ffr board`` and a real Chromium: for the browser tests and the screenshots."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page, Request

SECONDS = 60
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Nobody else is found, whoever is asked; the cache stays on, as it would not with a route.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WITHOUT_HOST = {"data", "blob", "about"}

# Resolves when Streamlit is connected and idle, and nothing has changed for a while.
READY = """
quiet => new Promise(resolve => {
  const app = () => document.querySelector('[data-testid="stApp"]');
  const idle = () => app()
    && app().dataset.testScriptState === 'notRunning'
    && app().dataset.testConnectionState === 'CONNECTED'
    && document.querySelector('[data-testid="stMain"]')
    && !document.querySelector('[data-testid="stSkeleton"], [data-testid="stSpinner"],'
      + ' [data-stale="true"]');
  let since = performance.now();
  const changed = () => { since = performance.now(); };
  const observer = new MutationObserver(changed);
  observer.observe(document, {subtree: true, childList: true, attributes: true,
                              characterData: true});
  const look = () => {
    if (!idle()) changed();
    if (performance.now() - since >= quiet) { observer.disconnect(); resolve(true); }
    else setTimeout(look, 25);
  };
  look();
})
"""


@dataclass
class Board:
    """A running ``ffr board``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    state: Path

    def said(self) -> str:
        """What it has written so far, on either stream."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Ctrl-C; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


@dataclass
class Watched:
    """What the tabs of a test did."""

    asked: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def blocked(self) -> list[str]:
        """What the Content-Security-Policy kept from happening."""
        return [text for text in self.errors if "Content Security Policy" in text]

    @property
    def unexpected(self) -> list[str]:
        """Errors in the console, but for those of Streamlit finding out its own base path."""
        return [text for text in self.errors if "status of 404" not in text]


def start_board(place: Path, folder: Path, *options: str, **environment: str) -> Board:
    """A board on a free port, with its state and log in ``folder``."""
    state, log = folder / "state", folder / "log.txt"
    command = [sys.executable, "-m", "ffr_eval", "board", str(place), "--no-browser", *options]
    if "--port" not in options:  # several may start at the same time
        command += ["--port", str(free_port())]
    if "--read-only" not in options:
        command += ["--state", str(state)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
    board = Board("", process, log, state)
    try:
        board.url = _address(board)
        wait_for(f"{board.url}/healthz", process)
    except BaseException as error:
        board.stop()
        error.add_note(board.said())
        raise
    return board


def _address(board: Board) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and board.process.poll() is None:
        found = re.search(r"the board is at (\S+)", board.said())
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the board did not start: {board.said()}")


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
        else:
            break
    assert process.poll() is None, "it has ended"
    assert time.monotonic() < end, f"{url} does not answer"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def watch(context: BrowserContext, watched: Watched) -> None:
    """Record every request, and those to another host than the first one apart."""
    home: list[str] = []

    def is_foreign(url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme in WITHOUT_HOST:
            return False
        if not home:
            home.append(parts.netloc)
        return parts.netloc != home[0]

    def note(request: Request) -> None:
        watched.asked.append(request.url)
        if is_foreign(request.url):
            watched.foreign.append(request.url)

    def note_socket(url: str) -> None:
        watched.asked.append(url)
        if is_foreign(url):
            watched.foreign.append(url)

    context.on("request", note)
    context.on("page", lambda tab: tab.on("websocket", lambda socket: note_socket(socket.url)))
    context.on(
        "console",
        lambda said: watched.errors.append(said.text) if said.type == "error" else None,
    )
    context.on("weberror", lambda error: watched.errors.append(str(error.error)))


def ready(page: Page, quiet: int = 250) -> None:
    """Wait until the page is drawn: idle, nothing loading, no change for ``quiet`` ms."""
    page.evaluate(READY, quiet)


def visit(page: Page, url: str) -> None:
    """Open an address and wait until it is drawn."""
    page.goto(url)
    page.wait_for_selector('[data-testid="stApp"]')
    ready(page)


def emulate(page: Page, width: int, dark: bool, height: int = 900) -> None:
    """Set the width of the window, and what the page is told about dark mode."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if dark else "light")
