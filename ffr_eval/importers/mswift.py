"""The ms-swift files of the original release: its datasets, and its inference outputs.

A record holds one query together with its whole dialogue, in the markup of the task. Records on
the same dialogue are brought together: the dialogue is stored once. What the markup cannot carry
is read from the key ``ffr``, which our exporter writes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ffr_eval import markup
from ffr_eval.benchmark import DialogueRecord, ImageRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.importers.image_files import ImageFiles
from ffr_eval.importers.mswift_extra import (
    DialogueExtra,
    RecordExtra,
    find_contradiction,
    restore_turn,
)
from ffr_eval.importers.mswift_turns import between, read_turn, read_turns
from ffr_eval.importers.record_files import Place, decode_at, read_places
from ffr_eval.importers.record_frame import RecordFrame
from ffr_eval.jsonl import decode, problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter

_QUERY: Final = re.compile(between(markup.QUERY, "(.*?)"), re.DOTALL)
_IDS: Final = r"\s*\[\s*((?:\d{1,10}\s*(?:,\s*\d{1,10}\s*)*)?)\]\s*"
_ANSWER: Final = re.compile(
    rf"\s*{between(markup.UTT_IDS, _IDS)}\s*[;；]\s*{between(markup.IMG_IDS, _IDS)}\s*", re.ASCII
)


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: Any = None


class _StoredImage(msgspec.Struct, frozen=True):
    path: str | None = None


class _Record(msgspec.Struct, frozen=True):
    dialogue_id: str
    messages: tuple[_Message, ...]
    images: tuple[str | _StoredImage, ...] | None = None
    solution: str | None = None
    labels: str | None = None
    ffr: RecordExtra | str | None = None


_NO_EXTRA: Final = RecordExtra()
_EXTRA: Final = msgspec.json.Decoder(RecordExtra)


@dataclass(slots=True)
class _Seen:
    """A dialogue that was written."""

    dialogue_id: str
    turns_digest: bytes
    images: tuple[str, ...]
    extra_digest: bytes
    place: Place
    split: str
    n_queries: int = 0
    queries: dict[tuple[Any, ...], Path] = field(default_factory=dict)


class _Known(NamedTuple):
    """What is known of a record, and further records of its frame need."""

    query: str
    dialogue: _Seen
    utt_ids: frozenset[int]
    img_ids: frozenset[int]


@dataclass(slots=True)
class ImportState:
    """What is known after the records so far.

    Attributes:
        writer: Where dialogues and queries go.
        release: The folder of an unpacked release, if the files are from one. Images are then
            looked for inside it only, and a query that an earlier file of it has is left out.
    """

    writer: BenchmarkWriter
    release: Path | None = None
    dialogues: dict[str, _Seen] = field(default_factory=dict)
    repeated: int = 0
    images: ImageFiles = field(init=False)

    def __post_init__(self) -> None:
        self.images = ImageFiles(self.writer, self.release)


def _convert(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the dialogues and queries of the files."""
    state = ImportState(writer)
    for source in sources:
        add_file(state, source)
    return notes_on(state)


def add_file(state: ImportState, path: Path, split: str = "test") -> None:
    """Write the dialogues and queries of a file into a split.

    Raises:
        InputError: For the first record that is wrong, or whose dialogue is in another split.
    """
    decoder = msgspec.json.Decoder(_Record)
    last: tuple[RecordFrame, _Known] | None = None
    for place, data in read_places(path):
        if last is not None and (filled := last[0].fill(data)):
            _add_repeated(state, place, last[1], *filled, split)
            continue
        record = decode_at(place, data, decoder)
        known = _add_record(state, place, record, split)
        plain = record.ffr is None and record.labels is None
        frame = RecordFrame.of(data) if plain else None
        holds = frame is not None and frame.fill(data) == (known.query, record.solution)
        last = (frame, known) if frame is not None and holds else None


def notes_on(state: ImportState) -> list[str]:
    """Sentences about what a reader of the benchmark should know."""
    notes = state.images.notes()
    if state.repeated:
        notes.insert(0, f"left out {state.repeated} queries that another file has as well")
    return notes


def _add_repeated(
    state: ImportState, place: Place, known: _Known, query: str, solution: str, split: str
) -> None:
    """Write the query of a record that is otherwise as the one before it."""
    gold = _gold(place, "solution", solution, known.utt_ids, known.img_ids)
    try:
        _add_query(state, place, known.dialogue, query, gold, _NO_EXTRA, split)
    except InputError as error:
        raise place.blame(error) from None


