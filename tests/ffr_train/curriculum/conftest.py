"""A benchmark with a training split, runs that were made up, and a tiny model of the real class."""

from __future__ import annotations

import os

# Other things run beside the tests; with one thread each, all of them are faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.markup import answer_text
from ffr_eval.runs import BenchmarkRef, RunRecord, open_run
from ffr_eval.types import Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

GOLD: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "a#0": ((1, 2), (0,)),
    "a#1": ((), ()),
    "b#0": ((3, 4, 5), ()),
    "b#1": ((0,), ()),
}
"""The training split; ``b#2`` is of the split test."""


def write_benchmark(folder: Path, n_dialogues: int = 0) -> Path:
    """Dialogues ``a`` (with an image) and ``b``, and so many others with two queries each."""
    turns = tuple(TurnRecord(i, "AB"[i % 2], f"word {i}") for i in range(8))
    shown = (*turns[:2], TurnRecord(2, "A", "look", (0,)), *turns[3:])
    with BenchmarkWriter(folder, InfoRecord(name="small")) as writer:
        writer.add_dialogue(DialogueRecord("a", shown, (ImageRecord(0),)))
        writer.add_dialogue(DialogueRecord("b", turns))
        for sample_id, gold in GOLD.items():
            writer.add_query(QueryRecord(sample_id, sample_id[0], "what", *gold, "train"))
        writer.add_query(QueryRecord("b#2", "b", "what", (1,), (), "test"))
        for k in range(n_dialogues):
            writer.add_dialogue(DialogueRecord(f"d{k}", turns))
            for q in range(2):
                writer.add_query(QueryRecord(f"d{k}#{q}", f"d{k}", "what", (q,), (), "train"))
    return folder


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path / "small")


def answered(sample_id: str, text: str, entropy: float | None = 1.0, **more: Any) -> Prediction:
    """An answer of three tokens of this entropy; without log-probabilities if it is ``None``."""
    logprobs = {
        "token_logprobs": [-0.1, -0.2, -0.3],
        "entropy": [entropy] * 3,
        "entropy_kind": "full",
    }
    given = None if entropy is None else logprobs
    return Prediction(
        sample_id, **({"outcome": Outcome.OK, "response": text, "logprobs": given} | more)
    )


def failed(sample_id: str, outcome: Outcome = Outcome.REQUEST_ERROR) -> Prediction:
    return Prediction(sample_id, outcome)


def right(entropies: Mapping[str, float | None]) -> list[Prediction]:
    """The gold as the answer to these samples."""
    return [answered(name, answer_text(*GOLD[name]), h) for name, h in entropies.items()]


@pytest.fixture
def write_run(tmp_path: Path, benchmark: Path) -> Callable[..., Path]:
    """Writes a run folder."""

    def write(predictions: list[Prediction], name: str = "run", **more: Any) -> Path:
        data = read_benchmark(benchmark)
        record = {
            "model": "hf",
            "options": {"model": "some/model", "logprobs": True, "temperature": 0.0},
            "benchmark": BenchmarkRef(data.name, "1", data.content_hash, str(benchmark)),
            "split": "train",
            "n_samples": 4,
        }
        with open_run(tmp_path / name, RunRecord(**(record | more))) as run:
            for prediction in predictions:
                run.append(prediction)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2-VL of the real class."""
    from tests.checkpoints.qwen2_vl_64 import build

    return build(tmp_path_factory.mktemp("qwen2_vl"))
