"""Rows against what they stand for: the prompts of inference, and the batches of the trainer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from baselines.generative.chat import ChatRequest, Message
from baselines.generative.prompts import PromptBuilder
from baselines.hf.checkpoint import find_source
from baselines.hf.loading import load_wording
from baselines.hf.options import HfOptions
from baselines.hf.preparation import Preparation
from ffr_eval.answer import parse_answer
from ffr_eval.benchmark import read_benchmark
from ffr_train.data import load_processor, load_rows, messages_of, read_manifest, wording_of
from tests.ffr_train.data.conftest import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.types import Sample
    from tests.conftest import Result

MODELS = ("qwen2_vl", "qwen2_5_vl")


class Made:
    """Rows of the mixed benchmark, the processor for them, and how inference prepares samples."""

    def __init__(self, folder: Path, benchmark: Path, model: Path) -> None:
        self.manifest = read_manifest(folder)
        self.rows = list(load_rows(folder))
        self.loaded = load_processor(model, self.manifest.max_pixels, self.manifest.min_pixels)
        self.samples = {sample.sample_id: sample for sample in read_benchmark(benchmark).samples()}
        options = HfOptions(model=str(model), max_pixels=MAX_PIXELS)
        self.prompts = PromptBuilder(options)
        self.preparation = Preparation(load_wording(find_source(options), options), options)

    def at_inference(self, sample: Sample) -> dict[str, Any]:
        """What the model is given for a sample, or for a window of it."""
        messages: tuple[Message, ...] = self.prompts.messages(sample)
        request = ChatRequest(sample.sample_id, 0, messages, sample.dialogue.dialogue_id)
        return self.preparation.inputs([request], [self.preparation.pictures(request)])

    def in_training(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of TRL's collator."""
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

        collate = DataCollatorForVisionLanguageModeling(
            self.loaded.processor, completion_only_loss=True
        )
        columns = ("prompt", "completion", "images")
        return dict(collate([{name: row[name] for name in columns} for row in rows]))


@pytest.fixture(params=MODELS)
def made(
    request: pytest.FixtureRequest,
    make: Callable[..., Result],
    mixed: Path,
    checkpoints: dict[str, Path],
    tmp_path: Path,
) -> Made:
    model = checkpoints[request.param]
    assert make(mixed, model=model).code == 0
    return Made(tmp_path / "out", mixed, model)


def test_prompts_are_those_of_inference(made: Made) -> None:
    import torch

    assert [row["n_images"] for row in made.rows] == [0, 0, 1, 1, 4, 4]
    for row in made.rows:
        batch = made.in_training([row])
        inputs = made.at_inference(made.samples[row["sample_id"]])
        n_prompt = inputs["input_ids"].shape[1]
        assert row["n_prompt_tokens"] == n_prompt
        assert torch.equal(batch["input_ids"][:, :n_prompt], inputs["input_ids"])
        assert (batch["labels"][:, :n_prompt] == -100).all()
        assert (batch["labels"][:, n_prompt:] == batch["input_ids"][:, n_prompt:]).all()
        for name in ("pixel_values", "image_grid_thw"):
            assert (name in batch) == (name in inputs) == bool(row["images"])
            if name in inputs:
                assert torch.equal(batch[name], inputs[name])
    assert made.manifest.prompt_hash == made.prompts.hash


def test_lengths_are_those_of_the_trainers_batch(made: Made) -> None:
    batch = made.in_training(made.rows)  # 0, 1 and 4 images together
    lengths = batch["attention_mask"].sum(1).tolist()
    answers = (batch["labels"] != -100).sum(1).tolist()
    assert lengths == [row["n_prompt_tokens"] + row["n_completion_tokens"] for row in made.rows]
    assert answers == [row["n_completion_tokens"] for row in made.rows]
    assert made.manifest.lengths["total"]["max"] == max(lengths)
    assert made.manifest.lengths["prompt"]["min"] == min(
        length - answer for length, answer in zip(lengths, answers, strict=True)
    )


def test_what_is_learnt_is_the_gold_and_the_end(made: Made) -> None:
    tokenizer = made.loaded.tokenizer
    batch = made.in_training(made.rows)
    for row, labels in zip(made.rows, batch["labels"].tolist(), strict=True):
        text = tokenizer.decode([token for token in labels if token != -100])
        answer, end = text.split("<|im_end|>")
        gold = made.samples[row["sample_id"]].gold
        parsed = parse_answer(answer, "strict")
        assert gold is not None
        assert (parsed.utt_ids, parsed.img_ids) == (gold.utt_ids, gold.img_ids)
        assert end == "\n"


def test_evaluation_asks_with_the_same_messages(made: Made) -> None:
    wording = wording_of(made.loaded.processor)
    for row in made.rows:
        messages, images = messages_of(made.samples[row["sample_id"]], wording)
        template = made.loaded.processor.apply_chat_template
        asked = template(messages, tokenize=False, add_generation_prompt=True)
        assert asked == template(row["prompt"], tokenize=False, add_generation_prompt=True)
        assert len(images) == row["n_images"]


def test_images_and_ids_in_the_files(made: Made, tmp_path: Path) -> None:
    lines = (tmp_path / "out/train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == made.manifest.n_rows == 6
    three = rows[4]
    assert three["images"] == [f"images/three/{i}.png" for i in (7, 1, 3, 3)]
    content = three["prompt"][0]["content"]
    assert [part["type"] for part in content].count("image") == 4
    assert "<|img_id_start|>7<|img_id_end|>" in content[0]["text"]
    assert content[1] == {"type": "image"}
    assert all(not path.startswith("/") for row in rows for path in row["images"])
