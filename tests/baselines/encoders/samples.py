"""Texts and drawn images that the tests of encoders share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from baselines.encoders.encoder import FloatArray

TEXTS = (
    "Hello.",
    "Where is the red sofa on which the cat sleeps? I do not know; perhaps at the sea.",
    "",
    "我们明天去看电影吧",
    "a line\nand another, with a tab\tin it and an emoji 🙂",
)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise of a few large patches, so that no two pictures look alike."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BILINEAR)


def cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    """Row by row."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)


def all_different(vectors: FloatArray) -> bool:
    """Whether no two rows point the same way."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarities = unit @ unit.T - 2 * np.eye(len(unit))
    return bool(similarities.max() < 0.9999)
