"""ms-swift datasets: one record a query, its user message as :mod:`ffr_eval.prompt` renders it.

What the markup cannot carry goes into the key ``ffr`` of a record, so that importing the file
gives a benchmark of the same content hash. That is checked before the file appears.
"""

from __future__ import annotations

import gzip
import re
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

from ffr_eval.benchmark import BenchmarkWriter, ContentHash, ImageRecord, InfoRecord, QueryRecord
from ffr_eval.benchmark.reader import DIALOGUES, INFO, NOTICE, QUERIES, read_info
from ffr_eval.benchmark.writer import sha256_of
from ffr_eval.errors import FfrError, InputError
from ffr_eval.exporters import Exporter, ExportOptions
from ffr_eval.exporters.source import image_file, root_of, source_dialogues
from ffr_eval.exporters.staging import staged
from ffr_eval.importers import mswift as reading
from ffr_eval.importers.image_files import folder_name
from ffr_eval.importers.mswift_extra import (
    DialogueExtra,
    RecordExtra,
    TurnExtra,
    UnaskedDialogue,
)
from ffr_eval.importers.mswift_turns import read_turns
from ffr_eval.jsonl import encode_line
from ffr_eval.markup import answer_text, defuse
from ffr_eval.prompt import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.benchmark import Benchmark, DialogueRecord, TurnRecord

_RESERVED: Final = {(INFO,), (DIALOGUES,), (QUERIES,)}
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    messages: tuple[_Message, ...]
    images: tuple[str, ...]
    solution: str
    dialogue_id: str
    ffr: str


def _convert(benchmark: Benchmark, out: Path, options: ExportOptions) -> list[str]:
    """Write the file and the folder of its images."""
    stem = (out.with_suffix("") if out.suffix == ".gz" else out).stem
    folder = f"{stem}_images"
    with staged([out.with_name(folder), out]) as work:
        images = _Images(root_of(benchmark), work, folder, copied=options.images == "copy")
        images.keep_paths = any(
            image.sha256 is None and images.source(image) is not None
            for dialogue in source_dialogues(benchmark, options.split)
            for image in dialogue.record.images
        )
        expected = ContentHash()
        with _open(work / out.name) as stream:
            for record in _records(benchmark, options.split, images, expected):
                stream.write(encode_line(record))
        notice = images.root / NOTICE
        if notice.is_file() and (work / folder).is_dir():
            shutil.copyfile(notice, work / folder / NOTICE)
        _check(work, out, expected.hexdigest())
    notes = []
    if images.without_file:
        notes.append(
            f"{images.without_file} images have no file: their entry under images is a URL or"
            " empty; a trainer that reads images can only use the other dialogues"
        )
    return notes


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb"))


