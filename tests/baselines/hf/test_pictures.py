"""Sizes of images, and the pictures that a model gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image as Picture
from PIL import ImageFile
from PIL.PngImagePlugin import PngInfo

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


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("key", [None, "Comment", "Raw profile type exif", "XML:com.adobe.xmp"])
@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_a_png_is_not_decoded_for_its_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
    key: str | None,
    orientation: int | None,
) -> None:
    """Unless it has metadata, which may stand after the pixels."""
    file = tmp_path / "image.png"
    picture = Picture.new("RGB", (90, 40), "red")
    exif, texts = Picture.Exif(), PngInfo()
    if orientation is not None:
        exif[0x0112] = orientation
    if key is not None:
        text = "exif\n0\n" if key.startswith("Raw") else '<x tiff:Orientation="8"/>'
        texts.add_itxt(key, text) if key.startswith("XML") else texts.add_text(key, text)
    picture.save(file, exif=exif if orientation is not None else None, pnginfo=texts)
    if late:
        chunks = _chunks(file.read_bytes())
        late_chunks = [chunk for chunk in chunks if chunk[4:8] in {b"eXIf", b"tEXt", b"iTXt"}]
        first = [chunk for chunk in chunks if chunk not in late_chunks]
        whole = [*first[:-1], *late_chunks, first[-1]]
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(whole))
    expected = picture_of(Image(0, file), FIT).size
    decoded: list[int] = []
    real = ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: (decoded.append(1), real(self))[1]
    )
    assert size_of(Image(0, file), FIT) == expected
    assert expected == (
        (40, 90)
        if orientation == 6 or ((key or "").startswith("XML") and orientation is None)
        else (90, 40)
    )
    if orientation is None and key in {None, "Comment"}:
        assert not decoded


def _chunks(data: bytes) -> list[bytes]:
    """The chunks of a PNG."""
    found, place = [], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        found.append(data[place:end])
        place = end
    return found


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
