"""``ffr run api``, killed again and again, asks for nothing twice and loses no answer."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ffr_eval.runs import read_run
from tests.servers import Seen, ServerProcess
from tests.servers.samples import write_marked_benchmark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

_QUERIES = 3
_CONCURRENCY = 8
_LATENCY, _JITTER = 0.1, 0.2
_IN_FLIGHT_S = 2.0  # between the server's last byte and the answer's being on the disk, at most


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """It lives on when its clients are killed."""
    with ServerProcess(tmp_path / "log.jsonl", latency=_LATENCY, jitter=_JITTER) as running:
        yield running


def start(
    benchmark: Path, out: Path, server: ServerProcess, life: int, *flags: str
) -> subprocess.Popen[bytes]:
    """The command; its key says in the server's log which start of the run a request is of."""
    command = [sys.executable, "-m", "ffr_eval", "run", "api", str(benchmark), "--out", str(out)]
    command += ["-o", "model=test-model", "-o", f"base_url={server.url}"]
    command += ["--concurrency", str(_CONCURRENCY), *flags]
    environment = {**os.environ, "OPENAI_API_KEY": f"life-{life}"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr.decode()


def whole_lines(folder: Path) -> bytes:
    """The predictions that are there, up to the last newline."""
    file = folder / "predictions.jsonl"
    data = file.read_bytes() if file.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def ids(lines: bytes) -> list[str]:
    return [json.loads(line)["sample_id"] for line in lines.splitlines()]


@pytest.mark.parametrize(("cached", "kills"), [(False, 50), (True, 12)])
def test_killed_and_resumed_nothing_is_lost_or_asked_for_twice(
    tmp_path: Path, server: ServerProcess, cached: bool, kills: int
) -> None:
    dialogues = 6 * kills
    benchmark = write_marked_benchmark(tmp_path / "benchmark", dialogues, _QUERIES)
    out = tmp_path / "run"
    flags = ["--cache", str(tmp_path / "cache.sqlite")] if cached else ["--no-cache"]
    moments = random.Random(11)
    written: list[bytes] = [b""]
    ended: list[float] = []
    for life in range(kills):
        process = start(benchmark, out, server, life, *flags)
        if life % 5:  # while it asks
            wait_for_more(process, out, len(written[-1]))
            time.sleep(moments.uniform(0, 0.4))
        else:  # while it starts, reads or asks
            time.sleep(moments.uniform(0.02, 2.0))
        process.kill()
        code, stderr = finish(process)
        ended.append(time.monotonic())
        assert code in {-9, 0}, stderr
        written.append(whole_lines(out))
        assert written[-1].startswith(written[-2])  # what was written is never lost or changed
    assert len(set(written)) > kills // 2  # the kills fell into the run
    assert len(ids(written[-1])) < dialogues * _QUERIES  # and not all after it

    code, stderr = finish(start(benchmark, out, server, kills, *flags))
    assert code == 0, stderr
    lines = whole_lines(out)
    assert lines.startswith(written[-1])
    found = Counter(ids(lines))
    assert len(found) == dialogues * _QUERIES
    assert set(found.values()) == {1}
    assert {json.loads(line)["outcome"] for line in lines.splitlines()} == {"ok"}
    assert read_run(out).status == "finished"
    repeats = check_requests(server, ended, [set(ids(data)) for data in written[1:]])
    assert 0 < repeats <= kills * _CONCURRENCY


def check_requests(server: ServerProcess, ended: list[float], done: list[set[str]]) -> int:
    """What was asked for again had no answer when the run was killed, by the server's log.

    Returns:
        How many requests were repeated.
    """
    repeats = 0
    asked: dict[str, list[Seen]] = {}
    for request in server.requests():
        asked.setdefault(request.marker, []).append(request)
    for sample, requests in asked.items():
        lives = [int(str(request.key).removeprefix("life-")) for request in requests]
        assert len(set(lives)) == len(lives), f"{sample} was asked for twice by one process"
        for request, life in zip(requests[:-1], lives, strict=False):
            in_flight = ended[life] - (request.answered or ended[life])
            assert in_flight < _IN_FLIGHT_S, f"the answer for {sample} was lost"
            repeats += 1
        for life, finished in enumerate(done):
            if sample in finished:
                assert max(lives) <= life, f"{sample} had an answer, and was asked for again"
    return repeats


def wait_for_more(process: subprocess.Popen[bytes], folder: Path, size: int) -> None:
    """Wait until a line is added, or the process ends."""
    while process.poll() is None and len(whole_lines(folder)) <= size:
        time.sleep(0.005)
