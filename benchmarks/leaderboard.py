"""The leaderboard on a site of 1,000 runs and 1,000,000 samples, in its real server."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.leaderboard_server import EMPTY
from benchmarks.measure import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaderboard.site.reader import Site

RUNS = 1_000
SAMPLES = 1_000
DIALOGUES = 100
ROUNDS = 40
SESSIONS = 20
BROWSER_ROUNDS = 7
QUERIES = 15
SECONDS = 60


def run() -> list[Result]:
    """Measure."""
    from leaderboard.site.reader import Site
    from tests.leaderboard.synthetic import write_site

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "site")
        write_site(path, n_runs=RUNS, n_samples=SAMPLES, n_dialogues=DIALOGUES)
        site = Site(path)
        return [
            *_scripts(path, site, Path(folder)),
            *_queries(site),
            *_memory(path, site, Path(folder)),
            *_browser(path, Path(folder)),
        ]


# --- the scripts of the pages ---------------------------------------------------------------------


def views(site: Site) -> dict[str, str]:
    """A query string for each page: what a visitor comes to see there."""
    board = site.board_ids[0]
    sql = (
        "SELECT run_id FROM figures WHERE board_id = ? AND protocol = 'strict'"
        " AND metric = 'micro.joint.f1' AND bucket = 'all' AND rank <= 2 ORDER BY rank LIMIT 2"
    )
    pair = ",".join(row["run_id"] for row in site.query(sql, (board,)).to_pylist())
    sql = "SELECT sample_id FROM queries WHERE board_id = ? ORDER BY row LIMIT 1"
    sample = site.query(sql, (board,)).to_pylist()[0]["sample_id"]
    found = {
        EMPTY: {"board": board},
        "board": {"board": board},
        "model": {"board": board, "models": pair.partition(",")[0]},
        "compare": {"board": board, "models": pair, "bucket": "long"},
        "samples": {"board": board, "models": pair, "sample": sample},
        "arena": {"board": board},
        "submit": {"board": board},
        "about": {"board": board},
    }
    return {page: urlencode(parameters) for page, parameters in found.items()}


def _scripts(path: Path, site: Site, folder: Path) -> list[Result]:
    """A warm run of each page's script, in turn with the page that draws nothing."""
    record = folder / "record.txt"
    found: dict[str, list[float]] = {}
    with board_server(path, folder, record) as (url, _), ExitStack() as stack:
        sessions = {}
        for page, query in views(site).items():
            session = stack.enter_context(Session.connect(url))
            session.show(page, query)
            sessions[page] = session, query
        for _ in range(ROUNDS):
            for page, (session, query) in sessions.items():
                session.show(page, query)
                found.setdefault(page, []).append(float(record.read_text().split()[-1]))
    # The first runs after start are not warm.
    times = {page: statistics.median(seconds[3:]) for page, seconds in found.items()}
    empty = times.pop(EMPTY)
    return [
        Result(
            what=f"leaderboard: warm script of the page {page}, {RUNS:,} runs × 27 figures",
            ours=f"{seconds * 1000:.1f} ms",
            peer_name="empty page of the app",
            peer=f"{empty * 1000:.1f} ms",
            ratio=f"{seconds / empty:.1f}",
            wanted="≤ 3",
        )
        for page, seconds in times.items()
    ]


