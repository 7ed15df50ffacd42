"""What cannot be trained: refused with the place and a remedy before anything is made."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ffr_train.training import record as records
from tests.ffr_train.training.conftest import lines
from tests.ffr_train.training.workshop import Workshop, contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Cli
    from tests.ffr_train.training.conftest import World


@pytest.fixture
def shop(world: World, tmp_path: Path, cli: Cli) -> Workshop:
    return Workshop(world, tmp_path, cli)


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_model_without_processor(shop: Workshop) -> None:
    model = shop.copy("model")
    for name in ("processor_config.json", "preprocessor_config.json"):
        (model / name).unlink(missing_ok=True)
    said = shop.refused("sft", model__path=model)
    assert f"{model}: the model has no processor" in said
    assert "copy the files of processor and tokenizer" in said


def test_what_is_no_model(shop: Workshop) -> None:
    assert "is no folder and no hub name" in shop.refused("sft", model__path="./nothing")
    model = shop.copy("model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert f"{model}: cannot be loaded" in shop.refused("sft", model__path=model)


def test_weights_that_are_not_all_there(shop: Workshop) -> None:
    from safetensors.torch import load_file, save_file

    model = shop.copy("model")
    weights = load_file(model / "model.safetensors")
    lost = sorted(name for name in weights if "layers.1.mlp" in name)
    for name in lost:
        del weights[name]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    said = shop.refused("sft", model__path=model)
    assert f"the weights of {len(lost)} parts are missing" in said


def test_an_image_that_is_missing(shop: Workshop) -> None:
    data = shop.copy("data-sft")
    row, line = next(
        (row, number)
        for number, row in enumerate(lines(data / "train.jsonl"), start=1)
        if row["images"]
    )
    (data / row["images"][0]).unlink()
    said = shop.refused("sft", sft__data=data)
    assert f"{data / 'train.jsonl'}:{line}: images: sample {row['sample_id']!r}" in said
    assert f"no such image file: {data / row['images'][0]}" in said


def test_rows_that_were_changed(shop: Workshop) -> None:
    data = shop.copy("data-sft")
    rows = data / "train.jsonl"
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:-1]))
    assert f"{rows}: is not the file that data.json describes" in shop.refused(
        "sft", sft__data=data
    )


def test_data_that_are_not_there(shop: Workshop) -> None:
    folder = shop.folder / "data"
    said = shop.refused("sft", sft__data=folder)
    assert f"{folder}: no such folder" in said
    assert "ffr train data" in said


@pytest.mark.parametrize(
    ("stage", "settings", "field", "message"),
    [
        ("sft", {"trl": "1.15"}, "trl", "written for trl 1.15, but trl 1.16 is installed"),
        ("grpo", {"grpo.data": "data-sft"}, "grpo.data", "made for the stage sft, not grpo"),
        ("sft", {"sft.data": "data-grpo"}, "sft.data", "made for the stage grpo, not sft"),
        ("sft", {"model.max_pixels": 3136}, "sft.data", "made with max_pixels 602112"),
        ("sft", {"model.min_pixels": 784}, "sft.data", "made with min_pixels null"),
        (
            "sft",
            {"evaluation.benchmark": "./benchmark", "evaluation.split": "train"},
            "evaluation.split",
            "the model is trained on the split 'train' of this benchmark",
        ),
        ("sft", {"model.attention": "flash_attention_2"}, "model.attention", "flash-attn"),
        ("sft", {"model.kernels": "true"}, "model.kernels", "liger-kernel"),
        ("sft", {"model.dtype": "float16"}, "model.dtype", "needs a GPU"),
        ("sft", {"lora.target": "[q_prj]"}, "lora.target", "no layer of the language model"),
        ("sft", {"lora.target": r"model\.visual\..*qkv"}, "lora.target", "is not in the language"),
        ("sft", {"lora.target": "all-linear"}, "lora.target", "adapts the vision tower as well"),
        ("grpo", {"grpo.start": "nowhere"}, "grpo.start", "holds neither an adapter nor a model"),
        ("grpo", {"grpo.pilot": "pilot.jsonl"}, "grpo.pilot", "no such file"),
        (
            "grpo",
            {"grpo.curriculum.difficulty": "other.jsonl"},
            "grpo.curriculum.difficulty",
            "no such file",
        ),
        ("grpo", {"lora.stages": "[sft]"}, "grpo.start", "this stage is to train all weights"),
        (
            "grpo",
            {"grpo.reward.weights.f1": 0, "grpo.reward.weights.format": 0},
            "grpo.reward.weights",
            "no term that can be computed has weight",
        ),
        (
            "grpo",
            {"grpo.trainer.per_device_train_batch_size": 3},
            "grpo.trainer.num_generations",
            "the trainer says",
        ),
    ],
)
def test_settings(
    shop: Workshop, stage: str, settings: dict[str, Any], field: str, message: str
) -> None:
    said = shop.refused(stage, **settings)
    assert re.search(rf"{re.escape(str(shop.world.config))}(:\d+)?: {field}: ", said)
    assert message in said


def test_a_benchmark_or_split_that_is_not_there(shop: Workshop) -> None:
    said = shop.refused("sft", evaluation__benchmark="nowhere")
    assert "nowhere" in said
    said = shop.refused("sft", evaluation__benchmark="./benchmark", evaluation__split="dev")
    assert "no split 'dev'" in said
    assert "train, validation, test" in said


def test_data_of_another_tokenizer(shop: Workshop) -> None:
    model = shop.copy("model")
    template = model / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    said = shop.refused("sft", model__path=model)
    assert "sft.data: was made for the tokenizer and processor of model" in said
    assert f"make the data again: ffr train data … --model {model}" in said


def test_an_adapter_of_another_model(shop: Workshop) -> None:
    model = shop.copy("model")
    said = shop.refused("grpo", model__path=model)
    start = shop.world.folder / "sft" / "checkpoint-20"
    assert f"grpo.start: the adapter in {start} was trained on {shop.world.folder}/model" in said
    assert f"not on {model}" in said
    adapter = shop.copy("sft/checkpoint-20")
    edited(adapter / "adapter_config.json", lambda content: content.update(r=32))
    said = shop.refused("grpo", grpo__start=adapter)
    assert f"grpo.start: the adapter in {adapter} does not fit the model: " in said


def test_a_start_that_is_not_finished(shop: Workshop) -> None:
    start = shop.copy("sft")
    edited(start / "training.json", lambda content: content.update(finished=False))
    said = shop.refused("grpo", grpo__start=start)
    assert f"grpo.start: the training in {start} is not finished" in said
    assert "ffr train sft … --resume" in said
    edited(start / "training.json", lambda content: content.update(finished=True))
    (start / "adapter_model.safetensors").unlink()
    said = shop.refused("grpo", grpo__start=start)
    assert f"{start / 'adapter_model.safetensors'} is missing" in said


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("grpo.pilot", {"sample_id": "other#0", "rewards": [0.0, 1.0], "std": 0.5, "keep": True}),
        (
            "grpo.curriculum.difficulty",
            {
                "sample_id": "other#0",
                "f1": 0.5,
                "entropy": 0.1,
                "entropy_kind": "full",
                "level": "easy",
            },
        ),
    ],
)
def test_files_of_other_samples(shop: Workshop, name: str, record: dict[str, Any]) -> None:
    file = shop.folder / "file.jsonl"
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    said = shop.refused("grpo", **{name: file})
    assert f"{name}: {file} says nothing of the samples of " in said
    file.write_text(json.dumps(record) + "\n{}\n", encoding="utf-8")
    assert f"{file}:2" in shop.refused("grpo", **{name: file})


def test_a_pilot_that_keeps_nothing(shop: Workshop) -> None:
    file = shop.folder / "pilot.jsonl"
    record = {"rewards": [1.0, 1.0], "std": 0.0, "keep": False}
    file.write_text(
        "".join(json.dumps({"sample_id": name, **record}) + "\n" for name in shop.world.levels),
        encoding="utf-8",
    )
    assert "grpo.pilot: keeps no sample" in shop.refused("grpo", grpo__pilot=file)


def test_a_folder_that_is_taken(shop: Workshop) -> None:
    shop.out.write_text("a file", encoding="utf-8")
    assert f"{shop.out}: is a file" in shop.refused("sft")
    shop.out.unlink()
    shop.out.mkdir()
    (shop.out / "notes.txt").write_text("mine", encoding="utf-8")
    assert f"{shop.out}: is not empty, and holds no training" in shop.refused("sft", "--resume")
    (shop.out / "notes.txt").unlink()
    taken = records.lock(shop.out)
    assert f"{shop.out}: another process trains here" in shop.refused("sft")
    records.release(taken, shop.out, keep=True)
    assert list(shop.out.iterdir()) == []


def test_several_gpus_in_one_process(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainingArguments

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda _: 4))
    said = shop.refused("sft")
    assert "4 GPUs are visible, and one process uses one" in said
    launch = f"accelerate launch --num_processes 4 -m ffr_eval train sft {shop.world.config}"
    assert launch in said
    assert "CUDA_VISIBLE_DEVICES=0" in said


def test_another_model_is_not_gone_on_with(shop: Workshop) -> None:
    from safetensors.torch import load_file, save_file

    shop.trained("sft", sft__trainer__max_steps=2)
    edited(shop.out / "training.json", lambda content: content.update(finished=False))
    before = contents(shop.out)
    model = shop.copy("model")
    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"] += 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    said = shop.train("sft", "--resume", model__path=model, sft__trainer__max_steps=2)
    assert said.code == 2
    assert f"{shop.out / 'training.json'}: is another training: weights was " in said.err
    assert contents(shop.out) == before
    # The same weights at another place are no other model.
    (model / "model.safetensors").write_bytes(
        (shop.world.folder / "model" / "model.safetensors").read_bytes()
    )
    shop.trained("sft", "--resume", model__path=model, sft__trainer__max_steps=2)


def test_a_damaged_record(shop: Workshop) -> None:
    shop.out.mkdir()
    (shop.out / "training.json").write_text('{"stage": 3}', encoding="utf-8")
    said = shop.train("sft", "--resume")
    assert said.code == 2
    assert f"{shop.out / 'training.json'}" in said.err
