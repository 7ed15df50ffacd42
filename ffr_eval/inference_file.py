"""ms-swift inference output: records that carry dialogue, gold and answer (task-format).

Large files are read in pieces, by several processes if asked to; what stays in memory is the ids.
"""

from __future__ import annotations

import re
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.answer import Answer, parse_answer, parse_official_answers
from ffr_eval.errors import FfrError, InputError, Problem
from ffr_eval.jsonl import MAX_LINE_BYTES, decode, is_truncated, open_binary, problem
from ffr_eval.marked_ids import marked_ids
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.ragged import Ragged
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ffr_eval.answer import ParseMode
    from ffr_eval.ragged import IntArray

PIECE_BYTES: Final = 8 * 2**20
_BLOCK_BYTES: Final = 2**20  # read and decoded at once: few calls, and still in the cache


class MessageRecord(msgspec.Struct, frozen=True, gc=False):
    """A chat message; ``content`` is text, or a list of parts of which those with text count."""

    role: str | None = None
    content: Any = None


class InferenceRecord(msgspec.Struct, frozen=True, gc=False):
    """A line of an inference file; other fields may stand beside these."""

    messages: list[MessageRecord]
    labels: Any = msgspec.UNSET
    response: Any = msgspec.UNSET
    dialogue_id: Any = None


class WindowRecord(InferenceRecord, frozen=True, gc=False):
    """A line of an inference file of split dialogues, images included."""

    images: Any = None


@dataclass(frozen=True, slots=True)
class InferenceColumns:
    """Records of an inference file in columns; ids are as written, not yet coded.

    Attributes:
        dialogue_id: Shape ``(n,)``; empty where the record has none.
        outcome: Codes of :data:`ffr_eval.predictions.OUTCOMES`, shape ``(n,)``; ``missing`` where
            there is no response.
        has_response: Whether the record has the key at all (``null`` counts), shape ``(n,)``.
        turns: How many utterances the first user message marks, shape ``(n,)``.
        utt_marked, img_marked: Ragged, the ids that it marks; under parse mode ``official``, which
            needs no more, only the largest one.
        utt_gold, img_gold, utt_predicted, img_predicted: Ragged.
        lost_lists: How many gold or predicted lists were valid JSON that cannot be a set.
        windows: With ``windows=True``: query and image paths of each record.
    """

    dialogue_id: list[str]
    outcome: NDArray[np.int8]
    has_response: NDArray[np.bool_]
    turns: IntArray
    utt_marked: Ragged
    img_marked: Ragged
    utt_gold: Ragged
    img_gold: Ragged
    utt_predicted: Ragged
    img_predicted: Ragged
    lost_lists: int = 0
    windows: list[tuple[str, list[str]]] | None = None

    def __len__(self) -> int:
        return len(self.outcome)

    @classmethod
    def concatenate(cls, parts: Sequence[InferenceColumns]) -> InferenceColumns:
        """The records of all parts, in order."""
        windows = [part.windows for part in parts if part.windows is not None]
        return cls(
            dialogue_id=[name for part in parts for name in part.dialogue_id],
            outcome=np.concatenate([part.outcome for part in parts]),
            has_response=np.concatenate([part.has_response for part in parts]),
            turns=np.concatenate([part.turns for part in parts]),
            **{
                name: Ragged.concatenate([getattr(part, name) for part in parts])
                for name in _RAGGED
            },
            lost_lists=sum(part.lost_lists for part in parts),
            windows=[window for part in windows for window in part] if windows else None,
        )


_RAGGED: Final = (
    *("utt_marked", "img_marked", "utt_gold", "img_gold", "utt_predicted", "img_predicted"),
)


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
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
            message = f"the line is longer than {MAX_LINE_BYTES / 2**20:.0f} MiB"
            raise InputError(message, line=number, remedy="one record a line")
        if not line.strip():
            continue
        try:
            record = decode(line, decoder)
            _labels(record)
            _response(record)
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
_QUERY: Final = re.compile(r"<\|query_start\|>(.*?)<\|query_end\|>", re.DOTALL)
_LOST: Final = ("not a list", "a list of lists")


