"""What runs on the workers of Ray: replicas of the model, and the control that all of them ask."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np

from baselines.model import create
from baselines.predicting import predictions
from baselines.session import Session, Stopped
from ffr_eval.benchmark.reader import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.prediction_file import encode_prediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from baselines.machine import Machine
    from baselines.model import Model
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray

OUTPUT: Final = "report"
"""The column of what comes back: each value an encoded :class:`Report`."""
CHUNK: Final = "chunk"
"""The column of what is sent: the number of a chunk."""


@dataclass(frozen=True, slots=True)
class RayJob:
    """What a replica needs to know to answer as the driver would.

    Attributes:
        model: The registered name.
        options: The model's options, as plain values.
        machine: Where and how fast; rates and budget are those of the whole run.
        benchmark: A folder, which must be on every worker, or the name of a bundled benchmark.
        content_hash: Of the benchmark; a worker with other content is refused.
        learned: What the model has learned; ``None`` if nothing.
        save_scores: Keep the scores of scoring models.
        address: Of the Ray cluster; ``None`` for this machine alone.
        replicas: How many replicas; ``None`` for as many as there is room for.
        gpus_per_replica: ``None`` for one if the model computes on a GPU and there are some.
        model_version, model_revision, prompt_hash: As ``run.json`` has them; a worker with others
            is refused. ``None`` is not compared.
    """

    model: str
    options: dict[str, Any]
    machine: Machine
    benchmark: str | Path
    content_hash: str
    learned: dict[str, Any] | None = None
    save_scores: bool = False
    address: str | None = None
    replicas: int | None = None
    gpus_per_replica: float | None = None
    model_version: str | None = None
    model_revision: str | None = None
    prompt_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the samples are dealt out.

    Attributes:
        rows: Every row of the benchmark that is asked for, shape ``(n,)``.
        starts: Where each chunk starts in ``rows``, and the end, shape ``(n_chunks + 1,)``.
        lines_together: Send the answers of a chunk together; else one after the other.
        folder: The folder that relative paths are relative to.
    """

    rows: IntArray
    starts: IntArray
    lines_together: bool
    folder: str

    def chunk(self, number: int) -> list[int]:
        """The rows of a chunk."""
        rows: list[int] = self.rows[self.starts[number] : self.starts[number + 1]].tolist()
        return rows


class Failure(msgspec.Struct, frozen=True):
    """Why a replica cannot go on."""

    kind: Literal["input", "stopped", "failed"]
    message: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What went wrong, fit to be sent."""
        if isinstance(error, Stopped):
            return cls("stopped", str(error))
        if isinstance(error, FfrError):
            return cls("input" if error.exit_code == InputError.exit_code else "failed", str(error))
        text = f"the model failed: {type(error).__name__}: {error}"
        return cls("failed", text.encode(errors="replace").decode())

    def error(self) -> FfrError:
        """The error to raise in the driver."""
        if self.kind == "input":
            return InputError(self.message)
        return Stopped(self.message) if self.kind == "stopped" else FfrError(self.message)


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replica sends back.

    Attributes:
        lines: Lines of the prediction file.
        notes: For the user.
        lost: Ids of samples that ended the process of a replica, when they were asked for alone.
        failure: Set if the replica cannot go on.
    """

    lines: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    failure: Failure | None = None

    def __bool__(self) -> bool:
        return self != Report()


