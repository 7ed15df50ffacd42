"""An upload to predictions: recognised by content, bounded in every respect, each line validated.

What is wrong with single lines is collected, not raised: a user corrects all of it at once.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from ffr_eval.answer import MAX_DIGITS
from ffr_eval.errors import InputError, Problem
from ffr_eval.jsonl import decode, is_truncated, problem
from ffr_eval.prediction_file import (
    PredictionRecord,
    encode_prediction,
    prediction_of,
    require_answer,
)
from ffr_eval.types import SCHEMA_VERSION, Outcome, Prediction
from leaderboard import names
from leaderboard.submissions.file_kinds import (
    HEAD_BYTES,
    Kind,
    UploadRefused,
    kind_of,
    require_json_lines,
)
from leaderboard.submissions.parquet_rows import parquet_lines
from leaderboard.submissions.unpacking import Unpacked, bounded_lines
from leaderboard.submissions.upload_limits import (
    LONGEST_ID,
    LONGEST_RESPONSE,
    MOST_IDS,
    UploadLimits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.jsonl import Line

LISTED: Final = 10
"""So many problems are listed; all are counted."""

_PIECE: Final = 2**20
_TOO_LARGE_ID: Final = 10**MAX_DIGITS
_Id = Annotated[int, msgspec.Meta(gt=-_TOO_LARGE_ID, lt=_TOO_LARGE_ID)]
_Ids = Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MOST_IDS)]


class UploadedRecord(msgspec.Struct, frozen=True):
    """What is taken of a line: a part of the prediction file's fields, each of bounded size.

    Other fields (``steps``, ``scores``, ``logprobs``, ``usage``, ``model``, ``meta``) are left out:
    the ids in the line are the answer.
    """

    sample_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
    schema_version: Literal[1] = SCHEMA_VERSION
    response: Annotated[str, msgspec.Meta(max_length=LONGEST_RESPONSE)] | None = None
    utt_ids: _Ids | None = None
    img_ids: _Ids | None = None
    outcome: Outcome | None = None
    latency_s: float | None = None
    cost: float | None = None
    finish_reason: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    reached_utt_ids: _Ids | None = None
    reached_img_ids: _Ids | None = None


class Trouble(StrEnum):
    """What can be wrong with a line."""

    MALFORMED = "malformed"
    """It is no prediction."""
    UNKNOWN = "unknown"
    """The benchmark has no such sample."""
    OTHER_SPLIT = "other_split"
    """The sample is of another split than the board's; the line is left out."""
    REPEATED = "repeated"
    """The sample has a line before; the last one counts."""


ERRORS: Final = frozenset({Trouble.MALFORMED, Trouble.UNKNOWN})
"""Nothing is scored while there are such lines; the others are only told."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload holds.

    Attributes:
        name: What it is called; safe to show.
        kind: What it is, by content.
        sha256: Of its bytes as they came.
        n_bytes: So many.
        n_lines: Lines that are not blank, or rows.
        predictions: By sample id, those of the board's split; the last line of a sample wins.
        counts: How many lines have which trouble.
        problems: The first :data:`LISTED` of them.
        n_samples: Of the board.
        notes: Sentences about what was left out.
    """

    name: str
    kind: Kind
    sha256: str
    n_bytes: int
    n_lines: int
    predictions: Mapping[str, Prediction]
    counts: Mapping[Trouble, int]
    problems: tuple[Problem, ...]
    n_samples: int
    notes: tuple[str, ...] = ()

    @property
    def n_errors(self) -> int:
        """Lines that must be corrected."""
        return sum(number for trouble, number in self.counts.items() if trouble in ERRORS)

    @property
    def n_missing(self) -> int:
        """Samples without a prediction: they count as without an answer."""
        return self.n_samples - len(self.predictions)

    @property
    def n_empty(self) -> int:
        """Predictions that say that there is no answer."""
        return sum(found.outcome is Outcome.EMPTY for found in self.predictions.values())

    @property
    def can_be_scored(self) -> bool:
        """Whether every line is a prediction, and there is one for the board."""
        return not self.n_errors and bool(self.predictions)

    def lines(self) -> Iterator[bytes]:
        """The predictions as lines of a prediction file."""
        return map(encode_prediction, self.predictions.values())


