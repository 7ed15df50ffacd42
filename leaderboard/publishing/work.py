"""Work of a publish that processes can share: parts of runs, floors, pairs."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from ffr_eval.errors import FfrError
from leaderboard.publishing.benchmarks import Benchmarks
from leaderboard.publishing.pairs import complete
from leaderboard.publishing.run_part import RunPart, Sums, make_part
from leaderboard.publishing.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from ffr_eval.runs import RunRecord
    from ffr_eval.uncertainty import Resampling
    from leaderboard.publishing.pairs import Paired, PairFile

T = TypeVar("T")
_SUMS_KEPT: Final = 1_024


class Worker:
    """What one process does for a site.

    Args:
        benchmarks: Of the site.
    """

    def __init__(self, benchmarks: Benchmarks) -> None:
        self._store = benchmarks.store
        self._benchmarks = benchmarks
        self._sums = lru_cache(maxsize=_SUMS_KEPT)(self._read_sums)

    def run_part(
        self,
        key: str,
        folder: Path,
        record: RunRecord,
        benchmark_path: str,
        resampling: Resampling,
    ) -> Exception | None:
        """Compute the part of a run; gives what is wrong with it.

        Raises:
            OSError: If the part cannot be written, which is no fault of the run.
        """
        reference = msgspec.structs.replace(record.benchmark, path=benchmark_path)
        try:
            benchmark = self._benchmarks.of(reference)
            make_part(self._store, key, folder, record, benchmark, resampling)
        except (FfrError, ValueError, RecursionError) as error:
            return error
        return None

    def pairs(self, file: PairFile, runs: Sequence[Paired], resampling: Resampling) -> int:
        """Compute the pairs of a board, a protocol and a bucket; gives how many."""
        return complete(file, runs, self._sums, resampling)

    def _read_sums(self, part: str) -> Sums:
        return RunPart(self._store.part("runs", part)).sums()


class Workers:
    """Processes that share work, or this one alone.

    Args:
        count: How many.
        benchmarks: Of the site.
    """

    def __init__(self, count: int, benchmarks: Benchmarks) -> None:
        self._count = max(1, count)
        self._site = benchmarks.store.site
        self._here = Worker(benchmarks)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def each(self, task: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Do a task of :class:`Worker` with each of several arguments; results in their order."""
        if self._count == 1 or len(arguments) < 2:
            for each in arguments:
                yield task(self._here, *each)
            return
        if self._pool is None:
            # Started anew, not forked: threads of other libraries may hold locks here.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._count, context, initializer=_start, initargs=(self._site,)
            )
        yield from self._pool.map(_do, [task.__name__] * len(arguments), arguments)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=error is not None)


_WORKER: list[Worker] = []


def _start(site: Path) -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _WORKER[:] = [Worker(Benchmarks(Store(site)))]


def _do(name: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_WORKER[0], name)(*arguments)
