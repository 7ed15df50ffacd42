"""GME, on a tiny checkpoint of the real classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.encoders.gme import Gme, GmeOptions
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError
from tests.baselines.encoders.samples import TEXTS, all_different, cosines, picture
from tests.checkpoints import qwen2_vl

if TYPE_CHECKING:
    from baselines.encoders.encoder import FloatArray
    from baselines.encoders.gme import LoadedGme

IMAGES = [
    picture(56, 56, 1),
    picture(140, 56, 2),
    picture(60, 200, 3),
    picture(1, 1, 4),
    picture(3000, 9, 5),
]
IMAGE_TOKENS = "<|vision_start|><|image_pad|><|vision_end|>"
# The release's frame, spelt out.
FRAME = (
    "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n<|endoftext|>"
)
SIZE = {"shortest_edge": 4 * 28 * 28, "longest_edge": 16 * 28 * 28}
PASSAGE = "You are a helpful assistant."


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> GmeOptions:
    folder = qwen2_vl.build(tmp_path_factory.mktemp("gme") / "checkpoint")
    return GmeOptions(model=str(folder), min_image_tokens=4, max_image_tokens=16)


@pytest.fixture(scope="module")
def loaded(options: GmeOptions) -> LoadedGme:
    return Gme(options).load()


@pytest.fixture(scope="module")
def original(options: GmeOptions) -> tuple[Any, Any]:
    from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    processor: Any = Qwen2VLProcessor.from_pretrained(options.model)
    processor.tokenizer.padding_side = "right"
    return Qwen2VLForConditionalGeneration.from_pretrained(options.model), processor


def by_the_release(
    original: tuple[Any, Any], messages: list[str], images: list[Any] | None = None
) -> FloatArray:
    """What the release's code does: padding on the right, positions as of a text."""
    import torch

    model, processor = original
    inputs = processor(text=messages, images=images, size=SIZE, padding=True, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.inference_mode():
        embedded = model.get_input_embeddings()(ids)
        if images:
            seen = model.model.visual(
                inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]
            ).pooler_output
            embedded[ids == model.config.image_token_id] = seen
        places = torch.arange(ids.shape[1]).expand(3, len(ids), -1)
        states = model.model.language_model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=places
        ).last_hidden_state
    vectors: FloatArray = states[torch.arange(len(ids)), mask.sum(dim=1) - 1].numpy()
    return vectors


def test_the_releases_recipe(
    loaded: LoadedGme, options: GmeOptions, original: tuple[Any, Any]
) -> None:
    for role, instruction in ((Role.PASSAGE, PASSAGE), (Role.QUERY, options.query_instruction)):
        wanted = by_the_release(original, [FRAME.format(instruction, text) for text in TEXTS])
        assert np.allclose(loaded.encode_texts(TEXTS, role), wanted, atol=1e-4)
    some = IMAGES[:3]
    message = FRAME.format(PASSAGE, IMAGE_TOKENS)
    wanted = by_the_release(original, [message] * len(some), some)
    assert np.allclose(loaded.encode_images(some), wanted, atol=1e-4)
    message = FRAME.format(PASSAGE, IMAGE_TOKENS + "the cat")
    wanted = by_the_release(original, [message], some[:1])
    mixed = loaded.encode_mixed([("the cat", some[:1])], Role.PASSAGE)
    assert np.allclose(mixed, wanted, atol=1e-4)


def test_the_positions_of_qwen2_vl(
    loaded: LoadedGme, options: GmeOptions, original: tuple[Any, Any]
) -> None:
    import torch

    grid = Gme(replace(options, positions="grid")).load()
    model, processor = original
    for image in IMAGES[:3]:
        message = FRAME.format(PASSAGE, IMAGE_TOKENS)
        inputs = processor(text=[message], images=[image], size=SIZE, return_tensors="pt")
        with torch.inference_mode():
            wanted = model.model(**inputs).last_hidden_state[:, -1].numpy()
        assert np.allclose(grid.encode_images([image]), wanted, atol=1e-4)
        assert not np.allclose(loaded.encode_images([image]), wanted, atol=1e-3)
    together, alone = grid.encode_images(IMAGES), [grid.encode_images([one])[0] for one in IMAGES]
    assert np.allclose(together, alone, atol=1e-5)


def test_company_in_a_batch_changes_nothing(loaded: LoadedGme) -> None:
    texts = loaded.encode_texts(TEXTS, Role.QUERY)
    images = loaded.encode_images(IMAGES)
    assert all_different(texts)
    assert all_different(images)
    for place, text in enumerate(TEXTS):
        assert np.allclose(loaded.encode_texts([text], Role.QUERY)[0], texts[place], atol=1e-5)
    for place, image in enumerate(IMAGES):
        assert np.allclose(loaded.encode_images([image])[0], images[place], atol=1e-5)


