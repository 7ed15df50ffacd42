"""Finding a model, and saying what is wrong with it, without loading it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from baselines.hf.presets import presets
from ffr_eval.errors import InputError
from tests.baselines.hf.conftest import complete, make, request
from tests.conftest import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no way to fill it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def refused(model: Path | str | None, **options: object) -> str:
    with pytest.raises(InputError) as error:
        _ = make("x" if model is None else model, **options).revision
    return str(error.value)


def test_an_unknown_name_suggests_presets() -> None:
    message = refused("qwen2.5-vl7b")
    assert "did you mean 'qwen2.5-vl-7b'" in message
    assert "llava-1.5-7b" in message


def test_a_hub_model_that_is_not_here(no_network: Path) -> None:
    message = refused("Qwen/Qwen2-VL-2B-Instruct")
    assert "hf download Qwen/Qwen2-VL-2B-Instruct" in message
    assert "Qwen/Qwen2-VL-2B-Instruct" in refused("Qwen2-VL-2B")  # the preset


def test_a_hub_model_in_the_cache(no_network: Path, checkpoints: dict[str, Path]) -> None:
    home = no_network / "models--Qwen--Qwen2-VL-2B-Instruct"
    commit = "0123456789" * 4
    (home / "snapshots").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).symlink_to(checkpoints["qwen2_vl"])
    engine = make("qwen2-vl-2b")
    assert engine.revision == f"Qwen/Qwen2-VL-2B-Instruct@{commit}"
    assert engine.context_tokens == 4096  # the configuration goes before the preset
    assert complete(engine, [request(0, "Hello.")])["s0"].model == "Qwen/Qwen2-VL-2B-Instruct"


def test_presets() -> None:
    for name, preset in presets().items():
        assert name == name.lower()
        assert preset.rows
        if preset.loads == "no" or preset.hub is None:
            assert preset.note
            assert preset.note in refused(name)


@pytest.mark.shared
def test_presets_are_the_open_generative_rows_of_the_paper() -> None:
    results = json.loads((SHARED / "reference" / "paper_results.json").read_text())
    rows = {row["model"] for row in results["table2_main"]}
    closed = {"Doubao-Seed-1.6", "Claude-Sonnet-4", "GPT-4o", "Gemini-2.5-Flash"}
    generative = {row for row in rows if not row.endswith("-Embedding")} - closed
    assert {row for preset in presets().values() for row in preset.rows} == generative


def test_a_folder_that_is_incomplete(copied: Callable[[str], Path]) -> None:
    folder = copied("qwen2_5_vl")
    weights = folder / "model.safetensors"
    weights.rename(folder / "pytorch_model.bin")
    message = refused(folder)
    assert "model*.safetensors missing" in message
    assert "save the model as safetensors" in message
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    )
    assert "model-00001-of-00002.safetensors" in refused(folder)
    (folder / "config.json").unlink()
    assert "config.json" in refused(folder)


def test_weights_that_are_missing(copied: Callable[[str], Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copied("qwen2_5_vl")
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["lm_head.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 parts are missing, first lm_head"):
        complete(make(folder), [request(0, "Hello.")])


def test_a_model_without_a_chat_template(copied: Callable[[str], Path]) -> None:
    folder = copied("qwen2_lm")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        make(folder).count_tokens(request(0, "Hello."))


def test_code_of_a_checkpoint_is_run_only_when_asked_for(
    copied: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied("qwen2_lm")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["model_type"] = "unheard_of"
    path.write_text(json.dumps(config))
    plain = make(folder)
    with pytest.raises(InputError, match="no chat model of type 'unheard_of'") as error:
        plain.count_tokens(request(0, "a"))
    assert "trust_remote_code" not in str(error.value)  # there is no code
    config["auto_map"] = {"AutoConfig": "own.Settings", "AutoModelForCausalLM": "own.Model"}
    path.write_text(json.dumps(config))
    proof = tmp_path / "ran"
    (folder / "own.py").write_text(
        "from transformers import Qwen2Config, Qwen2ForCausalLM\n"
        f"open({str(proof)!r}, 'w').close()\n"
        "class Settings(Qwen2Config):\n    model_type = 'unheard_of'\n"
        "class Model(Qwen2ForCausalLM):\n    config_class = Settings\n"
    )
    with pytest.raises(InputError, match="trust_remote_code=true"):
        complete(make(folder), [request(0, "a")])
    assert not proof.exists()
    trusting = make(folder, trust_remote_code=True)
    assert complete(trusting, [request(0, "a")])["s0"].text is not None
    assert proof.exists()
    before = trusting.revision
    (folder / "own.py").write_text((folder / "own.py").read_text() + "# changed\n")
    assert make(folder, trust_remote_code=True).revision != before


def test_the_revision_is_that_of_the_content(
    checkpoints: dict[str, Path], copied: Callable[[str], Path]
) -> None:
    folder = copied("qwen2_5_vl")
    assert make(folder).revision == make(checkpoints["qwen2_5_vl"]).revision
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + " ")
    assert make(folder).revision != make(checkpoints["qwen2_5_vl"]).revision
