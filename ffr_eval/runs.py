"""The run folder: ``run.json`` says what was run, ``predictions.jsonl`` holds what came of it.

Predictions are only ever appended, a whole line at a time, so a run that is killed loses at most
the line being written, and the next session goes on from there.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import msgspec
from filelock import FileLock, Timeout

from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import FfrError, InputError, Stopped
from ffr_eval.jsonl import problem
from ffr_eval.prediction_file import encode_prediction, read_predictions
from ffr_eval.provenance import GitRecord, git_record, package_versions
from ffr_eval.types import SCHEMA_VERSION, Outcome, Prediction
from ffr_eval.writing import unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, KeysView, Mapping

RECORD: Final = "run.json"
PREDICTIONS: Final = "predictions.jsonl"
COSTS: Final = "costs.jsonl"
LOCK: Final = ".lock"

_SYNC_SECONDS: Final = 2.0
_TAIL_BLOCK: Final = 64 * 1024

Status = Literal["running", "finished", "failed", "interrupted"]


class BenchmarkRef(msgspec.Struct, frozen=True):
    """The benchmark of a run.

    Attributes:
        path: The folder as an absolute path, or the name of a bundled benchmark.
    """

    name: str
    version: str
    hash: str
    path: str


class MachineRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where and how fast a session computed, as far as it was told: never what it computed.

    Attributes:
        device: As for ``--device``.
        batch_size: As for ``--batch-size``.
        other_python: Another interpreter than FFR's own did it (``--python``).
        concurrency: As for ``--concurrency``.
        engine: As for ``--engine``, if it was not ``local``.
    """

    device: str | None = None
    batch_size: int | None = None
    other_python: bool = False
    concurrency: int | None = None
    engine: str | None = None


class SessionRecord(msgspec.Struct, frozen=True):
    """One start of the run; ``ended`` stays null if the process was killed."""

    started: str
    ended: str | None = None
    versions: dict[str, str] = {}
    git: GitRecord | None = None
    machine: MachineRecord | None = None


class RunRecord(msgspec.Struct, frozen=True):
    """``run.json``: all it takes to know what a run is.

    Attributes:
        model: The registered name.
        model_version: The model's own version.
        model_revision: Identifies the weights; ``None`` from a model without any.
        options: All options, defaults included.
        split: The split that is predicted; ``None`` for all samples.
        limit: Only so many samples, the first ones; ``None`` for all.
        tune_on: The split whose gold the model may learn from.
        selection: What was learned there, as the model wrote it down.
        oracle_gap: What those policies reach on the predicted split, and what the best ones in
            hindsight would: a bound, computed from the gold and never used for an answer.
        prompt_hash: ``None`` from a model without a prompt.
        n_samples: How many samples the run is to have.
    """

    model: str
    benchmark: BenchmarkRef
    model_version: str = "1"
    model_revision: str | None = None
    options: dict[str, Any] = {}
    split: str | None = None
    limit: int | None = None
    tune_on: str | None = None
    selection: dict[str, Any] | None = None
    oracle_gap: dict[str, Any] | None = None
    prompt_hash: str | None = None
    seed: int | None = None
    n_samples: int = 0
    status: Status = "running"
    sessions: tuple[SessionRecord, ...] = ()
    schema_version: Literal[1] = SCHEMA_VERSION