@dataclass(slots=True)
class _Images:
    """Brings image files beside the JSON file.

    Attributes:
        keep_paths: Say where each file stood, because the content hash goes by the path of an
            image whose own hash is not recorded.
    """

    root: Path
    work: Path
    folder: str
    copied: bool
    keep_paths: bool = False
    without_file: int = 0

    def source(self, image: ImageRecord) -> Path | None:
        """The file of an image."""
        if image.path is None or PurePosixPath(image.path).parts in _RESERVED:
            return None
        return image_file(self.root, image)

    def place(self, dialogue: DialogueRecord) -> dict[int, str]:
        """The entry under ``images`` of each image of a dialogue, its file in place."""
        return {image.img_id: self._entry(dialogue, image) for image in dialogue.images}

    def _entry(self, dialogue: DialogueRecord, image: ImageRecord) -> str:
        source = self.source(image)
        if source is None:
            self.without_file += 1
            return image.url if image.url and _is_web(image.url) else ""
        if not self.copied:
            return str(source.resolve())
        suffix = source.suffix.lower()
        name = f"{image.img_id}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        entry = f"{self.folder}/{folder_name(dialogue.dialogue_id)}/{name}"
        target = self.work / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return entry

    def unsaid(self, image: ImageRecord, entry: str) -> ImageRecord:
        """What an image's entry does not say."""
        url = None if _is_web(entry) else image.url
        if entry == "" or _is_web(entry):
            return msgspec.structs.replace(image, url=url)
        if self.keep_paths:
            return image
        return msgspec.structs.replace(image, path=None, sha256=None, url=url)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _records(
    benchmark: Benchmark, split: str | None, images: _Images, expected: ContentHash
) -> Iterator[_Record]:
    """The records dialogue by dialogue; what they hold is added to ``expected``."""
    n_queries = len(benchmark.rows(split))
    n_asked = len(set(benchmark.queries.dialogue[benchmark.rows(split)].tolist()))
    n_unasked = len(benchmark.dialogues) - n_asked if split is None else 0
    share = -(-n_unasked // n_queries) if n_queries else 0  # so that no line becomes very long
    unasked = (each for each in source_dialogues(benchmark, split) if not each.rows)
    for dialogue in source_dialogues(benchmark, split):
        if not dialogue.rows:
            continue
        expected.add_dialogue(dialogue.record)
        entries = images.place(dialogue.record)
        text = render(benchmark.sample(dialogue.rows[0])).text
        about = _dialogue_extra(dialogue.record, text, entries, images)
        for row in dialogue.rows:
            others = []
            for other in islice(unasked, share):
                expected.add_dialogue(other.record)
                others.append(_unasked(other.record, images))
            record, query = _record(benchmark, row, entries, about, tuple(others))
            expected.add_query(query)
            yield record


def _unasked(record: DialogueRecord, images: _Images) -> UnaskedDialogue:
    entries = images.place(record)
    extras = tuple(images.unsaid(image, entries[image.img_id]) for image in record.images)
    return UnaskedDialogue(
        msgspec.structs.replace(record, images=extras),
        tuple(entries[image.img_id] for image in record.images),
    )


def _record(
    benchmark: Benchmark,
    row: int,
    entries: dict[int, str],
    about: DialogueExtra | None,
    unasked: tuple[UnaskedDialogue, ...],
) -> tuple[_Record, QueryRecord]:
    """The record of one query, and the query as the benchmark has it."""
    sample = benchmark.sample(row)
    gold = sample.gold
    if gold is None:
        raise AssertionError("a benchmark's samples have their gold")
    prompt = render(sample)
    shown = [image.img_id for image in prompt.images]
    dialogue_id = sample.dialogue.dialogue_id
    extra = RecordExtra(
        sample_id=sample.sample_id,
        split=None if sample.split == "test" else sample.split,
        query=None if sample.query == defuse(sample.query).strip() else sample.query,
        meta=dict(sample.meta) or None,
        image_ids=() if shown == sorted(set(shown)) else tuple(shown),
        dialogue=about,
        unasked=unasked,
    )
    record = _Record(
        messages=(_Message("user", prompt.text),),
        images=tuple(entries[img_id] for img_id in shown),
        solution=answer_text(gold.utt_ids, gold.img_ids),
        dialogue_id=dialogue_id,
        ffr=msgspec.json.encode(extra).decode(),
    )
    query = QueryRecord(
        sample.sample_id,
        dialogue_id,
        sample.query,
        gold.utt_ids,
        gold.img_ids,
        sample.split,
        meta=dict(sample.meta) or None,
    )
    return record, query


def _dialogue_extra(
    record: DialogueRecord, content: str, entries: dict[int, str], images: _Images
) -> DialogueExtra | None:
    """What a message, read back, does not say of its dialogue."""
    turns = [
        _turn_extra(turn, read)
        for turn, read in zip(record.turns, read_turns(content), strict=True)
    ]
    more = [images.unsaid(image, entries[image.img_id]) for image in record.images]
    order = tuple(image.img_id for image in record.images)
    extra = DialogueExtra(
        language=record.language,
        meta=record.meta or None,
        turns=tuple(turn for turn in turns if turn != TurnExtra(turn.utt_id)),
        images=tuple(image for image in more if image != ImageRecord(image.img_id)),
        image_order=() if list(order) == sorted(order) else order,
    )
    return None if extra == DialogueExtra() else extra


def _turn_extra(turn: TurnRecord, read: TurnRecord) -> TurnExtra:
    return TurnExtra(
        turn.utt_id,
        None if turn.speaker == read.speaker else turn.speaker,
        None if turn.text == read.text else turn.text,
        turn.time,
    )


class _Checked(BenchmarkWriter):
    """A benchmark that is written to be hashed; its images are not copied."""

    def add_image_file(self, record: ImageRecord, source: Path, name: str) -> ImageRecord:
        """Hash the image."""
        return msgspec.structs.replace(record, path=f"images/{name}", sha256=sha256_of(source))

    def restore_image_file(self, record: ImageRecord, source: Path) -> ImageRecord:  # noqa: ARG002
        """Take the record as it is."""
        return record


def _check(work: Path, out: Path, expected: str) -> None:
    """Import what was written, and compare the content hash.

    Raises:
        FfrError: If it is another.
    """
    check = work / f".{out.name}.check"
    try:
        with _Checked(check, InfoRecord(name="check")) as writer:
            reading.importer.convert([work / out.name], writer)
        found: Any = read_info(check).hash
    except InputError as error:
        found = str(error).replace(str(work), str(out.parent))
    if found != expected:
        raise FfrError(
            f"{out}: not written, because it could not be imported again ({found})\n"
            "  → use another file name, or --images copy if image files have no image suffix"
        )


exporter: Final = Exporter(
    target="FILE",
    summary="ms-swift dataset (JSON Lines), which `ffr data import mswift` reads back unchanged",
    images=("copy", "absolute"),
    convert=_convert,
)