def columns_of(
    records: Sequence[InferenceRecord], parse: ParseMode, *, windows: bool = False
) -> InferenceColumns:
    """Records in columns.

    Raises:
        InputError: For a record whose labels or response are not as they should be.
    """
    gold = parse_official_answers([_labels(record) for record in records])
    responses = [_response(record) for record in records]
    answers = _parse(responses, parse)
    texts = [first_user_text(record.messages) for record in records]
    utt_marked, img_marked = marked_ids(texts)
    keep = _largest if parse == "official" and not windows else _all
    return InferenceColumns(
        dialogue_id=["" if name is None else str(name) for name in map(_dialogue_id, records)],
        outcome=np.array([OUTCOME_CODE[answer.outcome] for answer in answers], dtype=np.int8),
        has_response=np.array([record.response is not msgspec.UNSET for record in records]),
        turns=utt_marked.lengths,
        utt_marked=keep(utt_marked),
        img_marked=keep(img_marked),
        utt_gold=Ragged.from_lists([answer.utt_ids for answer in gold]),
        img_gold=Ragged.from_lists([answer.img_ids for answer in gold]),
        utt_predicted=Ragged.from_lists([answer.utt_ids for answer in answers]),
        img_predicted=Ragged.from_lists([answer.img_ids for answer in answers]),
        lost_lists=sum(
            answer.problem.count(lost)
            for answer in (*gold, *answers)
            if answer.problem is not None
            for lost in _LOST
        ),
        windows=[_window(record, text) for record, text in zip(records, texts, strict=True)]
        if windows
        else None,
    )


def _all(ids: Ragged) -> Ragged:
    return ids


def _largest(ids: Ragged) -> Ragged:
    """The largest id of each list that has any."""
    some = ids.lengths > 0
    largest = np.maximum.reduceat(ids.values, ids.offsets[:-1][some]) if some.any() else ids.values
    return Ragged.from_lengths(largest, some.astype(np.int64))


def _labels(record: InferenceRecord) -> str:
    if isinstance(record.labels, str):
        return record.labels
    absent = record.labels is msgspec.UNSET or record.labels is None
    message = "missing: the record has no gold" if absent else "expected the answer markup as text"
    remedy = "give inference output, in which `labels` is the gold answer markup"
    raise InputError(message, field="labels", remedy=remedy)


def _response(record: InferenceRecord) -> str | None:
    response = record.response
    if isinstance(response, str):
        return response
    if response is None or response is msgspec.UNSET:
        return None
    message = f"expected text or null, got {type(response).__name__}"
    raise InputError(message, field="response", remedy="store the model's raw text")


def _parse(responses: Sequence[str | None], parse: ParseMode) -> list[Answer]:
    if parse != "official":
        return [_NO_RESPONSE if text is None else parse_answer(text, parse) for text in responses]
    answers = iter(parse_official_answers([text for text in responses if text is not None]))
    return [_NO_RESPONSE if text is None else next(answers) for text in responses]


def _dialogue_id(record: InferenceRecord) -> Any:
    return record.dialogue_id


def _window(record: InferenceRecord, text: str) -> tuple[str, list[str]]:
    query = _QUERY.search(text)
    images = record.images if isinstance(record, WindowRecord) else None
    return query.group(1) if query else "", _image_paths(images)


_NO_RESPONSE: Final = Answer((), (), Outcome.MISSING)


def first_user_text(messages: Sequence[MessageRecord]) -> str:
    """The text of the first user message, empty if there is none."""
    for message in messages:
        if message.role == "user":
            return _text_of(message.content)
    return ""


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _image_paths(images: Any) -> list[str]:
    """The paths of a record's images; empty where they are not given as paths."""
    paths = [
        item if isinstance(item, str) else item.get("path") if isinstance(item, dict) else None
        for item in (images if isinstance(images, list) else [])
    ]
    return [path if isinstance(path, str) else "" for path in paths]
