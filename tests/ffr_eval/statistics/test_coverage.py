from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "coverage.py"


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    """A small run of the simulation; its standard error is 0.8 points at 95 %."""
    table = tmp_path / "coverage.md"
    size = ["--dialogues", "200", "--repetitions", "800", "--replicates", "1000"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *size, "--json", "--out", table],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    cells = json.loads(done.stdout)
    assert {cell["metric"] for cell in cells} == {"micro F1", "mean F1 of queries"}
    for cell in cells:
        percentile, bca, queries = cell["coverage"]
        assert 0.925 <= percentile <= 0.97
        assert 0.925 <= bca <= 0.97
        assert queries < 0.88  # what resampling single queries would claim
        assert f"{bca:.1%}" in table.read_text("utf-8")


def test_one_dialogue_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--dialogues", "1"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"at least 2 dialogues" in done.stderr
