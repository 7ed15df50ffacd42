"""Synthetic turns in the form of the original release's prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffr_eval.markup import IMG_ID, UTT_ID, mark

if TYPE_CHECKING:
    import random

_WORDS = [
    "train",
    "plan",
    "photo",
    "maybe",
    "later",
    "price",
    "tomorrow",
    "menu",
    "station",
    "okay",
]
_CHINESE = "我们明天再看看这个价格好像有点贵不过照片挺好看的你觉得呢先问问她那边怎么说"


def marked_turns(rng: random.Random, turns: int, image: str) -> tuple[str, list[str]]:
    """The turns of a dialogue in markup, an image in every eighth or so, and the image paths.

    Args:
        rng: Where the words come from.
        turns: How many turns.
        image: The path of an image, with ``{}`` for its number.
    """
    lines, paths = [], []
    for turn in range(turns):
        words = " ".join(rng.choices(_WORDS, k=3)) + "".join(rng.choices(_CHINESE, k=6))
        shown = ""
        if rng.random() < 0.12:
            shown = f"{mark(IMG_ID, len(paths))}<image>"
            paths.append(image.format(len(paths)))
        lines.append(f"{mark(UTT_ID, turn)} User{turn % 2 + 1}: {words}{shown}\n")
    return "".join(lines), paths
