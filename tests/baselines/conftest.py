"""A tiny benchmark, and models that are registered for one test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from baselines import lexical, simple
from baselines.model import Capabilities, Model, answer
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.types import Fragment, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WORDS = ("apple", "bridge", "candle", "dragon", "engine", "forest", "guitar", "hammer")
_SHOWN = {2: (0,), 6: (1,)}  # the images of the turns


@dataclass(frozen=True, order=True)
class FakeEntryPoint:
    name: str
    plugin: Any

    def load(self) -> Any:
        return self.plugin


class Echo(Model):
    """Answers with the first utterance, and keeps the samples that it saw."""

    capabilities = Capabilities(text=True)
    seen: list[Sample]

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        type(self).seen = []

    def predict(self, sample: Sample) -> Prediction:
        type(self).seen.append(sample)
        return answer(sample, Fragment((sample.dialogue.turns[0].utt_id,)))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the built-in models, and those given by name, the registered ones."""
    models: dict[str, Any] = {
        "all": simple.All,
        "bm25": lexical.Bm25,
        "none": simple.Nothing,
        "oracle": simple.Oracle,
        "random": simple.Random,
        "tfidf": lexical.TfIdf,
        "window": lexical.Window,
        "echo": Echo,
    }

    def entry_points(group: str) -> list[FakeEntryPoint]:
        return [FakeEntryPoint(name, plugin) for name, plugin in models.items()]

    monkeypatch.setattr("ffr_eval.plugins.entry_points", entry_points)

    def add(**more: Any) -> None:
        models.update(more)

    return add


@pytest.fixture
def echo(register: Callable[..., None]) -> type[Echo]:
    return Echo


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """Four dialogues of 8 turns and 2 images; of each, 3 queries: two in test, one in dev."""
    return write_benchmark(tmp_path / "tiny")


@pytest.fixture
def make_benchmark() -> Callable[..., Path]:
    return write_benchmark


def write_benchmark(folder: Path, n_dialogues: int = 4, words: tuple[str, ...] = _WORDS) -> Path:
    with BenchmarkWriter(folder, InfoRecord(name="tiny")) as writer:
        for number in range(n_dialogues):
            name = f"d{number}"
            turns = tuple(
                TurnRecord(
                    10 + i, "AB"[i % 2], f"the {word} is here", (i // 4,) if i % 4 == 2 else ()
                )
                for i, word in enumerate(words)
            )
            images = (ImageRecord(0, caption="a red sunset"), ImageRecord(1))
            writer.add_dialogue(DialogueRecord(name, turns, images))
            # Word 3 stands in turn 13, beside turn 12 with image 0.
            gold: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
                (f"{words[0]} and {words[3]}", (10, 13), (0,)),
                (f"about the {words[5]}", (15,), ()),
                ("nothing like this", (), ()),
            ]
            for k, (query, utt_ids, img_ids) in enumerate(gold):
                split = "dev" if k == 1 else "test"
                writer.add_query(QueryRecord(f"{name}#{k}", name, query, utt_ids, img_ids, split))
    return folder
