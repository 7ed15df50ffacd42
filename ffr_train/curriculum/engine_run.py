"""``ffr run`` as a process of its own: what curriculum commands have their answers from."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from filelock import FileLock, Timeout

from ffr_eval.errors import FfrError, InputError
from ffr_eval.runs import LOCK, RECORD, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Engine: TypeAlias = Literal["hf", "vllm"]

PROGRAM: Final[tuple[str, ...]] = ("-m", "ffr_eval")
"""What Python is to run."""

_STDERR: Final = 2  # what the run reports is not a result of ours


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run to make.

    Attributes:
        engine: The registered model that runs it.
        benchmark: As the user gave it.
        split: Which samples.
        options: Of the model: ``model``, ``adapter``, …
        flags: Of ``ffr run``, with their values: where and how fast.
        logprobs: Keep log-probabilities.
    """

    engine: Engine
    benchmark: str
    split: str
    options: Mapping[str, Any]
    flags: Mapping[str, str] = field(default_factory=dict)
    logprobs: bool = False

    def arguments(self, out: Path) -> list[str]:
        """What follows ``ffr``."""
        options = [
            part for name, value in self.options.items() for part in ("-o", f"{name}={value}")
        ]
        flags = [part for name, value in self.flags.items() for part in (name, value)]
        kept = ["--logprobs"] if self.logprobs else []
        where = ["--split", self.split, *flags, *kept, "--out", str(out)]
        return ["run", self.engine, self.benchmark, *options, *where]

    def retry(self, out: Path) -> str:
        """A command that asks again for samples that failed."""
        arguments = [*self.arguments(out), "--retry-outcomes", "request_error"]
        return shlex.join(["ffr", *arguments])


def complete(plan: RunPlan, out: Path, note: Callable[[str], None]) -> None:
    """Make a run, or go on with it; one that is finished stays as it is.

    The run is checked to be the one asked for, also if it is finished. Ctrl-C reaches it once a
    press: the first lets it finish what is under way.

    Args:
        plan: The run.
        out: Its folder.
        note: Told what the user should know.

    Raises:
        InputError: If ``out`` is a file.
        FfrError: If the process was killed.
        SystemExit: If the run ended early, with its exit code; it has said why.
    """
    if out.exists() and not out.is_dir():
        raise InputError("is a file, where a run folder belongs", file=out, remedy="move it away")
    _wait_for_others(out, note)
    before = _sessions(out)
    # In a process group of its own: a terminal sends Ctrl-C to ours only, and it is passed on.
    group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    with _passing_on() as processes:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *PROGRAM, *plan.arguments(out)],
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            **group,
        )
        processes.append(process)
        code = process.wait()
    if code < 0:
        raise FfrError(
            f"{out}: the run was killed ({signal.Signals(-code).name})\n"
            "  → the same command goes on with it; if memory ran out, add --batch-size 1"
        )
    # With code 1 it may have come to its end all the same: some of its samples failed.
    if code and not (code == 1 and _sessions(out) > before and read_run(out).status == "finished"):
        raise SystemExit(code)


def _sessions(out: Path) -> int:
    """How often a run was started."""
    return len(read_run(out).sessions) if (out / RECORD).exists() else 0


def _wait_for_others(out: Path, note: Callable[[str], None]) -> None:
    """Wait for a process that works on the run: a killed command may have left it behind."""
    if not out.is_dir():
        return
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        note(f"another process works on {out}; waiting for it to end")
        lock.acquire()
    lock.release()


@contextmanager
def _passing_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A list of processes that get the signals that ask us to end."""
    processes: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: object) -> None:
        if not processes:
            raise SystemExit(128 + number)
        for process in processes:
            process.send_signal(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(name)
            if handler not in {None, signal.SIG_IGN}:
                before[name] = signal.signal(name, forward)
    try:
        yield processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
