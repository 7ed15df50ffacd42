"""Reading image files, mostly variants of real photographs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ffr_eval import image_reading
from ffr_eval.image_reading import ImageProblem, image_pixels, read_image

if TYPE_CHECKING:
    from pathlib import Path

# What turns an upright picture into the one that is stored under an orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_array(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(float)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, in steps of 255."""
    assert one.size == other.size
    return float(np.abs(as_array(one) - as_array(other)).mean())


def stored(picture: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    transposition = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture if transposition is None else picture.transpose(transposition), exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_all_orientations_are_the_same_upright_picture(
    orientation: int, ending: str, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    china = photographs["china"].crop((0, 0, 300, 200))
    picture, exif = stored(china, orientation)
    path = tmp_path / f"china.{ending}"
    lossless = {"lossless": True} if ending == "webp" else {}
    picture.save(path, exif=exif, **lossless)

    read = read_image(path)

    assert (read.mode, read.size) == ("RGB", china.size)
    assert distance(read, china) <= (6 if ending == "jpg" else 0)


def test_photographs_are_read_as_they_are(
    photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    for name, picture in photographs.items():
        path = tmp_path / f"{name}.png"
        picture.save(path)
        assert distance(read_image(path), picture) == 0
        assert image_pixels(path) == picture.width * picture.height


def test_photographs_that_come_as_files() -> None:
    from pathlib import Path

    import skimage.data

    folder = Path(skimage.data.__file__).parent
    for name in ("rocket.jpg", "retina.jpg", "camera.png", "multipage.tif", "horse.png"):
        read = read_image(folder / name)
        assert read.mode == "RGB"
        assert as_array(read).std() > 1


def test_cmyk(photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    flower = photographs["flower"]
    path = tmp_path / "flower.jpg"
    flower.convert("CMYK").save(path, quality=95)
    with Image.open(path) as saved:
        assert saved.mode == "CMYK"

    assert distance(read_image(path), flower) < 5


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_scaled_not_clipped(
    ending: str, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    grey = photographs["china"].convert("L")
    path = tmp_path / f"china.{ending}"
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(path)
    with Image.open(path) as saved:
        assert saved.mode.startswith("I;16")

    assert distance(read_image(path), grey.convert("RGB")) == 0


def test_16_bits_turned(photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    grey = photographs["china"].convert("L")
    turned, exif = stored(grey, 6)
    Image.fromarray(np.asarray(turned).astype(np.uint16) * 257).save(tmp_path / "a.png", exif=exif)

    assert distance(read_image(tmp_path / "a.png"), grey.convert("RGB")) == 0


@pytest.mark.parametrize(
    ("dtype", "factor"), [("int32", 1), ("int32", 257), ("float32", 1 / 255), ("float32", 1)]
)
def test_32_bits(
    dtype: str, factor: float, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    grey = photographs["china"].convert("L")
    values = (np.asarray(grey).astype(np.float64) * factor).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")

    assert distance(read_image(tmp_path / "a.tif"), grey.convert("RGB")) < 0.01


def test_32_bits_of_any_range_are_spread(tmp_path: Path) -> None:
    values = np.array([[-7.0, 0.0, 3.0], [np.nan, 1.0, np.inf]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")

    assert np.asarray(read_image(tmp_path / "a.tif"))[..., 0].tolist() == [
        [0, 178, 255],
        [178, 204, 178],
    ]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("ending", ["png", "webp"])
def test_transparent_parts_are_white(
    mode: str, ending: str, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    picture = photographs["coffee"].convert(mode)
    mask = Image.new("L", picture.size, 255)
    mask.paste(0, (0, 0, 100, picture.height))
    picture.putalpha(mask)
    lossless = {"lossless": True} if ending == "webp" else {}
    picture.save(tmp_path / f"a.{ending}", **lossless)

    read = np.asarray(read_image(tmp_path / f"a.{ending}"))

    assert (read[:, :100] == 255).all()
    opaque = np.asarray(photographs["coffee"].convert(mode).convert("RGB"))
    assert (read[:, 100:] == opaque[:, 100:]).all()


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 128)).save(tmp_path / "a.png")

    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 127, 127)


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_a_transparent_colour_of_a_palette_is_white(ending: str, tmp_path: Path) -> None:
    picture = Image.new("P", (4, 2), 0)
    picture.putpalette([0, 0, 0, 200, 10, 10])
    picture.paste(1, (2, 0, 4, 2))
    picture.save(tmp_path / f"a.{ending}", transparency=0)

    read = read_image(tmp_path / f"a.{ending}")

    assert (read.getpixel((0, 0)), read.getpixel((3, 0))) == ((255, 255, 255), (200, 10, 10))


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes(mode: str, photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    picture = photographs["astronaut"].convert(mode)
    path = tmp_path / ("a.jpg" if mode == "YCbCr" else "a.png")
    picture.save(path)

    assert distance(read_image(path), picture.convert("RGB")) < 5


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation(
    ending: str, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    first, second = (photographs[name].resize((64, 64)) for name in ("chelsea", "rocket"))
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=[second], duration=100)
    with Image.open(path) as saved:
        assert saved.n_frames == 2

    read = read_image(path)

    assert distance(read, first) < 12 < distance(read, second)


def test_40_megapixels_in_bounded_memory(
    photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    photographs["china"].resize((8000, 5000)).save(path, exif=exif)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from PIL import Image; import numpy\n"
        "from ffr_eval.image_reading import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert read_image(Path(sys.argv[1])).size == (5000, 8000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )

    # Four bytes a pixel, for the picture and one copy of it.
    assert int(done.stdout) * 1024 < 2.5 * 40_000_000 * 4


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than there is."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9460, 9460), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_on_the_header(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(*size))
    for read in (read_image, image_pixels):
        with pytest.raises(ImageProblem) as caught:
            read(path)
        assert caught.value.reason == image_reading.TOO_LARGE
        assert "pixels" in caught.value.message


def test_the_limit_is_pillows() -> None:
    assert image_reading.MAX_IMAGE_PIXELS == Image.MAX_IMAGE_PIXELS


def test_the_reasons_are_the_stores() -> None:
    from baselines.encoders.batches import NOT_ENCODED
    from ffr_eval.embeddings.entries import FailureReason

    assert {image_reading.UNREADABLE, image_reading.TOO_LARGE, NOT_ENCODED} <= set(FailureReason)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageProblem) as caught:
        read_image(path)
    assert caught.value.reason == image_reading.UNREADABLE
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "tif"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
def test_truncated(
    ending: str, kept: float, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}"
    photographs["china"].save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageProblem) as caught:
        read_image(path)
    assert caught.value.reason == image_reading.UNREADABLE


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "tif"])
def test_damaged_files_are_an_outcome_or_a_picture(
    ending: str, photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}"
    photographs["china"].resize((80, 60)).save(path, exif=stored(photographs["china"], 6)[1])
    content = path.read_bytes()
    draw = np.random.default_rng(5)
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(content)
        for place in draw.integers(0, min(len(content), 600), size=8):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            outcomes.add(read_image(path).mode)
        except ImageProblem as problem:
            outcomes.add(problem.reason)
    assert outcomes <= {"RGB", image_reading.UNREADABLE, image_reading.TOO_LARGE}
    assert image_reading.UNREADABLE in outcomes


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "unreadable"])
def test_what_is_no_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "unreadable":
        path.symlink_to(path)
    with pytest.raises(ImageProblem) as caught:
        read_image(path)
    assert caught.value.reason == image_reading.UNREADABLE
