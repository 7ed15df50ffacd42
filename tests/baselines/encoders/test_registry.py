"""Encoders by name, their options, devices, and revisions."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from baselines.encoders import device, registry, revision
from baselines.encoders.encoder import Encoder
from baselines.encoders.registry import encoder_class, make_encoder, split_spec
from baselines.machine import Machine
from ffr_eval import model_files
from ffr_eval.errors import FfrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("static", ("static", None)),
        ("clip", ("open_clip", None)),
        ("clip:ViT-B-32/openai", ("open_clip", "ViT-B-32/openai")),
        ("sentence:a/b", ("sentence-transformers", "a/b")),
        ("open_clip:hf-hub:a/b", ("open_clip", "hf-hub:a/b")),
    ],
)
def test_specifications(spec: str, expected: tuple[str, str | None]) -> None:
    assert split_spec(spec) == expected


@pytest.mark.parametrize("spec", ["", ":", "clip:", ":model", " : "])
def test_half_a_specification(spec: str) -> None:
    with pytest.raises(InputError, match="NAME or NAME:MODEL"):
        make_encoder(spec)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("ViT-B-32", {"model": "ViT-B-32"}),
        ("ViT-B-32/openai", {"model": "ViT-B-32", "pretrained": "openai"}),
        ("ViT-B-32/weights/a.pt", {"model": "ViT-B-32", "pretrained": "weights/a.pt"}),
        ("ViT-B-32//data/a.pt", {"model": "ViT-B-32", "pretrained": "/data/a.pt"}),
        ("hf-hub:a/b", {"model": "hf-hub:a/b"}),
        ("local-dir:a/b", {"model": "local-dir:a/b"}),
        ("/data/model", {"model": "/data/model"}),
        ("./model", {"model": "./model"}),
        ("c/tiny.json/w/a.pt", {"model": "c/tiny.json", "pretrained": "w/a.pt"}),
        ("/c/tiny.json//w/a.pt", {"model": "/c/tiny.json", "pretrained": "/w/a.pt"}),
        ("Vit-Z/openai", {"model": "Vit-Z", "pretrained": "openai"}),
    ],
)
def test_what_a_model_of_open_clip_stands_for(model: str, expected: dict[str, str]) -> None:
    assert encoder_class("clip").options_of(model) == expected


def test_a_folder_beside_us_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "ViT-B-32").mkdir()
    monkeypatch.chdir(tmp_path)
    kind = encoder_class("open_clip")
    assert kind.options_of("models/tiny") == {"model": "models/tiny"}
    assert kind.options_of("ViT-B-32/openai")["pretrained"] == "openai"


def test_unknown_encoder() -> None:
    with pytest.raises(InputError, match="did you mean 'open_clip'"):
        make_encoder("open-clip")
    with pytest.raises(InputError, match="did you mean 'sentence'"):
        make_encoder("sentense")


def test_options_win_over_the_specification() -> None:
    options = {"pretrained": "openai", "quick_gelu": "true"}
    encoder = make_encoder("clip:ViT-B-16/x", options, Machine(device="cpu"))
    assert (encoder.options.model, encoder.options.pretrained) == ("ViT-B-16", "openai")
    assert encoder.options.quick_gelu is True
    assert encoder.machine.device == "cpu"


def test_unknown_option() -> None:
    with pytest.raises(InputError, match=r"option pretrainde: .*\n.*did you mean 'pretrained'"):
        make_encoder("clip", {"pretrainde": "openai"})


def test_nothing_heavy_is_imported(modules_after: Callable[..., set[str]]) -> None:
    code = (
        "from baselines.encoders.registry import make_encoder\n"
        "for name in ('clip', 'sentence', 'static', 'blip2', 'e5-v', 'gme'):\n"
        "    make_encoder(name)\n"
    )
    assert not modules_after(code) & {"torch", "transformers", "open_clip", "PIL", "wordllama"}


def test_modules_need_nothing_but_numpy(modules_after: Callable[..., set[str]]) -> None:
    """Another interpreter may have nothing else."""
    names = "encoder batches device revision side_effects static open_clip "
    names += "open_clip_source open_clip_catalogue sentence_transformers"
    code = "\n".join(f"import baselines.encoders.{name}" for name in names.split())
    code += "\nimport ffr_eval.image_reading"
    absent = {"msgspec", "click", "rich", "filelock", "lmdb", "torch", "PIL", "huggingface_hub"}
    assert not modules_after(code) & absent


@dataclass(frozen=True)
class NoOptions:
    model: str = ""


class Absent(Encoder):
    name = "absent"
    requires = ("no_such_package",)
    Options = NoOptions

    def describe(self) -> Any:
        raise NotImplementedError

    load = describe


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FfrError, match="no_such_package"):
        registry.check_installed(Absent)
    monkeypatch.setattr(Absent, "extra", "clip")
    with pytest.raises(MissingExtraError, match=r"ffr-eval\[clip\]"):
        registry.check_installed(Absent)
    registry.check_installed(encoder_class("static"))


def test_a_plugin_that_is_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda *args: dict)
    with pytest.raises(FfrError, match="is not a subclass"):
        make_encoder("static")


# Devices


def test_a_cpu_is_float32() -> None:
    place = device.pick("cpu")
    assert (place.device, place.dtype) == ("cpu", "float32")
    assert device.pick("cpu", "bfloat16").dtype == "bfloat16"


def test_a_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert device.pick() == device.Placement("cuda", "bfloat16")
    assert device.pick("cuda:1", "float32") == device.Placement("cuda:1", "float32")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert device.pick() == device.Placement("cuda", "float16")
    with pytest.raises(InputError, match="auto, cpu, cuda:0, cuda:1"):
        device.pick("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.pick() == device.Placement("mps", "float16")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.pick() == device.Placement("cpu", "float32")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "cpu:3"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(InputError, match=r"there is no device .*\n  → one of: auto, cpu"):
        device.pick(name)


def test_unknown_number_formats() -> None:
    with pytest.raises(InputError, match="auto, float32, float16, bfloat16"):
        device.pick("cpu", "float64")


# Revisions


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_folder_is_known_by_what_decides_on_its_vectors(tmp_path: Path) -> None:
    first = write(tmp_path / "a", config_json="{}", model_safetensors="w", README_md="x")
    second = write(tmp_path / "b", config_json="{}", model_safetensors="w", model_bin="old")
    assert model_files.folder_hash(first) == model_files.folder_hash(second)
    assert model_files.folder_hash(first).startswith("sha256-")
    third = write(tmp_path / "c", config_json="{ }", model_safetensors="w")
    fourth = write(tmp_path / "d", config_json="{}", model_safetensors="v")
    fifth = write(tmp_path / "e", config_json="{}", other_safetensors="w")
    folders = (first, third, fourth, fifth)
    assert len({model_files.folder_hash(folder) for folder in folders}) == 4


def test_a_changed_file_has_another_hash(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"one")
    before = model_files.content_hash(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert model_files.content_hash(path) != before


def test_large_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "WHOLE", 1000)
    monkeypatch.setattr(model_files, "BLOCK", 10)
    monkeypatch.setattr(model_files, "BLOCKS", 5)
    content = bytearray(i % 251 for i in range(5000))

    def hashed(name: str) -> str:
        (tmp_path / name).write_bytes(content)
        return model_files.content_hash(tmp_path / name)

    before = hashed("a")
    assert hashed("b") == before
    content[20] ^= 1  # between the blocks
    assert hashed("c") == before
    for place in (0, 9, 4990, 4999, 2497):
        content[place] ^= 1
        assert hashed(f"changed{place}") != before
        content[place] ^= 1
    content.append(0)
    assert hashed("longer") != before


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        model_files.content_hash(tmp_path / "none")


def test_a_sharded_hub_model_needs_all_of_its_parts(
    offline_hub: Callable[..., Path], tmp_path: Path
) -> None:
    folder = offline_hub("org/large")
    (folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1-of-2.safetensors").touch()
    needed = ("config.json", "model*.safetensors")
    with pytest.raises(InputError, match="hf download org/large"):
        revision.hub_folder("org/large", needed)
    (folder / "model-2-of-2.safetensors").touch()
    assert revision.hub_folder("org/large", needed) == folder
    assert revision.hub_revision("org/large", folder) == f"org/large@{folder.name}"
