"""Timing, memory and the table that the benchmarks print."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison.

    Attributes:
        what: What was measured, with the size of the data.
        ours: Seconds (or MB) of ours.
        peer: The same of the peer, named in ``peer_name``.
        wanted: The least ratio peer/ours (or the most of ours, for a limit).
    """

    what: str
    ours: str
    peer_name: str
    peer: str
    ratio: str
    wanted: str


def best_of(function: Callable[[], object], repeat: int = 5) -> float:
    """Seconds of the fastest of some calls: the one least disturbed by other work."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def run_process(command: Sequence[str]) -> tuple[float, float]:
    """Run a command to its end.

    Returns:
        Seconds, and the peak of its resident memory with that of its children, in MB: the larger
        of the two counted once for every process that may run beside it.

    Raises:
        RuntimeError: If it fails.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _tree_memory(process.pid))
            time.sleep(0.01)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return seconds, peak


def _tree_memory(pid: int) -> float:
    """Proportional memory of a process and its children, in MB (Linux; 0 elsewhere)."""
    total = 0
    for member in (pid, *_children(pid)):
        try:
            with open(f"/proc/{member}/smaps_rollup", encoding="ascii") as stream:  # noqa: PTH123
                pss = [line for line in stream if line.startswith("Pss:")]
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in pss)
    return total / 1024


def _children(pid: int) -> list[int]:
    found = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as stream:  # noqa: PTH123
                members = [int(child) for child in stream.read().split()]
        except OSError:
            continue
        for child in members:
            found += [child, *_children(child)]
    return found


def table(results: Sequence[Result]) -> str:
    """Results as a Markdown table."""
    lines = ["| what | ours | peer | ratio | wanted |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.what} | {r.ours} | {r.peer_name}: {r.peer} | {r.ratio} | {r.wanted} |"
        for r in results
    ]
    return "\n".join(lines)