def test_texts_with_images(loaded: LoadedGme) -> None:
    items = [
        ("the cat", IMAGES[:1]),
        ("the cat", IMAGES[1:2]),
        ("the rain", IMAGES[1:2]),
        ("the cat", IMAGES[:3]),
        ("the cat", [IMAGES[2], IMAGES[1], IMAGES[0]]),
        ("no image " * 500, IMAGES[3:]),
    ]
    vectors = loaded.encode_mixed(items, Role.PASSAGE)
    assert all_different(vectors)
    for place, item in enumerate(items):
        alone = loaded.encode_mixed([item], Role.PASSAGE)[0]
        assert np.allclose(alone, vectors[place], atol=1e-5)
    asked = loaded.encode_mixed(items, Role.QUERY)
    assert not np.allclose(asked, vectors, atol=1e-2)
    without_text = loaded.encode_mixed([("", [image]) for image in IMAGES], Role.PASSAGE)
    assert np.allclose(without_text, loaded.encode_images(IMAGES), atol=1e-5)


def test_a_text_cannot_stand_for_an_image(loaded: LoadedGme) -> None:
    text = "<|vision_start|><|image_pad|><|vision_end|><|im_end|>"
    apart = "< |vision_start|>< |image_pad|>< |vision_end|>< |im_end|>"
    for images in ([], IMAGES[:1]):
        spelt = loaded.encode_mixed([(text, images)], Role.PASSAGE)
        assert np.allclose(spelt, loaded.encode_mixed([(apart, images)], Role.PASSAGE), atol=1e-5)


def test_a_long_text_is_cut_and_its_frame_is_not(
    loaded: LoadedGme, options: GmeOptions, original: tuple[Any, Any]
) -> None:
    short = Gme(replace(options, max_length=60)).load()
    assert (loaded.max_tokens, short.max_tokens) == (1800, 60)
    long = "the cat sleeps. 🙂 " * 40
    longer, other = long + "And the rain falls.", "The rain falls. " + long
    assert short.lengths([long], Role.PASSAGE)[0] > 200
    assert short.lengths([long], Role.PASSAGE) == loaded.lengths([long], Role.PASSAGE)
    vectors = short.encode_texts([long, longer, other], Role.PASSAGE)
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-2)
    lengths = loaded.lengths([long[:end] for end in range(len(long))], Role.PASSAGE)
    fits = [end for end, length in enumerate(lengths) if length <= 60]
    wanted = by_the_release(original, [FRAME.format(PASSAGE, long[:end]) for end in fits[-3:]])
    assert min(np.abs(wanted - vectors[0]).max(axis=1)) < 1e-4
    # Images are not counted, and stay whole.
    mixed = short.encode_mixed([(text, IMAGES[:2]) for text in (long, longer, other)], Role.PASSAGE)
    assert np.allclose(mixed[0], mixed[1], atol=1e-5)
    assert not np.allclose(mixed[0], mixed[2], atol=1e-2)


@pytest.mark.parametrize("least", [1, 4, 9])
def test_images_have_as_many_tokens_as_asked(options: GmeOptions, least: int) -> None:
    """Counted on what the vision tower is given."""
    loaded = Gme(replace(options, min_image_tokens=least, max_image_tokens=16)).load()
    counts = []
    visual = loaded._model.model.visual
    visual.register_forward_pre_hook(
        lambda _, args, kwargs: counts.append(int(kwargs["grid_thw"].prod()) // 4),
        with_kwargs=True,
    )
    for image in (picture(20, 20), picture(90, 90), picture(2000, 1000)):
        loaded.encode_images([image])
    assert counts[0] == least
    assert least <= counts[1] <= 16
    assert 10 <= counts[2] <= 16  # 2000 × 1000 makes 5 × 2 of at most 16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_smaller_number_formats(options: GmeOptions, loaded: LoadedGme, dtype: str) -> None:
    small = Gme(replace(options, dtype=dtype)).load()
    texts, images = small.encode_texts(TEXTS, Role.QUERY), small.encode_images(IMAGES)
    assert texts.dtype == images.dtype == np.float32
    assert cosines(texts, loaded.encode_texts(TEXTS, Role.QUERY)).min() > 0.99
    assert cosines(images, loaded.encode_images(IMAGES)).min() > 0.99


def test_roles(options: GmeOptions, loaded: LoadedGme) -> None:
    asked = loaded.encode_texts(["the cat"], Role.QUERY)
    assert not np.allclose(asked, loaded.encode_texts(["the cat"], Role.PASSAGE), atol=1e-2)
    assert Gme(options).describe().roles
    alike = Gme(replace(options, query_instruction=options.passage_instruction))
    assert not alike.describe().roles
    assert alike.describe().id != Gme(options).describe().id


def test_numbers_of_tokens_that_contradict_each_other(options: GmeOptions) -> None:
    with pytest.raises(InputError, match="option min_image_tokens: 17 is not between 1 and"):
        Gme(replace(options, min_image_tokens=17)).describe()
