"""The ms-swift files of the original release: its datasets, and its inference outputs.

A record holds one query together with its whole dialogue, in the markup of the task. Records on
the same dialogue are brought together: the dialogue is stored once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ffr_eval import markup
from ffr_eval.benchmark import DialogueRecord, ImageRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.benchmark.validation import leaves
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.jsonl import decode, is_array, problem, read_array, read_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ffr_eval.benchmark import BenchmarkWriter

_IMAGE_SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


def _between(markers: tuple[str, str], content: str) -> str:
    start, end = map(re.escape, markers)
    return f"{start}{content}{end}"


_UTTERANCE: Final = re.compile(_between(markup.UTT_ID, r"\s*(\d{1,10})\s*"), re.ASCII)
_IMAGE: Final = re.compile(
    _between(markup.IMG_ID, r"\s*(\d{1,10})\s*") + f"(?:{markup.IMAGE_PLACEHOLDER})?", re.ASCII
)
_QUERY: Final = re.compile(_between(markup.QUERY, "(.*?)"), re.DOTALL)
_TURN_END: Final = re.compile("|".join(map(re.escape, markup.QUERY)))
_SPEAKER: Final = re.compile(r"\s*(?P<speaker>[^:：\n]*?)[ \t]*[:：](?P<text>.*)", re.DOTALL)
_IDS: Final = r"\s*\[\s*((?:\d{1,10}\s*(?:,\s*\d{1,10}\s*)*)?)\]\s*"
_ANSWER: Final = re.compile(
    rf"\s*{_between(markup.UTT_IDS, _IDS)}\s*[;；]\s*{_between(markup.IMG_IDS, _IDS)}\s*", re.ASCII
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


class _Place(NamedTuple):
    """Where a record stands; ``prefix`` goes before its fields, for a record of an array."""

    file: Path
    line: int
    prefix: str = ""

    def error(self, name: str, message: str, remedy: str | None) -> InputError:
        path = f"{self.prefix}{name}".rstrip(".") or None
        return InputError(message, file=self.file, line=self.line, field=path, remedy=remedy)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.prefix.rstrip('.')})" if self.prefix else "")


@dataclass(slots=True)
class _Seen:
    """A dialogue that was written."""

    turns_digest: bytes
    place: _Place
    n_queries: int = 0


@dataclass(slots=True)
class _State:
    """What is known after the records so far."""

    writer: BenchmarkWriter
    dialogues: dict[str, _Seen] = field(default_factory=dict)
    without_file: int = 0
    outside: int = 0


def _convert(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the dialogues and queries of the files."""
    state = _State(writer)
    for source in sources:
        for place, record in _records(source):
            _add_record(state, place, record)
    notes = []
    if state.without_file:
        notes.append(f"{state.without_file} images have no file: none was found at their paths")
    if state.outside:
        notes.append(
            f"{state.outside} images have no file: their relative paths lead out of the folder of"
            " the JSON file, and were not followed"
        )
    return notes


def _records(path: Path) -> Iterator[tuple[_Place, _Record]]:
    """The records of a JSON array or of JSON lines.

    Raises:
        InputError: For the first that is not such a record.
    """
    decoder = msgspec.json.Decoder(_Record)
    array = is_array(path)
    for index, line in enumerate(read_array(path) if array else read_lines(path)):
        place = _Place(path, line.number, f"[{index}]." if array else "")
        try:
            yield place, decode(line.data, decoder)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            found = problem(error, path, line.number).problem
            raise place.error(found.field or "", found.message, found.remedy) from None


def _add_record(state: _State, place: _Place, record: _Record) -> None:
    """Write the query of a record, and its dialogue if it is new."""
    if not record.dialogue_id:
        raise place.error("dialogue_id", "empty", "give the dialogue an id")
    query, turns = _parse_message(place, record)
    img_ids = sorted(img_id for turn in turns for img_id in turn.images)
    gold_utt_ids, gold_img_ids = _gold(place, record, {turn.utt_id for turn in turns}, img_ids)
    images = record.images or ()
    if len(images) != len(img_ids):
        message = f"{len(images)} images, but {len(img_ids)} image markers in the turns"
        raise place.error("images", message, "list one image for each marker, in order of image id")
    digest = hashlib.sha256(msgspec.json.encode(turns)).digest()
    seen = state.dialogues.setdefault(record.dialogue_id, _Seen(digest, place))
    if seen.turns_digest != digest:
        message = f"dialogue {record.dialogue_id!r} has other turns here than in {seen.place}"
        raise place.error("messages", message, "give different dialogues different ids")
    if not seen.n_queries:
        records = _image_records(state, place, record, img_ids)
        state.writer.add_dialogue(DialogueRecord(record.dialogue_id, turns, records))
    sample_id = f"{record.dialogue_id}#{seen.n_queries}"
    seen.n_queries += 1
    state.writer.add_query(
        QueryRecord(sample_id, record.dialogue_id, query, gold_utt_ids, gold_img_ids)
    )


