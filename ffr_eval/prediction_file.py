"""The prediction file: JSON Lines, one line a sample, the last line of a sample wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import Located, encode_line, read_records
from ffr_eval.types import SCHEMA_VERSION, Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PredictionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a prediction file (task-format: Prediction file).

    ``payload`` names the kind of answer that the line holds; the fields of later kinds stand
    beside it.
    """

    sample_id: str
    schema_version: Literal[1] = SCHEMA_VERSION
    response: str | None = None
    utt_ids: tuple[int, ...] | None = None
    img_ids: tuple[int, ...] | None = None
    outcome: Outcome | None = None
    payload: Literal["fragment"] = "fragment"
    latency_s: float | None = None
    usage: dict[str, Any] | None = None
    cost: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    reached_utt_ids: tuple[int, ...] | None = None
    reached_img_ids: tuple[int, ...] | None = None
    steps: tuple[dict[str, Any], ...] | None = None
    scores: dict[str, Any] | None = None
    logprobs: Any = None
    meta: dict[str, Any] | None = None


def read_predictions(path: Path, notes: list[str] | None = None) -> Iterator[Located[Prediction]]:
    """Stream the predictions of a file, in file order (a later line of a sample comes later).

    A truncated last line is left out, with a sentence in ``notes``.

    Raises:
        InputError: For a line that is not a prediction, with file, line and field.
    """
    for located in read_records(path, PredictionRecord, drop_truncated=True, notes=notes):
        record = located.record
        if record.outcome is Outcome.MISSING:
            message = "'missing' is not written: it means that there is no line for the sample"
            remedy = "leave the line out, or give the outcome that it had"
            raise InputError(message, file=path, line=located.line, field="outcome", remedy=remedy)
        require_answer(record, path, located.line)
        yield Located(located.line, prediction_of(record))


def prediction_of(record: PredictionRecord) -> Prediction:
    """The prediction that a line holds; an outcome that is left out follows from the ids."""
    fragment = Fragment(record.utt_ids or (), record.img_ids or ())
    outcome = record.outcome
    if outcome is None:
        outcome = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
    optional = {name: getattr(record, name) for name in _OPTIONAL}
    return Prediction(record.sample_id, outcome, fragment, record.response, **optional)


def encode_prediction(prediction: Prediction) -> bytes:
    """A prediction as a line of the file, newline included."""
    optional = {name: getattr(prediction, name) for name in _OPTIONAL}
    record = {
        "schema_version": SCHEMA_VERSION,
        "sample_id": prediction.sample_id,
        "response": prediction.response,
        "utt_ids": prediction.payload.utt_ids,
        "img_ids": prediction.payload.img_ids,
        "outcome": prediction.outcome,
        **{name: value for name, value in optional.items() if value is not None},
    }
    return encode_line(record)


_OPTIONAL = (
    *("latency_s", "usage", "cost", "finish_reason", "model", "reached_utt_ids"),
    *("reached_img_ids", "steps", "scores", "logprobs", "meta"),
)


def require_answer(record: PredictionRecord, path: object, line: int) -> None:
    """Refuse a line that says nothing, or only half of an answer: a field may be misspelt.

    Args:
        record: The line.
        path: The file, for the message.
        line: Its number, for the message.

    Raises:
        InputError: If the line is such a one.
    """
    failed = record.outcome not in {None, Outcome.OK, Outcome.EMPTY, Outcome.PARSE_ERROR}
    absent = [name for name in ("utt_ids", "img_ids") if getattr(record, name) is None]
    if record.response is not None or failed or not absent:
        return
    if len(absent) == 2:
        message, field = "neither a response nor ids", "response"
        remedy = 'give "response", or "utt_ids" and "img_ids", or the outcome of the failure'
    else:
        message, field = "missing", absent[0]
        remedy = "give both lists of ids; an empty list where there are none"
    raise InputError(message, file=path, line=line, field=field, remedy=remedy)
