"""``open_clip`` on a tiny model, through the code that any other model goes through."""

from __future__ import annotations

import ast
import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from baselines.encoders import open_clip_catalogue as catalogue
from baselines.encoders.batches import encode_items
from baselines.encoders.encoder import Item
from baselines.encoders.registry import make_encoder
from baselines.machine import Machine
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from baselines.encoders.encoder import LoadedEncoder

TEXTS = ["a cat on a sofa", "the sea", "我们明天去看电影吧", ""]
CPU = Machine(device="cpu")


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def texts_of(loaded: LoadedEncoder) -> np.ndarray:
    return loaded.encode_texts(TEXTS, Role.PASSAGE)


@pytest.fixture(scope="session")
def loaded(tiny_open_clip: Path) -> LoadedEncoder:
    return make_encoder(f"open_clip:{tiny_open_clip}", machine=CPU).load()


@pytest.fixture
def pictures(photographs: dict[str, Image.Image], tmp_path: Path) -> list[Path]:
    paths = []
    for name in ("astronaut", "china", "coffee", "flower"):
        paths.append(tmp_path / f"{name}.png")
        photographs[name].resize((200, 150)).save(paths[-1])
    return paths


def test_the_checkpoint_is_small(tiny_open_clip: Path) -> None:
    assert sum(path.stat().st_size for path in tiny_open_clip.iterdir()) < 1_000_000


def test_description(tiny_open_clip: Path) -> None:
    record = make_encoder(f"clip:{tiny_open_clip}").describe()
    assert record.encoder == "open_clip"
    assert record.label == f"open_clip:{tiny_open_clip}"
    assert record.modalities == ("text", "image")
    assert (record.roles, record.max_tokens, record.dimension) == (False, 77, 16)


def test_description_imports_neither_torch_nor_open_clip(
    tiny_open_clip: Path, modules_after: Callable[..., set[str]]
) -> None:
    code = (
        "from baselines.encoders.registry import make_encoder\n"
        "make_encoder('open_clip:' + sys.argv[1]).describe()"
    )
    modules = modules_after(code, tiny_open_clip)
    assert not modules & {"torch", "transformers", "open_clip", "PIL", "huggingface_hub"}


def test_vectors_are_open_clips_own(
    tiny_open_clip: Path, loaded: LoadedEncoder, pictures: list[Path]
) -> None:
    import open_clip
    import torch

    name = f"local-dir:{tiny_open_clip}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    model.eval()
    with torch.inference_mode():
        texts = model.encode_text(open_clip.get_tokenizer(name)(TEXTS)).numpy()
        images = [preprocess(Image.open(path)) for path in pictures]
        images = model.encode_image(torch.stack(images)).numpy()

    encoded = encode_items(
        loaded, [*(Item(text) for text in TEXTS), *(Item(images=(path,)) for path in pictures)]
    ).vectors

    assert loaded.dimension == texts.shape[1] == 16
    assert np.abs(encoded[: len(TEXTS)] - texts).max() < 1e-5
    assert np.abs(encoded[len(TEXTS) :] - images).max() < 1e-5


def test_batches_change_nothing(loaded: LoadedEncoder, pictures: list[Path]) -> None:
    items = [Item(f"{i} sheep " * i) for i in range(1, 40)]
    items += [Item(images=(path,)) for path in pictures]
    single = encode_items(loaded, items, batch_size=1)
    together = encode_items(loaded, items, batch_size=16)
    assert np.abs(single.vectors - together.vectors).max() < 1e-5
    assert single.cut == together.cut


def test_long_texts_are_cut_and_counted(loaded: LoadedEncoder) -> None:
    long = " ".join(["word"] * 200)
    encoded = encode_items(
        loaded, [Item(long), Item("word"), Item(f"{long} more"), Item(" ".join(["word"] * 75))]
    )
    assert encoded.cut == {0: 202, 2: 203}
    assert (encoded.vectors[0] == encoded.vectors[2]).all()  # what differs was cut


