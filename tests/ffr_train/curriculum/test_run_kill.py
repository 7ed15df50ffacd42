"""``ffr train difficulty`` that is killed or interrupted is completed by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ffr_eval.runs import read_run

from .conftest import write_benchmark

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

_SAMPLES = 4 + 2 * 60


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("many") / "small", 60)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, many: Path, model: Path
) -> dict[str, str]:
    """The lines of a run that nobody disturbs, by sample."""
    out = tmp_path_factory.mktemp("undisturbed") / "difficulty.jsonl"
    code, stderr = finish(start(many, model, out))
    assert code == 0, stderr
    return lines(out)


class Started(subprocess.Popen):
    """A command that was started."""

    def signal_all(self, number: int) -> None:
        """To the command and what it has started."""
        for pid in [*children(self.pid), self.pid]:
            os.kill(pid, number)


def start(benchmark: Path, model: Path, out: Path) -> Started:
    options = ("-o", "images=text_only", "-o", "max_tokens=12")
    command = [sys.executable, "-m", "ffr_eval", "train", "difficulty", str(benchmark), *options]
    return Started(
        [
            *command,
            "--model",
            str(model),
            "--device",
            "cpu",
            "--batch-size",
            "2",
            "--out",
            str(out),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def finish(process: Started) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr.decode()


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:  # noqa: PTH123
        return [int(child) for child in stream.read().split()]


def n_predictions(out: Path) -> int:
    file = out.with_name(f"{out.name}.run") / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for_predictions(process: Started, out: Path, number: int) -> None:
    while process.poll() is None and n_predictions(out) < number:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1].decode()


def lines(out: Path) -> dict[str, str]:
    """Every line, by sample; no sample may have two."""
    found = [(json.loads(text)["sample_id"], text) for text in out.read_text().splitlines()]
    assert len(found) == len(dict(found)) == _SAMPLES
    return dict(found)


def near(a: dict[str, str], b: dict[str, str]) -> bool:
    """The same samples, with figures that batches of other samples may move in the last digits."""
    keys = ("f1", "entropy")
    return a.keys() == b.keys() and all(
        json.loads(a[name])[key] == pytest.approx(json.loads(b[name])[key], rel=1e-4)
        for name in a
        for key in keys
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "difficulty.jsonl"


def test_killed_with_its_run(
    many: Path, model: Path, out: Path, undisturbed: dict[str, str]
) -> None:
    seen = 0
    for _ in range(3):
        process = start(many, model, out)
        wait_for_predictions(process, out, seen + 10)
        process.signal_all(signal.SIGKILL)
        assert finish(process)[0] == -signal.SIGKILL
        assert not out.exists()
        assert n_predictions(out) >= seen + 10
        seen = n_predictions(out)
    code, stderr = finish(start(many, model, out))
    assert code == 0, stderr
    assert f"{_SAMPLES} of {_SAMPLES} predictions" in stderr
    assert f"({_SAMPLES} new)" not in stderr
    assert near(lines(out), undisturbed)
    assert n_predictions(out) == _SAMPLES


def test_killed_alone(many: Path, model: Path, out: Path, undisturbed: dict[str, str]) -> None:
    """Its run is left behind and goes on; the same command waits for it."""
    process = start(many, model, out)
    wait_for_predictions(process, out, 4)
    (left,) = children(process.pid)
    process.kill()
    process.wait()
    os.kill(left, 0)  # is there
    code, stderr = finish(start(many, model, out))
    finish(process)
    assert code == 0, stderr
    assert "another process works on" in stderr
    assert near(lines(out), undisturbed)
    assert n_predictions(out) == _SAMPLES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end(
    many: Path, model: Path, out: Path, undisturbed: dict[str, str], number: int
) -> None:
    """As Ctrl-C does, which reaches only the command: its run has a process group of its own."""
    process = start(many, model, out)
    wait_for_predictions(process, out, 4)
    process.send_signal(number)
    code, stderr = finish(process)
    assert code == 128 + number, stderr
    assert not out.exists()
    record = read_run(out.with_name(f"{out.name}.run"))
    assert record.status == "interrupted"
    assert n_predictions(out) < _SAMPLES
    code, stderr = finish(start(many, model, out))
    assert code == 0, stderr
    assert near(lines(out), undisturbed)
    assert n_predictions(out) == _SAMPLES
