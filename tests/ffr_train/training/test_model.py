"""What of a model is trained: adapters on the language part, and nothing of the vision tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from ffr_train.config import read_config
from ffr_train.training.model import (
    freeze_vision,
    language_prefix,
    load_trainee,
    lora_config,
    same_model,
    weights_of_vision,
)
from tests.checkpoints import build_all
from tests.ffr_train.training.workshop import reopen_logs

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_train.config import TrainConfig

MODELS = ("qwen2_vl", "qwen2_5_vl")
TEXT = """
schema_version: 1
trl: "1.16"
model: {{path: {model}, kernels: false}}
sft: {{data: data, out: out}}
grpo: {{data: data, out: other}}
"""
ALL = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_all(tmp_path_factory.mktemp("models"), MODELS)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Path:
    reopen_logs()
    return checkpoints[request.param]


def config(folder: Path, model: Path, *overrides: str) -> TrainConfig:
    path = folder / "train.yaml"
    path.write_text(TEXT.format(model=model), encoding="utf-8")
    return read_config(path, overrides)


def adapted(trainee: Any) -> set[str]:
    """The modules that get adapters."""
    from peft import get_peft_model

    found = get_peft_model(trainee.model, trainee.adapter)
    return {
        name.removeprefix("base_model.model.").partition(".lora_A")[0]
        for name, _ in found.named_parameters()
        if ".lora_A" in name
    }


def test_the_vision_tower_is_frozen(model: Path, tmp_path: Path) -> None:
    trainee = load_trainee(config(tmp_path, model, "lora=null"), "sft")
    vision = weights_of_vision(trainee.model)
    assert vision
    assert any("merger" in name for name in vision)
    assert not any(weight.requires_grad for weight in vision.values())
    trained = {name for name, weight in trainee.model.named_parameters() if weight.requires_grad}
    assert trained == {name for name, _ in trainee.model.named_parameters()} - set(vision)
    assert any(name.endswith("embed_tokens.weight") for name in trained)
    assert trainee.adapter is None


def test_all_of_it_is_trained_where_that_is_asked_for(model: Path, tmp_path: Path) -> None:
    trainee = load_trainee(config(tmp_path, model, "lora=null", "model.freeze_vision=false"), "sft")
    assert all(weight.requires_grad for weight in trainee.model.parameters())
    freeze_vision(trainee.model)
    assert not any(weight.requires_grad for weight in weights_of_vision(trainee.model).values())


@pytest.mark.parametrize(
    ("target", "ends"),
    [
        ("language", ALL),
        ("[q_proj, v_proj]", {"q_proj", "v_proj"}),
        ("[mlp.up_proj]", {"up_proj"}),
        (r".*language_model\.layers\.1\..*(k|o)_proj", {"k_proj", "o_proj"}),
    ],
)
def test_adapters_are_on_the_language_part(
    model: Path, tmp_path: Path, target: str, ends: set[str]
) -> None:
    trainee = load_trainee(config(tmp_path, model, f"lora.target={target}"), "sft")
    assert language_prefix(trainee.model) == "model.language_model"
    found = adapted(trainee)
    assert {name.rpartition(".")[2] for name in found} == ends
    assert all(name.startswith("model.language_model.layers.") for name in found)
    layers = {name.split(".")[3] for name in found}
    assert layers == ({"1"} if "1" in target else {"0", "1"})


@pytest.mark.parametrize("target", ["[qkv]", "[q_prj]", "nothing", "[visual.blocks.0.attn.qkv]"])
def test_targets_that_name_no_layer_of_it(model: Path, tmp_path: Path, target: str) -> None:
    wrong = config(tmp_path, model, f"lora.target={target}")
    with pytest.raises(InputError, match="no layer of the language model is named so") as refused:
        load_trainee(wrong, "sft")
    assert "q_proj" in str(refused.value)
    assert refused.value.problem.field == "lora.target"


def test_a_target_that_is_also_outside(model: Path, tmp_path: Path) -> None:
    wrong = config(tmp_path, model, r"lora.target=.*\.(q_proj|qkv)")
    with pytest.raises(InputError, match=r"qkv is not in the language model"):
        load_trainee(wrong, "sft")


def test_stages_with_and_without_adapters(model: Path, tmp_path: Path) -> None:
    chosen = config(tmp_path, model, "lora.stages=[grpo]")
    assert load_trainee(chosen, "sft").adapter is None
    grpo = load_trainee(chosen, "grpo")
    assert grpo.adapter is not None
    assert not any(weight.requires_grad for weight in weights_of_vision(grpo.model).values())


def test_the_revision_is_of_weights_and_settings(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    one = load_trainee(config(tmp_path, checkpoints["qwen2_vl"]), "sft")
    copy = shutil.copytree(checkpoints["qwen2_vl"], tmp_path / "copy")
    same = load_trainee(config(tmp_path, copy), "sft")
    assert one.revision == same.revision
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "visual" in name)
    weights[name] = weights[name] + 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    other = load_trainee(config(tmp_path, copy), "sft")
    assert other.revision != one.revision
    assert other.processor.revision == one.processor.revision  # which data are made for


def test_names_of_one_model(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").mkdir()
    assert same_model(str(tmp_path / "a"), str(tmp_path / "b"))
    assert same_model("org/name", "org/name")
    assert not same_model(str(tmp_path / "a"), str(tmp_path / "c"))
    assert not same_model("org/name", "org/other")


def test_settings_of_the_adapters(model: Path, tmp_path: Path) -> None:
    chosen = config(tmp_path, model, "lora.r=3", "lora.alpha=12", "lora.dropout=0.25")
    trainee = load_trainee(chosen, "sft")
    assert chosen.lora is not None
    settings = lora_config(chosen, trainee.model, chosen.lora)
    assert (settings.r, settings.lora_alpha, settings.lora_dropout) == (3, 12, 0.25)
    assert settings.task_type == "CAUSAL_LM"
