"""Finding checkpoints, and describing spaces without what would load them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from baselines.encoders.checkpoint import hub_cache
from baselines.encoders.registry import make_encoder
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError
from tests.checkpoints import blip2, llava_next, qwen2_vl

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[3]
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
BUILDERS = {"blip2": blip2.build, "e5-v": llava_next.build, "gme": qwen2_vl.build}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: build(folder / name) for name, build in BUILDERS.items()}


@pytest.fixture
def copy(built: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        shutil.copytree(built[name], tmp_path / name)
        return tmp_path / name

    return made


def refusal(name: str, model: object) -> InputError:
    with pytest.raises(InputError) as refused:
        make_encoder(name, {"model": str(model)}).describe()
    return refused.value


def test_spaces_are_described_without_the_libraries(built: dict[str, Path]) -> None:
    program = """
import sys
for name in ("torch", "torchvision", "transformers", "tokenizers", "PIL", "huggingface_hub"):
    sys.modules[name] = None
from baselines.encoders.registry import make_encoder
for spec in sys.argv[1:]:
    print(make_encoder(spec).describe().id)
"""
    specs = [f"{name}:{folder}" for name, folder in built.items()]
    done = subprocess.run(
        [sys.executable, "-c", program, *specs],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.split() == [make_encoder(spec).describe().id for spec in specs], done.stderr


@pytest.mark.parametrize("name", BUILDERS)
def test_what_a_space_depends_on(name: str, copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy(name)
    before = make_encoder(name, {"model": str(folder)}).describe()
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("about it")
    assert make_encoder(name, {"model": str(moved)}).describe().id == before.id
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    after = make_encoder(name, {"model": str(moved)}).describe()
    assert after.id != before.id
    assert after.options == before.options


@pytest.mark.parametrize("name", BUILDERS)
def test_a_checkpoint_of_another_kind(name: str, built: dict[str, Path]) -> None:
    for other, folder in built.items():
        if other != name:
            found = json.loads((folder / "config.json").read_text())
            problem = refusal(name, folder).problem
            assert problem.file == str(folder / "config.json")
            assert f"model_type {found['model_type']!r}" in problem.message
            assert found["architectures"][0] in problem.message
            assert "this encoder needs model_type" in str(problem.remedy)


def test_a_captioning_model_is_no_retrieval_model(copy: Callable[[str], Path]) -> None:
    path = copy("blip2") / "config.json"
    config = json.loads(path.read_text())
    config["architectures"] = ["Blip2ForConditionalGeneration"]
    path.write_text(json.dumps(config))
    problem = refusal("blip2", path.parent).problem
    assert problem.message == (
        "the checkpoint is of model_type 'blip-2', Blip2ForConditionalGeneration"
    )
    assert "Blip2ForImageTextRetrieval" in str(problem.remedy)
    assert "Salesforce/blip2-itm-vit-g" in str(problem.remedy)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (["config.json"], "config.json missing"),
        (["model.safetensors"], "model.safetensors or model.safetensors.index.json or"),
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer.json or tokenizer_config.json"),
        (["processor_config.json", "preprocessor_config.json"], "processor_config.json or"),
    ],
)
def test_files_that_are_missing(copy: Callable[[str], Path], gone: list[str], named: str) -> None:
    folder = copy("gme")
    for name in gone:
        (folder / name).unlink()
    problem = refusal("gme", folder).problem
    assert problem.message.startswith(named)
    assert problem.file == str(folder)
    assert problem.remedy is not None
    assert problem.remedy.startswith("put the files of a checkpoint there: config.json, model.saf")


def test_a_part_of_the_weights_that_is_missing(copy: Callable[[str], Path]) -> None:
    folder = copy("e5-v")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert refusal("e5-v", folder).problem.message == "model-00002-of-00002.safetensors missing"


def test_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "there is no such folder" in str(refusal("gme", tmp_path / "absent"))
    assert "is no folder" in str(refusal("gme", tmp_path / "file"))
    assert "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct" in str(refusal("gme", "nothing"))


def test_a_hub_model_in_the_local_cache(
    built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    repository = tmp_path / "hub" / "models--Alibaba-NLP--gme-Qwen2-VL-2B-Instruct"
    shutil.copytree(built["gme"], repository / "snapshots" / _COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(_COMMIT)
    encoder = make_encoder("gme", {"min_image_tokens": 4})
    record = encoder.describe()
    assert record.model == "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct"
    assert record.revision == f"{record.model}@{_COMMIT}"
    local = make_encoder(f"gme:{built['gme']}", {"min_image_tokens": 4})
    vectors = [one.load().encode_texts(["cat"], Role.QUERY) for one in (encoder, local)]
    assert np.array_equal(*vectors)


def test_a_hub_model_without_a_network(tmp_path: Path) -> None:
    program = """
from baselines.encoders.registry import make_encoder
from ffr_eval.errors import InputError
try:
    make_encoder("blip2").describe()
except InputError as error:
    print(error)
"""
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(_ROOT)}
    for blocked in ("", "import sys; sys.modules['huggingface_hub'] = None\n"):
        done = subprocess.run(
            [sys.executable, "-c", blocked + program],
            env={**os.environ, **environment},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert "Salesforce/blip2-itm-vit-g" in done.stdout, done.stderr
        assert "hf download Salesforce/blip2-itm-vit-g" in done.stdout
        assert str(tmp_path / "hub") in done.stdout
        assert "config.json" in done.stdout


def test_where_the_hub_cache_is() -> None:
    home = Path.home()
    assert hub_cache({}) == home / ".cache" / "huggingface" / "hub"
    assert hub_cache({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert hub_cache({"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"}) == Path("/h/hub")
    assert hub_cache({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")
