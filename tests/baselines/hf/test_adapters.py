"""LoRA adapters, as peft saves them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from tests.baselines.hf.conftest import complete, loaded, make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from baselines.generative.chat import ChatRequest

LANGUAGE_MODEL = r".*language_model.*\.(q_proj|v_proj|down_proj)"


def adapted(model: Path, target: Path, seed: int = 0, **more: Any) -> Any:
    """Save an adapter with random weights; the model with it merged."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    base = AutoModelForImageTextToText.from_pretrained(str(model))
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=LANGUAGE_MODEL, **more)
    trained = get_peft_model(base, settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(trained.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    trained.save_pretrained(str(target))
    return trained.merge_and_unload()


@pytest.fixture(scope="module")
def qwen(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["qwen2_5_vl"]


@pytest.fixture
def adapter(qwen: Path, tmp_path: Path) -> Path:
    adapted(qwen, tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_changes_answers_and_revision(
    qwen: Path, adapter: Path, mixed: list[ChatRequest], tmp_path: Path
) -> None:
    plain, with_adapter = make(qwen), make(qwen, adapter=str(adapter))
    before, after = complete(plain, mixed), complete(with_adapter, mixed)
    assert all(before[name].text != after[name].text for name in before)
    adapted(qwen, tmp_path / "other", seed=1)
    other = make(qwen, adapter=str(tmp_path / "other"))
    revisions = {plain.revision, with_adapter.revision, other.revision}
    assert len(revisions) == 3
    assert all(str(revision).startswith(str(plain.revision)) for revision in revisions)


def test_what_training_leaves_beside_the_adapter_is_not_its_revision(
    qwen: Path, adapter: Path
) -> None:
    revision = make(qwen, adapter=str(adapter)).revision
    (adapter / "checkpoint-10").mkdir()
    (adapter / "checkpoint-10" / "optimizer.pt").write_bytes(b"state")
    (adapter / "trainer_state.json").write_text("{}")
    assert make(qwen, adapter=str(adapter)).revision == revision


def test_merged_or_not_the_answers_are_the_same(
    qwen: Path, mixed: list[ChatRequest], copied: Callable[[str], Path], tmp_path: Path
) -> None:
    merged = copied("qwen2_5_vl")
    adapted(qwen, tmp_path / "adapter").save_pretrained(str(merged))
    ours = complete(make(qwen, adapter=str(tmp_path / "adapter"), logprobs=True), mixed)
    for name, done in complete(make(merged, logprobs=True), mixed).items():
        assert done.text == ours[name].text
        assert done.logprobs is not None
        assert ours[name].logprobs is not None
        assert done.logprobs["entropy"] == pytest.approx(ours[name].logprobs["entropy"], abs=1e-4)


def test_an_adapter_with_tokens_of_its_own(
    qwen: Path, mixed: list[ChatRequest], tmp_path: Path
) -> None:
    """The task's markers as tokens: trained with a larger vocabulary, saved with its tokenizer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    adapter = tmp_path / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(str(qwen))
    tokenizer.add_tokens(["<|utt_id_start|>", "<|utt_id_end|>"])
    base = AutoModelForImageTextToText.from_pretrained(str(qwen))
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    settings = LoraConfig(
        r=4, target_modules=LANGUAGE_MODEL, modules_to_save=["embed_tokens", "lm_head"]
    )
    get_peft_model(base, settings).save_pretrained(str(adapter))
    tokenizer.save_pretrained(str(adapter))
    engine = make(qwen, adapter=str(adapter))
    assert complete(engine, mixed)["s0"].text is not None
    assert loaded(engine).get_input_embeddings().weight.shape[0] == len(tokenizer)
    marked = tokenizer("<|utt_id_start|>3<|utt_id_end|>")["input_ids"]
    assert len(marked) == 3
    assert engine._wording.tokenizer("<|utt_id_start|>3<|utt_id_end|>")["input_ids"] == marked


def refused(model: Path, adapter: Path, mixed: list[ChatRequest]) -> str:
    with pytest.raises(InputError) as error:
        complete(make(model, adapter=str(adapter)), mixed[:1])
    return str(error.value)


def test_folders_that_are_no_adapters(
    qwen: Path, adapter: Path, mixed: list[ChatRequest], tmp_path: Path
) -> None:
    assert "no such folder" in refused(qwen, tmp_path / "nothing", mixed)
    assert "adapter_config.json missing" in refused(qwen, qwen, mixed)
    weights = adapter / "adapter_model.safetensors"
    weights.rename(adapter / "adapter_model.bin")
    message = refused(qwen, adapter, mixed)
    assert "adapter_model.safetensors missing" in message
    assert ".bin" in message


def test_an_adapter_of_another_kind(qwen: Path, adapter: Path, mixed: list[ChatRequest]) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "PROMPT_TUNING"}))
    assert "PROMPT_TUNING, not LORA" in refused(qwen, adapter, mixed)


@pytest.mark.parametrize("other", ["llava", "qwen2_vl"])
def test_an_adapter_of_another_model(
    checkpoints: dict[str, Path], adapter: Path, mixed: list[ChatRequest], other: str
) -> None:
    if other == "qwen2_vl":  # the same shapes, but its class is written down
        path = adapter / "adapter_config.json"
        mapping = {"base_model_class": "Qwen2_5_VLForConditionalGeneration"}
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_mapping": mapping}))
    message = refused(checkpoints[other], adapter, mixed)
    assert "adapter" in message
    assert "give the model that it was trained on" in message


def test_an_adapter_that_lacks_weights(qwen: Path, adapter: Path, mixed: list[ChatRequest]) -> None:
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    del weights[sorted(weights)[0]]
    save_file(weights, path)
    assert "lacks weights" in refused(qwen, adapter, mixed)


def test_an_adapter_given_as_model(adapter: Path, mixed: list[ChatRequest]) -> None:
    with pytest.raises(InputError, match="is an adapter, not a model") as error:
        complete(make(adapter), mixed[:1])
    assert "adapter=" in str(error.value)
