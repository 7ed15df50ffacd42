"""What a long run meets beside faults of the server: full disks, other runs, Ctrl-C, the clock."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from baselines.api import limits
from baselines.response_cache import ResponseCache
from ffr_eval.errors import FfrError
from ffr_eval.runs import RunFolder, read_run
from tests.servers import FaultServer, Rule, ServerProcess
from tests.servers.samples import write_marked_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Cli, Result

N: Final = 24  # samples of the benchmark
ANSWER: Final = 0.7  # what one costs, about: some 6 tokens at 0.1 $
PRICES: Final = """
date = "2026-01-01"
source = "a test"
[[prices]]
model = "test-model"
input = 0.0
output = 100000.0
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(limits, "FIRST_WAIT_THROTTLED_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    monkeypatch.setenv("FFR_RESPONSES", str(tmp_path / "cache" / "responses.sqlite"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_marked_benchmark(tmp_path / "benchmark", N // 3, 3)


class Running:
    """``ffr run api`` over the benchmark into a run folder, in this process or in its own."""

    def __init__(self, cli: Cli, benchmark: Path, out: Path, url: str) -> None:
        self._cli, self._benchmark, self.out, self.url = cli, benchmark, out, url

    def arguments(self, *flags: object, out: Path | None = None) -> list[str]:
        arguments = ["run", "api", self._benchmark, "--out", out or self.out]
        arguments += ["-o", "model=test-model", "-o", f"base_url={self.url}", *flags]
        return [str(argument) for argument in arguments]

    def __call__(self, *flags: object, out: Path | None = None) -> Result:
        return self._cli.run(*self.arguments(*flags, out=out))

    def start(self, *flags: object, out: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ffr_eval", *self.arguments(*flags, out=out)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def records(self, out: Path | None = None) -> list[dict[str, Any]]:
        file = (out or self.out) / "predictions.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines()]

    def check_complete(self, out: Path | None = None) -> None:
        """Every sample is there once, and answered."""
        records = self.records(out)
        assert len({record["sample_id"] for record in records}) == len(records) == N
        assert {record["outcome"] for record in records} == {"ok"}
        assert read_run(out or self.out).status == "finished"


@pytest.fixture
def run(cli: Cli, benchmark: Path, tmp_path: Path, server: FaultServer) -> Running:
    return Running(cli, benchmark, tmp_path / "run", server.url)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


# --- Disks


def test_a_disk_that_is_full_ends_the_run_and_loses_nothing(
    run: Running, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = RunFolder._write
    left = [7]

    def write(self: RunFolder, line: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(self, line)

    server.plan(latency=0.05)
    monkeypatch.setattr(RunFolder, "_write", write)
    result = run("--concurrency", 4)
    assert result.code == 1
    assert "No space left on device" in result.err
    assert "the 7 predictions written so far are safe" in result.err
    assert len(run.records()) == 7
    monkeypatch.setattr(RunFolder, "_write", written)
    assert run("--concurrency", 4).code == 0
    run.check_complete()
    # What the server answered before is known: only what was on its way then is asked again.
    repeated = sum(count - 1 for count in server.counts().values())
    assert repeated <= 4


def test_a_full_disk_takes_back_half_a_line(
    benchmark: Path, run: Running, server: FaultServer
) -> None:
    """With the limit of the system, not with a pretended one; the cache is full as well."""
    if sys.platform == "win32":
        pytest.skip("there are no such limits")
    program = (
        "import resource, signal, sys\n"
        "from ffr_eval.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, resource.RLIM_INFINITY))\n"
        "sys.argv = ['ffr', *sys.argv[1:]]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, *run.arguments("--no-cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "predictions written so far are safe" in done.stderr
    there = run.records()
    assert 2 < len(there) < N
    assert run("--no-cache").code == 0
    assert run.records()[: len(there)] == there
    run.check_complete()
    assert all(len(server.requests(record["sample_id"])) == 1 for record in there)


def test_a_full_cache_is_noted_and_stops_nothing(
    run: Running, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FfrError("responses.sqlite: cannot be written: database or disk is full")

    monkeypatch.setattr(ResponseCache, "put", full)
    result = run()
    assert result.code == 0
    run.check_complete()
    assert result.err.count("database or disk is full") == 1
    assert "answers are no longer kept" in result.err


def test_a_damaged_cache_is_named_before_anything_is_asked(
    run: Running, server: FaultServer, tmp_path: Path
) -> None:
    cache = tmp_path / "cache.sqlite"
    cache.write_bytes(b"no cache at all" * 100)
    result = run("--cache", cache)
    assert result.code == 2
    assert f"{cache}: is damaged" in result.err
    assert "--no-cache" in result.err
    assert server.requests() == []
    assert run("--no-cache").code == 0
    run.check_complete()


def test_a_folder_that_cannot_be_written(run: Running, server: FaultServer, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    if os.geteuid() == 0:  # who may write everywhere, but not here
        result = run(out="/proc/ffr-run")  # type: ignore[arg-type]
    else:
        locked.chmod(0o500)
        result = run(out=locked / "run")
        locked.chmod(0o700)
    assert result.code == 1
    assert "cannot be written" in result.err
    assert server.requests() == []


# --- Several runs at once


def test_two_runs_in_one_folder(run: Running, server: FaultServer) -> None:
    server.plan(latency=0.1)
    first = run.start("--concurrency", 2)
    wait_until(lambda: len(run.records()) > 0)
    n_before = len(server.requests())
    second = run()
    assert second.code == 2
    assert "another process writes to this run" in second.err
    assert len(server.requests()) - n_before < N // 2  # the first one's
    assert first.wait(60) == 0, first.communicate()
    first.communicate()
    run.check_complete()
    assert set(server.counts().values()) == {1}


def test_two_runs_share_a_cache(run: Running, server: FaultServer, tmp_path: Path) -> None:
    server.plan(latency=0.02)
    folders = [tmp_path / name for name in ("one", "two")]
    started = [run.start(out=folder) for folder in folders]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for folder in folders:
        run.check_complete(folder)
    assert max(server.counts().values()) <= 2
    asked = len(server.requests())
    assert run(out=tmp_path / "three").code == 0
    run.check_complete(tmp_path / "three")
    assert len(server.requests()) == asked
    assert {record["meta"]["cached"] for record in run.records(tmp_path / "three")} == {True}


# --- Ctrl-C


def test_ctrl_c_keeps_what_is_under_way(run: Running, server: FaultServer) -> None:
    server.plan(latency=0.4)
    process = run.start("--concurrency", 4, "--no-cache")
    wait_until(lambda: len(run.records()) >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on from there" in err
    assert "Traceback" not in err
    kept = run.records()
    assert 3 < len(kept) < N
    assert {record["sample_id"] for record in kept} == set(server.counts())
    assert {record["outcome"] for record in kept} == {"ok"}
    assert read_run(run.out).status == "interrupted"
    server.plan(latency=0.0)
    assert run("--no-cache").code == 0
    run.check_complete()
    assert set(server.counts().values()) == {1}


def test_ctrl_c_twice_stops_at_once(run: Running, server: FaultServer) -> None:
    server.plan(Rule(skip=0, count=2), "hang")
    process = run.start("--concurrency", 4)
    wait_until(lambda: len(run.records()) == 2 and len(server.requests()) >= 6)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it waits for the answers
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 130
    assert "Traceback" not in err
    assert len(run.records()) == 2
    assert read_run(run.out).status == "interrupted"
    server.plan()
    assert run().code == 0
    run.check_complete()


def test_ctrl_c_while_a_server_wants_a_pause_does_not_wait_for_it(
    run: Running, server: FaultServer
) -> None:
    server.plan(Rule(count=2), Rule("rate_limit", retry_after=60.0))
    process = run.start("--concurrency", 2)
    wait_until(lambda: len(run.records()) == 2 and "rate_limit" in server.faults())
    time.sleep(0.2)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 130, err
    assert len(run.records()) == 2  # a request that was given up is no answer
    server.plan()
    assert run().code == 0
    run.check_complete()


# --- Servers that go and come back


def test_a_server_that_is_gone_ends_the_run_and_it_goes_on_when_it_is_back(
    cli: Cli, benchmark: Path, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "log.jsonl", latency=0.1) as server:
        run = Running(cli, benchmark, tmp_path / "run", server.url)
        stopper = threading.Thread(
            target=lambda: (wait_until(lambda: len(run.records()) >= 4), server.stop())
        )
        stopper.start()
        result = run("--concurrency", 3, "--max-retries", 2)
        stopper.join(60)
        assert result.code == 1
        assert "cannot be reached" in result.err
        assert "the same command goes on with the rest" in result.err
        there = run.records()
        assert 4 <= len(there) < N
        assert {record["outcome"] for record in there} == {"ok"}  # an outage is no answer
        server.start()
        assert run("--concurrency", 3).code == 0
        last = {record["sample_id"]: record["outcome"] for record in run.records()}
        assert Counter(last.values()) == {"ok": N}
        counts = Counter(seen.marker for seen in server.requests() if seen.answered)
        assert set(counts.values()) == {1}


def test_a_server_that_was_never_there(run: Running, server: FaultServer, cli: Cli) -> None:
    run.url = "http://127.0.0.1:9/v1"
    result = run("--max-retries", 1)
    assert result.code == 1
    assert "http://127.0.0.1:9/v1 cannot be reached" in result.err
    assert run.records() == []


def test_failed_requests_are_asked_again_on_request(run: Running, server: FaultServer) -> None:
    lost = ["d0#1", "d3#0"]
    server.plan(*(Rule("server_error", marker=marker) for marker in lost))
    result = run("--max-retries", 1)
    assert result.code == 1
    assert "the model failed for 2 samples: d0#1, d3#0" in result.err
    server.plan()
    assert run().code == 1  # without the flag they stay as they are
    assert len(server.requests()) == N - 2 + 2 * 2
    result = run("--retry-outcomes", "request_error")
    assert result.code == 0, result.err
    assert len(server.requests()) == N - 2 + 2 * 2 + 2
    records = run.records()
    assert len(records) == N + 2
    last = {record["sample_id"]: record["outcome"] for record in records}
    assert Counter(last.values()) == {"ok": N}
    assert {record["sample_id"] for record in records[-2:]} == set(lost)


# --- Money


def test_a_run_that_may_cost_no_more_stops_and_goes_on(
    run: Running, server: FaultServer, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    flags = ("--prices", prices, "--concurrency", 2, "-o", "max_tokens=8")
    result = run(*flags, "--max-cost", 5)
    assert result.code == 1
    assert "the limit of $5.00 is reached" in result.err
    assert "give a higher --max-cost" in result.err
    first = run.records()
    spent = sum(record["cost"] for record in first)
    assert 0 < len(first) < N
    assert 3.0 < spent < 5.0 + ANSWER
    assert len(server.requests()) == len(first)
    assert read_run(run.out).status == "interrupted"
    again = run(*flags, "--max-cost", 5)  # what was spent before counts
    assert again.code == 1
    assert sum(record["cost"] for record in run.records()) < 5.0 + ANSWER
    result = run(*flags, "--max-cost", 1000)
    assert result.code == 0, result.err
    run.check_complete()
    assert run.records()[: len(first)] == first
    assert set(server.counts().values()) == {1}


# --- The clock


@pytest.mark.parametrize("jump", [-86400.0, 86400.0], ids=["back", "forward"])
@pytest.mark.parametrize("http_date", [False, True], ids=["seconds", "date"])
def test_a_clock_that_jumps_makes_nothing_wait_forever(
    run: Running,
    server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
    http_date: bool,
) -> None:
    """In the middle of waits for the server and for rate limits."""
    real = time.time
    n_calls = [0]

    def jumping() -> float:
        n_calls[0] += 1
        return real() + (jump if n_calls[0] % 2 else 0.0)

    monkeypatch.setattr(limits, "LONGEST_RETRY_AFTER_S", 2.0)
    monkeypatch.setattr(limits, "time", Clock(jumping))
    server.plan(Rule("rate_limit", skip=3, count=2, retry_after=0.3, http_date=http_date))
    start = time.monotonic()
    result = run("--requests-per-minute", 3000, "--tokens-per-minute", 10_000_000)
    assert result.code == 0, result.err
    assert time.monotonic() - start < 30
    run.check_complete()
    assert server.faults().count("rate_limit") == 2


class Clock:
    """The module ``time`` with another time of day."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.time = now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def test_a_rate_limit_is_kept(run: Running, server: FaultServer) -> None:
    start = time.monotonic()
    assert run("--requests-per-minute", 600, "--concurrency", 8).code == 0
    run.check_complete()
    arrived = sorted(seen.arrived for seen in server.requests())
    assert time.monotonic() - start < 30
    # One in 0.1 s: no more than that in any second, but for what a busy machine bunches together.
    assert arrived[-1] - arrived[0] > (N - 1) * 0.1 * 0.8
