"""A small benchmark with image files, a store of its own, and the fake encoders, registered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import pytest

from baselines.embedding.models import TEXT, TEXT_AND_IMAGES, EmbeddingModel
from baselines.embedding.options import EmbeddingOptions, InterleavedOptions, with_encoder
from ffr_eval import plugins
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.embeddings.store import EmbeddingStore
from tests.baselines.embedding.fake_encoder import FakeEncoder, FakeTextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


@dataclass(frozen=True, order=True)
class FakePoint:
    name: str
    plugin: Any
    dist: None = None

    def load(self) -> Any:
        return self.plugin


class FakeModel(EmbeddingModel):
    encoder = "fake"
    capabilities = TEXT_AND_IMAGES
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(InterleavedOptions, FakeEncoder)


class FakeTextModel(EmbeddingModel):
    encoder = "faketext"
    capabilities = TEXT
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(EmbeddingOptions, FakeTextEncoder)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the fake encoders, and models of them, to what is registered."""
    more = {
        plugins.ENCODERS: [FakePoint("fake", FakeEncoder), FakePoint("faketext", FakeTextEncoder)],
        plugins.MODELS: [FakePoint("fake", FakeModel), FakePoint("faketext", FakeTextModel)],
    }
    real = plugins.registered

    def registered(group: str) -> dict[str, Any]:
        return {**real(group), **{point.name: point for point in more.get(group, [])}}

    for module in ("ffr_eval.plugins", "baselines.model", "baselines.encoders.registry"):
        monkeypatch.setattr(f"{module}.registered", registered)
    FakeEncoder.forget()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingStore:
    """The default store of this test."""
    monkeypatch.setenv("FFR_EMBEDDINGS", str(tmp_path / "store"))
    return EmbeddingStore()


@pytest.fixture
def colours(tmp_path: Path, store: EmbeddingStore) -> Path:
    return write_colours(tmp_path / "colours")


@pytest.fixture
def make_colours(store: EmbeddingStore) -> Callable[..., Path]:
    return write_colours


def write_colours(
    folder: Path, n_dialogues: int = 3, *, files: bool = True, captions: bool = True
) -> Path:
    """Dialogues of 8 turns with a red, a green and a blue picture, and two queries for each.

    The turns 10, 11, 12 are about red, green, blue things and show the pictures 0, 1, 2; turn 13 is
    blank. One query is in the split test, the other in dev.
    """
    from PIL import Image

    with BenchmarkWriter(folder, InfoRecord(name="colours")) as writer:
        for number in range(n_dialogues):
            turns = [
                TurnRecord(10 + i, "A", f"a {name} thing", (i,)) for i, name in enumerate(COLOURS)
            ]
            turns += [TurnRecord(13, "B", " ")]
            turns += [TurnRecord(14 + i, "B", f"talk {number} {i} and so on") for i in range(4)]
            images = tuple(
                ImageRecord(i, f"images/{name}.png" if files else None, None, f"{name} square")
                if captions
                else ImageRecord(i, f"images/{name}.png" if files else None)
                for i, name in enumerate(COLOURS)
            )
            writer.add_dialogue(DialogueRecord(f"d{number}", tuple(turns), images))
            for k, (split, name) in enumerate((("test", "green"), ("dev", "blue"))):
                place = list(COLOURS).index(name)
                sample_id = f"d{number}#{k}"
                query = QueryRecord(
                    sample_id, f"d{number}", f"{name} thing", (10 + place,), (place,), split
                )
                writer.add_query(query)
    (folder / "images").mkdir()
    for name, colour in COLOURS.items() if files else ():
        Image.new("RGB", (20, 10), colour).save(folder / "images" / f"{name}.png")
    return folder
