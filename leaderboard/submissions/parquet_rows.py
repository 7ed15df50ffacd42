"""The rows of an uploaded Parquet file as JSON Lines, read by a process with limits of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from leaderboard.submissions.file_kinds import TAKEN, Reason, UploadRefused
from leaderboard.submissions.parquet_worker import WRONG
from leaderboard.submissions.unpacking import bounded_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.jsonl import Line
    from leaderboard.submissions.upload_limits import UploadLimits

_KEPT_VARIABLES: Final = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP")
_MOST_WORDS: Final = 16 * 1024


class _Complaint(msgspec.Struct):
    reason: Reason
    message: str
    field: str | None = None
    remedy: str = ""


def parquet_lines(source: IO[bytes], limits: UploadLimits, name: str) -> Iterator[Line]:
    """The rows of a Parquet file, a JSON object each, numbered from 1.

    Args:
        source: The file, at its beginning.
        limits: Of the upload.
        name: What it is called in messages.

    Raises:
        UploadRefused: If it is damaged, too large, or has other columns than a prediction file.
    """
    worker = str(Path(__file__).with_name("parquet_worker.py"))
    given = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    # One thread and one allocator: the limit on address space leaves no room for more.
    given |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    given |= {"OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        process = subprocess.Popen(  # noqa: S603 - our own script, no shell
            [sys.executable, "-I", worker, json.dumps(asdict(limits))],
            stdin=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=given,
        )
    assert process.stdout is not None  # noqa: S101 - as it was asked for
    assert process.stderr is not None  # noqa: S101
    timer = threading.Timer(limits.seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield from bounded_lines(process.stdout, limits, name)
        complaint = process.stderr.read(_MOST_WORDS)
        code = process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()
    if code:
        raise _refusal(code, complaint, name)


def _refusal(code: int, complaint: bytes, name: str) -> UploadRefused:
    if code == WRONG:
        found = msgspec.json.decode(complaint, type=_Complaint)
        remedy = found.remedy or TAKEN
        return UploadRefused(
            found.reason, found.message, file=name, field=found.field, remedy=remedy
        )
    message = "cannot be read as Parquet within the time and memory that an upload gets"
    remedy = "write it again with pyarrow or pandas, or upload JSON Lines"
    return UploadRefused("damaged", message, file=name, remedy=remedy)