class Session:
    """A session of the app over its WebSocket, as a browser has it; it draws nothing."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    @classmethod
    @contextmanager
    def connect(cls, url: str) -> Iterator[Session]:
        """Open a session."""
        from websockets.sync import client

        connect: Any = client.connect
        address = url.replace("http", "ws", 1) + "/_stcore/stream"
        with connect(address, subprotocols=["streamlit"], origin=url, max_size=None) as socket:
            yield cls(socket)

    def show(self, page: str, query: str) -> int:
        """Run the script of a page.

        Returns:
            The bytes that came.

        Raises:
            RuntimeError: If the script fails.
        """
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        asked = BackMsg()
        asked.rerun_script.page_name = page
        asked.rerun_script.query_string = query
        self._socket.send(asked.SerializeToString())
        size = 0
        while True:
            content = self._socket.recv(timeout=SECONDS)
            size += len(content)
            message = ForwardMsg.FromString(content)
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(str(message.delta.new_element.exception))
            if kind == "script_finished":
                if message.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY:
                    raise RuntimeError(f"the script of {page} ended with an error")
                return size


@contextmanager
def board_server(path: Path, folder: Path, record: Path) -> Iterator[tuple[str, int]]:
    """A board for a site: its address and process id."""
    log, state = folder / "board.log", folder / "state"
    command = [sys.executable, "-m", "benchmarks.leaderboard_server", str(record), str(path)]
    command += ["--no-browser", "--state", str(state)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield _address(process, log), process.pid
    finally:
        process.terminate()
        process.wait(SECONDS)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"the board is at (\S+)", log.read_text(encoding="utf-8"))
        if found:
            try:
                urllib.request.urlopen(f"{found[1]}/healthz", timeout=5).close()  # noqa: S310
            except OSError:
                pass
            else:
                return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the board did not start: {log.read_text(encoding='utf-8')}")


# --- the queries of the samples page --------------------------------------------------------------


def _queries(site: Site) -> list[Result]:
    """CPU time, all threads, of what the samples page asks for when its filters change."""
    from leaderboard.queries import samples
    from leaderboard.queries.samples import Filters

    board = site.board_ids[0]
    a, b = list(site.labels(board))[:2]
    filters = {
        "one model, those that are wrong": Filters(board, a, answers="wrong", sort="low"),
        "two models, long dialogues, most different first": Filters(
            board, a, b, grouping="turns", bucket="long", answers="differ", sort="difference"
        ),
        "two models, free text": Filters(board, a, b, text="budget"),
    }
    results = []
    for name, wanted in filters.items():
        times = []
        for _ in range(QUERIES):
            start = time.process_time()
            found = samples.matching(site, wanted)
            samples.listed(site, board, found, 1)
            times.append(time.process_time() - start)
        results.append(
            Result(
                what=f"leaderboard: samples query ({name}), {RUNS * SAMPLES:,} rows, CPU",
                ours=f"{statistics.median(times) * 1000:.0f} ms",
                peer_name="limit",
                peer="50 ms",
                ratio="",
                wanted="≤ 50 ms",
            )
        )
    return results


# --- memory ---------------------------------------------------------------------------------------


def _memory(path: Path, site: Site, folder: Path) -> list[Result]:
    """The server's memory while sessions are open on all pages, each of which was seen thrice."""
    record = folder / "memory.txt"
    pages = {page: query for page, query in views(site).items() if page != EMPTY}
    with board_server(path, folder, record) as (url, pid), ExitStack() as stack:
        sessions = [stack.enter_context(Session.connect(url)) for _ in range(SESSIONS)]
        for turn in range(3):
            for number, session in enumerate(sessions):
                names = list(pages)
                page = names[(number + turn) % len(names)]
                session.show(page, pages[page])
        peak = _peak_rss(pid)
    return [
        Result(
            what=f"leaderboard: peak memory of the server, {SESSIONS} sessions on all pages",
            ours=f"{peak:.0f} MB",
            peer_name="limit",
            peer="600 MB",
            ratio="",
            wanted="< 600 MB",
        )
    ]


def _peak_rss(pid: int) -> float:
    """The largest resident memory that a process has had, in MB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


# --- the browser ----------------------------------------------------------------------------------


def _browser(path: Path, folder: Path) -> list[Result]:
    """From asking for the address until all is drawn, with nothing in the browser's cache."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        print("no Chromium or no Playwright: the browser is not measured", file=sys.stderr)
        return []
    from tests.leaderboard.browser.driving import FLAGS

    record = folder / "browser.txt"
    times: dict[str, list[float]] = {"board": [], "hello": []}
    with (
        board_server(path, folder, record) as (board, _),
        _hello_server(folder) as hello,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=program, args=list(FLAGS))
        for _ in range(BROWSER_ROUNDS + 1):
            times["board"].append(_ready_after(browser, board, TABLE))
            times["hello"].append(_ready_after(browser, hello, "h1"))
        browser.close()
    ours, peer = (statistics.median(times[name][1:]) for name in ("board", "hello"))
    return [
        Result(
            what=f"leaderboard: Board in Chromium until all is drawn, {RUNS:,} runs",
            ours=f"{ours:.2f} s",
            peer_name="`streamlit hello`",
            peer=f"{peer:.2f} s",
            ratio=f"{ours / peer:.2f}",
            wanted="≤ 1.6",
        )
    ]


QUIET = 250
TABLE = '[data-testid="stDataFrame"] canvas'

# Resolves with the moment (in ms since the page was asked for) from which on it was drawn: what is
# wanted is there, Streamlit idle and nothing loading, and for a while nothing changed. The copy of
# a table for screen readers, which its canvas gets a quarter of a second later, does not count.
_DRAWN = """
([wanted, quiet]) => new Promise(resolve => {
  const find = selector => document.querySelector(selector);
  const idle = () => find('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning'
    && find(wanted)?.getBoundingClientRect().height > 0
    && !find('[data-testid="stSkeleton"], [data-testid="stSpinner"], [data-stale="true"]');
  let since = performance.now();
  const counts = record => !(record.target.closest ?? (() => null)).call(record.target, 'canvas');
  new MutationObserver(records => { if (records.some(counts)) since = performance.now(); })
    .observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  const look = () => {
    const now = performance.now();
    if (!idle()) since = now;
    if (now - since >= quiet) resolve(since); else setTimeout(look, 10);
  };
  look();
})
"""


def _ready_after(browser: Any, url: str, wanted: str) -> float:
    """Seconds until the page has what is wanted, and nothing changes any more."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    page.goto(url)
    drawn: float = page.evaluate(_DRAWN, [wanted, QUIET])
    context.close()
    return drawn / 1000


@contextmanager
def _hello_server(folder: Path) -> Iterator[str]:
    """Streamlit's own demonstration, at its first page."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "hello", "--server.headless=true"]
    command += [f"--server.port={port}", "--browser.gatherUsageStats=false"]
    command += ["--server.fileWatcherType=none", "--server.address=127.0.0.1"]
    with (folder / "hello.log").open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(SECONDS)
