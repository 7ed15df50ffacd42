"""Run folders as the command line makes them, on a copy of the bundled benchmark."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ffr_eval.benchmark.reader import resolve

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("none", "all", "random", "oracle")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bench`` and ``runs``; copied by :func:`runs`, never changed."""
    folder = tmp_path_factory.mktemp("board")
    shutil.copytree(resolve("ffr-sample"), folder / "bench")
    for model in MODELS:
        command = [sys.executable, "-m", "ffr_eval", "run", model, str(folder / "bench")]
        out = str(folder / "runs" / model)
        subprocess.run([*command, "--split", "test", "--out", out], check=True, capture_output=True)
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """Run folders of four models, free to be changed."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path / "runs"
