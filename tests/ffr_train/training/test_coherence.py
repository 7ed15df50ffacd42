"""The reward of coherence, from an embedding store to the answers that were written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.embeddings.store import EmbeddingStore, Entry, SpaceRecord
from ffr_train.rewards import Batch, score
from ffr_train.rewards.batch import DialogueIds
from ffr_train.rewards.embeddings import embeddings_of
from tests.ffr_train.training.conftest import lines
from tests.ffr_train.training.workshop import Workshop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.ffr_train.training.conftest import World

SPACE = SpaceRecord("open_clip", "ViT-B-32/openai", "r1", {}, ("text", "image"), roles=False)


def made_up(keys: list[bytes]) -> dict[bytes, np.ndarray]:
    """A vector a key; with a common direction, so that neighbours are coherent."""
    vectors = np.random.default_rng(3).normal(size=(len(keys), 8)).astype(np.float32) + 0.7
    return dict(zip(keys, vectors, strict=True))


def dialogues(benchmark: Path, vectors: dict[bytes, np.ndarray]) -> dict[str, DialogueIds]:
    """What rewards know of each dialogue, straight from the benchmark and the vectors."""
    read = read_benchmark(benchmark)
    elements = BenchmarkElements(read, roles=False)
    found = {}
    for sample in read.samples("train"):
        row = list(read.dialogues.dialogue_id).index(sample.dialogue.dialogue_id)
        keys = elements.dialogue(row)
        dialogue = sample.dialogue
        utt_ids = tuple(turn.utt_id for turn in dialogue.turns)
        img_ids = tuple(image.img_id for image in dialogue.images)
        named = dict(zip((f"u{i}" for i in utt_ids), keys.text_keys, strict=True))
        named |= dict(zip((f"i{i}" for i in img_ids), keys.image_keys, strict=True))
        found[dialogue.dialogue_id] = DialogueIds(
            utt_ids,
            img_ids,
            {i: turn.utt_id for turn in dialogue.turns for i in turn.img_ids},
            embeddings_of({name: vectors[key] for name, key in named.items() if key is not None}),
        )
    return found


@pytest.fixture
def shop(world: World, tmp_path: Path, cli: Cli) -> Workshop:
    return Workshop(world, tmp_path, cli)


def test_order_is_paid_by_the_vectors_of_the_store(shop: Workshop) -> None:
    benchmark = shop.world.folder / "benchmark"
    elements = BenchmarkElements(read_benchmark(benchmark), roles=False)
    keys = list(dict.fromkeys(each.key for each in elements.each(images=True, rows=[])))
    vectors = made_up(keys)
    store, data = shop.folder / "store", shop.folder / "data"
    with EmbeddingStore(store).open(SPACE, write=True) as space:
        space.write([Entry(key, vector) for key, vector in vectors.items()])
    shop.cli("train", "data", benchmark, "--stage", "grpo", "--model", shop.world.folder / "model",
             "--encoder", "clip", "--store", store, "--out", data)  # fmt: skip
    done = shop.trained(
        "grpo",
        grpo__data=data,
        grpo__start=shop.world.folder / "sft",
        grpo__curriculum__difficulty="null",
        grpo__trainer__max_completion_length=32,
        grpo__trainer__per_device_train_batch_size=16,
        grpo__trainer__temperature=1.3,
    )
    assert "the reward is without" not in done.err

    rows = {row["sample_id"]: row for row in lines(data / "train.jsonl")}
    known = dialogues(benchmark, vectors)
    rollouts = lines(shop.out / "rollouts.jsonl")
    assert len(rollouts) == 32
    rewards = score(
        Batch(
            [line["completion"] for line in rollouts],
            [rows[line["sample_id"]]["solution"] for line in rollouts],
            [known[rows[line["sample_id"]]["dialogue_id"]] for line in rollouts],
        ),
        "fixed",
        ["order", "f1", "format"],
        embedded=True,
    )
    written = [line["order"] for line in rollouts]
    assert written == pytest.approx(rewards.column("order"), abs=1e-5)
    assert len({round(value, 4) for value in written}) > 3  # not all of them 0, nor alike

    (data / rows[rollouts[0]["sample_id"]]["embeddings"]).unlink()
    said = shop.refused("grpo", grpo__data=data, grpo__out=shop.folder / "other")
    assert f"grpo.data: no such file: {data}" in said
