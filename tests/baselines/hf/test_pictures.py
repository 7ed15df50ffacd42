"""Sizes of images, and the pictures that a model gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image as Picture

from ffr_eval.picture_size import Fit, picture_of, size_of
from ffr_eval.types import Image
from tests.baselines.hf.conftest import VISION, make, request

if TYPE_CHECKING:
    from pathlib import Path

FIT = Fit(max_pixels=10_000, smallest=28, max_aspect=200)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (100, 100)),
        ((50, 40), (50, 40)),
        ((400, 100), (200, 50)),
        ((4000, 2000), (141, 70)),
        ((3, 5), (28, 28)),
        ((1, 9000), (28, 5572)),
    ],
)
def test_sizes(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    file = tmp_path / "image.png"
    Picture.new("RGB", size, "red").save(file)
    assert size_of(Image(0, file), FIT) == expected
    assert picture_of(Image(0, file), FIT).size == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_which_way_up(tmp_path: Path, orientation: int) -> None:
    file = tmp_path / "image.jpg"
    picture = Picture.new("RGB", (90, 40), "red")
    exif = Picture.Exif()
    exif[0x0112] = orientation
    picture.save(file, exif=exif)
    assert size_of(Image(0, file), FIT) == picture_of(Image(0, file), FIT).size


@pytest.mark.parametrize("name", VISION)
def test_odd_images_are_counted_as_they_are_read(
    checkpoints: dict[str, Path], tmp_path: Path, name: str
) -> None:
    sizes = [(1, 1), (3000, 9), (7, 2000), (2500, 1900), (28, 29), (640, 480)]
    engine = make(checkpoints[name])
    for number, size in enumerate(sizes):
        file = tmp_path / f"{number}.png"
        Picture.new("RGB", size, "blue").save(file)
        each = request(number, "a ", Image(0, file), " b")
        inputs = engine._preparation.inputs([each], [engine._preparation.pictures(each)])
        assert engine.count_tokens(each).tokens == int(inputs["attention_mask"].sum())
    assert engine._preparation._shortcut is True


def test_bounds_are_kept(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    Picture.new("RGB", (2000, 1500), "blue").save(file)
    counts = []
    for pixels in (4 * 28 * 28, 16 * 28 * 28, 64 * 28 * 28):
        engine = make(checkpoints["qwen2_vl"], max_pixels=pixels)
        each = request(0, Image(0, file))
        counts.append(engine.count_tokens(each).tokens)
    text = make(checkpoints["qwen2_vl"]).count_tokens(request(0, "")).tokens
    assert text + 2 < counts[0] <= text + 2 + 4 < counts[1] <= text + 2 + 16 < counts[2]
    small = tmp_path / "small.png"
    Picture.new("RGB", (30, 30), "blue").save(small)
    engine = make(checkpoints["qwen2_vl"], min_pixels=9 * 28 * 28)
    assert engine.count_tokens(request(0, Image(0, small))).tokens == text + 2 + 9
