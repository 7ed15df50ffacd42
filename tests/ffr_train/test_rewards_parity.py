"""Profile ``released`` against the figures of the original plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffr_train.rewards import Batch, DialogueIds, read_embeddings, score

HERE = Path(__file__).resolve().parents[1] / "data" / "reward_parity"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "reward_parity"
TERMS = ("format", "f1", "order")


def cases() -> list[dict[str, Any]]:
    lines = (HERE / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def dialogue() -> DialogueIds:
    found = json.loads((HERE / "dialogue.json").read_text(encoding="utf-8"))
    return DialogueIds(
        utt_ids=tuple(range(found["n_utterances"])),
        img_ids=tuple(range(found["n_images"])),
        image_turns=dict(enumerate(found["image_turn"])),
        embeddings=read_embeddings(HERE / "embeddings.npz"),
    )


def parity_batch(rows: list[dict[str, Any]]) -> Batch:
    return Batch(
        [row["completion"] for row in rows],
        [row["solution"] for row in rows],
        [dialogue()] * len(rows),
    )


@pytest.mark.parametrize("term", TERMS)
def test_released_returns_what_the_original_returns(term: str) -> None:
    rows = cases()
    assert len(rows) == 110
    expected = np.array([row[term] for row in rows])
    got = score(parity_batch(rows), "released", TERMS).terms[term]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_the_other_profiles_do_not() -> None:
    """The cases tell the profiles apart: a term computed by the wrong one would be seen."""
    rows = cases()
    for profile in ("paper", "fixed"):
        found = score(parity_batch(rows), profile, TERMS).terms
        for term in TERMS:
            assert np.abs(found[term] - [row[term] for row in rows]).max() > 0.01


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cases.jsonl", "dialogue.json", "embeddings.npz"])
def test_the_cases_are_the_shared_ones(name: str) -> None:
    assert (HERE / name).read_bytes() == (SHARED / name).read_bytes()
