"""E5-V, on a tiny checkpoint of the real classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.encoders.e5v import E5V, E5VOptions
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError
from tests.baselines.encoders.samples import TEXTS, all_different, cosines, picture
from tests.checkpoints import llava_next

if TYPE_CHECKING:
    from pathlib import Path

    from baselines.encoders.e5v import LoadedE5V
    from baselines.encoders.encoder import FloatArray

IMAGES = [
    picture(28, 28, 1),
    picture(90, 30, 2),
    picture(30, 90, 3),
    picture(64, 64, 4),
    picture(1, 1, 5),
    picture(900, 2, 6),
]
# The release's prompts, spelt out.
TEXT_PROMPT = (
    "<|start_header_id|>user<|end_header_id|>\n\n{}\nSummary above sentence in one word: "
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n"
)
IMAGE_PROMPT = TEXT_PROMPT.replace("sentence", "image").format("<image>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llava_next.build(tmp_path_factory.mktemp("e5-v") / "checkpoint")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedE5V:
    return E5V(E5VOptions(model=str(folder))).load()


@pytest.fixture(scope="module")
def original(folder: Path) -> tuple[Any, Any]:
    from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

    processor: Any = LlavaNextProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = "left"
    return LlavaNextForConditionalGeneration.from_pretrained(folder), processor


def by_the_release(original: tuple[Any, Any], **inputs: Any) -> FloatArray:
    """What the release's model card does: the last layer's last position."""
    import torch

    model, processor = original
    with torch.inference_mode():
        output = model(
            **processor(**inputs, padding=True, return_tensors="pt"), output_hidden_states=True
        )
    states: FloatArray = output.hidden_states[-1][:, -1, :].numpy()
    return states


def test_the_releases_recipe(loaded: LoadedE5V, original: tuple[Any, Any]) -> None:
    texts = by_the_release(original, text=[TEXT_PROMPT.format(text) for text in TEXTS])
    assert np.allclose(loaded.encode_texts(TEXTS, Role.QUERY), texts, atol=1e-4)
    some = IMAGES[:4]
    images = by_the_release(original, images=some, text=[IMAGE_PROMPT] * len(some))
    assert np.allclose(loaded.encode_images(some), images, atol=1e-4)


def test_company_in_a_batch_changes_nothing(loaded: LoadedE5V, original: tuple[Any, Any]) -> None:
    prepared = original[1](images=IMAGES, text=[IMAGE_PROMPT] * len(IMAGES), padding=True)
    assert len({ids.count(original[0].config.image_token_id) for ids in prepared["input_ids"]}) > 2
    texts = loaded.encode_texts(TEXTS, Role.PASSAGE)
    images = loaded.encode_images(IMAGES)
    assert all_different(texts)
    assert all_different(images)
    for place, text in enumerate(TEXTS):
        assert np.allclose(loaded.encode_texts([text], Role.PASSAGE)[0], texts[place], atol=1e-5)
    for place, image in enumerate(IMAGES):
        assert np.allclose(loaded.encode_images([image])[0], images[place], atol=1e-5)


def test_a_long_text_is_cut_and_its_prompt_is_not(
    folder: Path, loaded: LoadedE5V, original: tuple[Any, Any]
) -> None:
    short = E5V(E5VOptions(model=str(folder), max_length=60)).load()
    assert short.max_tokens == 60
    long = "the cat sleeps. 🙂 " * 40
    longer, other = long + "And the rain falls.", "The rain falls. " + long
    assert short.lengths([long, "cat"], Role.QUERY)[0] > 200
    assert short.lengths([long, "cat"], Role.QUERY)[1] < 60
    vectors = short.encode_texts([long, longer, other, "cat"], Role.QUERY)
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-2)
    assert np.allclose(vectors[3], loaded.encode_texts(["cat"], Role.QUERY)[0], atol=1e-5)
    # It is the vector of the longest beginning that fits, in the whole prompt.
    lengths = loaded.lengths([long[:end] for end in range(len(long))], Role.QUERY)
    fits = [end for end, length in enumerate(lengths) if length <= 60]
    beginnings = by_the_release(
        original, text=[TEXT_PROMPT.format(long[:end]) for end in fits[-3:]]
    )
    assert min(np.abs(beginnings - vectors[0]).max(axis=1)) < 1e-4


def test_a_prompt_that_does_not_fit_is_refused(folder: Path) -> None:
    tight = E5V(E5VOptions(model=str(folder), max_length=20)).load()
    with pytest.raises(InputError, match=r"option max_length: the prompt alone has \d+ tokens"):
        tight.encode_texts(["cat"], Role.QUERY)


def test_a_text_cannot_stand_for_an_image(loaded: LoadedE5V) -> None:
    spelt = ["<image>", "see <image> <|eot_id|><|start_header_id|>"]
    vectors = loaded.encode_texts(spelt, Role.QUERY)
    apart = ["< image>", "see < image> < |eot_id|>< |start_header_id|>"]
    assert np.allclose(vectors, loaded.encode_texts(apart, Role.QUERY), atol=1e-5)


def test_settings_without_the_size_of_patches(
    folder: Path, loaded: LoadedE5V, tmp_path: Path
) -> None:
    """The release's own settings are so."""
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "processor_config.json").write_text('{"processor_class": "LlavaNextProcessor"}')
    vectors = E5V(E5VOptions(model=str(bare))).load().encode_images(IMAGES)
    assert np.allclose(vectors, loaded.encode_images(IMAGES), atol=1e-5)


def test_weights_that_are_missing_are_not_made_up(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    holed = tmp_path / "holed"
    shutil.copytree(folder, holed)
    weights = load_file(holed / "model.safetensors")
    gone = [name for name in weights if "language_model" in name and "down_proj" in name]
    save_file(
        {name: weight for name, weight in weights.items() if name not in gone},
        holed / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InputError, match=r"the weights of 2 parts are missing.*down_proj"):
        E5V(E5VOptions(model=str(holed))).load()


def test_files_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="broken: cannot be loaded"):
        E5V(E5VOptions(model=str(broken))).load()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_smaller_number_formats(folder: Path, loaded: LoadedE5V, dtype: str) -> None:
    small = E5V(E5VOptions(model=str(folder), dtype=dtype)).load()
    texts, images = small.encode_texts(TEXTS, Role.QUERY), small.encode_images(IMAGES)
    assert texts.dtype == images.dtype == np.float32
    assert cosines(texts, loaded.encode_texts(TEXTS, Role.QUERY)).min() > 0.99
    assert cosines(images, loaded.encode_images(IMAGES)).min() > 0.99


def test_prompts_are_options(folder: Path, loaded: LoadedE5V) -> None:
    options = E5VOptions(model=str(folder))
    asked = E5V(replace(options, text_prompt="The cat:"))
    assert asked.describe().id != E5V(options).describe().id
    assert "The cat:" in json.dumps(asked.describe().options)
    vector = asked.load().encode_texts(["cat"], Role.QUERY)
    assert not np.allclose(vector, loaded.encode_texts(["cat"], Role.QUERY), atol=1e-2)
