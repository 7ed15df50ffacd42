"""A run of ``hf`` that is killed again and again ends with every sample exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ffr_eval.runs import read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

_DIALOGUES = 60  # with three samples each
_KILLS = 12
_LONGEST_START = 8.0


def start(benchmark: Path, model: Path, out: Path) -> subprocess.Popen[bytes]:
    options = ("-o", f"model={model}", "-o", "images=text_only", "-o", "max_tokens=12")
    command = [sys.executable, "-m", "ffr_eval", "run", "hf", str(benchmark), *options]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--batch-size", "2", "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=600)
    return process.returncode, stderr.decode()


def test_killed_and_resumed_every_sample_exactly_once(
    make_benchmark: Callable[..., Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    benchmark = make_benchmark(tmp_path / "tiny", _DIALOGUES)
    model = checkpoints["qwen2_lm"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    code, stderr = finish(start(benchmark, model, undisturbed))
    assert code == 0, stderr
    moments = random.Random(7)
    progress = []
    for number in range(_KILLS):
        process = start(benchmark, model, killed)
        if number % 3:  # while it generates and writes
            wait_for_more(process, killed)
            time.sleep(moments.uniform(0, 0.3))
        else:  # while it starts, reads and loads
            time.sleep(moments.uniform(0.1, _LONGEST_START))
        process.kill()
        code, stderr = finish(process)
        assert code in {-9, 0}, stderr
        progress.append(n_lines(killed))
    assert progress == sorted(progress)  # nothing that was written is lost
    assert len(set(progress)) >= _KILLS // 3  # the kills fell into the run
    code, stderr = finish(start(benchmark, model, killed))
    assert code == 0, stderr
    expected, found = (answers(folder) for folder in (undisturbed, killed))
    assert len(found) == len(dict(found)) == 3 * _DIALOGUES
    assert sorted(found) == sorted(expected)
    record = read_run(killed)
    assert record.status == "finished"
    assert record.model_revision == read_run(undisturbed).model_revision


def wait_for_more(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a line is added, or the process ends."""
    before = n_lines(folder)
    while process.poll() is None and n_lines(folder) == before:
        time.sleep(0.01)


def n_lines(folder: Path) -> int:
    file = folder / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def answers(folder: Path) -> list[tuple[str, str]]:
    """Sample and answer of each line: no sample may have two."""
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(record["sample_id"], record["response"]) for record in records]
