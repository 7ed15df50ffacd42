"""The runs of a folder, scored; kept in memory until their files change.

Everything is kept together with times and sizes of the files it came from, so a run that grows, or
a benchmark that comes back, is seen the next time. Nothing that is kept is ever written to.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

from ffr_eval.benchmark import Benchmark, read_benchmark
from ffr_eval.errors import FfrError
from ffr_eval.runs import read_run
from leaderboard.run_folders import benchmark_stamp, find_runs, irregular_file, run_stamp
from leaderboard.runs_table import ScoredRun, UnscoredRun, score_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.metrics.protocols import ProtocolName
    from leaderboard.run_folders import RunPlace, Stamp

_KEPT_BENCHMARKS: Final = 4

_Found: TypeAlias = ScoredRun | UnscoredRun
_Named: TypeAlias = tuple["Stamp", str | None]


class Library:
    """The runs of one folder, for all sessions.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = Lock()
        self._named: dict[RunPlace, _Named] = {}
        self._benchmarks: dict[tuple[str, Stamp], Benchmark | None] = {}
        self._scored: dict[ProtocolName, dict[RunPlace, tuple[object, _Found]]] = {}

    def load(
        self, protocol: ProtocolName, progress: Callable[[int, int], None]
    ) -> tuple[list[ScoredRun], list[UnscoredRun]]:
        """All runs there are now: those with figures, and those without.

        Args:
            protocol: ``official`` or ``strict``.
            progress: Called with the number of runs that are done, and of all.

        Raises:
            InputError: If the folder cannot be listed.
        """
        with self._lock:  # a second session waits for the first instead of doing the same
            places = find_runs(self._root)
            before = self._scored.setdefault(protocol, {})
            stamps: dict[str, Stamp] = {}
            kept: dict[RunPlace, tuple[object, _Found]] = {}
            for number, place in enumerate(places, 1):
                stamp = run_stamp(place.path)
                named = self._benchmark_of(place, stamp)
                if named is not None and named not in stamps:
                    stamps[named] = benchmark_stamp(named)
                key = (stamp, named, stamps.get(named or ""))
                there = before.get(place)
                if there is None or there[0] != key:
                    benchmark = None if named is None else self._benchmark(named, stamps[named])
                    there = key, score_run(place, protocol, benchmark)
                    before[place] = there  # kept also if the page is left before all are done
                kept[place] = there
                progress(number, len(places))
            self._scored[protocol] = kept
            self._named = {place: self._named[place] for place in places}
            found = [run for _, run in kept.values()]
        scored = [run for run in found if isinstance(run, ScoredRun)]
        return scored, [run for run in found if isinstance(run, UnscoredRun)]

    def forget(self) -> None:
        """Read everything anew the next time."""
        with self._lock:
            self._named, self._benchmarks, self._scored = {}, {}, {}

    def _benchmark_of(self, place: RunPlace, stamp: Stamp) -> str | None:
        """Where a run says its benchmark is; ``None`` if it cannot be read."""
        there = self._named.get(place)
        if there is None or there[0] != stamp:
            there = self._named[place] = (stamp, _named_benchmark(place.path))
        return there[1]

    def _benchmark(self, named: str, stamp: Stamp) -> Benchmark | None:
        """A benchmark that many runs share; ``None`` if it cannot be read: scoring says why."""
        key = (named, stamp)
        if key not in self._benchmarks:
            while len(self._benchmarks) >= _KEPT_BENCHMARKS:
                del self._benchmarks[next(iter(self._benchmarks))]
            try:
                self._benchmarks[key] = read_benchmark(named)
            except (FfrError, OSError, ValueError, RecursionError):
                self._benchmarks[key] = None
        return self._benchmarks[key]


def _named_benchmark(path: Path) -> str | None:
    try:
        return None if irregular_file(path) is not None else read_run(path).benchmark.path
    except (FfrError, OSError, ValueError, RecursionError):
        return None
