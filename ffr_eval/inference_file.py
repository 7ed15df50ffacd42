"""Reading ms-swift inference files: in pieces, by several processes if asked to.

What stays in memory is the ids; see :mod:`ffr_eval.inference_columns`.
"""

from __future__ import annotations

import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.errors import FfrError, InputError, Problem
from ffr_eval.inference_columns import (
    InferenceColumns,
    InferenceRecord,
    WindowRecord,
    check_record,
    columns_of,
)
from ffr_eval.jsonl import MAX_LINE_BYTES, decode, is_truncated, open_binary, problem, too_long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_eval.answer import ParseMode

PIECE_BYTES: Final = 8 * 2**20
_BLOCK_BYTES: Final = 2**20  # read and decoded at once: few calls, and still in the cache


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece of a file for one process; ``end`` is ``None`` for a compressed file, read whole."""

    path: Path
    start: int
    end: int | None
    parse: ParseMode
    windows: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """What came out of a task: columns, or a problem.

    Attributes:
        columns: The records, as far as there was no problem.
        problem: The first problem, its line counted from ``offset``.
        truncated: The line, likewise, that was cut by a crash and left out.
        offset: Where in the file the block of that line begins, in bytes.
    """

    columns: InferenceColumns
    problem: Problem | None = None
    truncated: int | None = None
    offset: int = 0


def read_inference(
    path: Path,
    parse: ParseMode,
    *,
    windows: bool = False,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[InferenceColumns, list[str]]:
    """Read an inference file (``.jsonl`` or ``.jsonl.gz``).

    Args:
        path: The file.
        parse: How answers are read; labels are always read as the original release does.
        windows: Keep queries and image paths, to merge the windows of split dialogues.
        workers: Processes to use on a file of several pieces.
        progress: Called with the part of the file that is done, 0 to 1.

    Returns:
        The columns, and notes (a truncated last line that was dropped).

    Raises:
        InputError: For the first line that is not an inference record.
    """
    tasks = _tasks(path, parse, windows=windows)
    columns: list[InferenceColumns] = []
    notes: list[str] = []
    for piece in _run(tasks, workers, progress):
        columns.append(piece.columns)
        found = piece.problem
        if found is not None:
            line = _lines_before(path, piece.offset) + (found.line or 0)
            raise InputError(
                found.message, file=path, line=line, field=found.field, remedy=found.remedy
            )
        if piece.truncated is not None:
            line = _lines_before(path, piece.offset) + piece.truncated
            notes.append(f"{path}:{line}: dropped a truncated last line")
    if not sum(map(len, columns)):
        raise InputError("no records", file=path, remedy="give a file with one record a line")
    return InferenceColumns.concatenate(columns), notes


def _tasks(path: Path, parse: ParseMode, *, windows: bool) -> list[_Task]:
    if path.suffix == ".gz":
        return [_Task(path, 0, None, parse, windows)]
    tasks: list[_Task] = []
    with open_binary(path) as stream:
        size = stream.seek(0, 2)
        start = 0
        while start < size:
            stream.seek(min(start + PIECE_BYTES, size))
            stream.readline(MAX_LINE_BYTES + 1)  # a piece ends with a line (a longer one is
            end = stream.tell()  # refused when the piece is read)
            tasks.append(_Task(path, start, end, parse, windows))
            start = end
    return tasks


def _run(
    tasks: list[_Task], workers: int, progress: Callable[[float], None] | None
) -> list[_Piece]:
    """Do all tasks: this process from the last backwards, others from the first on."""
    pieces: dict[int, _Piece] = {}

    def done(index: int, piece: _Piece) -> None:
        pieces[index] = piece
        if progress is not None:
            progress(len(pieces) / len(tasks))

    if workers < 2 or len(tasks) < 4:
        for index, task in enumerate(tasks):
            done(index, _read_piece(task))
            if pieces[index].problem is not None:
                break
        return list(pieces.values())
    pending: dict[Future[_Piece], int] = {}
    first, last = 0, len(tasks) - 1
    context = get_context(_start_method())
    try:
        with ProcessPoolExecutor(workers - 1, context, _ignore_interrupts) as pool:
            while pending or first <= last:
                while first <= last and len(pending) < 2 * (workers - 1):
                    pending[pool.submit(_read_piece, tasks[first])] = first
                    first += 1
                if first <= last:
                    done(last, _read_piece(tasks[last]))
                    last -= 1
                else:
                    wait(pending, return_when=FIRST_COMPLETED)
                for future in [future for future in pending if future.done()]:
                    done(pending.pop(future), future.result())
    except BrokenProcessPool:
        message = "a process that was reading the file was killed\n  → free memory and try again"
        raise FfrError(message) from None
    return [pieces[index] for index in range(len(tasks))]


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that started this one, and end when told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _start_method() -> str:
    """``fork`` starts at once, but is only safe in a process of a single thread."""
    threads = Path("/proc/self/task")
    single = threads.is_dir() and len(list(threads.iterdir())) == 1
    return "fork" if single else "spawn"


def _read_piece(task: _Task) -> _Piece:
    record_type = WindowRecord if task.windows else InferenceRecord
    decoder = msgspec.json.Decoder(record_type)
    batches = [columns_of([], task.parse, windows=task.windows)]
    truncated = None
    offset = task.start
    for block in _blocks(task):
        columns = _read_block(block, decoder, task)
        if columns is None:
            try:
                columns, truncated = _read_lines(bytes(block), decoder, task)
            except InputError as error:
                return _Piece(batches[0], error.problem, None, offset)
        batches.append(columns)
        if truncated is None:
            offset += len(block)
    return _Piece(InferenceColumns.concatenate(batches), None, truncated, offset)


def _count_lines(block: bytes | memoryview) -> int:
    """Line ends, the end of the block one of them."""
    units = np.frombuffer(block, dtype=np.uint8)
    return int(np.count_nonzero(units == _NEWLINE)) + int(units[-1] != _NEWLINE)


def _lines_before(path: Path, offset: int) -> int:
    """How many lines end before a place in a file."""
    lines = 0
    with open_binary(path) as stream:
        while offset > 0:
            data = stream.read(min(offset, _BLOCK_BYTES))
            lines += data.count(b"\n")
            offset -= len(data) or offset
    return lines


def _read_block(
    block: bytes | memoryview, decoder: msgspec.json.Decoder[Any], task: _Task
) -> InferenceColumns | None:
    """A block read at once; ``None`` if it must be read line by line."""
    try:
        records = decoder.decode_lines(block)
        if len(records) == _count_lines(block):  # no blank lines, and one record on each
            return columns_of(records, task.parse, windows=task.windows)
    except (msgspec.DecodeError, UnicodeDecodeError, InputError, RecursionError):
        pass
    return None


def _read_lines(
    block: bytes, decoder: msgspec.json.Decoder[Any], task: _Task
) -> tuple[InferenceColumns, int | None]:
    """A block line by line, where it cannot be read at once.

    Returns:
        The columns, and the number of a truncated last line that was left out.

    Raises:
        InputError: For the first line that is not a record; lines are counted from the block's
            first.
    """
    records: list[InferenceRecord] = []
    truncated = None
    lines = block.split(b"\n")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise too_long(MAX_LINE_BYTES, None, number)
        if not line.strip():
            continue
        try:
            record = decode(line, decoder)
            check_record(record)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if number < len(lines) or not is_truncated(line):
                raise problem(error, None, number) from None
            truncated = number
        except InputError as error:
            found = error.problem
            raise InputError(
                found.message, line=number, field=found.field, remedy=found.remedy
            ) from None
        else:
            records.append(record)
    return columns_of(records, task.parse, windows=task.windows), truncated


def _blocks(task: _Task) -> Iterator[bytes | memoryview]:
    """The bytes of a piece in blocks of whole lines.

    A block holds at most ``_BLOCK_BYTES``, or one line that is longer: that one up to the limit
    and a byte more, by which it is known to be too long.
    """
    seekable = task.end is not None
    with open_binary(task.path) as stream:
        position = stream.seek(task.start)
        while task.end is None or position < task.end:
            size = _BLOCK_BYTES if task.end is None else min(_BLOCK_BYTES, task.end - position)
            block = stream.read(size)
            if not block:
                return
            whole = block.rfind(b"\n") + 1
            if whole and seekable:  # the rest is the beginning of the next block
                stream.seek(position + whole)
                position += whole
                yield memoryview(block)[:whole]
            else:
                block += stream.readline(MAX_LINE_BYTES + 1)
                position += len(block)
                yield block


_NEWLINE: Final = ord("\n")
