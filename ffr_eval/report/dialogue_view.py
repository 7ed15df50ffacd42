"""What is shown of a dialogue, wherever it is shown: turns, images, queries, and what is gold."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.types import Image, Sample, Turn


@dataclass(frozen=True, slots=True)
class QueryView:
    """A query on the dialogue."""

    sample_id: str
    split: str
    query: str
    kind: str
    gold_utt_ids: tuple[int, ...]
    gold_img_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image; ``path`` is its file as a reader of the folder finds it.

    Attributes:
        gold_of: Places, in :attr:`DialogueView.queries`, of the queries whose gold it is.
    """

    img_id: int
    caption: str | None
    url: str | None
    file: Path | None
    path: str | None
    gold_of: frozenset[int]


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn.

    Attributes:
        voice: Which speaker it is, counted from 0 in order of appearance.
        gold_of: Places, in :attr:`DialogueView.queries`, of the queries whose gold it is.
    """

    utt_id: int
    speaker: str
    voice: int
    text: str
    time: str | None
    images: tuple[ImageView, ...]
    gold_of: frozenset[int]

    def holds_gold(self, query: int | None) -> bool:
        """Whether the turn or one of its images is gold of the query at a place."""
        return query in self.gold_of or any(query in image.gold_of for image in self.images)


@dataclass(frozen=True, slots=True)
class Gap:
    """Turns left out."""

    n_turns: int


@dataclass(frozen=True, slots=True)
class DialogueView:
    """A dialogue with all queries on it.

    Attributes:
        current: Place of the query that was asked for, ``None`` if only the dialogue was.
        n_voices: Number of speakers.
    """

    benchmark: str
    dialogue_id: str
    language: str | None
    turns: tuple[TurnView, ...]
    queries: tuple[QueryView, ...]
    current: int | None
    n_voices: int

    @property
    def query(self) -> QueryView | None:
        """The query that was asked for."""
        return None if self.current is None else self.queries[self.current]

    def excerpt(self, context: int | None) -> Iterator[TurnView | Gap]:
        """The turns with gold and ``context`` turns around each; all turns if it is ``None``."""
        gold = [i for i, turn in enumerate(self.turns) if turn.holds_gold(self.current)]
        shown = set(range(len(self.turns)))
        if context is not None and self.current is not None:
            near = ((max(i - context, 0), min(i + context + 1, len(self.turns))) for i in gold)
            shown = {i for first, end in near for i in range(first, end)}
        left_out = 0
        for index, turn in enumerate(self.turns):
            if index not in shown:
                left_out += 1
                continue
            if left_out:
                yield Gap(left_out)
                left_out = 0
            yield turn
        if left_out:
            yield Gap(left_out)


def view(benchmark: Benchmark, name: str) -> DialogueView:
    """The dialogue of a sample id, or of a dialogue id.

    Raises:
        InputError: If there is none of that name; the message suggests the nearest.
    """
    row = benchmark.row_of(name)
    if row is not None:
        dialogue = int(benchmark.queries.dialogue[row])
    elif name in benchmark.dialogues.dialogue_id:
        dialogue = list(benchmark.dialogues.dialogue_id).index(name)
    else:
        message = f"no sample and no dialogue {name!r}"
        raise InputError(message, file=benchmark.root, remedy=_nearest(benchmark, name))
    rows = np.flatnonzero(benchmark.queries.dialogue == dialogue).tolist()
    samples = [benchmark.sample(each) for each in rows]
    found = benchmark.dialogue(dialogue)
    images = {image.img_id: _image(benchmark, image, samples) for image in found.images}
    voices = {turn.speaker: 0 for turn in found.turns}
    voices = {speaker: place for place, speaker in enumerate(voices)}
    return DialogueView(
        benchmark=benchmark.name,
        dialogue_id=found.dialogue_id,
        language=found.language,
        turns=tuple(_turn(turn, voices[turn.speaker], images, samples) for turn in found.turns),
        queries=tuple(map(_query, samples)),
        current=None if row is None else rows.index(row),
        n_voices=len(voices),
    )


def _nearest(benchmark: Benchmark, name: str) -> str:
    known = [*benchmark.queries.sample_id, *benchmark.dialogues.dialogue_id]
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(map(repr, close))}?"
    return f"sample ids here are such as {', '.join(map(repr, known[:3]))}"


def _query(sample: Sample) -> QueryView:
    gold = sample.gold
    return QueryView(
        sample_id=sample.sample_id,
        split=sample.split,
        query=sample.query,
        kind="" if sample.kind is None else sample.kind.value,
        gold_utt_ids=gold.utt_ids if gold else (),
        gold_img_ids=gold.img_ids if gold else (),
    )


def _turn(turn: Turn, voice: int, images: dict[int, ImageView], samples: list[Sample]) -> TurnView:
    return TurnView(
        utt_id=turn.utt_id,
        speaker=turn.speaker,
        voice=voice,
        text=turn.text,
        time=turn.time,
        images=tuple(images[img_id] for img_id in turn.img_ids),
        gold_of=frozenset(
            place
            for place, sample in enumerate(samples)
            if sample.gold and turn.utt_id in sample.gold.utt_ids
        ),
    )


def _image(benchmark: Benchmark, image: Image, samples: list[Sample]) -> ImageView:
    file, root = image.file, benchmark.root
    return ImageView(
        img_id=image.img_id,
        caption=image.caption,
        url=image.url,
        file=file,
        path=None if file is None or root is None else file.relative_to(root).as_posix(),
        gold_of=frozenset(
            place
            for place, sample in enumerate(samples)
            if sample.gold and image.img_id in sample.gold.img_ids
        ),
    )