def test_orientations_of_photographs(
    loaded: LoadedEncoder, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    from tests.baselines.encoders.test_images import STORED, stored

    items = []
    for name in ("china", "flower"):
        for orientation in STORED:
            path = tmp_path / f"{name}{orientation}.jpg"
            picture, exif = stored(photographs[name], orientation)
            picture.save(path, exif=exif, quality=90)
            items.append(Item(images=(path,)))

    vectors = unit(encode_items(loaded, items).vectors)
    china, flower = vectors[:8], vectors[8:]

    closest_other = (china @ flower.T).max()
    assert (china @ china.T).min() > 0.999 > closest_other
    assert (flower @ flower.T).min() > 0.999

    turned = tmp_path / "turned.png"
    photographs["china"].transpose(Image.Transpose.ROTATE_90).save(turned)
    other = unit(encode_items(loaded, [Item(images=(turned,))]).vectors)
    assert (china @ other.T).max() < (china @ china.T).min()  # it does see which way up it is


def test_variants_of_photographs(
    loaded: LoadedEncoder, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    china = photographs["china"]
    grey = china.convert("L")
    china.save(tmp_path / "a.png")
    china.convert("CMYK").save(tmp_path / "b.jpg", quality=95)
    china.convert("RGBA").save(tmp_path / "c.webp", lossless=True)
    grey.convert("RGB").save(tmp_path / "d.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "e.tif")
    photographs["flower"].save(tmp_path / "f.png")
    items = [Item(images=(path,)) for path in sorted(tmp_path.glob("?.*"))]

    vectors = unit(encode_items(loaded, items).vectors)
    cosines = vectors @ vectors.T

    assert cosines[0, 1] > 0.999
    assert cosines[0, 2] > 0.99999
    assert cosines[3, 4] > 0.99999
    assert cosines[0, 5] < 0.99


# What a user may name


def test_every_way_to_the_same_weights(
    tiny_open_clip: Path, loaded: LoadedEncoder, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    expected = texts_of(loaded)
    config = tmp_path / "tiny.json"
    settings = json.loads((tiny_open_clip / "open_clip_config.json").read_text())
    config.write_text(json.dumps(settings["model_cfg"]))
    state = load_file(tiny_open_clip / "open_clip_model.safetensors")
    torch.save(state, tmp_path / "tiny.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "epoch.pt")
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(tiny_open_clip / "open_clip_config.json", folder)
    shutil.copy(tmp_path / "tiny.pt", folder / "open_clip_pytorch_model.bin")

    for spec in (
        f"open_clip:local-dir:{tiny_open_clip}",
        f"open_clip:{folder}",
        f"open_clip:{config}/{tmp_path}/tiny.pt",
        f"open_clip:{config}/{tmp_path}/epoch.pt",
        f"open_clip:{config}/{tiny_open_clip}/open_clip_model.safetensors",
    ):
        encoder = make_encoder(spec, machine=CPU)
        assert (texts_of(encoder.load()) == expected).all(), spec
        assert encoder.describe().max_tokens == 77


def test_the_revision_follows_the_content(tiny_open_clip: Path, tmp_path: Path) -> None:
    from tests.checkpoints.open_clip import build

    copied = tmp_path / "elsewhere"
    shutil.copytree(tiny_open_clip, copied)
    other = tmp_path / "other"
    other.mkdir()
    build(other, seed=1)
    first, second, third = (
        make_encoder(f"clip:{folder}").describe() for folder in (tiny_open_clip, copied, other)
    )
    assert first.id == second.id
    assert first.id != third.id
    assert make_encoder(f"clip:{copied}", {"dtype": "bfloat16"}).describe().id != first.id


@pytest.fixture
def tiny_architecture(
    tiny_open_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Makes an architecture of open_clip, called ``tiny``, of the tiny configuration."""
    import open_clip
    from open_clip import factory, pretrained

    def make(tags: dict[str, dict[str, Any]], **text: str) -> str:
        settings = json.loads((tiny_open_clip / "open_clip_config.json").read_text())["model_cfg"]
        settings["text_cfg"] |= text
        path = tmp_path / "configs" / "tiny.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(settings))
        monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
        monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
        open_clip.add_model_config(path)
        monkeypatch.setitem(pretrained._PRETRAINED, "tiny", tags)
        known = {tag: catalogue._hub_file(entry["hf_hub"]) for tag, entry in tags.items()}
        real = catalogue.tags
        monkeypatch.setattr(catalogue, "architectures", lambda: {"tiny": path, "ViT-B-32": path})
        monkeypatch.setattr(catalogue, "tags", lambda a: known if a == "tiny" else real(a))
        return "open_clip:tiny"

    return make


SIGLIP = {
    "hf_hub": "org/tiny/",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def test_a_tag_whose_weights_are_in_the_hub_cache(
    tiny_open_clip: Path,
    tiny_architecture: Callable[..., str],
    offline_hub: Callable[..., Path],
    loaded: LoadedEncoder,
) -> None:
    spec = tiny_architecture({"webli": SIGLIP, "quick": {**SIGLIP, "quick_gelu": True}})
    offline_hub("org/tiny", tiny_open_clip / "open_clip_model.safetensors")
    encoder = make_encoder(f"{spec}/webli", machine=CPU)
    record = encoder.describe()
    assert record.revision == f"org/tiny@{'0123456789' * 4}"
    assert record.options == {"images": "1", "architecture": "tiny"}

    tagged = encoder.load()
    assert (texts_of(tagged) == texts_of(loaded)).all()
    assert tagged._preprocess.transforms[-1].mean == (0.5, 0.5, 0.5)

    # A tag says which activation its weights were trained with; open_clip would only warn.
    quick = make_encoder(f"{spec}/QUICK", machine=CPU).load()
    assert np.abs(texts_of(quick) - texts_of(loaded)).max() > 1e-4


def test_a_file_for_an_architecture_is_prepared_as_its_tags_are(
    tiny_open_clip: Path, tiny_architecture: Callable[..., str]
) -> None:
    spec = tiny_architecture({"one": SIGLIP, "two": {**SIGLIP, "hf_hub": "org/two/"}})
    weights = tiny_open_clip / "open_clip_model.safetensors"
    encoder = make_encoder(f"{spec}/{weights}", machine=CPU)
    assert encoder.describe().label == f"open_clip:tiny/{weights}"
    assert encoder.load()._preprocess.transforms[-1].mean == (0.5, 0.5, 0.5)  # type: ignore[attr-defined]

    spec = tiny_architecture({"one": SIGLIP, "two": {**SIGLIP, "mean": (0.1, 0.1, 0.1)}})
    plain = make_encoder(f"{spec}/{weights}", machine=CPU)
    assert plain.load()._preprocess.transforms[-1].mean[0] == pytest.approx(0.48145466)  # type: ignore[attr-defined]
    chosen = make_encoder(f"{spec}/{weights}", {"preprocess": "two"}, machine=CPU)
    assert chosen.load()._preprocess.transforms[-1].mean == (0.1, 0.1, 0.1)  # type: ignore[attr-defined]
    assert chosen.describe().id != plain.describe().id

    quick = make_encoder(f"{spec}/{weights}", {"quick_gelu": "true"}, machine=CPU)
    assert quick.describe().id != plain.describe().id
    assert np.abs(texts_of(quick.load()) - texts_of(plain.load())).max() > 1e-4


def test_a_tokenizer_of_its_own_from_the_hub_cache(
    tiny_open_clip: Path,
    tiny_architecture: Callable[..., str],
    offline_hub: Callable[..., Path],
    tmp_path: Path,
) -> None:
    from tests.checkpoints.parts import word_piece_tokenizer

    spec = tiny_architecture({}, hf_tokenizer_name="org/words")
    weights = tiny_open_clip / "open_clip_model.safetensors"
    encoder = make_encoder(f"{spec}/{weights}", machine=CPU)
    with pytest.raises(InputError, match=r"not all files of 'org/words'"):
        encoder.describe()
    word_piece_tokenizer([]).save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    offline_hub("org/words", tmp_path / "tokenizer.json", tmp_path / "tokenizer_config.json")

    loaded = encoder.load()

    assert loaded.lengths(["the cat", "the cat " * 100], Role.QUERY) == [4, 202]
    assert encode_items(loaded, [Item("the cat " * 100)]).cut == {0: 202}
    assert texts_of(loaded).shape == (4, 16)


def test_a_hub_model_in_the_cache(
    tiny_open_clip: Path, offline_hub: Callable[..., Path], loaded: LoadedEncoder
) -> None:
    encoder = make_encoder("open_clip:hf-hub:org/tiny", machine=CPU)
    with pytest.raises(InputError) as caught:
        encoder.describe()
    assert "hf download org/tiny" in str(caught.value)
    offline_hub("org/tiny", *tiny_open_clip.iterdir())
    assert encoder.describe().revision.startswith("org/tiny@0123456789")
    assert (texts_of(encoder.load()) == texts_of(loaded)).all()


def test_a_hub_model_of_which_a_part_is_missing(
    tiny_open_clip: Path, offline_hub: Callable[..., Path]
) -> None:
    offline_hub("org/tiny", tiny_open_clip / "open_clip_config.json")
    with pytest.raises(InputError, match=r"open_clip_model\.safetensors"):
        make_encoder("open_clip:hf-hub:org/tiny").describe()


# What is wrong


def refused(spec: str, options: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        make_encoder(spec, options, CPU).load()
    return str(caught.value)


def test_unknown_architecture() -> None:
    message = refused("open_clip:ViT-B-23/openai")
    assert "no architecture 'ViT-B-23'" in message
    assert "'ViT-B-32'" in message
    assert "'ViT-L-14'" in refused("open_clip:vit-l-14")


def test_unknown_tag() -> None:
    message = refused("open_clip:ViT-B-32/opnai")
    assert "did you mean 'openai'? it has openai, laion400m_e31" in message
    assert "webli" in refused("open_clip:ViT-B-16-SigLIP/openai")
    assert "did you mean" not in refused("open_clip:ViT-B-32", {"pretrained": "zzz"})


def test_no_weights_and_no_network(offline_hub: Callable[..., Path]) -> None:
    message = refused("open_clip:ViT-B-32")
    assert "hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in message
    assert "open_clip_model.safetensors" in message


def test_places_that_are_not_there(tmp_path: Path) -> None:
    assert "no such folder or file" in refused(f"open_clip:{tmp_path}/none")
    assert "no such folder" in refused(f"open_clip:local-dir:{tmp_path}/none")
    assert "has no open_clip_config.json" in refused(f"open_clip:{tmp_path}")
    assert "nor a file" in refused(f"open_clip:ViT-B-32/{tmp_path}/none.pt")
    (tmp_path / "open_clip_config.json").write_text("{}")
    assert "no embed_dim" in refused(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{")
    assert "is not JSON" in refused(f"open_clip:{tmp_path}")


def test_a_folder_without_weights(tiny_open_clip: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_open_clip / "open_clip_config.json", tmp_path)
    assert "has no weights" in refused(f"open_clip:{tmp_path}")


def test_weights_of_another_architecture(tiny_open_clip: Path, tmp_path: Path) -> None:
    settings = json.loads((tiny_open_clip / "open_clip_config.json").read_text())["model_cfg"]
    settings["vision_cfg"]["width"] = 48
    (tmp_path / "wider.json").write_text(json.dumps(settings))
    weights = tiny_open_clip / "open_clip_model.safetensors"
    assert "size mismatch" in refused(f"open_clip:{tmp_path}/wider.json/{weights}")


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('the pickle was run')",))


@pytest.mark.parametrize("what", ["pickle", "garbage", "empty", "list", "safetensors", "script"])
def test_weights_that_are_none(what: str, tiny_open_clip: Path, tmp_path: Path) -> None:
    import torch

    weights = tmp_path / ("w.safetensors" if what == "safetensors" else "w.pt")
    if what == "pickle":
        torch.save({"state_dict": Harmful()}, weights)
    elif what == "list":
        torch.save([1, 2], weights)
    elif what == "script":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), weights)
    else:
        weights.write_bytes(b"" if what == "empty" else b"garbage " * 100)
    config = tmp_path / "tiny.json"
    config.write_text((tiny_open_clip / "open_clip_config.json").read_text())
    message = refused(f"open_clip:{config}/{weights}")
    assert weights.name in message


def test_options_that_do_not_go_together(tiny_open_clip: Path) -> None:
    assert "option quick_gelu" in refused(f"open_clip:{tiny_open_clip}", {"quick_gelu": True})
    weights = tiny_open_clip / "open_clip_model.safetensors"
    message = refused(f"open_clip:ViT-B-32/{weights}", {"preprocess": "nope"})
    assert "'nope' is not a tag of ViT-B-32" in message
    assert "option dtype" in refused(f"open_clip:{tiny_open_clip}", {"dtype": "int8"})


# Machines


def test_unknown_device(tiny_open_clip: Path) -> None:
    encoder = make_encoder(f"open_clip:{tiny_open_clip}", machine=Machine(device="cuda:99"))
    with pytest.raises(InputError, match="no device 'cuda:99'"):
        encoder.load()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_number_formats(
    dtype: str, tiny_open_clip: Path, loaded: LoadedEncoder, pictures: list[Path]
) -> None:
    half = make_encoder(f"open_clip:{tiny_open_clip}", {"dtype": dtype}, CPU).load()
    assert half.dtype == dtype
    items = [*(Item(text) for text in TEXTS), *(Item(images=(path,)) for path in pictures)]
    cosines = (
        unit(encode_items(half, items).vectors) * unit(encode_items(loaded, items).vectors)
    ).sum(axis=1)
    assert cosines.min() > 0.99


def test_the_root_logger_stays_as_it_was(tiny_open_clip: Path) -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    make_encoder(f"open_clip:{tiny_open_clip}", machine=CPU).load()
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


# The catalogue


def test_the_catalogue_is_open_clips_own() -> None:
    import open_clip
    from open_clip import pretrained

    assert set(catalogue.architectures()) == set(open_clip.list_models())
    assert {(a, t) for a in catalogue.architectures() for t in catalogue.tags(a)} == set(
        pretrained.list_pretrained()
    )
    tree = ast.parse(Path(pretrained.__file__).read_text(encoding="utf-8"))
    assert catalogue._Table(tree).of_architectures() == catalogue._asked()


def test_the_catalogue_of_another_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """If its table is written in another way, open_clip is asked."""
    expected = dict(catalogue.tags("ViT-B-32"))
    monkeypatch.setattr(catalogue.ast, "parse", lambda text: ast.Module([], []))
    catalogue._tables.cache_clear()
    try:
        assert catalogue.tags("ViT-B-32") == expected
    finally:
        catalogue._tables.cache_clear()