class Control:
    """What all replicas ask: whether to stop, and whether a piece of work ended a process before.

    Ray starts a replica whose process died again, and gives it the same chunk again, without end;
    this keeps count. An actor with one thread.

    Args:
        patience: At most so many processes may die in a row without an answer between them.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._stop = asyncio.Event()
        self._chunks: Counter[int] = Counter()
        self._samples: Counter[int] = Counter()
        self._n_died = 0
        self._in_a_row = 0

    async def stop(self) -> None:
        """Let all replicas end what is under way, and begin nothing new."""
        self._stop.set()

    async def stopped(self) -> None:
        """Return once replicas are to stop."""
        await self._stop.wait()

    async def begin_chunk(self, number: int) -> int | None:
        """How often a chunk was begun before and not ended; ``None`` if there is no hope."""
        before = self._chunks[number]
        self._chunks[number] += 1
        if before:
            self._n_died += 1
            self._in_a_row += 1
        return None if self._in_a_row > self._patience else before

    async def end_chunk(self, number: int) -> None:
        """Note that a chunk was gone through."""
        del self._chunks[number]

    async def begin_sample(self, row: int) -> int:
        """How often a sample was asked for alone and not answered."""
        before = self._samples[row]
        self._samples[row] += 1
        return before

    async def end_sample(self, row: int) -> None:
        """Note that a sample was answered alone."""
        del self._samples[row]
        self._in_a_row = 0

    async def n_died(self) -> int:
        """How many processes died over their work."""
        return self._n_died


class Replica:
    """A model in a process of its own; Ray Data calls it with one chunk after another.

    Everything that can go wrong is sent back as data, so that the driver can tell it from failures
    of Ray. The model is made at the first chunk.

    Args:
        job: What to answer with.
        plan: What to answer.
        control: The handle of the :class:`Control` actor.
    """

    def __init__(self, job: RayJob, plan: Plan, control: Any) -> None:
        self._job = job
        self._plan = plan
        self._control = control
        self._stop = threading.Event()
        self._notes: list[str] = []
        self._spent = 0.0
        self._opened: tuple[Model, Benchmark] | None = None
        self._failure: Failure | None = None
        threading.Thread(target=self._await_stop, daemon=True).start()

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Answer one chunk; the same chunk gives the same number of reports if it is run again."""
        for report in self._reports(int(batch[CHUNK][0])):
            yield {OUTPUT: [msgspec.msgpack.encode(report)]}

    def __del__(self) -> None:
        """Close the model: this is what Ray Data calls when it has no more work for a replica."""
        opened, self._opened = getattr(self, "_opened", None), None
        if opened is not None:
            opened[0].close()

    def _reports(self, number: int) -> Iterator[Report]:
        if self._stop.is_set() or self._failure is not None:
            yield Report(failure=self._failure)
            return
        rows = self._plan.chunk(number)
        before = self._ask("begin_chunk", number)
        if before is None:
            yield Report(failure=_hopeless())
            return
        pieces = [[row] for row in rows] if before else [rows]
        kept: list[Report] = []
        for piece in pieces:
            for report in self._answered_alone(piece[0]) if before else self._answered(piece):
                if self._plan.lines_together:
                    kept.append(report)
                else:
                    yield report
        yield _joined(kept, self._take_notes(), self._failure)
        self._ask("end_chunk", number)

    def _answered_alone(self, row: int) -> Iterator[Report]:
        """Answer a sample of a chunk that ended a process, unless it did so alone, too."""
        if self._stop.is_set():
            return
        if self._ask("begin_sample", row):
            yield Report(lost=(self._sample_id(row),))
            return
        yield from self._answered([row])
        self._ask("end_sample", row)

    def _answered(self, rows: Sequence[int]) -> Iterator[Report]:
        """A report for each answer, in the order of the rows; what fails is kept in mind."""
        if self._failure is not None:
            return
        done: dict[str, bytes] = {}
        names: list[str] = []
        n_sent = 0
        try:
            model, benchmark = self._open()
            names = [benchmark.queries.sample_id[row] for row in rows]
            session = Session(note=self._notes.append, spent=self._spent, stop=self._stop)
            samples = (benchmark.sample(row) for row in rows)
            for prediction in predictions(
                model, samples, session, save_scores=self._job.save_scores
            ):
                self._spent += prediction.cost or 0.0
                done[prediction.sample_id] = encode_prediction(prediction)
                while n_sent < len(names) and names[n_sent] in done:
                    yield Report((done.pop(names[n_sent]),), self._take_notes())
                    n_sent += 1
        except Exception as error:  # noqa: BLE001 - sent to the driver, which raises it
            self._failure = Failure.of(error)
        for name in names[n_sent:]:
            if name in done:
                yield Report((done[name],))

    def _sample_id(self, row: int) -> str:
        """The id of a sample, without the model, which may not be able to start."""
        benchmark = self._opened[1] if self._opened is not None else self._read()
        return benchmark.queries.sample_id[row]

    def _open(self) -> tuple[Model, Benchmark]:
        """The model, ready to answer, and the benchmark.

        Raises:
            FfrError: If they are not to be had here, or are not those of the driver.
        """
        if self._opened is None:
            if Path(self._plan.folder).is_dir():  # of the driver, if this is the same machine
                os.chdir(self._plan.folder)
            benchmark, job = self._read(), self._job
            model = create(job.model, job.options, job.machine)
            self._opened = (model, benchmark)
            _require_same("version", job.model_version, model.version)
            _require_same("weights", job.model_revision, model.revision)
            _require_same("prompt", job.prompt_hash, model.prompt_hash)
            rows = np.array(self._plan.rows, dtype=np.int64)
            model.prepare(benchmark, rows, False, _ignore)
            if job.learned is not None:
                model.restore(job.learned)
        return self._opened

    def _read(self) -> Benchmark:
        place, host = self._job.benchmark, socket.gethostname()
        try:
            benchmark = read_benchmark(place)
        except InputError as error:
            remedy = "every node needs the benchmark folder at the same path"
            message = f"the benchmark cannot be read on the Ray worker {host}: {error}"
            raise InputError(message, remedy=remedy) from error
        if benchmark.content_hash != self._job.content_hash:
            message = f"the Ray worker {host} has other content ({benchmark.content_hash[:19]}…)"
            remedy = "copy the benchmark folder of this run to every node"
            raise InputError(message, file=place, remedy=remedy)
        return benchmark

    def _take_notes(self) -> tuple[str, ...]:
        notes = tuple(self._notes)
        del self._notes[: len(notes)]
        return notes

    def _ask(self, what: str, number: int) -> Any:
        import ray

        return ray.get(getattr(self._control, what).remote(number))

    def _await_stop(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # the driver is gone: stop, too
            ray.get(self._control.stopped.remote())
        self._stop.set()


def _joined(reports: Sequence[Report], notes: tuple[str, ...], failure: Failure | None) -> Report:
    """All in one."""
    return Report(
        tuple(line for report in reports for line in report.lines),
        (*(note for report in reports for note in report.notes), *notes),
        tuple(name for report in reports for name in report.lost),
        failure,
    )


def _require_same(what: str, expected: str | None, found: str | None) -> None:
    if expected is not None and found != expected:
        message = f"another {what} of the model on the Ray worker {socket.gethostname()}"
        remedy = "install the same version of FFR and the same weights on every node"
        raise InputError(f"{message}: {found}, not {expected}", remedy=remedy)


def _hopeless() -> Failure:
    return Failure("failed", "the processes of the replicas die again and again")


def _ignore(_: str) -> None:
    """The driver has said the same."""