def _parse_message(place: _Place, record: _Record) -> tuple[str, tuple[TurnRecord, ...]]:
    """The query and the turns in the first user message."""
    roles = [message.role for message in record.messages]
    if "user" not in roles:
        raise place.error("messages", "no user message", "add the message with query and turns")
    index = roles.index("user")
    name, content = f"messages[{index}].content", record.messages[index].content
    if not isinstance(content, str):
        raise place.error(name, "not a text", "write the message as one string")
    queries = {query.strip() for query in _QUERY.findall(content)} - {""}
    if len(queries) != 1:
        message = f"{len(queries)} queries between query markers"
        remedy = f"write one query as {markup.mark(markup.QUERY, '…')}"
        raise place.error(name, message, remedy)
    starts = list(_UTTERANCE.finditer(content))
    if not starts:
        remedy = f"write each turn as {markup.mark(markup.UTT_ID, 0)} SPEAKER: text"
        raise place.error(name, "no utterance markers", remedy)
    ends = [*(match.start() for match in starts[1:]), len(content)]
    turns = tuple(
        _turn(int(match.group(1)), content[match.end() : end])
        for match, end in zip(starts, ends, strict=True)
    )
    for what, ids in (
        ("utterance", [turn.utt_id for turn in turns]),
        ("image", [img_id for turn in turns for img_id in turn.images]),
    ):
        if len(set(ids)) < len(ids):
            twice = next(number for number in ids if ids.count(number) > 1)
            raise place.error(name, f"{what} {twice} occurs twice", "give each its own id")
    return queries.pop(), turns


def _turn(utt_id: int, body: str) -> TurnRecord:
    """A turn of what stands between its marker and the next utterance marker."""
    if end := _TURN_END.search(body):
        body = body[: end.start()]
    named = _SPEAKER.match(body)
    speaker, text = named.group("speaker", "text") if named else ("", body)
    if markup.IMG_ID[0] in speaker:  # the colon belongs to the text
        speaker, text = "", body
    img_ids = tuple(map(int, _IMAGE.findall(text)))
    return TurnRecord(utt_id, speaker.strip(), _IMAGE.sub("", text).strip(), img_ids)


def _gold(
    place: _Place, record: _Record, utt_ids: Collection[int], img_ids: Collection[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The gold ids of a record, which are among the dialogue's."""
    name = "labels" if record.solution is None and record.labels is not None else "solution"
    text = record.labels if record.solution is None else record.solution
    if text is None:
        message = "missing required field `solution` (dataset) or `labels` (inference output)"
        raise place.error(name, message, "add the gold answer in markup")
    answer = _ANSWER.fullmatch(text)
    if answer is None:
        message = f"not an answer of two lists of ids: {text[:80]!r}"
        raise place.error(name, message, f"write it as {markup.answer_text([1, 2], [0])}")
    lists = []
    for ids, known, what in zip(
        answer.groups(), (utt_ids, img_ids), ("utterance", "image"), strict=True
    ):
        gold = sorted({int(number) for number in ids.split(",") if number.strip()})
        for number in gold:
            if number not in known:
                message = f"the dialogue has no {what} {number}"
                raise place.error(name, message, "correct the gold id or the turns")
        lists.append(tuple(gold))
    return lists[0], lists[1]


def _image_records(
    state: _State, place: _Place, record: _Record, img_ids: Sequence[int]
) -> tuple[ImageRecord, ...]:
    """The images of a dialogue; those with a file are copied."""
    folder = _file_safe(record.dialogue_id)
    records = []
    for img_id, image in zip(img_ids, record.images or (), strict=True):
        path = image if isinstance(image, str) else image.path or ""
        if path.startswith(("http://", "https://")):
            state.without_file += 1
            records.append(ImageRecord(img_id, url=path))
            continue
        absolute = Path(path).is_absolute()
        source = place.file.parent / path
        if not absolute and leaves(path, place.file.parent):
            state.outside += 1
            records.append(ImageRecord(img_id))
        elif _is_file(source) and not (absolute and source.suffix.lower() not in _IMAGE_SUFFIXES):
            name = f"{folder}/{img_id}{source.suffix.lower()}"
            records.append(state.writer.add_image_file(ImageRecord(img_id), source, name))
        else:
            state.without_file += 1
            records.append(ImageRecord(img_id))
    return tuple(records)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # for example a data URI, which is too long for a path
        return False


def _file_safe(dialogue_id: str) -> str:
    """A folder name of its own for each dialogue id, also where upper and lower case are one."""
    if re.fullmatch(r"[a-z0-9_]{1,80}", dialogue_id):
        return dialogue_id
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", dialogue_id)[:40]
    digest = hashlib.sha256(dialogue_id.encode()).hexdigest()[:16]
    return f"{readable}-{digest}"  # names without a hash have no hyphen


importer: Final = Importer(
    sources=("FILE…",),
    summary="ms-swift dataset or inference output of the original release (JSON or JSON Lines)",
    info=InfoRecord(name="mswift", description="Imported from ms-swift files."),
    convert=_convert,
)
