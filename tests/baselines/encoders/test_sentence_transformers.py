"""``sentence-transformers`` with real weights: all-MiniLM-L6-v2, from its package."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.encoders.batches import encode_items
from baselines.encoders.encoder import Item, LoadedEncoder
from baselines.encoders.registry import make_encoder
from baselines.encoders.sentence_transformers import PACKAGE, _packaged
from baselines.machine import Machine
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = Machine(device="cpu")


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def minilm() -> LoadedEncoder:
    return make_encoder("sentence", machine=CPU).load()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with links to the files of the packaged model."""
    packaged = _packaged()
    assert packaged is not None
    folder = tmp_path / "model"
    for path in packaged.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(packaged)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    return folder


def rewrite(path: Path, **changes: Any) -> None:
    settings = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps(settings | changes))


def test_description_needs_no_library(modules_after: Callable[..., set[str]]) -> None:
    code = (
        "from baselines.encoders.registry import make_encoder\n"
        "record = make_encoder('sentence').describe()\n"
        "assert (record.roles, record.max_tokens) == (False, 256), record\n"
    )
    heavy = {"torch", "transformers", "sentence_transformers", "huggingface_hub", PACKAGE}
    assert not modules_after(code) & heavy


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_its_name_means_the_packaged_model(model: str) -> None:
    named = make_encoder(f"sentence:{model}").describe()
    assert named.id == make_encoder("sentence-transformers").describe().id
    assert named.label == f"sentence-transformers:{model}"


def test_a_folder_with_the_same_files_is_the_same_space(copied: Path) -> None:
    (copied / "README.md").unlink()
    assert (
        make_encoder(f"sentence:{copied}").describe().id == make_encoder("sentence").describe().id
    )