def _add_record(state: ImportState, place: Place, record: _Record, split: str) -> _Known:
    """Write the query of a record, and its dialogue if it is new."""
    if not record.dialogue_id:
        raise place.error("dialogue_id", "empty", "give the dialogue an id")
    extra = _extra(place, record)
    query, turns = _parse_message(place, record, bool(extra.image_ids))
    if record.ffr and (wrong := find_contradiction(extra, query, turns, read_turn)):
        remedy = "correct it, or remove the key ffr"
        raise place.error(f"ffr.{wrong.field}", wrong.message, remedy)
    marked = [img_id for turn in turns if turn.images for img_id in turn.images]
    img_ids = extra.image_ids or sorted(marked)
    name = "labels" if record.solution is None and record.labels is not None else "solution"
    solution = record.labels if record.solution is None else record.solution
    utt_ids = frozenset(turn.utt_id for turn in turns)
    gold = _gold(place, name, solution, utt_ids, frozenset(img_ids))
    if record.solution is not None and record.labels is not None:
        other = _gold(place, "labels", record.labels, utt_ids, frozenset(img_ids))
        if other != gold:
            message = "another answer than `solution`"
            raise place.error("labels", message, "keep the one that is right")
    images = record.images or ()
    if len(images) != len(img_ids):
        message = f"{len(images)} images, but {len(img_ids)} image markers in the turns"
        raise place.error("images", message, "list one image for each marker, in order of image id")
    digest = _digest(turns)
    paths = tuple(map(_path, images))
    new = _Seen(record.dialogue_id, digest, paths, _digest(extra.dialogue), place, split)
    seen = state.dialogues.setdefault(record.dialogue_id, new)
    if state.release is not None and seen.split != split:
        message = f"dialogue {record.dialogue_id!r} is in split {seen.split!r} in {seen.place}"
        remedy = f"a dialogue belongs to one split; this file is of split {split!r}"
        raise place.error("dialogue_id", message, remedy)
    if seen.turns_digest != digest:
        message = f"dialogue {record.dialogue_id!r} has other turns here than in {seen.place}"
        raise place.error("messages", message, "give different dialogues different ids")
    if not _same_images(seen, place, paths):
        message = f"dialogue {record.dialogue_id!r} has other images here than in {seen.place}"
        raise place.error("images", message, "give different dialogues different ids")
    if seen.extra_digest != new.extra_digest:
        message = f"dialogue {record.dialogue_id!r} is described in another way in {seen.place}"
        raise place.error("ffr.dialogue", message, "give all records on a dialogue the same")
    try:
        if not seen.n_queries:
            entries = dict(zip(img_ids, paths, strict=True))
            about = extra.dialogue or DialogueExtra()
            _add_dialogue(state, place, _described(record.dialogue_id, turns, about), entries)
        _add_query(state, place, seen, query, gold, extra, split)
        for index, unasked in enumerate(extra.unasked):
            ids = [image.img_id for image in unasked.record.images]
            if len(ids) != len(unasked.images):
                message = f"{len(unasked.images)} paths, but {len(ids)} images in the dialogue"
                remedy = 'list one path for each image, "" without a file'
                raise place.error(f"ffr.unasked[{index}].images", message, remedy)
            entries = dict(zip(ids, unasked.images, strict=True))
            _add_dialogue(state, place, unasked.record, entries)
    except InputError as error:
        raise place.blame(error, "ffr." if record.ffr else "") from None
    return _Known(query, seen, utt_ids, frozenset(img_ids))


