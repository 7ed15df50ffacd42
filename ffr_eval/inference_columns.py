"""Records of ms-swift inference output, and many of them in columns (task-format)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.answer import Answer, parse_answer, parse_official_answers
from ffr_eval.errors import InputError
from ffr_eval.marked_ids import marked_ids
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.ragged import Ragged
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ffr_eval.answer import ParseMode
    from ffr_eval.ragged import IntArray


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
        dialogue_id=[_name_of(record.dialogue_id) for record in records],
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


def check_record(record: InferenceRecord) -> None:
    """Check what the types do not: that there are labels, and a response of text or null.

    Raises:
        InputError: If not; names the field.
    """
    _labels(record)
    _response(record)


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


def _name_of(dialogue_id: Any) -> str:
    return "" if dialogue_id is None else str(dialogue_id)


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
