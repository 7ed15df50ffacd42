"""Failures that are nobody's input: a model that raises, an output that is gone, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.model import Capabilities, Model, ScoringModel, answer
from baselines.model import Scores as ModelScores
from ffr_eval import plugins
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    from ffr_eval.types import Prediction, Sample


@pytest.fixture
def run(cli: Any, lengths: Path, tmp_path: Path) -> Path:
    cli("run", "none", lengths, "--out", tmp_path / "run")
    return tmp_path / "run"


# Models that fail --------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class FakeEntryPoint:
    name: str
    plugin: Any

    def load(self) -> Any:
        return self.plugin


class Flaky(Model):
    capabilities = Capabilities(text=True)

    def predict(self, sample: Sample) -> Prediction:
        if sample.dialogue.dialogue_id == "b":
            raise RuntimeError("the GPU fell \ud83d off\nthe bus")
        return answer(sample, Fragment((1,)))


class NotANumber(ScoringModel):
    capabilities = Capabilities(text=True, answers="scores")

    def score(self, sample: Sample) -> ModelScores:
        utterance = np.ones(len(sample.dialogue.turns))
        utterance[1] = np.nan if sample.dialogue.dialogue_id == "b" else 2.0
        return ModelScores(utterance, np.zeros(len(sample.dialogue.images)))


@pytest.mark.parametrize(
    ("model", "why"), [(Flaky, "RuntimeError: the GPU"), (NotANumber, "position 1 is nan")]
)
def test_a_model_that_fails_ends_with_1_and_keeps_the_rest(
    cli: Any,
    monkeypatch: pytest.MonkeyPatch,
    lengths: Path,
    tmp_path: Path,
    model: type[Model],
    why: str,
) -> None:
    real = plugins.entry_points

    def with_model(group: str) -> Any:
        extra = [FakeEntryPoint("failing", model)] if group == plugins.MODELS else []
        return extra or real(group=group)

    monkeypatch.setattr(plugins, "entry_points", with_model)
    out = tmp_path / "run"
    result = cli.run("run", "failing", lengths, "--out", out)
    assert result.code == 1
    assert "5 of 5 predictions (5 new): 4 ok, 1 request_error" in result.out
    assert "the model failed for 1 samples: b#0" in result.err
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    failed = [line for line in lines if line["outcome"] == "request_error"]
    assert (len(lines), len(failed)) == (5, 1)
    assert why in failed[0]["meta"]["error"]
    scores = cli("score", out, "--json", "-").json
    assert (scores["n_scored"], scores["outcomes"]["request_error"]) == (4, 1)
    again = cli.run("run", "failing", lengths, "--out", out)
    assert again.code == 1
    assert "(0 new)" in again.out


# The surroundings --------------------------------------------------------------------------------


def test_an_output_that_is_full_or_gone_is_no_traceback(
    cli: Any, run: Path, tmp_path: Path
) -> None:
    ffr = [sys.executable, "-m", "ffr_eval"]
    with Path("/dev/full").open("wb") as full:
        for args in (["score", str(run)], ["models", "--json"], ["--version"]):
            done = subprocess.run([*ffr, *args], stdout=full, stderr=subprocess.PIPE, check=False)
            assert done.returncode == 1
            first, remedy = done.stderr.decode().splitlines()
            assert first == "error: No space left on device"
            assert "free some space" in remedy
    for args in (["score", str(run)], ["rank", str(run)], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([*ffr, *args], stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(cli: Any, lengths: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = cli.run("run", "none", lengths, "--out", tmp_path / "run")
    tmp_path.chmod(0o700)
    assert result.code == 1
    assert "cannot be written: Permission denied" in result.err


def test_ctrl_c_ends_with_130_and_a_sentence(lengths: Path, tmp_path: Path) -> None:
    (lengths / "dialogues.jsonl").unlink()
    os.mkfifo(lengths / "dialogues.jsonl")  # reading it waits for somebody to write
    process = subprocess.Popen(
        [sys.executable, "-m", "ffr_eval", "data", "check", str(lengths)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    descriptor = None
    while descriptor is None:  # opens once ffr reads
        try:
            descriptor = os.open(lengths / "dialogues.jsonl", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(descriptor)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert out == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_reading_process_that_is_terminated_is_an_error_with_a_reason() -> None:
    program = (
        "import os, signal, sys, time\n"
        "from ffr_eval import inference_file as reader\n"
        "from ffr_eval.cli import main\n"
        "signal.signal(signal.SIGTERM, main._terminated)\n"  # as the command line does
        "parent = os.getpid()\n"
        "def _read_piece(task):\n"
        "    if os.getpid() != parent:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.2)\n"
        "_read_piece.__module__ = reader.__name__\n"
        "reader._read_piece = _read_piece\n"
        "reader._start_method = lambda: 'fork'\n"  # so that it has what is patched here
        "reader._run(list(range(30)), 2, None)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "a process that was reading the file was killed" in done.stderr
    assert done.returncode == 1
