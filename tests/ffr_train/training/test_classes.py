"""Both stages on tiny checkpoints of the real classes, with 0, 1 and 3 images in a batch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from baselines.generative.chat import ChatRequest
from baselines.generative.prompts import PromptBuilder
from baselines.hf.checkpoint import find_source
from baselines.hf.loading import load_wording
from baselines.hf.options import HfOptions
from baselines.hf.preparation import Preparation
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from tests.checkpoints import build_all
from tests.ffr_train.data.conftest import picture
from tests.ffr_train.training.conftest import adapter, lines
from tests.ffr_train.training.workshop import reopen_logs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

MODELS = ("qwen2_vl", "qwen2_5_vl")
MAX_PIXELS = 8 * 28 * 28
SHOWN = {"none": (0, 4), "one": (1, 3), "three": (3, 2)}
"""The images of each dialogue, and the number of such dialogues."""
SIZES = ((60, 90), (120, 40), (200, 130))
CONFIG = """
schema_version: 1
trl: "1.16"
model: {{path: {model}, kernels: false, max_pixels: {pixels}}}
lora: {{r: 4, alpha: 8, dropout: 0.0, target: language}}
sft:
  data: data-sft
  out: sft
  trainer: {{learning_rate: 1e-3, max_steps: 1, per_device_train_batch_size: 9, report_to: none}}
grpo:
  data: data-grpo
  out: grpo
  start: sft
  curriculum: {{difficulty: difficulty.jsonl, replay: 0.0}}
  trainer: {{max_steps: 3, num_generations: 2, per_device_train_batch_size: 6, beta: 0.1,
    max_completion_length: 6, report_to: none, logging_steps: 1}}
"""


@dataclass(frozen=True)
class Place:
    """A model, a benchmark, and a configuration that trains the one on the other."""

    folder: Path
    model: Path
    benchmark: Path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_all(tmp_path_factory.mktemp("classes"), MODELS)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues of two turns, without images, with one, and with three."""
    folder = tmp_path_factory.mktemp("mixed") / "mixed"
    files = [picture(folder.parent / f"{i}.png", size, seed=i) for i, size in enumerate(SIZES)]
    with BenchmarkWriter(folder, InfoRecord(name="mixed", language="en")) as writer:
        for kind, (n_images, number) in SHOWN.items():
            for k in range(number):
                name = f"{kind}{k}"
                images = tuple(
                    writer.add_image_file(ImageRecord(i), files[i], f"{name}/{i}.png")
                    for i in range(n_images)
                )
                ids = tuple(range(n_images))
                # The first image after the first turn, the others after the second.
                turns = (
                    TurnRecord(0, "A", f"look at this {k}", ids[:1]),
                    TurnRecord(1, "B", f"and at {kind} of these", ids[1:]),
                )
                writer.add_dialogue(DialogueRecord(name, turns, images))
                query = QueryRecord(f"{name}#0", name, f"what of {k}", (0,), ids[:1], "train")
                writer.add_query(query)
    return folder


@pytest.fixture(params=MODELS)
def place(
    request: pytest.FixtureRequest,
    checkpoints: dict[str, Path],
    benchmark: Path,
    tmp_path: Path,
    cli: Cli,
) -> Place:
    model = checkpoints[request.param]
    text = CONFIG.format(model=model, pixels=MAX_PIXELS)
    (tmp_path / "train.yaml").write_text(text, encoding="utf-8")
    for stage in ("sft", "grpo"):
        cli("train", "data", benchmark, "--stage", stage, "--model", model,
            "--out", tmp_path / f"data-{stage}", "--max-pixels", MAX_PIXELS)  # fmt: skip
    return Place(tmp_path, model, benchmark)


def in_batches(place: Place) -> list[set[str]]:
    """Write levels that make batches of three samples, and return the batches."""
    batches = [
        {"none0#0", "none1#0", "none2#0"},  # no image in the first batch
        {"none3#0", "one0#0", "three0#0"},
        {"one1#0", "one2#0", "three1#0"},
    ]
    names = ("easy", "medium", "confusing")
    with (place.folder / "difficulty.jsonl").open("w", encoding="utf-8") as stream:
        for level, batch in zip(names, batches, strict=True):
            for name in sorted(batch):
                record = {"sample_id": name, "f1": 0.5, "entropy": 0.5, "entropy_kind": "full"}
                stream.write(json.dumps({**record, "level": level}) + "\n")
    return batches


