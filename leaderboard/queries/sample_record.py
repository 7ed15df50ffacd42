"""Everything about one sample: its dialogue, gold, what two runs answered, and what they got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ffr_eval.types import ANSWERED, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from leaderboard.site.reader import Site


class Turn(msgspec.Struct, frozen=True):
    """A turn of the dialogue; all texts are untrusted."""

    utt_id: int
    speaker: str | None
    text: str | None
    time: str | None
    img_ids: tuple[int, ...] | None


class Image(msgspec.Struct, frozen=True):
    """An image of the dialogue; ``sha256`` names its file, ``None`` without one."""

    img_id: int
    sha256: str | None
    width: int | None
    height: int | None
    caption: str | None


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """A sample.

    Attributes:
        gold_utt_ids, gold_img_ids: ``None`` where the gold is hidden.
    """

    sample_id: str
    row: int
    query: str
    kind: str | None
    dialogue_id: str
    language: str | None
    gold_utt_ids: tuple[int, ...] | None
    gold_img_ids: tuple[int, ...] | None
    turns: tuple[Turn, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """Predicted ids of one modality against the gold, each ascending.

    Attributes:
        tp: Right: predicted and gold.
        fp: Wrong: predicted and not gold; those that the dialogue does not have too.
        fn: Missed: gold and not predicted.
        invented: Those predicted ids that the dialogue does not have.
    """

    tp: tuple[int, ...] = ()
    fp: tuple[int, ...] = ()
    fn: tuple[int, ...] = ()
    invented: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """What a run answered to a sample; all texts are untrusted.

    Attributes:
        f1, precision, recall: Of this sample, both modalities; ``None`` where it does not count.
        utt_ids, img_ids: As they were predicted: repetitions and invented ids are kept.
        utterances, images: What they are worth.
        response: The raw text; ``None`` from a model that gives ids only, or without an answer.
        prompt_exact: Whether the hash of the prompt is the one that the run recorded.
        prompt_note: Why there is no prompt.
    """

    run_id: str
    outcome: str
    f1: float | None
    precision: float | None
    recall: float | None
    utt_f1: float | None
    img_f1: float | None
    utt_ids: tuple[int, ...]
    img_ids: tuple[int, ...]
    utterances: Marks
    images: Marks
    latency_s: float | None
    cost: float | None
    response: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    prompt_id: str | None = None
    prompt_exact: bool | None = None
    prompt_note: str | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of what a run's model got.

    Attributes:
        options: As JSON; untrusted.
        has_prompt: Whether it is sent prompts.
        ceiling: Whether it knows the gold.
    """

    options: str
    has_prompt: bool
    ceiling: bool


class ImagePlace(msgspec.Struct, frozen=True):
    """Which image of the benchmark a picture in a request is."""

    dialogue_id: str
    img_id: int


