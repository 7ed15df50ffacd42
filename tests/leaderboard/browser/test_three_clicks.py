"""The proof of the board: a reader who knows nothing, three clicks from the first page.

Two real runs of ``ffr run api`` against two servers, one that knows the answers and one that is
wrong on most long dialogues, published and served as anybody would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ffr_eval.comparison import compare_runs
from ffr_eval.uncertainty import Resampling
from leaderboard.figures import p_text, value_text
from tests.leaderboard.browser.driving import ready, visit
from tests.servers import FaultServer, Rule
from tests.servers.samples import write_marked_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

N_DIALOGUES = 9
RIGHT = "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
WRONG = "<|utt_ids_start|>[7, 60]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"


def ffr(*arguments: object) -> None:
    command = [sys.executable, "-m", "ffr_eval", *map(str, arguments)]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-of-nobody"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clicks")
    bench = write_marked_benchmark(folder / "bench", N_DIALOGUES, queries=2, images=1, turns=70)
    right_once = Rule(marker="d0#0", text=RIGHT)
    for name, server in (
        ("strong", FaultServer(answer=RIGHT)),
        ("weak", FaultServer(right_once, answer=WRONG)),
    ):
        with server:
            options = ("-o", f"base_url={server.url}", "-o", f"model={name}-1")
            ffr("run", "api", bench, *options, "--no-cache", "--out", folder / "runs" / name)
    return folder / "runs"


def test_three_clicks(runs: Path, served: Callable[..., str], page: Page, tmp_path: Path) -> None:
    site = tmp_path / "site"
    ffr("publish", runs, "--site", site, "--replicates", "2000")
    visit(page, served(site))
    clicks = 1  # which of two models is better on long dialogues, and whether that is significant
    page.get_by_role("link", name=re.compile("long dialogues", re.IGNORECASE)).first.click()
    page.get_by_role("heading", name="Compare models").wait_for()
    ready(page)
    assert "bucket=long" in page.url
    found = compare_runs(
        [runs / "strong", runs / "weak"], group="turns=long", resampling=Resampling(2000)
    )
    pair = found.pair("strong", "weak")
    assert pair.p_holm is not None
    assert pair.delta is not None
    assert pair.p_holm < 0.05
    verdict = page.get_by_text(re.compile("strong is better than weak by .*: significant"))
    said = verdict.inner_text()
    assert value_text(pair.delta) in said
    assert p_text(pair.p_holm) in said
    clicks += 1  # an example where it fails
    page.get_by_role("link", name=re.compile("See where weak fails")).first.click()
    page.get_by_text("The exact prompt").first.wait_for()
    ready(page)
    sample = re.findall(r"sample=([^&]+)", page.url)[0].replace("%23", "#")
    assert sample != "d0#0"  # the one that it gets right
    assert f"about [[{sample}]]" in page.locator('[data-testid="stMain"]').inner_text()
    clicks += 1  # the exact prompt it got
    page.get_by_text("The exact prompt").first.click()
    ready(page)
    assert page.get_by_text("its hash is the one that the run recorded").count() > 0
    dialogue = sample.partition("#")[0]
    # In the component's shadow tree; the query is also above it.
    page.get_by_text(f"turn 69 of {dialogue}").first.wait_for()
    assert page.get_by_text(f"about [[{sample}]]").count() >= 2
    assert clicks == 3
