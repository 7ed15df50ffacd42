"""Shared by the tests of rewards: completions of all sorts on one dialogue with vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UTT_IDS = [0, 1, 2, 4, 5, 7, 8, 9]
IMG_IDS = [0, 1, 3]
IMAGE_TURN = [1, 4, 4]
GOLD = ([1, 2, 4, 5], [0, 1])


@pytest.fixture
def write_vectors(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``vectors.npz``: of one direction on the whole, so that coherence is above 0."""

    def write(*, without: str | None = None, **changed: Any) -> Path:
        rng = np.random.default_rng(7)
        keys = [*(f"u{i}" for i in UTT_IDS), *(f"i{i}" for i in IMG_IDS), "q"]
        made: dict[str, Any] = {key: (rng.normal(size=8) + 1.0).astype(np.float32) for key in keys}
        made |= changed
        path = tmp_path / "vectors.npz"
        np.savez(path, **{key: value for key, value in made.items() if key != without})
        return path

    return write


@pytest.fixture
def vectors(write_vectors: Callable[..., Path]) -> Path:
    return write_vectors()


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """Makes a line for ``ffr train rewards score``."""

    def make(completion: Any, gold: tuple[list[int], list[int]] = GOLD, **more: Any) -> Any:
        line = {
            "completion": completion,
            "solution": answer_text(*gold),
            "utt_ids": UTT_IDS,
            "img_ids": IMG_IDS,
            "image_turn": IMAGE_TURN,
            "embeddings": "vectors.npz",
        }
        return {name: value for name, value in (line | more).items() if value is not None}

    return make


@pytest.fixture
def rows(row: Callable[..., dict[str, Any]], vectors: Path) -> list[dict[str, Any]]:
    """Right, wrong, repeated, invented, empty and unreadable answers, with and without gold."""
    texts = [
        answer_text(*GOLD),
        answer_text([1, 2], [0]),
        answer_text([1, 2, 4, 5, 9], [0, 1]),
        answer_text([1, 1, 2], [0]),
        answer_text([1, 99], [77]),
        answer_text([7, 8, 9], [3]),
        answer_text([], []),
        answer_text([1], []),
        "I think it is utterance 1.",
        f"{answer_text(*GOLD)}\n",
    ]
    assert vectors.exists()
    nothing: tuple[list[int], list[int]] = ([], [])
    return [row(text, gold) for gold in (GOLD, ([1, 2], []), nothing) for text in texts]


@pytest.fixture
def columns() -> Callable[[list[dict[str, Any]]], dict[str, list[Any]]]:
    """The columns of rows as a trainer passes them."""

    def transpose(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        names = [name for name in rows[0] if name != "completion"]
        return {name: [row[name] for row in rows] for name in names}

    return transpose
