"""FFRS corpus files: a record holds a dialogue, its queries, and the gold turns of each query.

An utterance is a text, or a list of images (texts may stand among them). Images are numbered from
0 in order of appearance. A gold turn with images puts all its images into ``gold_img_ids``; its
utterance id is put into ``gold_utt_ids`` if the turn has text too. A gold turn of images alone is
thus in the image list only, since there is no utterance to find in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from ffr_eval.benchmark import DialogueRecord, ImageRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.benchmark.validation import MAX_ID
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.importers.image_files import ImageFiles
from ffr_eval.importers.record_files import Place, read_dialogue_records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter


class _Item(msgspec.Struct, frozen=True):
    """A part of an utterance that is a list."""

    image_url: str | None = None
    caption: str | None = None
    text: str | None = None

    @property
    def is_image(self) -> bool:
        return bool(self.image_url or self.caption)


class _Turn(msgspec.Struct, frozen=True):
    utterance_idx: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
    utterance: str | tuple[str | _Item, ...]
    speaker: str | int | None = None


class _Record(msgspec.Struct, frozen=True):
    dialogue_id: str | int
    dialogue: tuple[_Turn, ...]
    query_text: tuple[str, ...]
    gt_turns: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class _Seen:
    """A dialogue that was written."""

    turns_digest: bytes
    place: Place
    n_queries: int = 0


@dataclass(slots=True)
class _State:
    """What is known after the records so far."""

    writer: BenchmarkWriter
    images: ImageFiles
    dialogues: dict[str, _Seen] = field(default_factory=dict)
    image_turns: int = 0


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The turns of a record, and by utterance id what a gold turn stands for."""

    turns: tuple[TurnRecord, ...]
    images: list[_Item]
    by_id: dict[int, TurnRecord]


def _convert(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the dialogues and queries of the files."""
    state = _State(writer, ImageFiles(writer))
    for source in sources:
        for place, record in read_dialogue_records(source, _Record):
            _add_record(state, place, record)
    if not any(seen.n_queries for seen in state.dialogues.values()):
        raise InputError(
            "there are no queries",
            file=sources[0],
            remedy="check that this is the right file; queries are in `query_text`",
        )
    notes = state.images.notes()
    if state.image_turns:
        notes.append(
            f"{state.image_turns} times a gold turn has images and no text: its images are in"
            " gold_img_ids, its utterance id is not in gold_utt_ids"
        )
    return notes


def _add_record(state: _State, place: Place, record: _Record) -> None:
    """Write the queries of a record, and its dialogue if it is new."""
    dialogue_id = str(record.dialogue_id)
    if not dialogue_id:
        raise place.error("dialogue_id", "empty", "give the dialogue an id")
    parsed = _parse(place, record)
    golds = _golds(place, record, parsed)
    digest = hashlib.sha256(msgspec.json.encode(record.dialogue)).digest()
    seen = state.dialogues.get(dialogue_id)
    if seen is None:
        seen = state.dialogues[dialogue_id] = _Seen(digest, place)
        records = tuple(
            state.images.record(
                ImageRecord(img_id, caption=item.caption or None),
                item.image_url or "",
                place.file.parent,
                dialogue_id,
            )
            for img_id, item in enumerate(parsed.images)
        )
        state.writer.add_dialogue(DialogueRecord(dialogue_id, parsed.turns, records))
    elif seen.turns_digest != digest:
        message = f"dialogue {dialogue_id!r} has other turns here than in {seen.place}"
        raise place.error("dialogue", message, "give different dialogues different ids")
    for query, gold in zip(record.query_text, golds, strict=True):
        utt_ids = [utt_id for utt_id in gold if _counts_as_text(parsed.by_id[utt_id])]
        img_ids = [img_id for utt_id in gold for img_id in parsed.by_id[utt_id].images]
        state.image_turns += len(gold) - len(utt_ids)
        state.writer.add_query(
            QueryRecord(
                sample_id=f"{dialogue_id}#{seen.n_queries}",
                dialogue_id=dialogue_id,
                query=query,
                gold_utt_ids=tuple(utt_ids),
                gold_img_ids=tuple(sorted(img_ids)),
            )
        )
        seen.n_queries += 1


def _counts_as_text(turn: TurnRecord) -> bool:
    """Whether the gold of a turn includes its utterance id; an empty turn would be lost else."""
    return bool(turn.text.strip()) or not turn.images


def _parse(place: Place, record: _Record) -> _Parsed:
    """The turns of a record.

    Raises:
        InputError: If there are none, an id occurs twice, or a part of an utterance is empty.
    """
    if not record.dialogue:
        raise _error(place, record, "dialogue", "a dialogue without turns", "add its turns")
    turns: list[TurnRecord] = []
    images: list[_Item] = []
    by_id: dict[int, TurnRecord] = {}
    for index, turn in enumerate(record.dialogue):
        if turn.utterance_idx in by_id:
            name = f"dialogue[{index}].utterance_idx"
            message = f"{turn.utterance_idx} occurs twice"
            raise _error(place, record, name, message, "give each turn its own number")
        parts = (turn.utterance,) if isinstance(turn.utterance, str) else turn.utterance
        texts: list[str] = []
        first_image = len(images)
        for position, part in enumerate(parts):
            if isinstance(part, str):
                texts.append(part)
                continue
            if part.text:
                texts.append(part.text)
            if part.is_image:
                images.append(part)
            elif part.text is None:
                name = f"dialogue[{index}].utterance[{position}]"
                remedy = "write an image as {image_url, caption}, a text as a string"
                raise _error(place, record, name, "neither an image nor a text", remedy)
        by_id[turn.utterance_idx] = TurnRecord(
            utt_id=turn.utterance_idx,
            speaker="" if turn.speaker is None else str(turn.speaker),
            text="\n".join(texts),
            images=tuple(range(first_image, len(images))),
        )
        turns.append(by_id[turn.utterance_idx])
    return _Parsed(tuple(turns), images, by_id)


def _golds(place: Place, record: _Record, parsed: _Parsed) -> list[list[int]]:
    """The gold turns of each query, sorted, each once.

    Raises:
        InputError: If queries and gold do not go together, or the dialogue has no such turn.
    """
    n_queries, n_golds = len(record.query_text), len(record.gt_turns)
    if n_queries != n_golds:
        message = f"{n_golds} lists of turns, but {n_queries} queries"
        raise _error(place, record, "gt_turns", message, "give one list of turns for each query")
    for index, (query, gold) in enumerate(zip(record.query_text, record.gt_turns, strict=True)):
        if not query.strip():
            name = f"query_text[{index}]"
            raise _error(place, record, name, "empty", "write the query, or remove it and its gold")
        for position, utt_id in enumerate(gold):
            if utt_id not in parsed.by_id:
                name = f"gt_turns[{index}][{position}]"
                message = f"no turn has the utterance_idx {utt_id}"
                raise _error(place, record, name, message, "correct the gold or the dialogue")
    return [sorted(set(gold)) for gold in record.gt_turns]


def _error(place: Place, record: _Record, name: str, message: str, remedy: str) -> InputError:
    return place.error(name, f"dialogue {str(record.dialogue_id)!r}: {message}", remedy)


importer: Final = Importer(
    sources=("FILE…",),
    summary="FFRS corpus (JSON or JSON Lines): dialogue, query_text, gt_turns",
    info=InfoRecord(name="ffrs", description="Imported from FFRS corpus files."),
    convert=_convert,
)
