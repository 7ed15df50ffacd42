"""A run that is killed again and again ends with every sample exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ffr_eval.runs import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_DIALOGUES = 400  # with three samples each
_KILLS = 20

_SLOW_RUN = """
import sys, time
from importlib.metadata import EntryPoint

import ffr_eval.plugins
from baselines.model import Capabilities, answer
from baselines.runner import run
from baselines.simple import Random


class Slow(Random):
    capabilities = Capabilities(needs_tuning=True)

    def fit(self, samples):
        time.sleep(0.05)
        return super().fit(samples)

    def predict(self, sample):
        time.sleep(0.002)
        return super().predict(sample)


ffr_eval.plugins.entry_points = lambda group: [EntryPoint("slow", "__main__:Slow", group)]
run("slow", {}, sys.argv[1], sys.argv[2], tune_on="dev")
"""


def start(benchmark: Path, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", _SLOW_RUN, str(benchmark), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=120)
    return process.returncode, stderr.decode()


def test_killed_and_resumed_every_sample_exactly_once(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_benchmark(tmp_path / "tiny", _DIALOGUES)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert finish(start(benchmark, undisturbed)) == (0, "")
    moments = random.Random(7)
    progress = []
    for number in range(_KILLS):
        process = start(benchmark, killed)
        if number % 2:  # while it predicts
            wait_for_more(process, killed)
            time.sleep(moments.uniform(0, 0.04))
        else:  # while it starts, reads, tunes or predicts
            time.sleep(moments.uniform(0.02, 0.5))
        process.kill()
        code, stderr = finish(process)
        assert code in {-9, 0}, stderr
        progress.append(n_lines(killed))
    assert progress == sorted(progress)  # nothing that was written is lost
    assert len(set(progress)) >= _KILLS // 4  # the kills fell into the run
    assert finish(start(benchmark, killed)) == (0, "")
    expected, found = (answers(folder) for folder in (undisturbed, killed))
    assert len(found) == len(dict(found)) == 2 * _DIALOGUES
    assert found == expected
    record = read_run(killed)
    assert record.status == "finished"
    assert record.selection == read_run(undisturbed).selection
    assert len(record.sessions) > 3


def wait_for_more(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a line is added, or the process ends."""
    before = n_lines(folder)
    while process.poll() is None and n_lines(folder) == before:
        time.sleep(0.002)


def n_lines(folder: Path) -> int:
    file = folder / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def answers(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(record["sample_id"], str(record["utt_ids"])) for record in records]


def test_terminated_it_says_so_and_goes_on(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark, out = make_benchmark(tmp_path / "tiny", _DIALOGUES), tmp_path / "run"
    terminating = _SLOW_RUN.replace(
        "run(",
        "import signal\nfrom ffr_eval.cli.main import _terminated\n"
        "signal.signal(signal.SIGTERM, _terminated)  # as the command line does\nrun(",
        1,
    )
    command = [sys.executable, "-c", terminating, str(benchmark), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    wait_for_more(process, out)
    process.terminate()
    assert finish(process)[0] == 143
    assert read_run(out).status == "interrupted"
    before = n_lines(out)
    assert finish(start(benchmark, out)) == (0, "")
    assert n_lines(out) == 2 * _DIALOGUES > before > 0
    assert read_run(out).status == "finished"
