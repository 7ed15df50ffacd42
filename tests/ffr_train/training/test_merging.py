"""Whole models: trained without adapters, gone on with, and merged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.ffr_train.training.conftest import adapter, lines
from tests.ffr_train.training.workshop import Workshop, contents, unlike

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.ffr_train.training.conftest import World


@pytest.fixture
def shop(world: World, tmp_path: Path, cli: Cli) -> Workshop:
    return Workshop(world, tmp_path, cli)


def first_divergence(folder: Path) -> float:
    """Of the model from its reference, before the first step."""
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    return float(next(entry["kl"] for entry in state["log_history"] if "kl" in entry))


def test_all_weights_and_then_adapters_on_them(shop: Workshop) -> None:
    from safetensors.torch import load_file

    base = shop.world.folder / "model"
    said = shop.trained("sft", lora__stages="[grpo]", sft__trainer__max_steps=2)
    assert f"next: ffr train difficulty BENCH --model {shop.out}\n" in said.out
    before, after = (load_file(folder / "model.safetensors") for folder in (base, shop.out))
    changed = unlike(before, after)
    assert changed == {name for name in before if "visual" not in name}
    assert not (shop.out / "adapter_config.json").exists()

    # GRPO puts new adapters on that model; without them it is the reference of the divergence.
    grpo = shop.folder / "grpo"
    said = shop.trained(
        "grpo", lora__stages="[grpo]", grpo__start=shop.out, grpo__out=grpo, evaluation__samples=4,
        evaluation__benchmark="./benchmark", evaluation__max_new_tokens=8,
    )  # fmt: skip
    options = f"-o model={shop.out} -o adapter={grpo}"
    assert f"next: ffr run hf BENCH {options}\n" in said.out
    settings = json.loads((grpo / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == str(shop.out)
    assert unlike(after, load_file(shop.out / "model.safetensors")) == set()
    assert first_divergence(grpo) == pytest.approx(0.0, abs=1e-6)
    assert lines(grpo / "evaluation.jsonl")[-1]["n_samples"] == 4

    shop.cli(
        "run", "hf", shop.world.folder / "benchmark", "--split", "validation", "-o", "max_tokens=8",
        "-o", f"model={shop.out}", "-o", f"adapter={grpo}", "--out", shop.folder / "run",
    )  # fmt: skip
    answers = {
        line["sample_id"]: line["response"]
        for line in lines(shop.folder / "run" / "predictions.jsonl")
    }
    evaluated = lines(grpo / "evaluation" / "step-000002.jsonl")
    assert [line["response"] for line in evaluated] == [
        answers[line["sample_id"]] for line in evaluated
    ]
    shop.cli("train", "merge", grpo, "--out", shop.folder / "merged")
    merged = load_file(shop.folder / "merged" / "model.safetensors")
    assert not [name for name in unlike(after, merged) if "visual" in name]


def test_all_weights_in_both_stages(shop: Workshop) -> None:
    from safetensors.torch import load_file

    grpo = shop.folder / "grpo"
    shop.trained("sft", lora="null", sft__trainer__max_steps=1)
    shop.trained(
        "grpo",
        lora="null",
        grpo__start=shop.out,
        grpo__out=grpo,
        grpo__trainer__max_steps=1,
        grpo__trainer__beta=0.1,
    )
    first, second = (load_file(folder / "model.safetensors") for folder in (shop.out, grpo))
    assert not [name for name in unlike(first, second) if "visual" in name]
    assert not (grpo / "adapter_config.json").exists()
    assert first_divergence(grpo) == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_merged(shop: Workshop) -> None:
    world, out = shop.world.folder, shop.folder / "merged"

    def refused(*args: object) -> str:
        before = contents(shop.folder)
        said = shop.cli.refused("train", "merge", *args, "--out", out)
        assert contents(shop.folder) == before
        assert "\n  → " in said
        return said

    assert "adapter_config.json missing" in refused(world / "model")
    adapted = shop.copy("sft/checkpoint-20")
    weights = adapted / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:2000])
    assert "does not fit" in refused(adapted)
    weights.unlink()
    assert "adapter_model.safetensors missing" in refused(adapted)
    weights.write_bytes(whole)
    settings = adapted / "adapter_config.json"
    known = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**known, "base_model_name_or_path": None}), encoding="utf-8")
    assert "does not name the model that it was trained on" in refused(adapted)
    settings.write_text(json.dumps({**known, "r": 3}), encoding="utf-8")
    assert "the adapter does not fit" in refused(adapted)
    settings.write_text("{", encoding="utf-8")
    assert f"{settings}: cannot be read" in refused(adapted)
    settings.write_text(json.dumps(known), encoding="utf-8")
    model = shop.copy("model")
    (model / "model.safetensors").write_bytes(b"short")
    assert f"{model}: cannot be loaded" in refused(adapted, "--model", model)
    (model / "model.safetensors").unlink()
    assert f"{model}: cannot be loaded" in refused(adapted, "--model", model)
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert "already exists and is not empty" in refused(adapted)


def test_into_an_empty_folder_with_another_base_of_the_same_shape(shop: Workshop) -> None:
    out = shop.folder / "merged"
    out.mkdir()
    model = shop.copy("model")
    done = shop.cli("train", "merge", shop.world.folder / "sft", "--model", model, "--out", out)
    assert f"wrote {out}: {model} with " in done.out
    assert f"next: ffr run hf BENCH -o model={out}" in done.out
    for name in ("chat_template.jinja", "tokenizer.json", "processor_config.json", "config.json"):
        assert (out / name).is_file()
    assert adapter(shop.world.folder / "sft")
