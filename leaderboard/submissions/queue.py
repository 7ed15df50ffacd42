"""The review queue: submissions on disk, each written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec
from filelock import FileLock

from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import FfrError, InputError
from ffr_eval.jsonl import problem
from ffr_eval.writing import cannot_write, work_folder
from leaderboard.submissions.metadata import Details  # noqa: TC001 - of a field
from leaderboard.submissions.store import submissions_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

RECORD: Final = "submission.json"
PREDICTIONS: Final = "predictions.jsonl"

Status: TypeAlias = Literal["pending", "accepted", "rejected"]

_ID: Final = re.compile(r"[0-9a-f]{32}")
_LOCK: Final = ".lock"
_INCOMING: Final = "incoming"


class BenchmarkOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The benchmark of a submission, by content, and the split that it predicts."""

    name: str
    version: str
    hash: str
    split: str | None


class UploadRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was uploaded."""

    sha256: str
    bytes: int
    n_predictions: int


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``submission.json``.

    Attributes:
        id: Random: who does not know it cannot ask for it.
        received, decided: ISO 8601, UTC.
        code: Versions of the packages that checked it.
        reason: Why it was rejected.
        verified: How the reviewer reproduced it; ``None`` if that was not done.
        run: The name of the run folder that was made of it.
    """

    id: str
    received: str
    board_id: str
    benchmark: BenchmarkOf
    details: Details
    upload: UploadRecord
    code: dict[str, str]
    status: Status = "pending"
    decided: str | None = None
    reason: str | None = None
    verified: str | None = None
    run: str | None = None
    format: Literal[1] = 1


class Quota(msgspec.Struct, frozen=True):
    """How much may wait for review.

    Attributes:
        number: Submissions.
        bytes: Of their predictions.
    """

    number: int = 200
    bytes: int = 2 * 2**30


class QueueFull(FfrError):  # noqa: N818 - not wrong, but full
    """Too much waits for review; nothing more is taken for now."""


class Queue:
    """The submissions of a state folder; threads and processes may share it.

    Args:
        state: The state folder.
        quota: How much may wait.

    Raises:
        InputError: If the folder cannot be made.
    """

    def __init__(self, state: Path, quota: Quota | None = None) -> None:
        self.folder = submissions_folder(state)
        self._quota = quota or Quota()

    def add(
        self,
        board_id: str,
        benchmark: BenchmarkOf,
        details: Details,
        upload: UploadRecord,
        lines: Iterable[bytes],
        code: dict[str, str],
    ) -> Submission:
        """Keep a submission for review.

        Args:
            board_id: Of the board that it was sent from.
            benchmark: Of that board.
            details: What the submitter says about it.
            upload: What was uploaded.
            lines: Its predictions, as lines of a prediction file.
            code: Versions.

        Raises:
            QueueFull: If too much waits already.
            InputError: If the folder cannot be written.
            FfrError: If the disk is full.
        """
        submission = Submission(
            id=secrets.token_hex(16),
            received=_now(),
            board_id=board_id,
            benchmark=benchmark,
            details=details,
            upload=upload,
            code=code,
        )
        target = self.folder / submission.id
        # One name for all: what a killed process left is removed by the next.
        with work_folder(self.folder / _INCOMING, "new") as work:
            made = work / submission.id
            try:
                made.mkdir(mode=0o700)
                n_bytes = _write(made / PREDICTIONS, lines)
                write_json(made / RECORD, submission)
                with FileLock(self.folder / _LOCK):
                    self._require_room(n_bytes)
                    made.replace(target)
                    _sync(self.folder)
            except OSError as error:
                raise cannot_write(target, error) from None
        return submission

    def get(self, submission_id: str) -> Submission:
        """A submission.

        Raises:
            InputError: If there is none of this id, or its record is malformed.
        """
        remedy = "`ffr review --state DIR list` names them"
        if not _ID.fullmatch(submission_id):
            raise InputError(f"{submission_id!r} is no id of a submission", remedy=remedy)
        file = self.folder / submission_id / RECORD
        try:
            return msgspec.json.decode(file.read_bytes(), type=Submission)
        except FileNotFoundError:
            raise InputError(f"no submission {submission_id}", remedy=remedy) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=file) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise problem(error, file, None, "restore the file, or remove its folder") from None

    def all(self) -> list[Submission]:
        """All submissions, the oldest first.

        Raises:
            InputError: If the record of one is malformed.
        """
        found = [self.get(folder.name) for folder in self._folders()]
        return sorted(found, key=lambda submission: (submission.received, submission.id))

    def predictions(self, submission_id: str) -> Path:
        """The prediction file of a submission that :meth:`get` finds."""
        return self.folder / self.get(submission_id).id / PREDICTIONS

    def decide(
        self,
        submission_id: str,
        status: Literal["accepted", "rejected"],
        *,
        reason: str | None = None,
        verified: str | None = None,
        run: str | None = None,
    ) -> Submission:
        """Note what the reviewer decided; only what is pending can be decided on.

        Raises:
            InputError: If there is no such submission, or it was decided on before.
        """
        with FileLock(self.folder / _LOCK):
            found = self.get(submission_id)
            require_pending(found)
            decided = msgspec.structs.replace(
                found, status=status, decided=_now(), reason=reason, verified=verified, run=run
            )
            file = self.folder / found.id / RECORD
            try:
                write_json(file, decided)
            except OSError as error:
                raise cannot_write(file, error) from None
        return decided

    def _folders(self) -> Iterator[Path]:
        for folder in self.folder.iterdir():
            if _ID.fullmatch(folder.name) and folder.is_dir():
                yield folder

    def _require_room(self, n_bytes: int) -> None:
        sizes = [
            (folder / PREDICTIONS).stat().st_size
            for folder in self._folders()
            if self._waits(folder.name)
        ]
        if len(sizes) >= self._quota.number or sum(sizes) + n_bytes > self._quota.bytes:
            raise QueueFull("too many submissions wait for review; nothing more is taken for now")

    def _waits(self, submission_id: str) -> bool:
        """Whether a submission is pending, as far as its record can be read."""
        try:
            return self.get(submission_id).status == "pending"
        except InputError:
            return True


def require_pending(submission: Submission) -> None:
    """Refuse a submission that was decided on.

    Raises:
        InputError: If it was.
    """
    if submission.status != "pending":
        message = f"submission {submission.id} was {submission.status} on {submission.decided}"
        raise InputError(message, remedy="a decision stands; ask for a new submission")


def _write(path: Path, lines: Iterable[bytes]) -> int:
    with path.open("wb") as stream:
        n_bytes = sum(map(stream.write, lines))
        stream.flush()
        os.fsync(stream.fileno())
    return n_bytes


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
