"""Draws the screenshots of the documentation: the leaderboard in Chromium, page by page.

    python scripts/board_screenshot.py SITE_OR_RUNS docs/screenshots [--models A,B] [--sample ID]

Needs Chromium (scripts/install_chromium.sh) and the Python packages of the extra ``test``.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.leaderboard.browser.driving import FLAGS, emulate, start_board, visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

COLOURS = 192


@dataclass(frozen=True)
class Shot:
    """A screenshot: its file, the page, the window, and what it looks for first."""

    file: str
    page: str
    width: int = 1280
    height: int = 1000
    dark: bool = False
    models: int = 0
    sample: bool = False


SHOTS = (
    Shot("board.png", "", height=1250),
    Shot("board-dark.png", "", height=1250, dark=True),
    Shot("board-narrow.png", "", 400, 1100),
    Shot("compare.png", "compare", height=1250, models=2),
    Shot("samples.png", "samples", height=1250, models=2, sample=True),
    Shot("arena.png", "arena"),
)


def main() -> None:
    """Take the screenshots."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, metavar="SITE_OR_RUNS")
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", help="ids of two runs, with a comma; by default the best two")
    parser.add_argument("--sample", help="the id of the sample that is open; by default the first")
    parser.add_argument("--only", help="only the file of this name")
    given = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("Chromium is missing: scripts/install_chromium.sh")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        board = start_board(given.place.resolve(), Path(folder))
        try:
            models = given.models.split(",") if given.models else best_two(board.url)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
                page = browser.new_page(locale="en-US")
                for shot in SHOTS:
                    if given.only in (None, shot.file):
                        path = given.out / shot.file
                        take(page, board.url, shot, models, given.sample, path)
                        print(f"{path}: {path.stat().st_size // 1000} kB")
                browser.close()
        finally:
            board.stop()


def take(
    page: Page, url: str, shot: Shot, models: list[str], sample: str | None, path: Path
) -> None:
    """Open a page as a shot asks for it, and write what is seen."""
    emulate(page, shot.width, shot.dark, shot.height)
    query = {"models": ",".join(models[: shot.models])} if shot.models else {}
    if shot.sample:
        query["sample"] = sample or first_sample(url)
    visit(page, f"{url}/{shot.page}?{urlencode(query)}")
    path.write_bytes(smaller(page.screenshot(animations="disabled")))


def best_two(url: str) -> list[str]:
    """The two runs that rank best on the first board, without those that know the gold."""
    from ffr_eval.metrics.named import HEADLINE

    figures = table(url, "figures")
    board = min(row["board_id"] for row in figures)
    wanted = {"board_id": board, "protocol": "strict", "metric": HEADLINE, "bucket": "all"}
    ceilings = {row["run_id"] for row in table(url, "runs") if row["ceiling"]}
    ranks = {
        row["run_id"]: row["rank"]
        for row in figures
        if wanted.items() <= row.items() and row["rank"] and row["run_id"] not in ceilings
    }
    return sorted(ranks, key=lambda run: ranks[run])[:2]


def first_sample(url: str) -> str:
    """The first sample of the first board."""
    rows = table(url, "queries")
    found: str = min(rows, key=lambda row: (row["board_id"], row["row"]))["sample_id"]
    return found


def table(url: str, name: str) -> list[dict[str, Any]]:
    """A table of the site, as everybody can download it."""
    import pyarrow.parquet as pq

    with urllib.request.urlopen(f"{url}/data/{name}.parquet", timeout=60) as answer:  # noqa: S310
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(answer.read())).to_pylist()
    return rows


def smaller(data: bytes) -> bytes:
    """A PNG with few colours, a third of the size."""
    from PIL import Image

    stream = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


if __name__ == "__main__":
    main()
