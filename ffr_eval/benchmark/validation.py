"""What must hold of a dialogue and of a query; each finding is a field, a message and a remedy."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final, NamedTuple

from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ffr_eval.benchmark.schema import DialogueRecord, QueryRecord

MAX_ID: Final = 2**31 - 1


class Finding(NamedTuple):
    """Something wrong with a record; ``field`` is a path inside it."""

    field: str
    message: str
    remedy: str


class Validator:
    """Checks records as they come, dialogues before their queries, and what they say of each other.

    Args:
        root: The folder that image paths are relative to, if there is one.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._ids: dict[str, tuple[set[int], set[int]]] = {}
        self._lines: dict[str, int] = {}

    def dialogue(self, record: DialogueRecord) -> list[Finding]:
        """What is wrong with a dialogue."""
        if record.dialogue_id in self._ids:
            message = f"dialogue {record.dialogue_id!r} occurs twice"
            remedy = "a dialogue stands once, however many queries it has"
            return [Finding("dialogue_id", message, remedy)]
        # A dialogue with findings still counts as known, so that its queries are not blamed.
        utt_ids = {turn.utt_id for turn in record.turns}
        img_ids = {image.img_id for image in record.images}
        self._ids[record.dialogue_id] = utt_ids, img_ids
        if _is_right_dialogue(record, utt_ids, img_ids):
            return []
        return list(dialogue_findings(record, self._root))

    def query(self, record: QueryRecord, line: int) -> list[Finding]:
        """What is wrong with the query in a line."""
        utt_ids, img_ids = self._ids.get(record.dialogue_id, (None, set()))
        findings: list[Finding] = []
        if not _is_right(record, utt_ids, img_ids):
            findings += query_findings(record, utt_ids, img_ids)
        first = self._lines.setdefault(record.sample_id, line)
        if first != line:
            message = f"sample {record.sample_id!r} occurs twice, first in line {first}"
            findings.append(Finding("sample_id", message, "give each query its own sample_id"))
        return findings


def _is_right_dialogue(record: DialogueRecord, utt_ids: set[int], img_ids: set[int]) -> bool:
    """Whether there is nothing to find, told quickly; ``False`` is no verdict."""
    shown = {img_id for turn in record.turns if turn.images for img_id in turn.images}
    return bool(
        record.dialogue_id
        and utt_ids
        and len(utt_ids) == len(record.turns)
        and len(img_ids) == len(record.images)
        and shown == img_ids
        and all(min(ids) >= 0 and max(ids) <= MAX_ID for ids in (utt_ids, img_ids) if ids)
        and all(image.path is None for image in record.images)
    )


def _is_right(record: QueryRecord, utt_ids: set[int] | None, img_ids: set[int]) -> bool:
    """Whether there is nothing to find, told quickly; ``False`` is no verdict."""
    return bool(
        record.sample_id
        and record.split
        and record.kind is None
        and utt_ids is not None
        and record.query.strip()
        and utt_ids.issuperset(record.gold_utt_ids)
        and img_ids.issuperset(record.gold_img_ids)
    )


def kind_of(utt_ids: Collection[int], img_ids: Collection[int]) -> Kind:
    """The query kind that goes with a gold fragment."""
    if utt_ids:
        return Kind.MULTIMODAL if img_ids else Kind.UTTERANCE
    return Kind.IMAGE if img_ids else Kind.NEGATIVE


def escapes(path: str) -> bool:
    """Whether a path is absolute or climbs out of its folder, on any operating system."""
    pure, windows = PurePosixPath(path), PureWindowsPath(path)
    climbs = ".." in pure.parts or ".." in windows.parts
    return climbs or pure.is_absolute() or bool(windows.anchor) or "\0" in path


def dialogue_findings(record: DialogueRecord, root: Path | None) -> Iterator[Finding]:
    """What is wrong inside a dialogue; image files are looked at for links that lead outside."""
    if not record.dialogue_id:
        yield Finding("dialogue_id", "empty", "give the dialogue an id")
    if not record.turns:
        yield Finding("turns", "a dialogue without turns", "remove the dialogue or add its turns")
    yield from _id_findings("turns[{}].utt_id", [turn.utt_id for turn in record.turns])
    yield from _id_findings("images[{}].img_id", [image.img_id for image in record.images])
    listed = {image.img_id for image in record.images}
    shown: set[int] = set()
    with_images = [(index, turn.images) for index, turn in enumerate(record.turns) if turn.images]
    for index, images in with_images:
        for place, img_id in enumerate(images):
            field = f"turns[{index}].images[{place}]"
            if img_id not in listed:
                message = f"image {img_id} is not among the dialogue's images"
                yield Finding(field, message, 'list it under "images" or correct the id')
            shown.add(img_id)
    for index, image in enumerate(record.images):
        if image.img_id not in shown:
            message = f"image {image.img_id} is shown in no turn"
            yield Finding(f"images[{index}].img_id", message, "add it to a turn or remove it")
        if image.path is not None and leaves(image.path, root):
            message = f"the path {image.path!r} leaves the benchmark folder"
            remedy = "copy the file into images/ and use a relative path"
            yield Finding(f"images[{index}].path", message, remedy)


def query_findings(
    record: QueryRecord, utt_ids: Collection[int] | None, img_ids: Collection[int]
) -> Iterator[Finding]:
    """What is wrong with a query; ``utt_ids`` is ``None`` if its dialogue does not exist."""
    if not record.sample_id:
        yield Finding("sample_id", "empty", "give the sample an id")
    if not record.query.strip():
        yield Finding("query", "empty", "write the query")
    if not record.split:
        yield Finding("split", "empty", "name the split, or leave the field out for 'test'")
    if utt_ids is None:
        message = f"there is no dialogue {record.dialogue_id!r}"
        yield Finding("dialogue_id", message, "add it to dialogues.jsonl or correct the id")
        return
    yield from _gold_findings("gold_utt_ids", record.gold_utt_ids, utt_ids, "utterance")
    yield from _gold_findings("gold_img_ids", record.gold_img_ids, img_ids, "image")
    kind = kind_of(record.gold_utt_ids, record.gold_img_ids)
    if record.kind is not None and record.kind != kind:
        message = f"{record.kind!r}, but the gold ids make it {kind.value!r}"
        yield Finding("kind", message, "correct it or leave it out")


def _id_findings(field: str, ids: Sequence[int]) -> Iterator[Finding]:
    if len(set(ids)) == len(ids) and (not ids or (min(ids) >= 0 and max(ids) <= MAX_ID)):
        return
    seen: set[int] = set()
    for index, number in enumerate(ids):
        if number in seen:
            yield Finding(field.format(index), f"id {number} occurs twice", "give each its own id")
        if not 0 <= number <= MAX_ID:
            message = f"id {number} is out of range"
            yield Finding(field.format(index), message, f"use 0 to {MAX_ID}")
        seen.add(number)


def _gold_findings(
    field: str, gold: Sequence[int], known: Collection[int], noun: str
) -> Iterator[Finding]:
    for index, number in enumerate(gold):
        if number not in known:
            message = f"the dialogue has no {noun} {number}"
            yield Finding(f"{field}[{index}]", message, "correct the gold id or the dialogue")


def leaves(path: str, root: Path | None) -> bool:
    """Whether a path leads out of the folder ``root``, also by a link."""
    if escapes(path):
        return True
    if root is None:
        return False
    try:
        return not Path(root, path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return True