def test_vectors_are_the_librarys_own(minilm: LoadedEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["A cat sits on the sofa.", "A kitten lies on the couch.", "Shares fell on Monday."]
    vectors = encode_items(minilm, [Item(text) for text in texts]).vectors
    own = SentenceTransformer(str(_packaged()), device="cpu").encode(texts)

    assert minilm.dimension == 384
    assert np.abs(vectors - own).max() < 1e-5
    cosines = unit(vectors) @ unit(vectors).T
    assert cosines[0, 1] > 0.5 > 0.2 > cosines[0, 2]


def test_batches_change_nothing(minilm: LoadedEncoder) -> None:
    items = [Item("the sea and the sky " * (i % 13 + 1)) for i in range(30)]
    together = encode_items(minilm, items, batch_size=16).vectors
    assert np.abs(together - encode_items(minilm, items, batch_size=1).vectors).max() < 1e-5


def test_long_texts_are_cut_and_counted(minilm: LoadedEncoder) -> None:
    long = "word " * 400
    encoded = encode_items(minilm, [Item(long), Item("word"), Item(long + "more")])
    assert minilm.max_tokens == 256
    assert encoded.cut == {0: 402, 2: 403}
    assert np.abs(encoded.vectors[0] - encoded.vectors[2]).max() < 1e-6


def test_another_limit() -> None:
    encoder = make_encoder("sentence", {"max_tokens": "16"}, CPU)
    assert encoder.describe().max_tokens == 16
    assert encoder.describe().id != make_encoder("sentence").describe().id
    assert encode_items(encoder.load(), [Item("word " * 20), Item("word " * 14)]).cut == {0: 22}


def test_prompts_make_queries_another_thing() -> None:
    encoder = make_encoder("sentence", {"query_prompt": "query: "}, CPU)
    record = encoder.describe()
    assert record.roles
    assert record.options == {"query_prompt": "query: ", "passage_prompt": ""}
    loaded = encoder.load()
    items = [Item("the sea", role=role) for role in (Role.QUERY, Role.PASSAGE)]
    query, passage, written = encode_items(loaded, [*items, Item("query: the sea")]).vectors
    assert np.abs(query - written).max() < 1e-6
    assert np.abs(query - passage).max() > 0.01
    assert loaded.lengths(["the sea"], Role.QUERY)[0] > loaded.lengths(["the sea"], Role.PASSAGE)[0]


@pytest.mark.parametrize(
    ("settings", "prompts", "roles"),
    [
        ({"prompts": {"query": "Q: ", "document": "D: "}}, ("Q: ", "D: "), True),
        ({"prompts": {"query": "Q: ", "passage": "P: "}}, ("Q: ", "P: "), True),
        ({"prompts": {"query": "same", "document": "same"}}, ("same", "same"), False),
        ({"prompts": {"sts": "S: "}, "default_prompt_name": "sts"}, ("S: ", "S: "), False),
        ({"prompts": {"query": ""}, "default_prompt_name": None}, ("", ""), False),
    ],
)
def test_prompts_of_the_models_own(
    settings: dict[str, Any], prompts: tuple[str, str], roles: bool, copied: Path
) -> None:
    rewrite(copied / "config_sentence_transformers.json", **settings)
    record = make_encoder(f"sentence:{copied}").describe()
    assert (record.options["query_prompt"], record.options["passage_prompt"]) == prompts
    assert record.roles is roles
    given = {"query_prompt": "", "passage_prompt": ""}
    assert not make_encoder(f"sentence:{copied}", given).describe().roles


def test_a_prompt_by_default_is_used_once(copied: Path) -> None:
    settings = {"prompts": {"sts": "S: "}, "default_prompt_name": "sts"}
    rewrite(copied / "config_sentence_transformers.json", **settings)
    own = make_encoder(f"sentence:{copied}", machine=CPU).load()
    bare = make_encoder("sentence", machine=CPU).load()
    expected = bare.encode_texts(["S: the sea"], Role.PASSAGE)
    assert np.abs(own.encode_texts(["the sea"], Role.PASSAGE) - expected).max() < 1e-6


def test_a_model_of_transformers_alone(copied: Path) -> None:
    """Without modules.json, sentence-transformers pools by itself."""
    (copied / "modules.json").unlink()
    encoder = make_encoder(f"sentence:{copied}", machine=CPU)
    assert encoder.describe().id != make_encoder("sentence").describe().id
    assert encoder.load().encode_texts(["the sea"], Role.QUERY).shape == (1, 384)


def test_a_hub_model_in_the_cache(copied: Path, offline_hub: Callable[..., Path]) -> None:
    encoder = make_encoder("sentence:org/mini", machine=CPU)
    with pytest.raises(InputError, match="hf download org/mini"):
        encoder.describe()
    folder = offline_hub("org/mini")
    folder.rmdir()
    shutil.copytree(copied, folder, symlinks=True)
    assert encoder.describe().revision == f"org/mini@{folder.name}"
    assert encoder.load().encode_texts(["the sea"], Role.QUERY).shape == (1, 384)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors|\*\.safetensors"):
        encoder.describe()


def test_no_network_is_noticed_at_once(
    offline_hub: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that does not answer, rather than a setting."""
    import socket
    import time

    from huggingface_hub import constants

    def unreachable(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    started = time.monotonic()
    with pytest.raises(InputError, match="the hub cannot be reached"):
        make_encoder("sentence:org/none").describe()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("a/b/c", "there is no model 'a/b/c'"),
        ("./none", "there is no such folder"),
        ("/none/at/all", "there is no such folder"),
    ],
)
def test_models_that_are_not_there(model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_encoder("sentence", {"model": model}).describe()


def test_folders_that_are_no_models(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither modules\.json nor config\.json"):
        make_encoder(f"sentence:{tmp_path}").describe()
    (copied / "model.safetensors").unlink()
    with pytest.raises(InputError, match="has no weights"):
        make_encoder(f"sentence:{copied}").describe()
    (copied / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(InputError, match="cannot be loaded"):
        make_encoder(f"sentence:{copied}", machine=CPU).load()


@pytest.mark.parametrize("modules", [[], {}, [1], [{"type": 3, "path": ""}]])
def test_settings_that_make_no_sense(modules: Any, copied: Path) -> None:
    (copied / "modules.json").unlink()
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match="settings that make no sense"):
        make_encoder(f"sentence:{copied}").describe()


def test_images_are_refused(minilm: LoadedEncoder, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="encodes text alone"):
        encode_items(minilm, [Item(images=(tmp_path / "a.png",))])


def test_options_that_are_wrong() -> None:
    for options in (
        {"max_tokens": 0},
        {"max_tokens": 513},
        {"max_tokens": "many"},
        {"dtype": "int8"},
        {"modle": "x"},
    ):
        with pytest.raises(InputError, match=f"option {next(iter(options))}"):
            make_encoder("sentence", options).describe()


def test_bfloat16(minilm: LoadedEncoder) -> None:
    half = make_encoder("sentence", {"dtype": "bfloat16"}, CPU).load()
    texts = ["A cat sits on the sofa.", "Shares fell on Monday."]
    both = [unit(one.encode_texts(texts, Role.PASSAGE)) for one in (half, minilm)]
    assert half.dtype == "bfloat16"
    assert (both[0] * both[1]).sum(axis=1).min() > 0.99
