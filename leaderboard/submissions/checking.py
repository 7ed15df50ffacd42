"""What a board does with an upload: count it, read it, report on it, and keep it for review."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from ffr_eval.provenance import package_versions
from leaderboard.submissions.file_kinds import UploadRefused
from leaderboard.submissions.queue import BenchmarkOf, UploadRecord
from leaderboard.submissions.reading import read_upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.errors import Problem
    from leaderboard.site.manifest import BoardRecord
    from leaderboard.site.reader import Site
    from leaderboard.submissions.file_kinds import Kind
    from leaderboard.submissions.limits import Limiter, Submitter
    from leaderboard.submissions.metadata import Details
    from leaderboard.submissions.queue import Queue, Submission
    from leaderboard.submissions.reading import Trouble, Upload
    from leaderboard.submissions.scoring import PrivateReport
    from leaderboard.submissions.upload_limits import UploadLimits

AT_ONCE: Final = 2
"""So many uploads are read and scored at a time, in all sessions together."""
_PATIENCE: Final = 30.0  # seconds
_slots: Final = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in an upload; without its predictions.

    Attributes:
        sha256: Of the upload.
        n_predictions: Of samples of the board.
        n_empty: Of these, how many say that there is no answer.
        counts: How many lines have which trouble.
        problems: The first of them.
        report: ``None`` while there are lines to be corrected.
        left: How often figures on this board's hidden gold can still be asked for today; ``None``
            where gold is public, or nothing was asked.
    """

    board_id: str
    name: str
    kind: Kind
    sha256: str
    n_lines: int
    n_predictions: int
    n_empty: int
    n_missing: int
    n_errors: int
    counts: Mapping[Trouble, int]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    report: PrivateReport | None
    left: int | None = None


def check(
    site: Site,
    board: BoardRecord,
    benchmark: Benchmark,
    source: bytes | IO[bytes],
    name: str,
    who: Submitter,
    limiter: Limiter,
    limits: UploadLimits | None = None,
) -> Checked:
    """Read an upload, and report on it if every line is a prediction.

    On hidden gold only an upload that can be scored counts against the daily limit, and it counts
    before it is scored.

    Args:
        site: The published site.
        board: The board.
        benchmark: Its benchmark, with gold.
        source: The upload.
        name: What it is called.
        who: Uploads.
        limiter: Counts.
        limits: Of uploads.

    Raises:
        UploadRefused: If it cannot be read, or too many are being read.
        LimitReached: If there were too many before.
    """
    from leaderboard.submissions.scoring import private_report

    limiter.count_upload(who)
    with _slot(name):
        upload = read_upload(source, name, benchmark, board.split, limits)
        report, left = None, None
        if upload.can_be_scored:
            if board.hidden_gold:
                left = limiter.count_score(who, gold_key(board))
            report = private_report(site, board, benchmark, upload.predictions.values())
    return _checked(board, upload, report, left)


def send(
    board: BoardRecord,
    benchmark: Benchmark,
    source: bytes | IO[bytes],
    checked: Checked,
    details: Details,
    who: Submitter,
    limiter: Limiter,
    queue: Queue,
    limits: UploadLimits | None = None,
) -> Submission:
    """Keep an upload for review that was checked before.

    Args:
        board: The board.
        benchmark: Its benchmark.
        source: The upload, once more.
        checked: What was found in it.
        details: What the submitter says; nothing is wrong with it.
        who: Sends it.
        limiter: Counts.
        queue: Where it waits.
        limits: Of uploads.

    Raises:
        UploadRefused: If it is not what was checked, or too many are being read.
        LimitReached: If there were too many before.
        QueueFull: If too many wait.
        FfrError: If it cannot be written.
    """
    with _slot(checked.name):
        upload = read_upload(source, checked.name, benchmark, board.split, limits)
        same = (upload.sha256, board.board_id) == (checked.sha256, checked.board_id)
        if not same or checked.report is None or not upload.can_be_scored:
            message = "not the file that was checked"
            raise UploadRefused("changed", message, file=checked.name, remedy="check it first")
        limiter.count_send(who)
        return queue.add(
            board.board_id,
            BenchmarkOf(board.benchmark, board.version, board.hash, board.split),
            details,
            UploadRecord(upload.sha256, upload.n_bytes, len(upload.predictions)),
            upload.lines(),
            package_versions(),
        )


def gold_key(board: BoardRecord) -> str:
    """What is limited by the day: a benchmark's gold, whatever split or board asks for it."""
    return board.hash


def _checked(
    board: BoardRecord, upload: Upload, report: PrivateReport | None, left: int | None
) -> Checked:
    return Checked(
        board_id=board.board_id,
        name=upload.name,
        kind=upload.kind,
        sha256=upload.sha256,
        n_lines=upload.n_lines,
        n_predictions=len(upload.predictions),
        n_empty=upload.n_empty,
        n_missing=upload.n_missing,
        n_errors=upload.n_errors,
        counts=upload.counts,
        problems=upload.problems,
        notes=upload.notes,
        report=report,
        left=left,
    )


@contextlib.contextmanager
def _slot(name: str) -> Iterator[None]:
    if not _slots.acquire(timeout=_PATIENCE):
        message = "too many uploads are being checked"
        raise UploadRefused("busy", message, file=name, remedy="try again in a minute")
    try:
        yield
    finally:
        _slots.release()
