"""Completions from a JSON Lines file, for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import read_records
from ffr_train.rewards.batch import Batch, gold_outside
from ffr_train.rewards.columns import known_ids, with_embeddings
from ffr_train.rewards.embeddings import read_embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_eval.jsonl import Located
    from ffr_train.rewards.batch import DialogueIds


class CompletionRecord(msgspec.Struct, frozen=True):
    """A line; what else it has is passed over.

    Attributes:
        completion: Text, or a conversation whose last message is it.
        solution: The gold as answer markup.
        utt_ids, img_ids: The ids that the dialogue has.
        image_turn: The utterance id of the turn of each image: a list in the order of ``img_ids``
            (of the ids 0, 1, … without them), or an object by image id.
        embeddings: Path of an ``.npz``, relative to the file.
    """

    completion: Any
    solution: str
    utt_ids: tuple[int, ...] | None = None
    img_ids: tuple[int, ...] | None = None
    image_turn: dict[int, int | None] | tuple[int | None, ...] | None = None
    embeddings: str | None = None


def read_completions(path: Path, line: int | None = None) -> Batch:
    """A batch of all lines, or of one; lines of the same ids and vectors share the dialogue.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.
        line: Only this line, counted from 1.

    Raises:
        InputError: For the first thing that is wrong, with file, line, field and remedy.
    """
    rows = [row for row in read_records(path, CompletionRecord) if line in {None, row.line}]
    if not rows:
        message = "has no completions" if line is None else "has no such line, or it is blank"
        remedy = '{"completion": …, "solution": …} on each line'
        raise InputError(message, file=path, line=line, remedy=remedy)
    dialogues = [_dialogue(row, path) for row in rows]
    batch = _batch(rows, dialogues, path)
    _check_gold(batch, rows, path)
    return batch


def _dialogue(row: Located[CompletionRecord], path: Path) -> DialogueIds:
    record = row.record
    try:
        known = known_ids(record.utt_ids, record.img_ids, record.image_turn)
    except InputError as error:
        raise _placed(error, path, row.line, "utt_ids") from None
    if record.embeddings is None:
        return known
    try:
        return with_embeddings(known, read_embeddings(path.parent / record.embeddings))
    except InputError as error:
        found = error.problem
        message = f"{found.file}: {found.field or 'file'}: {found.message}"
        raise InputError(
            message, file=path, line=row.line, field="embeddings", remedy=found.remedy
        ) from None


def _batch(
    rows: Sequence[Located[CompletionRecord]], dialogues: Sequence[DialogueIds], path: Path
) -> Batch:
    try:
        return Batch(
            [row.record.completion for row in rows],
            [row.record.solution for row in rows],
            dialogues,
        )
    except (TypeError, InputError) as error:
        if len(rows) > 1:  # which of them?
            for row, dialogue in zip(rows, dialogues, strict=True):
                _batch([row], [dialogue], path)
        if isinstance(error, InputError):
            raise _placed(error, path, rows[0].line, "solution") from None
        remedy = 'give text, or a conversation [{"role": …, "content": text}]'
        kind = type(rows[0].record.completion).__name__
        message = f"is {kind}, neither text nor a conversation that ends in text"
        raise InputError(
            message, file=path, line=rows[0].line, field="completion", remedy=remedy
        ) from None


def _check_gold(batch: Batch, rows: Sequence[Located[CompletionRecord]], path: Path) -> None:
    found = gold_outside(batch)
    if found is not None:
        place, message, remedy = found
        line = rows[place].line
        raise InputError(message, file=path, line=line, field="solution", remedy=remedy)


def _placed(error: InputError, path: Path, line: int, field: str) -> InputError:
    found = error.problem
    message = found.message.replace("solution 0 ", "")
    return InputError(
        message, file=path, line=line, field=found.field or field, remedy=found.remedy
    )
