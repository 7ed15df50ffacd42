"""The figures of the samples of some dialogues, in this process and in others beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.coherence_vectors import StoredVectors, Totals
from ffr_eval.errors import FfrError, InputError, Problem
from ffr_eval.inference_file import _ignore_interrupts, _start_method
from ffr_eval.metrics.coherence import Fragments

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.coherence_vectors import SampleFragments
    from ffr_eval.embeddings.store import Space
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

    BoolArray = NDArray[np.bool_]
    Progress = Callable[[float], None]

MEASURES: Final = ("order", "query_sim")
VARIANTS: Final = ("", "_centered")
FIGURES: Final = tuple(
    f"{beside}{measure}{variant}"
    for variant in VARIANTS
    for beside in ("", "gold_", "random_")
    for measure in MEASURES
)
"""The figures by name: of the prediction, of its gold, of random fragments of its size."""

_DIALOGUES_WORTH_A_PROCESS: Final = 64


@dataclass(frozen=True, slots=True)
class PartFigures:
    """What is known of the samples of some dialogues.

    Attributes:
        index: The samples, shape ``(p,)``.
        values: The figures in the order of :data:`FIGURES`, shape ``(12, p)``; NaN where undefined.
        elements: How many predicted ids of each sample the dialogue has; 0 without gold.
        has_query: Which samples have a vector of their query.
        states: How many of these have a vector, or why not.
    """

    index: IntArray
    values: FloatArray
    elements: IntArray
    has_query: BoolArray
    states: Counter[str]


class Part:
    """The work on some dialogues: look everything up, and then compute with the means of all."""

    def __init__(
        self, samples: SampleFragments, benchmark: Benchmark, space: Space, part: slice
    ) -> None:
        self._samples = samples
        self._part = part
        self._stored = StoredVectors(benchmark, space, samples)

    def look_up(self, progress: Progress | None = None) -> Totals:
        """The first pass."""
        n = self._part.stop - self._part.start
        for done, (row, index) in enumerate(self._samples.by_dialogue(self._part)):
            self._stored.add(row, index)
            if progress is not None:
                progress(done / (2 * n))
        return self._stored.totals

    def figures(self, totals: Totals, progress: Progress | None = None) -> PartFigures:
        """The second pass."""
        samples, stored = self._samples, self._stored
        stored.centre_with(totals)
        parts = [index for _, index in samples.by_dialogue(self._part)]
        every = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        values = np.full((len(FIGURES), len(samples.query)), np.nan)
        elements = np.zeros(len(samples.query), dtype=np.int64)
        states: Counter[str] = Counter()
        first, n = self._part.start, self._part.stop - self._part.start
        for place, row, index, fragment, element in samples.elements(self._part):
            k = len(index)
            elements[index] = np.bincount(fragment, minlength=2 * k)[:k]
            start, stop = samples.layout.bounds[row : row + 2].tolist()
            state = stored.state[start:stop]
            for code, number in enumerate(np.bincount(state[element[fragment < k]]).tolist()):
                states[stored.reasons[code]] += number
            there = state == 0
            covered = there[element]
            image = samples.layout.image[start:stop][there]
            number = np.cumsum(there) - 1
            asked = np.tile(np.arange(k), 2)
            fragments = Fragments(image, fragment[covered], number[element[covered]], asked)
            vectors, queries = stored.read(row), stored.read_queries(index)
            rows = iter(range(len(FIGURES)))
            for variant in VARIANTS:
                if variant:
                    vectors, queries = stored.centred(vectors, image, queries)
                found = fragments.coherence(vectors, queries)
                for figures in (
                    *(found.order[:k], found.query[:k], found.order[k:], found.query[k:]),
                    *(found.random_order[:k], found.random_query[:k]),
                ):
                    values[next(rows), index] = figures
            if progress is not None:
                progress(0.5 + (place - first) / (2 * n))
        has_query = stored.has_query[every]
        return PartFigures(every, values[:, every], elements[every], has_query, +states)


def figures_of(
    samples: SampleFragments,
    benchmark: Benchmark,
    space: Space,
    workers: int = 1,
    progress: Progress | None = None,
    store: object = None,
) -> list[PartFigures]:
    """The figures of all samples, part by part.

    Args:
        samples: The samples.
        benchmark: What they are of.
        space: The embeddings, open for reading.
        workers: Processes to use, where there are many dialogues and a process can be forked.
        progress: Called with the part that is done, 0 to 1.
        store: The folder of the store, if it is not the usual one.

    Raises:
        InputError: If something was never given to the encoder, or the store is damaged.
        FfrError: If a process was killed.
    """
    n = len(samples.rows)
    n_parts = max(min(workers, n // _DIALOGUES_WORTH_A_PROCESS), 1)
    if _start_method() != "fork":
        n_parts = 1
    edges = np.linspace(0, n, n_parts + 1).astype(np.int64).tolist()
    parts = [slice(a, b) for a, b in pairwise(edges)]
    helpers = [_Helper(Part(samples, benchmark, space, part)) for part in parts[1:]]
    try:
        own = Part(samples, benchmark, space, parts[0])
        totals = own.look_up(progress)
        for helper in helpers:
            totals = totals + helper.answer()
        totals.require_all(benchmark, space.record, store)
        for helper in helpers:
            helper.tell(totals)
        return [own.figures(totals, progress), *(helper.answer() for helper in helpers)]
    finally:
        for helper in helpers:
            helper.end()


class _Helper:
    """A forked process that works on a part."""

    def __init__(self, part: Part) -> None:
        context = get_context("fork")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_help, args=(part, other), daemon=True)
        self._process.start()
        other.close()

    def tell(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise FfrError(_KILLED) from None

    def answer(self) -> Any:
        """What it says next.

        Raises:
            InputError: What it raised.
            FfrError: Likewise, or if it was killed.
        """
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            raise FfrError(_KILLED) from None
        if isinstance(found, Problem):
            raise InputError(
                found.message,
                file=found.file,
                line=found.line,
                field=found.field,
                remedy=found.remedy,
            )
        if isinstance(found, str):
            raise FfrError(found)
        return found

    def end(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


_KILLED: Final = "a process that compared embeddings was killed\n  → free memory and try again"


def _help(part: Part, connection: Connection) -> None:
    _ignore_interrupts()
    try:
        connection.send(part.look_up())
        connection.send(part.figures(connection.recv()))
    except InputError as error:
        connection.send(error.problem)
    except FfrError as error:
        connection.send(str(error))
    except (EOFError, OSError):  # the other process has ended
        return
