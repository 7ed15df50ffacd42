"""Writing a benchmark folder: beside its place, then moved there whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import msgspec

from ffr_eval.benchmark.content_hash import ContentHash
from ffr_eval.benchmark.reader import DIALOGUES, IMAGES, INFO, QUERIES
from ffr_eval.benchmark.summary import Summary, SummaryCounter
from ffr_eval.benchmark.validation import Validator, escapes
from ffr_eval.errors import InputError
from ffr_eval.jsonl import encode_line
from ffr_eval.writing import cannot_write, temporary_name, work_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from ffr_eval.benchmark.schema import DialogueRecord, ImageRecord, InfoRecord, QueryRecord
    from ffr_eval.benchmark.validation import Finding


def write_json(path: Path, record: object) -> None:
    """Write an indented JSON file, replacing an older one in one step."""
    data = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    temporary = temporary_name(path)
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class BenchmarkWriter:
    """Writes a new benchmark folder record by record; use it as a context manager.

    Nothing stands at ``folder`` until the ``with`` block ends well; then everything does. Records
    are checked as they come, so that what is written can be read again.

    Attributes:
        n_queries: Queries written so far.
        summary: What was written, once the block has ended.

    Args:
        folder: Where the benchmark goes; must not exist, or be an empty folder.
        info: ``benchmark.json`` without splits and hash, which follow from the content.

    Raises:
        InputError: If there is something at ``folder`` already.
    """

    def __init__(self, folder: Path, info: InfoRecord) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            remedy = "choose another folder for --out, or remove this one"
            raise InputError("already exists and is not empty", file=folder, remedy=remedy)
        self._folder = folder.resolve()
        self._info = info
        self._hash = ContentHash()
        self._validator = Validator()
        self._counter = SummaryCounter()
        self.n_queries = 0
        self.summary: Summary

    def __enter__(self) -> BenchmarkWriter:
        with contextlib.ExitStack() as stack:
            work = stack.enter_context(work_folder(self._folder, "import"))
            self._work = work / "benchmark"
            self._work.mkdir()
            self._dialogues: IO[bytes] = stack.enter_context((self._work / DIALOGUES).open("wb"))
            self._queries: IO[bytes] = stack.enter_context((self._work / QUERIES).open("wb"))
            self._open = stack.pop_all()
        return self

    def add_dialogue(self, record: DialogueRecord) -> None:
        """Write a dialogue; its image files are added with :meth:`add_image_file` before.

        Raises:
            InputError: If the record is not valid, or there is such a dialogue already.
        """
        _refuse(self._validator.dialogue(record), f"dialogue {record.dialogue_id!r}")
        self._hash.add_dialogue(record)
        self._counter.add_dialogue(record)
        self._dialogues.write(encode_line(record))

    def add_query(self, record: QueryRecord) -> None:
        """Write a query on a dialogue that was added before.

        Raises:
            InputError: If the record is not valid, or there is such a sample already.
        """
        self.n_queries += 1
        _refuse(self._validator.query(record, self.n_queries), f"sample {record.sample_id!r}")
        self._hash.add_query(record)
        self._counter.add_query(record)
        self._queries.write(encode_line(record))

    def add_image_file(self, record: ImageRecord, source: Path, name: str) -> ImageRecord:
        """Copy an image file to ``images/name``; the record with path and hash filled in.

        Raises:
            InputError: If ``name`` was used before, leads out of the folder, or the image cannot
                be read.
        """
        target = self._work / IMAGES / name
        if escapes(name) or target.exists():
            remedy = "give each image a name of its own inside images/"
            raise InputError(f"cannot be copied to {name!r}", file=source, remedy=remedy)
        _copy(source, target)
        path = f"{IMAGES}/{name}"
        return msgspec.structs.replace(record, path=path, sha256=sha256_of(target))

    def restore_image_file(self, record: ImageRecord, source: Path) -> ImageRecord:
        """Copy an image file back to the path that its record names; the record as it is.

        Images may share a path, if they are the same file.

        Raises:
            InputError: If the path leads out of the folder or is taken by something else, the
                image cannot be read, or is not the one whose hash the record has.
        """
        path = record.path or ""
        target = self._work / path
        reserved = PurePosixPath(path).parts in {(INFO,), (DIALOGUES,), (QUERIES,)}
        digest = sha256_of(source)
        if escapes(path) or reserved or (target.exists() and not _holds(target, digest)):
            remedy = "give each image file a path of its own inside the benchmark folder"
            raise InputError(f"cannot be copied to {path!r}", file=source, remedy=remedy)
        if record.sha256 is not None and record.sha256 != digest:
            message = "is not the image that was recorded (sha256 differs)"
            raise InputError(message, file=source, remedy="restore the image file")
        if not target.exists():
            _copy(source, target)
        return record

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:  # removes what is not moved to its place
            if error is not None:
                return
            self._dialogues.close()
            self._queries.close()
            digest = self._hash.hexdigest()
            splits = tuple(self._counter.splits)
            info = msgspec.structs.replace(self._info, splits=splits, hash=digest)
            self.summary = self._counter.summary(digest)
            write_json(self._work / INFO, info)
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._folder.rmdir()
                self._work.replace(self._folder)
            except OSError as failure:
                remedy = "choose a new folder for --out, in a place that you may write to"
                raise cannot_write(self._folder, failure, remedy) from None


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path) == digest


def _copy(source: Path, target: Path) -> None:
    """Copy an image file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        message = f"cannot be copied: {error.strerror}"
        raise InputError(message, file=source, remedy="check the image file") from None


def _refuse(findings: Sequence[Finding], what: str) -> None:
    for finding in findings:
        message = f"{what}: {finding.message}"
        raise InputError(message, field=finding.field, remedy=finding.remedy)
