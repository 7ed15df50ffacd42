"""What the components are told: plain JSON, with all untrusted text as text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ffr_eval.report.safe_text import visible_lines
from leaderboard import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from leaderboard.queries.sample_record import (
        Image,
        ImagePlace,
        Marks,
        Message,
        Request,
        RunAnswer,
        SampleRecord,
        Turn,
    )
    from leaderboard.texts import Text

PAGE: Final = "samples"
"""The last part of the address of the page that they are on: images lie beside it."""
GOLD: Final = "gold"
KINDS: Final = ("tp", "fp", "fn")
_VOICES: Final = 6
_FILE: Final = re.compile(r"[0-9a-f]{64}")
_WORDS: Final = (
    "dialogue",
    "utt",
    "utts",
    "imgs",
    "loose",
    "enlarge",
    "close",
    "no_file",
    "broken",
    "invented",
    "previous",
    "next",
    "count",
    "no_marks",
    *(f"{kind}{suffix}" for kind in (GOLD, *KINDS) for suffix in ("", "_help")),
)


class Column(NamedTuple):
    """A model beside the dialogue.

    Attributes:
        name: ``A`` or ``B``.
        label: Of the run.
        answer: What it answered; ``None`` if it was not asked.
    """

    name: str
    label: str
    answer: RunAnswer | None


def dialogue_data(record: SampleRecord, columns: Sequence[Column], text: Text) -> dict[str, Any]:
    """A dialogue with the gold and what models answered beside each turn and image.

    Args:
        record: The sample.
        columns: The models; those without an answer have no column.
        text: The words of the interface.
    """
    shown = [column for column in columns if column.answer is not None]
    answers = [column.answer for column in shown if column.answer is not None]
    gold_known = record.gold_utt_ids is not None
    gold_utts = frozenset(record.gold_utt_ids or ())
    gold_imgs = frozenset(record.gold_img_ids or ())
    utterances = [_kinds(answer.utterances) for answer in answers]
    pictures = [_kinds(answer.images) for answer in answers]
    head = [{"name": text("samples.gold"), "label": text("samples.gold_help")}]
    voices = _voices(record.turns)
    two = len(voices) == 2

    def marks(number: int, gold: frozenset[int], said: list[dict[int, str]]) -> list[str | None]:
        own = [GOLD if number in gold else None] if gold_known else []
        return [*own, *(kinds.get(number) for kinds in said)]

    images = {
        image.img_id: _image(image, text)
        | {"gold": image.img_id in gold_imgs, "marks": marks(image.img_id, gold_imgs, pictures)}
        for image in record.images
    }
    turns: list[dict[str, Any]] = []
    for turn in record.turns:
        voice = voices[turn.speaker]
        turns.append(
            {
                "id": turn.utt_id,
                "who": names.line(turn.speaker or ""),
                "voice": voice % _VOICES,
                "right": two and voice == 1,
                "text": visible_lines(turn.text or ""),
                "time": names.line(turn.time) if turn.time else None,
                "images": [number for number in turn.img_ids or () if number in images],
                "gold": turn.utt_id in gold_utts,
                "marks": marks(turn.utt_id, gold_utts, utterances),
            }
        )
    placed = {number for turn in turns for number in turn["images"]}
    marked = _marked(turns, images)
    return {
        "page": PAGE,
        "words": {word: text(f"samples.{word}") for word in _WORDS},
        "columns": [
            *(head if gold_known else []),
            *({"name": column.name, "label": names.line(column.label)} for column in shown),
        ],
        "legend": [*([GOLD] if gold_known else []), *(KINDS if shown else ())],
        "turns": turns,
        "images": {str(number): image for number, image in images.items()},
        "loose": [number for number in images if number not in placed],
        "invented": [
            {
                "name": column.name,
                "utts": list(answer.utterances.invented),
                "imgs": list(answer.images.invented),
            }
            for column, answer in zip(shown, answers, strict=True)
            if answer.utterances.invented or answer.images.invented
        ],
        "marked": marked,
        "open": _opening(turns, images, marked),
    }


def prompt_data(
    requests: Sequence[Request],
    dialogue_id: str,
    files: Mapping[tuple[str, int], str],
    text: Text,
) -> dict[str, Any]:
    """The requests of a prompt; an image is ``[image 3]``, with its picture where it has one.

    Args:
        requests: The requests.
        dialogue_id: Of the sample.
        files: The names of image files, by dialogue and image id.
        text: The words of the interface.
    """
    return {
        "page": PAGE,
        "words": {word: text(f"samples.{word}") for word in ("no_file", "broken", "schema")},
        "requests": [
            {
                "title": _title(request, number, len(requests), text),
                "messages": _messages(request, dialogue_id, files, text),
                "schema": None
                if request.schema is None
                else json.dumps(request.schema, indent=2, ensure_ascii=True),
            }
            for number, request in enumerate(requests)
        ],
    }


def _kinds(found: Marks) -> dict[int, str]:
    kinds = ((kind, getattr(found, kind)) for kind in KINDS)
    return {number: kind for kind, ids in kinds for number in ids}


def _voices(turns: Sequence[Turn]) -> dict[str | None, int]:
    """The speakers, numbered in the order in which they first speak."""
    speakers = dict.fromkeys(turn.speaker for turn in turns)
    return {speaker: place for place, speaker in enumerate(speakers)}


def _image(image: Image, text: Text) -> dict[str, Any]:
    file = image.sha256
    return {
        "name": text("samples.image", n=image.img_id),
        "file": file if file and _FILE.fullmatch(file) else None,
        "width": image.width,
        "height": image.height,
        "caption": visible_lines(image.caption) if image.caption else None,
    }


def _marked(turns: Sequence[dict[str, Any]], images: Mapping[int, dict[str, Any]]) -> list[int]:
    """Places of the turns that have a mark, or an image with one."""
    return [
        place
        for place, turn in enumerate(turns)
        if any(turn["marks"]) or any(any(images[i]["marks"]) for i in turn["images"])
    ]


def _opening(
    turns: Sequence[dict[str, Any]], images: Mapping[int, dict[str, Any]], marked: Sequence[int]
) -> int | None:
    """The place that is shown first: the first gold turn or image, else the first marked one."""
    for place in marked:
        turn = turns[place]
        if turn["gold"] or any(images[i]["gold"] for i in turn["images"]):
            return place
    return marked[0] if marked else None


def _title(request: Request, number: int, total: int, text: Text) -> str | None:
    if total == 1:
        return None
    place = number if request.part is None else request.part
    if not request.utt_ids:
        return text("samples.window", n=place + 1)
    first, last = request.utt_ids[0], request.utt_ids[-1]
    return text("samples.window_of", n=place + 1, first=first, last=last)


def _messages(
    request: Request, dialogue_id: str, files: Mapping[tuple[str, int], str], text: Text
) -> list[dict[str, Any]]:
    places = iter(request.images or ())
    questions = sum(message.role == "user" for message in request.messages)
    # Without places an image is of this dialogue if nothing else was shown before it.
    own = request.images is None and questions == 1 and request.part in (None, 0)
    return [
        {
            "role": names.line(message.role),
            "parts": _parts(message, places, dialogue_id if own else None, files, text),
        }
        for message in request.messages
    ]


def _parts(
    message: Message,
    places: Iterator[ImagePlace],
    dialogue_id: str | None,
    files: Mapping[tuple[str, int], str],
    text: Text,
) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if part.img_id is None:
            # Tabs stay: this is to be what was sent.
            kept = "\t".join(map(visible_lines, (part.text or "").split("\t")))
            parts.append({"text": kept})
            continue
        place = next(places, None)
        file = None
        if place is not None:
            file = files.get((place.dialogue_id, place.img_id))
        elif dialogue_id is not None:
            file = files.get((dialogue_id, part.img_id))
        known = file if file and _FILE.fullmatch(file) else None
        parts.append({"name": f"[{text('samples.image', n=part.img_id)}]", "file": known})
    return parts