class RunFolder:
    """A run folder that is open for writing; :func:`open_run` makes it.

    Attributes:
        path: The folder.
        record: What ``run.json`` says now.
        notes: Sentences about what had to be repaired.
        spent: What the run has cost: the larger one of the predictions' sum, those that were asked
            for again included, and of what was paid answer by answer (``costs.jsonl``).
    """

    def __init__(self, path: Path, record: RunRecord, notes: list[str]) -> None:
        self.path = path
        self.record = record
        self.notes = notes
        self.spent = 0.0
        self._outcomes: dict[str, Outcome] = {}
        predictions = path / PREDICTIONS
        if predictions.exists():
            _repair_last_line(predictions, notes)
            for located in read_predictions(predictions):
                self._note(located.record)
        self.spent = max(self.spent, _paid(path / COSTS))
        self._costs: IO[bytes] | None = None
        self._stream: IO[bytes] = predictions.open("ab", buffering=0)
        self._synced = time.monotonic()
        write_json(path / RECORD, record)

    @property
    def done(self) -> KeysView[str]:
        """The ids of the samples that have a prediction (a set-like view)."""
        return self._outcomes.keys()

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The outcome of each sample that has a prediction."""
        return self._outcomes

    def append(self, prediction: Prediction) -> None:
        """Write one prediction as one whole line.

        Raises:
            FfrError: If it cannot be written; the lines before it are safe.
        """
        line = encode_prediction(prediction)
        try:
            self._write(line)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()
        except OSError as error:
            raise _cannot_write(self.path, error, len(self._outcomes)) from error
        self._note(prediction, count=False)

    def pay(self, cost: float) -> None:
        """Take down what an answer cost, before it is known whether a prediction comes of it.

        Raises:
            FfrError: If it cannot be written.
        """
        if not cost:
            return
        try:
            if self._costs is None:
                self._costs = (self.path / COSTS).open("ab", buffering=0)
            self._costs.write(f"{cost!r}\n".encode())
        except OSError as error:
            raise _cannot_write(self.path, error, len(self._outcomes)) from error

    def update(self, **changes: Any) -> None:
        """Change fields of ``run.json``, for example ``selection``.

        Raises:
            FfrError: If it cannot be written.
        """
        record = msgspec.structs.replace(self.record, **changes)
        try:
            write_json(self.path / RECORD, record)
        except OSError as error:
            raise _cannot_write(self.path, error, len(self._outcomes)) from error
        self.record = record

    def close(self, status: Status) -> None:
        """Bring everything to the disk and note how the session ended."""
        *earlier, session = self.record.sessions
        ended = msgspec.structs.replace(session, ended=_now())
        try:
            self._sync()
        except OSError as error:
            raise _cannot_write(self.path, error, len(self._outcomes)) from error
        finally:
            self._stream.close()
            if self._costs is not None:
                self._costs.close()
        self.update(status=status, sessions=(*earlier, ended))

    def _note(self, prediction: Prediction, *, count: bool = True) -> None:
        self._outcomes[prediction.sample_id] = prediction.outcome
        if count:
            self.spent += prediction.cost or 0.0

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._stream.fileno()).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError:
            with suppress(OSError):  # a disk that is full takes a part of a line: take it back
                self._stream.truncate(size)
            raise

    def _sync(self) -> None:
        os.fsync(self._stream.fileno())
        self._synced = time.monotonic()


@contextmanager
def open_run(
    path: Path,
    wanted: RunRecord,
    packages: Iterable[str] = (),
    machine: MachineRecord | None = None,
) -> Iterator[RunFolder]:
    """Create a run folder, or resume the same run in it; only one process can hold it.

    When the block ends, ``run.json`` says how: finished, interrupted (Ctrl-C or terminated)
    or failed.

    Args:
        path: The folder; must not exist, be empty, or hold the same run.
        wanted: What is to be run. What an existing run learned, its oracle gap and its sessions
            are kept.
        packages: Import names of the packages whose versions are recorded, beside the core's.
        machine: What is recorded of the machine for this session.

    Raises:
        InputError: If another process writes there, the folder holds something else or another
            run (the message names what differs), or its files are malformed.
        FfrError: If the folder cannot be written.
    """
    try:
        _refuse_foreign(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
    except OSError as error:
        raise _cannot_write(path, error, 0) from error
    try:
        try:
            run = _opened(path, wanted, packages, machine)
        except OSError as error:
            raise _cannot_write(path, error, 0) from error
        try:
            yield run
        except BaseException as error:
            with suppress(FfrError):  # what went wrong first is what the user must hear of
                stopped = isinstance(error, KeyboardInterrupt | SystemExit | Stopped)
                run.close("interrupted" if stopped else "failed")
            raise
        run.close("finished")
    finally:
        lock.release()


def read_run(path: Path) -> RunRecord:
    """Read the ``run.json`` of a run folder.

    Raises:
        InputError: If it is missing or malformed.
    """
    file = path / RECORD
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunRecord)
    except FileNotFoundError:
        remedy = "give the folder that `ffr run … --out` wrote"
        raise InputError("no such file", file=file, remedy=remedy) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        remedy = "run.json is written whole: restore it, or run again into a new folder"
        raise problem(error, file, None, remedy) from None


def differences(there: RunRecord, wanted: RunRecord) -> list[str]:
    """The fields that make two runs different runs, each with both values."""
    old, new = _identity(there), _identity(wanted)
    names = dict.fromkeys([*old, *new])
    return [
        f"{name} is {_shown(old.get(name))} there, now {_shown(new.get(name))}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _opened(
    path: Path, wanted: RunRecord, packages: Iterable[str], machine: MachineRecord | None
) -> RunFolder:
    notes: list[str] = []
    kept = msgspec.structs.replace(wanted, sessions=())
    for left in unfinished(path / RECORD):  # nobody else writes here: the lock is ours
        left.unlink(missing_ok=True)
    if (path / RECORD).exists():
        there = read_run(path)
        differing = differences(there, wanted)
        if differing and _is_empty(path):
            notes.append(f"{path} held another run without a single prediction: begun anew")
            there = kept
        elif differing:
            message = "this folder holds another run: " + "; ".join(differing)
            raise InputError(message, file=path, remedy="use another --out for this run")
        kept = there
    session = SessionRecord(
        started=_now(),
        versions=package_versions(packages),
        git=git_record(Path(__file__).parent),
        machine=machine,
    )
    record = msgspec.structs.replace(
        wanted,
        sessions=(*kept.sessions, session),
        selection=kept.selection,
        oracle_gap=kept.oracle_gap,
        status="running",
    )
    return RunFolder(path, record, notes)


def _is_empty(path: Path) -> bool:
    """Whether a run has come to nothing so far."""
    files = (path / PREDICTIONS, path / COSTS)
    return not any(file.exists() and file.stat().st_size for file in files)


def _identity(record: RunRecord) -> dict[str, Any]:
    named = ("model", "model_version", "model_revision", "prompt_hash", "seed")
    planned = ("split", "limit", "tune_on")
    fields = {name: getattr(record, name) for name in (*named, *planned)}
    fields["benchmark hash"] = record.benchmark.hash
    return fields | {f"option {name}": value for name, value in record.options.items()}


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _paid(path: Path) -> float:
    """The sum of a file of costs; a last line that was cut off is left out."""
    if not path.exists():
        return 0.0
    total = 0.0
    for line in path.read_bytes().splitlines():
        with suppress(ValueError):
            total += float(line)
    return total


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        remedy = "choose another folder for --out"
        raise InputError("is a file, not a run folder", file=path, remedy=remedy)
    if not path.exists() or (path / RECORD).exists():
        return
    ours = {path / LOCK, *unfinished(path / RECORD)}  # killed before run.json was there
    if any(entry not in ours for entry in path.iterdir()):
        remedy = "choose an empty or new folder for --out"
        raise InputError("not empty, and not a run folder", file=path, remedy=remedy)


def _locked(path: Path) -> FileLock:
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        remedy = "wait for it to end, or use another --out"
        raise InputError("another process writes to this run", file=path, remedy=remedy) from None
    return lock


def _repair_last_line(path: Path, notes: list[str]) -> None:
    """Make the file end in a whole line: complete it, or cut off what is not a record."""
    with path.open("r+b") as stream:
        start, tail = _unfinished(stream)
        if not tail:
            return
        try:
            msgspec.json.decode(tail)
        except (msgspec.DecodeError, UnicodeDecodeError):
            stream.truncate(start)
            notes.append(f"{path}: cut off a truncated last line; its sample is done again")
        else:
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _unfinished(stream: IO[bytes]) -> tuple[int, bytes]:
    """Where the bytes after the last newline start, and these bytes."""
    start = stream.seek(0, os.SEEK_END)
    tail = b""
    while start > 0:
        size = min(_TAIL_BLOCK, start)
        stream.seek(start - size)
        block = stream.read(size)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return start - size + newline + 1, block[newline + 1 :] + tail
        start -= size
        tail = block + tail
    return 0, tail


def _cannot_write(path: Path, error: OSError, n_safe: int) -> FfrError:
    reason = error.strerror or str(error)
    safe = f"the {n_safe} predictions written so far are safe; " if n_safe else ""
    return FfrError(
        f"{path}: cannot be written: {reason}\n"
        f"  → {safe}free space or make the folder writable, then run the same command again"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