def _digest(value: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()


def _same_images(seen: _Seen, place: Place, paths: tuple[str, ...]) -> bool:
    """Whether a record has the dialogue's images; files may write their folders differently."""
    if seen.images == paths or place.file == seen.place.file:
        return seen.images == paths
    names = [tuple(re.split(r"[/\\]", path)[-1] for path in each) for each in (seen.images, paths)]
    return names[0] == names[1]


def _described(
    dialogue_id: str, turns: tuple[TurnRecord, ...], about: DialogueExtra
) -> DialogueRecord:
    """The dialogue of a message, with what its extra says."""
    more = {turn.utt_id: turn for turn in about.turns}
    known = {image.img_id: image for image in about.images}
    shown = {img_id for turn in turns if turn.images for img_id in turn.images}
    order = about.image_order or sorted(shown)
    return DialogueRecord(
        dialogue_id,
        tuple(restore_turn(turn, more.get(turn.utt_id)) for turn in turns) if more else turns,
        tuple(known.get(img_id, ImageRecord(img_id)) for img_id in order),
        about.language,
        about.meta,
    )


def _add_dialogue(
    state: ImportState, place: Place, record: DialogueRecord, paths: Mapping[int, str]
) -> None:
    """Write a dialogue; its images are copied from their paths."""
    folder = place.file.parent
    images = tuple(
        state.images.record(image, paths[image.img_id], folder, record.dialogue_id)
        for image in record.images
    )
    state.writer.add_dialogue(msgspec.structs.replace(record, images=images))


def _add_query(
    state: ImportState,
    place: Place,
    dialogue: _Seen,
    query: str,
    gold: tuple[tuple[int, ...], tuple[int, ...]],
    extra: RecordExtra,
    split: str,
) -> None:
    """Write a query, unless another file of the release has it."""
    if state.release is not None:
        first = dialogue.queries.setdefault((query, gold), place.file)
        if first != place.file:
            state.repeated += 1
            return
    by_rule = sample_id_of(dialogue.dialogue_id, dialogue.n_queries)
    dialogue.n_queries += 1
    state.writer.add_query(
        QueryRecord(
            by_rule if extra.sample_id is None else extra.sample_id,
            dialogue.dialogue_id,
            query if extra.query is None else extra.query,
            *gold,
            split=split if extra.split is None else extra.split,
            meta=extra.meta,
        )
    )


def sample_id_of(dialogue_id: str, number: int) -> str:
    """The sample id of a dialogue's query, counted from 0 in file order."""
    return f"{dialogue_id}#{number}"


def _extra(place: Place, record: _Record) -> RecordExtra:
    """The key ``ffr``, which is an object, or JSON in a string."""
    if not isinstance(record.ffr, str):
        return record.ffr or _NO_EXTRA
    try:
        return decode(record.ffr.encode(), _EXTRA)
    except msgspec.DecodeError as error:
        found = problem(error, place.file, place.line).problem
        field = f"ffr.{found.field or ''}"
        raise place.error(field, found.message, "correct it, or remove the key ffr") from None


def _parse_message(
    place: Place, record: _Record, has_image_ids: bool
) -> tuple[str, tuple[TurnRecord, ...]]:
    """The query and the turns in the first user message; each id occurs once.

    Args:
        place: Where the record stands.
        record: The record.
        has_image_ids: Whether an extra says which image an entry is; ids may then come again.
    """
    index = next((i for i, message in enumerate(record.messages) if message.role == "user"), None)
    if index is None:
        raise place.error("messages", "no user message", "add the message with query and turns")
    name, content = f"messages[{index}].content", record.messages[index].content
    if not isinstance(content, str):
        raise place.error(name, "not a text", "write the message as one string")
    queries = {query.strip() for query in _QUERY.findall(content)} - {""}
    if len(queries) != 1:
        message = f"{len(queries)} queries between query markers"
        remedy = f"write one query as {markup.mark(markup.QUERY, '…')}"
        raise place.error(name, message, remedy)
    turns = read_turns(content)
    if not turns:
        remedy = f"write each turn as {markup.mark(markup.UTT_ID, 0)} SPEAKER: text"
        raise place.error(name, "no utterance markers", remedy)
    ids = {"utterance": [turn.utt_id for turn in turns]}
    if not has_image_ids:
        ids["image"] = [img_id for turn in turns if turn.images for img_id in turn.images]
    for what, numbers in ids.items():
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise place.error(name, f"{what} {twice} occurs twice", "give each its own id")
    return queries.pop(), turns


def _gold(
    place: Place,
    name: str,
    text: str | None,
    utt_ids: frozenset[int],
    img_ids: frozenset[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The gold ids in a record's field ``name``, which are among the dialogue's."""
    if text is None:
        message = "missing required field `solution` (dataset) or `labels` (inference output)"
        raise place.error(name, message, "add the gold answer in markup")
    answer = _ANSWER.fullmatch(text)
    if answer is None:
        message = f"not an answer of two lists of ids: {text[:80]!r}"
        raise place.error(name, message, f"write it as {markup.answer_text([1, 2], [0])}")
    gold = _ids(answer[1]), _ids(answer[2])
    for ids, known, what in ((gold[0], utt_ids, "utterance"), (gold[1], img_ids, "image")):
        if not known.issuperset(ids):
            unknown = next(number for number in ids if number not in known)
            message = f"the dialogue has no {what} {unknown}"
            raise place.error(name, message, "correct the gold id or the turns")
    return gold


def _ids(text: str) -> tuple[int, ...]:
    """The numbers of a list, sorted, each once."""
    return tuple(sorted({*map(int, text.split(","))})) if text.strip() else ()


def _path(image: str | _StoredImage) -> str:
    return image if isinstance(image, str) else image.path or ""


importer: Final = Importer(
    sources=("FILE…",),
    summary="ms-swift dataset or inference output of the original release (JSON or JSON Lines)",
    info=InfoRecord(name="mswift", description="Imported from ms-swift files."),
    convert=_convert,
)