class Seen:
    """What the GRPO trainer feeds to the model, a batch a line."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        from ffr_train.training.grpo_trainer import FragmentGRPOTrainer

        self.samples: list[list[str]] = []
        self.inputs: list[tuple[Any, Any, Any]] = []
        score = FragmentGRPOTrainer._generate_and_score_completions
        tokenize = FragmentGRPOTrainer._tokenize_prompts

        def scored(trainer: Any, inputs: list[dict[str, Any]]) -> Any:
            self.samples.append([each["sample_id"] for each in inputs])
            return score(trainer, inputs)

        def tokenized(trainer: Any, prompts: list[Any]) -> Any:
            found = tokenize(trainer, prompts)
            self.inputs.append(found)
            return found

        patched.setattr(FragmentGRPOTrainer, "_generate_and_score_completions", scored)
        patched.setattr(FragmentGRPOTrainer, "_tokenize_prompts", tokenized)


def at_inference(place: Place) -> dict[str, dict[str, Any]]:
    """What ``ffr run hf`` gives the model, by sample."""
    options = HfOptions(model=str(place.model), max_pixels=MAX_PIXELS)
    prompts = PromptBuilder(options)
    preparation = Preparation(load_wording(find_source(options), options), options)
    found = {}
    for sample in read_benchmark(place.benchmark).samples():
        messages = prompts.messages(sample)
        request = ChatRequest(sample.sample_id, 0, messages, sample.dialogue.dialogue_id)
        found[sample.sample_id] = preparation.inputs([request], [preparation.pictures(request)])
    return found


def test_both_stages(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file

    reopen_logs()
    batches = in_batches(place)
    cli("train", "sft", place.folder / "train.yaml")
    learnt = adapter(place.folder / "sft")
    assert all(".language_model.layers." in name for name in learnt)
    changed = [name for name, weight in learnt.items() if "lora_B" in name and weight.any()]
    assert len(changed) == sum("lora_B" in name for name in learnt)

    seen = Seen(monkeypatch)
    reopen_logs()
    cli("train", "grpo", place.folder / "train.yaml")
    # The first batch has no image at all, the others have samples with 0, 1 and 3 of them.
    assert [set(samples) for samples in seen.samples] == batches
    rollouts = lines(place.folder / "grpo" / "rollouts.jsonl")
    assert [line["sample_id"] for line in rollouts] == [
        name for samples in seen.samples for name in samples
    ]
    assert [line["step"] for line in rollouts] == [1] * 6 + [2] * 6 + [3] * 6
    assert adapter(place.folder / "grpo").keys() == learnt.keys()

    wanted = at_inference(place)
    for samples, (ids, images, fields) in zip(seen.samples, seen.inputs, strict=True):
        assert ids == [wanted[name]["input_ids"][0].tolist() for name in samples]
        if all(name.startswith("none") for name in samples):
            assert images is None
            assert "pixel_values" not in fields
            continue
        assert [len(own) for own in images] == [
            SHOWN[name.partition("#")[0].rstrip("0123")][0] for name in samples
        ]
        for field in ("pixel_values", "image_grid_thw"):
            parts = [wanted[name][field] for name in samples if field in wanted[name]]
            fed = torch.cat([torch.as_tensor(part) for part in fields[field]]).reshape(
                -1, parts[0].shape[-1]
            )
            assert torch.equal(fed, torch.cat(parts))

    cli("train", "merge", place.folder / "grpo", "--out", place.folder / "merged")
    before = load_file(place.model / "model.safetensors")
    after = load_file(place.folder / "merged" / "model.safetensors")
    differ = {name for name in before if (before[name] != after[name]).any()}
    assert differ
    assert not [name for name in differ if "visual" in name]
