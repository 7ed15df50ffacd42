"""A synthetic benchmark: short dialogues about a few things, with one-coloured pictures of them.

A turn is about one thing and names it; a picture in it has the thing's colour. A query names a
thing that the dialogue has, or one that it has not. So a small model can learn the task from
nothing, and one that looks at the picture can do what one that does not cannot: some pictures
stand in turns about another thing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

THINGS: Final = {
    "boats": (30, 90, 200),
    "bread": (200, 150, 80),
    "cats": (120, 120, 120),
    "grass": (40, 160, 60),
    "lemons": (240, 220, 40),
    "night": (20, 20, 40),
    "roses": (210, 40, 70),
    "snow": (240, 240, 245),
}
"""What turns may be about, and the colour of its pictures."""
SPEAKERS: Final = ("Ann", "Bob")
REMARKS: Final = (
    "I like {}",
    "more {} today",
    "do you see {}",
    "we talked of {}",
    "{} again",
    "so many {}",
)
QUERIES: Final = {"all": "all about {}", "images": "only pictures of {}"}
SPLITS: Final = {"train": 2000, "validation": 100, "test": 150, "train-grpo": 300}
"""Dialogues of each split; those of ``train-grpo`` are others than SFT sees, as in the release."""
SIDE: Final = 28
"""Pixels of a picture's side: one token of Qwen2-VL."""


@dataclass(frozen=True, slots=True)
class ToyOptions:
    """How large the synthetic benchmark is.

    Attributes:
        splits: Dialogues of each split.
        kinds: How many of :data:`THINGS` there are.
        turns: The least and the greatest number of turns.
        things: How many things a dialogue is about.
        queries: Queries of a dialogue.
        picture_share: How many turns have a picture.
        seed: Of everything that is drawn.
    """

    splits: Mapping[str, int] | None = None
    kinds: int = 4
    turns: tuple[int, int] = (3, 5)
    things: int = 2
    queries: int = 2
    picture_share: float = 0.35
    seed: int = 0


def build_benchmark(folder: Path, options: ToyOptions | None = None) -> None:
    """Write the benchmark ``toy``; the same folder for the same options.

    Args:
        folder: Where it goes; must not exist, or be empty.
        options: Its size.

    Raises:
        InputError: If there is something in the folder.
        MissingExtraError: If Pillow is not installed.
    """
    options = options or ToyOptions()
    info = InfoRecord(
        name="toy",
        language="en",
        licence="CC0-1.0",
        description="Synthetic dialogues about a few things, with one-coloured pictures of them.",
    )
    draw = random.Random(options.seed)  # noqa: S311 - to be repeated
    with TemporaryDirectory() as scratch, BenchmarkWriter(folder, info) as writer:
        for split, number in (options.splits or SPLITS).items():
            for place in range(number):
                _dialogue(writer, Path(scratch), draw, options, split, f"{split}-{place:05d}")


def _dialogue(
    writer: BenchmarkWriter,
    scratch: Path,
    draw: random.Random,
    options: ToyOptions,
    split: str,
    name: str,
) -> None:
    kinds = sorted(THINGS)[: options.kinds]
    things = draw.sample(kinds, options.things)
    turns: list[TurnRecord] = []
    images: list[ImageRecord] = []
    about_turn: list[str] = []
    about_image: list[str] = []
    for utt_id in range(draw.randint(*options.turns)):
        thing = draw.choice(things)
        shown: tuple[int, ...] = ()
        if draw.random() < options.picture_share:
            number = 1 if draw.random() < 0.8 else 2
            shown = tuple(range(len(images), len(images) + number))
            for img_id in shown:
                seen = thing if draw.random() < 0.7 else draw.choice(things)
                file = _picture(scratch / f"{name}-{img_id}.png", THINGS[seen], draw)
                record = ImageRecord(img_id, caption=f"a picture of {seen}")
                images.append(writer.add_image_file(record, file, f"{name}/{img_id}.png"))
                about_image.append(seen)
        about_turn.append(thing)
        text = draw.choice(REMARKS).format(thing)
        turns.append(TurnRecord(utt_id, SPEAKERS[utt_id % 2], text, shown))
    writer.add_dialogue(DialogueRecord(name, tuple(turns), tuple(images), "en"))
    absent = [thing for thing in kinds if thing not in things]
    for number in range(options.queries):
        thing = draw.choice(absent) if draw.random() < 0.15 else draw.choice(things)
        form = "images" if draw.random() < 0.25 else "all"
        utt_ids = [i for i, about in enumerate(about_turn) if about == thing and form == "all"]
        img_ids = [i for i, about in enumerate(about_image) if about == thing]
        query = QUERIES[form].format(thing)
        writer.add_query(
            QueryRecord(f"{name}#{number}", name, query, tuple(utt_ids), tuple(img_ids), split)
        )


def _picture(path: Path, colour: tuple[int, int, int], draw: random.Random) -> Path:
    try:
        from PIL import Image
    except ImportError:
        from ffr_eval.errors import MissingExtraError

        raise MissingExtraError("the pictures of the toy benchmark", "train") from None
    shift = draw.randint(-12, 12)
    shade = tuple(min(255, max(0, part + shift)) for part in colour)
    Image.new("RGB", (SIDE, SIDE), shade).save(path)
    return path
