"""Scale-out: the same models over Ray Data, on one machine or on a cluster.

The driver deals out chunks of samples; actors, each with a replica of the model, send back lines of
the prediction file, which the driver yields in the order of the samples.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from baselines.ray_cluster import Cluster, connected, room_for
from baselines.ray_replica import CHUNK, OUTPUT, Control, Plan, RayJob, Replica, Report
from ffr_eval.errors import FfrError
from ffr_eval.jsonl import decode
from ffr_eval.plugins import MODELS, load
from ffr_eval.prediction_file import PredictionRecord, prediction_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from baselines.machine import Machine
    from baselines.model import Model
    from baselines.ray_cluster import Room
    from baselines.ray_replica import Failure
    from baselines.session import Session
    from ffr_eval.types import Prediction

__all__ = ["RayJob", "predict_with_ray"]

DEFAULT_CHUNK: Final = 64
"""Samples that a replica gets at once, at most, if the model names no number (``chunk``)."""

CHUNKS_EACH: Final = 8
"""Chunks for each replica, at least (if there are so many samples), so that all end together."""

_IN_FLIGHT: Final = 2  # chunks that a replica has: one in work and one waiting
_POLL_S: Final = 0.2
_NAMED: Final = 5


def predict_with_ray(
    job: RayJob, rows: Sequence[int], session: Session
) -> Generator[Prediction, None, None]:
    """A prediction for each row, in the order of the rows, as :func:`predictions` would give it.

    The driver must have prepared the model: replicas prepare it again, each for itself. When
    ``session.stop`` is set, replicas finish what is under way.

    Raises:
        MissingExtraError: If Ray is not installed.
        InputError: If there is no such cluster or not so much room, or a worker has not the same
            benchmark or model.
        Stopped: If a replica ends early on purpose, once the others finished what was under way.
        FfrError: If the model fails as a whole, or samples end the process that answers them.
    """
    if not rows:
        return
    model: type[Model] = load(MODELS, job.model)
    session.status("starting Ray")
    with connected(job.address) as cluster:
        room = room_for(cluster.nodes(), model, job)
        largest = getattr(model, "chunk", DEFAULT_CHUNK)
        starts = chunk_starts(len(rows), room.replicas, largest)
        room = replace(room, replicas=min(room.replicas, len(starts) - 1))
        session.status(_counted(room.replicas, "replica"))
        shared = replace(
            job,
            machine=shared_machine(job.machine, room.replicas, session.spent),
            benchmark=_absolute(job.benchmark),
        )
        plan = Plan(
            np.array(rows, dtype=np.int64),
            starts,
            lines_together=model.capabilities.answers != "text",
            folder=str(Path.cwd()),
        )
        yield from _Driver(shared, plan, room, cluster, session).predictions()


def chunk_starts(n_samples: int, replicas: int, largest: int) -> np.ndarray[Any, Any]:
    """Where each chunk starts, and the end; all have the same length but for the last.

    Chunks have the largest length, unless there would be too few of them for all replicas to have
    work to the end.
    """
    length = max(1, min(largest, -(-n_samples // (replicas * CHUNKS_EACH))))
    return np.append(np.arange(0, n_samples, length, dtype=np.int64), n_samples)


def shared_machine(machine: Machine, replicas: int, spent: float) -> Machine:
    """What each replica may do, so that all together keep to the limits of the run.

    A limit that is too small to be shared is 1 for each: there may be more requests then.
    """

    def share(limit: int | None) -> int | None:
        return None if limit is None else max(1, limit // replicas)

    left = None if machine.max_cost is None else max(0.0, machine.max_cost - spent)
    return replace(
        machine,
        concurrency=share(machine.concurrency),
        requests_per_minute=share(machine.requests_per_minute),
        tokens_per_minute=share(machine.tokens_per_minute),
        max_cost=None if left is None else left / replicas,
        python=_absolute_or_none(machine.python),
        store=_absolute_or_none(machine.store),
        prices=_absolute_or_none(machine.prices),
        cache=_absolute_or_none(machine.cache),
    )


class _Driver:
    """One call of :func:`predict_with_ray`."""

    def __init__(
        self, job: RayJob, plan: Plan, room: Room, cluster: Cluster, session: Session
    ) -> None:
        self._job = job
        self._plan = plan
        self._room = room
        self._cluster = cluster
        self._session = session
        self._seen: set[str] = set()
        self._noted: set[str] = set()
        self._lost: list[str] = []
        self._failure: Failure | None = None
        self._n_idle = 0  # chunks that no replica began, as all are to stop
        self._control: Any = None

    def predictions(self) -> Generator[Prediction, None, None]:
        """Draw from Ray Data until all is answered, or all replicas have stopped."""
        import ray
        from ray.data.exceptions import SystemException
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote  # typed too narrowly
        control = remote(num_cpus=0, scheduling_strategy=here)(Control)
        self._control = control.remote(patience=2 * self._room.replicas + 2)
        decoder = msgspec.msgpack.Decoder(Report)
        try:
            with self._stop_passed_on():
                for row in self._dataset().iter_rows():
                    report = decoder.decode(row[OUTPUT])
                    yield from self._taken(report)
                    if not report:
                        self._n_idle += 1
                    if self._stopping and self._n_idle > (_IN_FLIGHT + 1) * self._room.replicas:
                        break  # what is left was begun by nobody
                n_died = ray.get(self._control.n_died.remote())
        except (ray.exceptions.RayError, SystemException) as error:
            self._cluster.keep_logs = True
            raise FfrError(self._explained(_in_short(error))) from error
        self._finish(n_died)

    @property
    def _stopping(self) -> bool:
        return self._failure is not None or self._session.stop.is_set()

    def _dataset(self) -> Any:
        """The chunks, mapped to reports; nothing runs before it is iterated."""
        import ray

        n_chunks = len(self._plan.starts) - 1
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        context.execution_no_progress_timeout_s = -1  # an answer may take long, or wait for room
        context.target_max_block_size = 1  # each report is sent as soon as it is there
        with ray.data.DataContext.current(context):
            chunks = [{CHUNK: number} for number in range(n_chunks)]
            return ray.data.from_items(chunks, override_num_blocks=n_chunks).map_batches(
                Replica,
                batch_size=1,
                batch_format="numpy",
                fn_constructor_args=(self._job, self._plan, self._control),
                compute=ray.data.ActorPoolStrategy(
                    size=self._room.replicas, max_tasks_in_flight_per_actor=_IN_FLIGHT
                ),
                num_cpus=self._room.cpus,
                num_gpus=self._room.gpus or None,
            )

    def _taken(self, report: Report) -> Iterator[Prediction]:
        """The predictions of a report; the first failure lets all replicas stop."""
        for note in report.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._session.note(note)
        self._lost += report.lost
        for line in report.lines:
            prediction = prediction_of(decode(line, _LINES))
            if prediction.sample_id not in self._seen:
                self._seen.add(prediction.sample_id)
                yield prediction
        if report.failure is not None and self._failure is None:
            self._failure = report.failure
            self._control.stop.remote()

    @contextmanager
    def _stop_passed_on(self) -> Iterator[None]:
        """Tell the replicas when the session is to stop, though this thread waits for them."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_POLL_S):
                if self._session.stop.is_set():
                    self._control.stop.remote()
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _finish(self, n_died: int) -> None:
        if n_died:
            self._cluster.keep_logs = True
            what = "a process of a replica died and was started again"
            if n_died > 1:
                what = f"{n_died} times {what}"
            self._session.note(f"{what}{self._logs()}")
        if self._failure is not None:
            raise self._failure.error()
        if self._lost:
            some = ", ".join(map(repr, self._lost[:_NAMED]))
            more = ", …" if len(self._lost) > _NAMED else ""
            what = f"{_counted(len(self._lost), 'sample')} ended the process of the model, each"
            message = f"{what} twice (out of memory?): {some}{more}"
            raise FfrError(self._explained(message))
        n_left = len(self._plan.rows) - len(self._seen)
        if n_left and not self._stopping:
            raise FfrError(self._explained(f"Ray left {_counted(n_left, 'sample')} out"))

    def _explained(self, message: str) -> str:
        remedy = "what was answered is kept; the same command goes on with the rest"
        return f"{message}{self._logs()}\n  → {remedy}"

    def _logs(self) -> str:
        return "" if self._cluster.logs is None else f" (logs: {self._cluster.logs})"


_LINES: Final = msgspec.json.Decoder(PredictionRecord)


def _in_short(error: BaseException) -> str:
    """The last line of what Ray says, with the name of the error that was first."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return f"Ray failed: {type(first).__name__}: {lines[-1] if lines else ''}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _absolute(place: str | Path) -> str | Path:
    """A folder's whole path; the name of a bundled benchmark stays."""
    return str(Path(place).absolute()) if Path(place).is_dir() else place


def _absolute_or_none(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
