"""The key ``ffr`` of an ms-swift record: what a benchmark says and the markup cannot carry.

Our exporter writes it, our importer reads it, trainers ignore it. It names the sample, and holds
what reading the markup would get wrong or leave out. Every record on a dialogue says the same of
it, so that records may be shuffled or left out. It is written as JSON in a string: trainers load
files as tables, whose columns must be of one type in all records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ffr_eval.benchmark import DialogueRecord, ImageRecord, TurnRecord
from ffr_eval.markup import defuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class TurnExtra(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn whose speaker or text is not what the markup gives, or that has a time."""

    utt_id: int
    speaker: str | None = None
    text: str | None = None
    time: str | None = None


class DialogueExtra(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is about a dialogue.

    Attributes:
        images: Images with something to add; ``path`` is where the file stood in its benchmark.
        image_order: The image ids in the dialogue's order, where that is not by number.
    """

    language: str | None = None
    meta: dict[str, Any] | None = None
    turns: tuple[TurnExtra, ...] = ()
    images: tuple[ImageRecord, ...] = ()
    image_order: tuple[int, ...] = ()


class UnaskedDialogue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dialogue without queries, and a path or URL (or ``""``) for each of its images."""

    record: DialogueRecord
    images: tuple[str, ...] = ()


class RecordExtra(msgspec.Struct, frozen=True, omit_defaults=True):
    """The key ``ffr`` of a record.

    Attributes:
        image_ids: The image id of each entry of the record's ``images``, where these are not one
            for each image by number.
        unasked: Dialogues that no record is about.
    """

    sample_id: str | None = None
    split: str | None = None
    query: str | None = None
    meta: dict[str, Any] | None = None
    image_ids: tuple[int, ...] = ()
    dialogue: DialogueExtra | None = None
    unasked: tuple[UnaskedDialogue, ...] = ()


class Contradiction(NamedTuple):
    """Something that an extra says against its record; ``field`` is a path inside the extra."""

    field: str
    message: str


def find_contradiction(
    extra: RecordExtra,
    query: str,
    turns: Sequence[TurnRecord],
    read_turn: Callable[[int, str], TurnRecord],
) -> Contradiction | None:
    """What an extra says against the message of its record.

    Args:
        extra: The extra.
        query: The query that the markup gives.
        turns: The turns that the markup gives.
        read_turn: Reads a turn with an utterance id from the text after its marker.
    """
    if extra.query is not None and defuse(extra.query).strip() != query:
        return Contradiction("query", "not the query between the query markers")
    marked = [img_id for turn in turns for img_id in turn.images]
    if extra.image_ids and list(extra.image_ids) != marked:
        return Contradiction("image_ids", "not the ids of the image markers in their order")
    if extra.dialogue is None:
        return None
    by_id = {turn.utt_id: turn for turn in turns}
    seen: set[int] = set()
    for index, turn in enumerate(extra.dialogue.turns):
        field = f"dialogue.turns[{index}]"
        there = by_id.get(turn.utt_id)
        if there is None or turn.utt_id in seen:
            what = "occurs twice" if turn.utt_id in seen else "is not marked in the message"
            return Contradiction(f"{field}.utt_id", f"utterance {turn.utt_id} {what}")
        seen.add(turn.utt_id)
        restored = restore_turn(there, turn)
        again = read_turn(turn.utt_id, f" {defuse(restored.speaker)}: {defuse(restored.text)}")
        if (again.speaker, again.text) != (there.speaker, there.text):
            return Contradiction(field, f"not what the message says in utterance {turn.utt_id}")
    return _image_contradiction(extra.dialogue, marked)


def _image_contradiction(extra: DialogueExtra, marked: Sequence[int]) -> Contradiction | None:
    seen: set[int] = set()
    for index, image in enumerate(extra.images):
        if image.img_id not in marked or image.img_id in seen:
            what = "occurs twice" if image.img_id in seen else "is not marked in the message"
            field = f"dialogue.images[{index}].img_id"
            return Contradiction(field, f"image {image.img_id} {what}")
        seen.add(image.img_id)
    if extra.image_order and sorted(extra.image_order) != sorted(set(marked)):
        return Contradiction("dialogue.image_order", "not the ids of the image markers")
    return None


def restore_turn(turn: TurnRecord, extra: TurnExtra | None) -> TurnRecord:
    """A turn with what its extra says, if it has one."""
    if extra is None:
        return turn
    return TurnRecord(
        turn.utt_id,
        turn.speaker if extra.speaker is None else extra.speaker,
        turn.text if extra.text is None else extra.text,
        turn.images,
        extra.time,
    )