class Part(msgspec.Struct, frozen=True):
    """A piece of a message: a text, or an image by its id in the message."""

    text: str | None = None
    img_id: int | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of a request."""

    role: str
    parts: tuple[Part, ...]


class Request(msgspec.Struct, frozen=True):
    """A request to a model; one of several where the dialogue was shown in windows.

    Attributes:
        part: Which window.
        utt_ids: The first and the last utterance that it shows.
        images: For each image of the messages, in their order, which one of the benchmark it is.
        schema: Of the answer, where it was sent beside the messages.
    """

    messages: tuple[Message, ...]
    part: int | None = None
    utt_ids: tuple[int, ...] | None = None
    images: tuple[ImagePlace, ...] | None = None
    schema: Any = None


def sample_record(site: Site, board: str, sample_id: str) -> SampleRecord | None:
    """A sample with its dialogue; ``None`` if the board does not have it."""
    sql = (
        "SELECT row, query, kind, dialogue_id, gold_utt_ids, gold_img_ids FROM queries"
        " WHERE board_id = ? AND sample_id = ? LIMIT 1"
    )
    rows = site.query(sql, (board, sample_id)).to_pylist()
    if not rows:
        return None
    (row,) = rows
    hidden = site.board(board).hidden_gold
    sql = "SELECT language, turns, images FROM dialogues WHERE hash = ? AND dialogue_id = ?"
    found = site.query(sql, (site.board(board).hash, row["dialogue_id"])).to_pylist()
    dialogue = found[0] if found else {"language": None, "turns": None, "images": None}
    return SampleRecord(
        sample_id=sample_id,
        row=row["row"],
        query=row["query"],
        kind=None if hidden else row["kind"],
        dialogue_id=row["dialogue_id"],
        language=dialogue["language"],
        gold_utt_ids=None if hidden else tuple(row["gold_utt_ids"] or ()),
        gold_img_ids=None if hidden else tuple(row["gold_img_ids"] or ()),
        turns=msgspec.convert(dialogue["turns"] or (), tuple[Turn, ...]),
        images=msgspec.convert(dialogue["images"] or (), tuple[Image, ...]),
    )


def run_answer(site: Site, board: str, record: SampleRecord, run_id: str) -> RunAnswer | None:
    """What a run answered to a sample; ``None`` if it was not asked, or its gold is hidden."""
    sql = (
        "SELECT outcome, f1, precision, recall, utt_f1, img_f1, utt_ids, img_ids, latency_s, cost"
        " FROM samples WHERE board_id = ? AND run_id = ? AND row = ? LIMIT 1"
    )
    rows = site.query(sql, (board, run_id, record.row)).to_pylist()
    if not rows or record.gold_utt_ids is None or record.gold_img_ids is None:
        return None
    (row,) = rows
    row |= {name: tuple(row[name] or ()) for name in ("utt_ids", "img_ids")}
    sql = (
        "SELECT response, finish_reason, error, prompt_id, prompt_exact, prompt_note FROM answers"
        " WHERE board_id = ? AND run_id = ? AND sample_id = ? LIMIT 1"
    )
    said = site.query(sql, (board, run_id, record.sample_id)).to_pylist()
    # Without a usable answer nothing counts as predicted.
    counted = row["outcome"] in {outcome.value for outcome in ANSWERED}
    return RunAnswer(
        run_id=run_id,
        utterances=marks(
            row["utt_ids"] if counted else (),
            record.gold_utt_ids,
            [turn.utt_id for turn in record.turns],
        ),
        images=marks(
            row["img_ids"] if counted else (),
            record.gold_img_ids,
            [image.img_id for image in record.images],
        ),
        **(row | {"outcome": row["outcome"] or Outcome.MISSING.value}),
        **(said[0] if said else {}),
    )


def marks(predicted: Sequence[int], gold: Sequence[int], known: Collection[int]) -> Marks:
    """Which predicted ids are right, wrong and invented, and which gold ids are missed.

    Args:
        predicted: As predicted; a repeated id counts once.
        gold: The gold.
        known: The ids that the dialogue has.
    """
    said, right = set(predicted), set(gold)
    return Marks(
        tp=tuple(sorted(said & right)),
        fp=tuple(sorted(said - right)),
        fn=tuple(sorted(right - said)),
        invented=tuple(sorted(said - set(known))),
    )


def prompt_requests(site: Site, prompt_id: str) -> tuple[Request, ...] | None:
    """The requests of a prompt; ``None`` if the site does not have them."""
    sql = "SELECT requests FROM prompts WHERE prompt_id = ? LIMIT 1"
    rows = site.query(sql, (prompt_id,))["requests"].to_pylist()
    if not rows or rows[0] is None:
        return None
    return msgspec.json.decode(rows[0], type=tuple[Request, ...])


def image_files(
    site: Site, board: str, record: SampleRecord, requests: Sequence[Request]
) -> Mapping[tuple[str, int], str]:
    """The names of the files of all images in some requests, by dialogue and image id.

    Examples in a prompt bring images of other dialogues.
    """
    own = {image.img_id: image.sha256 for image in record.images}
    files = {(record.dialogue_id, i): sha256 for i, sha256 in own.items() if sha256}
    places = {place for request in requests for place in request.images or ()}
    others = sorted({place.dialogue_id for place in places} - {record.dialogue_id})
    if others:
        sql = (
            "SELECT dialogue_id, images FROM dialogues"
            " WHERE hash = ? AND list_contains(?::VARCHAR[], dialogue_id)"
        )
        for row in site.query(sql, (site.board(board).hash, others)).to_pylist():
            for image in row["images"] or ():
                if image["sha256"]:
                    files[row["dialogue_id"], image["img_id"]] = image["sha256"]
    return files


def run_facts(site: Site, board: str, run_id: str) -> RunFacts:
    """What is known of what a run's model got.

    Raises:
        IndexError: If the board has no such run.
    """
    sql = "SELECT options, prompt_hash, ceiling FROM runs WHERE board_id = ? AND run_id = ? LIMIT 1"
    row = site.query(sql, (board, run_id)).to_pylist()[0]
    return RunFacts(row["options"] or "{}", row["prompt_hash"] is not None, bool(row["ceiling"]))