def read_upload(
    source: bytes | IO[bytes],
    name: str,
    benchmark: Benchmark,
    split: str | None,
    limits: UploadLimits | None = None,
) -> Upload:
    """Read an upload and hold it against a benchmark.

    Args:
        source: Its bytes, or a seekable stream of them.
        name: What the user calls it; only used in messages.
        benchmark: Whose samples are predicted.
        split: The board's; ``None`` for all samples.
        limits: By default those of the server.

    Raises:
        UploadRefused: If it is nothing that is taken, damaged, empty or too large.
    """
    limits = limits or UploadLimits()
    name = names.name(name)
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    n_bytes = stream.seek(0, io.SEEK_END)
    if n_bytes > limits.upload_bytes:
        message = f"{n_bytes:,} bytes; at most {limits.upload_bytes:,} are taken"
        raise UploadRefused("too_large", message, file=name, remedy="compress it with gzip")
    sha256 = _sha256(stream)
    kind, lines = _lines_of(stream, limits, name)
    found = _Lines(name, benchmark, split)
    for line in lines:
        found.add(line)
    if not found.n_lines:
        raise UploadRefused("empty", "the file has no predictions", file=name)
    wanted = benchmark.rows(split).tolist()
    ordered = (benchmark.queries.sample_id[row] for row in wanted)
    return Upload(
        name=name,
        kind=kind,
        sha256=sha256,
        n_bytes=n_bytes,
        n_lines=found.n_lines,
        predictions={key: found.predictions[key] for key in ordered if key in found.predictions},
        counts=found.counts,
        problems=tuple(found.problems),
        n_samples=len(wanted),
        notes=tuple(found.notes),
    )


def _sha256(stream: IO[bytes]) -> str:
    """By pieces: ``file_digest`` would make a copy of what is in memory."""
    digest = hashlib.sha256()
    stream.seek(0)
    while piece := stream.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _lines_of(stream: IO[bytes], limits: UploadLimits, name: str) -> tuple[Kind, Iterator[Line]]:
    """What an upload is, and its lines."""
    stream.seek(0)
    kind = kind_of(stream.read(HEAD_BYTES), name)
    stream.seek(0)
    if kind == "parquet":
        return kind, parquet_lines(stream, limits, name)
    if kind == "gzip":
        unpacked = io.BufferedReader(Unpacked(stream, limits, name), HEAD_BYTES)
        head = unpacked.peek(HEAD_BYTES)
        require_json_lines(head[:HEAD_BYTES], name, "gzip data that hold ")
        stream.seek(0)
        # A new one: its buffer is larger than what is looked at.
        again = io.BufferedReader(Unpacked(stream, limits, name), 128 * 1024)
        return kind, bounded_lines(again, limits, name)
    return kind, bounded_lines(stream, limits, name)


@dataclass(slots=True)
class _Lines:
    """The lines of an upload as they are read."""

    name: str
    benchmark: Benchmark
    split: str | None
    n_lines: int = 0
    predictions: dict[str, Prediction] = field(default_factory=dict)
    counts: dict[Trouble, int] = field(default_factory=lambda: dict.fromkeys(Trouble, 0))
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _decoder: msgspec.json.Decoder[UploadedRecord] = field(
        default_factory=lambda: msgspec.json.Decoder(UploadedRecord)
    )

    def add(self, line: Line) -> None:
        """Take a line, or note what is wrong with it."""
        self.n_lines += 1
        try:
            prediction = self._prediction(line)
        except InputError as error:
            if not line.complete and is_truncated(line.data):
                self.notes.append(f"line {line.number} is cut off in the middle")
            self._note(Trouble.MALFORMED, error.problem)
            return
        sample_id = prediction.sample_id
        row = self.benchmark.row_of(sample_id)
        if row is None:
            message = f"the benchmark has no sample {sample_id!r}"
            remedy = "take the ids from the template of this board"
            self._note(Trouble.UNKNOWN, self._problem(line, message, remedy))
            return
        if self.split not in (None, self.benchmark.queries.split[row]):
            message = f"sample {sample_id!r} is of another split: the line is left out"
            self._note(Trouble.OTHER_SPLIT, self._problem(line, message))
            return
        if sample_id in self.predictions:
            message = f"sample {sample_id!r} has a line before: the last one counts"
            self._note(Trouble.REPEATED, self._problem(line, message, "keep one line a sample"))
        self.predictions[sample_id] = prediction

    def _prediction(self, line: Line) -> Prediction:
        """The prediction on a line.

        Raises:
            InputError: If it is none.
        """
        try:
            uploaded = decode(line.data, self._decoder)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise problem(error, self.name, line.number) from None
        for amount in ("latency_s", "cost"):
            value = getattr(uploaded, amount)
            if value is not None and not (math.isfinite(value) and value >= 0):
                message = "not a finite number of at least 0"
                raise self._wrong(line, message, amount, "correct the value, or leave it out")
        if uploaded.outcome is Outcome.MISSING:
            message = "'missing' is not written: it means that there is no line for the sample"
            raise self._wrong(line, message, "outcome", "leave the line out")
        record = PredictionRecord(**msgspec.structs.asdict(uploaded))
        require_answer(record, self.name, line.number)
        return prediction_of(record)

    def _wrong(self, line: Line, message: str, at: str | None, remedy: str) -> InputError:
        return InputError(message, file=self.name, line=line.number, field=at, remedy=remedy)

    def _problem(self, line: Line, message: str, remedy: str | None = None) -> Problem:
        return Problem(message, self.name, line.number, "sample_id", remedy)

    def _note(self, trouble: Trouble, found: Problem) -> None:
        self.counts[trouble] += 1
        if len(self.problems) < LISTED:
            self.problems.append(found)
