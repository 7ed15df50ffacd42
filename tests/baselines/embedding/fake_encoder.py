"""An encoder without weights: the same text or picture always has the same vector.

A text's vector is the sum of its words' vectors, so that texts with words in common are near each
other. What is asked of it can be made to fail, and is counted.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.registry import check_installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.keys import Role
    from ffr_eval.embeddings.space import SpaceRecord

DIMENSION = 16


@dataclass(frozen=True, slots=True)
class FakeOptions:
    model: str = "one"
    roles: bool = False
    max_tokens: int | None = None
    largest_batch: int = 1000  # more is out of memory
    refused: str | None = None  # texts with this in them are refused
    pause: float = 0.0
    dimension: int = DIMENSION


class FakeEncoder(Encoder):
    name = "fake"
    mixed = True
    Options = FakeOptions
    options: FakeOptions
    reads: ClassVar[tuple[str, ...]] = ("text", "image")
    loads: ClassVar[int] = 0
    calls: ClassVar[list[list[str]]] = []

    @classmethod
    def forget(cls) -> None:
        FakeEncoder.loads = 0
        FakeEncoder.calls = []

    @classmethod
    def encoded(cls) -> list[str]:
        return [text for call in FakeEncoder.calls for text in call]

    def describe(self) -> SpaceRecord:
        from ffr_eval.embeddings.space import SpaceRecord

        return SpaceRecord(
            encoder=self.name,
            model=self.options.model,
            revision=f"revision of {self.options.model}",
            options={},
            modalities=self.reads,
            roles=self.options.roles,
            max_tokens=self.options.max_tokens,
        )

    def load(self) -> LoadedEncoder:
        check_installed(type(self))
        FakeEncoder.loads += 1
        return LoadedFake(self.options)


class FakeTextEncoder(FakeEncoder):
    """The same without eyes."""

    name = "faketext"
    mixed = False
    reads = ("text",)


class LoadedFake(LoadedEncoder):
    device = "cpu"
    dtype = "float32"
    batch_size = 8

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self.dimension = options.dimension
        self.max_tokens = options.max_tokens

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:
        self._asked(list(texts))
        return np.stack([self._of_text(text, role) for text in texts])

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        self._asked([f"<image {image.width}x{image.height}>" for image in images])
        return np.stack([self._of_image(image) for image in images])

    def encode_mixed(self, items: Sequence[tuple[str, Sequence[Image]]], role: Role) -> FloatArray:
        self._asked([f"{text} + {len(images)}" for text, images in items])
        return np.stack(
            [
                self._of_text(text, role) + sum(self._of_image(image) for image in images)
                for text, images in items
            ]
        )

    def _asked(self, what: list[str]) -> None:
        if len(what) > self._options.largest_batch:
            raise RuntimeError("CUDA out of memory. Tried to allocate 3.00 GiB")
        refused = self._options.refused
        if refused is not None and any(refused in text for text in what):
            raise ValueError(f"cannot take {refused!r}")
        if self._options.pause:
            time.sleep(self._options.pause)
        FakeEncoder.calls.append(what)

    def _of_text(self, text: str, role: Role) -> Any:
        words = text.lower().split()[: self._options.max_tokens]
        total = sum((of_word(word, self.dimension) for word in words), np.zeros(self.dimension))
        if self._options.roles:
            total = total + of_word(f"role {role.value}", self.dimension)
        return total.astype(np.float32)

    def _of_image(self, image: Image) -> Any:
        red, green, blue = np.asarray(image.resize((1, 1)), dtype=np.float64)[0, 0] / 255
        vector = red * of_word("red", self.dimension) + green * of_word("green", self.dimension)
        return (vector + blue * of_word("blue", self.dimension)).astype(np.float32)


def of_word(word: str, dimension: int = DIMENSION) -> Any:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dimension)
