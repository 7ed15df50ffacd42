"""BLIP-2, on a tiny checkpoint of the real classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.encoders.blip2 import Blip2, Blip2Options
from ffr_eval.embeddings.keys import Role
from tests.baselines.encoders.samples import TEXTS, all_different, cosines, picture
from tests.checkpoints import blip2

if TYPE_CHECKING:
    from pathlib import Path

    from baselines.encoders.blip2 import LoadedBlip2

IMAGES = [picture(28, 28, 1), picture(90, 30, 2), picture(31, 200, 3), picture(1, 1, 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blip2.build(tmp_path_factory.mktemp("blip2") / "checkpoint")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedBlip2:
    return Blip2(Blip2Options(model=str(folder))).load()


def test_the_models_own_scores_come_out_before_pooling(folder: Path, loaded: LoadedBlip2) -> None:
    import torch
    from transformers import Blip2ForImageTextRetrieval, Blip2Processor

    model: Any = Blip2ForImageTextRetrieval.from_pretrained(folder)
    processor: Any = Blip2Processor.from_pretrained(folder)
    tokens = loaded.image_tokens(IMAGES).numpy()
    texts = loaded.encode_texts(TEXTS, Role.QUERY)
    assert tokens.shape == (len(IMAGES), blip2.N_QUERY_TOKENS, loaded.dimension)
    for place, image in enumerate(IMAGES[:3]):
        inputs = processor(images=image, text=list(TEXTS), padding=True, return_tensors="pt")
        with torch.inference_mode():
            wanted = model(**inputs, use_image_text_matching_head=False).logits_per_image
        assert np.allclose((tokens[place] @ texts.T).max(axis=0), wanted.numpy(), atol=1e-5)


def test_pooling(folder: Path, loaded: LoadedBlip2) -> None:
    tokens = loaded.image_tokens(IMAGES).numpy()
    first = Blip2(Blip2Options(model=str(folder), pooling="first")).load()
    assert np.allclose(loaded.encode_images(IMAGES), tokens.mean(axis=1), atol=1e-6)
    assert np.allclose(first.encode_images(IMAGES), tokens[:, 0], atol=1e-6)
    assert not np.allclose(tokens.mean(axis=1), tokens[:, 0], atol=1e-2)


def test_company_in_a_batch_changes_nothing(loaded: LoadedBlip2) -> None:
    texts = loaded.encode_texts(TEXTS, Role.PASSAGE)
    images = loaded.encode_images(IMAGES)
    assert all_different(texts)
    assert all_different(images)
    for place, text in enumerate(TEXTS):
        assert np.allclose(loaded.encode_texts([text], Role.PASSAGE)[0], texts[place], atol=1e-5)
    for place, image in enumerate(IMAGES):
        assert np.allclose(loaded.encode_images([image])[0], images[place], atol=1e-5)


def test_a_long_text_is_cut_where_the_model_ends(loaded: LoadedBlip2) -> None:
    assert loaded.max_tokens == 64
    long, longer, other = "cat " * 70, "cat " * 70 + "rain", "rain " + "cat " * 70
    assert loaded.lengths([long, "cat"], Role.QUERY) == [72, 3]
    vectors = loaded.encode_texts([long, longer, other], Role.QUERY)
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_smaller_number_formats(folder: Path, loaded: LoadedBlip2, dtype: str) -> None:
    small = Blip2(Blip2Options(model=str(folder), dtype=dtype)).load()
    assert small.dtype == dtype
    texts, images = small.encode_texts(TEXTS, Role.QUERY), small.encode_images(IMAGES)
    assert texts.dtype == images.dtype == np.float32
    assert cosines(texts, loaded.encode_texts(TEXTS, Role.QUERY)).min() > 0.99
    assert cosines(images, loaded.encode_images(IMAGES)).min() > 0.99


def test_the_space(folder: Path) -> None:
    mean = Blip2(Blip2Options(model=str(folder))).describe()
    first = Blip2(Blip2Options(model=str(folder), pooling="first")).describe()
    half = Blip2(Blip2Options(model=str(folder), dtype="float16")).describe()
    assert mean.options["pooling"] == "mean"
    assert mean.modalities == ("text", "image")
    assert not mean.roles
    assert len({mean.id, first.id, half.id}) == 3
