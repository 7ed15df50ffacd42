"""Images as they are sent: untouched where possible, upright and small enough always."""

from __future__ import annotations

import base64
import io
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from baselines.api import images
from baselines.api.images import Encoding, ImageStore, data_uri, fitted_size, image_size
from ffr_eval.image_reading import ImageProblem

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = Encoding(10_000)


def picture(width: int = 40, height: int = 20, mode: str = "RGB") -> Image.Image:
    """Red on the left and blue on the right."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels).convert(mode)


def saved(path: Path, image: Image.Image, **how: Any) -> Path:
    image.save(path, **how)
    return path


def decoded(uri: str) -> tuple[str, bytes, Image.Image]:
    head, _, data = uri.partition(";base64,")
    content = base64.b64decode(data)
    shown = Image.open(io.BytesIO(content))
    shown.load()
    return head.removeprefix("data:"), content, shown


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("a.png", "RGB", "image/png"),
        ("a.png", "L", "image/png"),
        ("a.png", "P", "image/png"),
        ("a.jpg", "RGB", "image/jpeg"),
        ("a.jpg", "L", "image/jpeg"),
        ("wrongly-named.gif", "RGB", "image/png"),
    ],
)
def test_an_upright_file_within_the_limits_is_sent_as_it_is(
    tmp_path: Path, name: str, mode: str, kind: str
) -> None:
    how = {"format": "PNG"} if name.endswith("gif") else {}
    file = saved(tmp_path / name, picture(mode=mode), **how)
    sent_kind, content, _ = decoded(data_uri(file, LIMIT))
    assert sent_kind == kind
    assert content == file.read_bytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.gif", "image/png"), ("a.bmp", "image/png"), ("a.webp", "image/jpeg")],
)
def test_other_formats_are_encoded_anew(tmp_path: Path, name: str, kind: str) -> None:
    sent_kind, _, shown = decoded(data_uri(saved(tmp_path / name, picture()), LIMIT))
    assert sent_kind == kind
    assert shown.size == (40, 20)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_large_image_is_made_smaller_in_proportion(tmp_path: Path, name: str) -> None:
    file = saved(tmp_path / name, picture(800, 400))
    kind, _, shown = decoded(data_uri(file, LIMIT))
    assert kind == ("image/png" if name == "a.png" else "image/jpeg")
    assert shown.width * shown.height <= 10_000
    assert shown.width * shown.height > 9_500
    assert shown.width / shown.height == pytest.approx(2.0, rel=0.02)


def test_an_image_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = saved(tmp_path / "a.jpg", picture(), exif=exif, quality=95)
    _, content, shown = decoded(data_uri(file, LIMIT))
    assert content != file.read_bytes()
    assert shown.size == (20, 40)
    red, _, blue = shown.convert("RGB").getpixel((10, 5))  # type: ignore[misc]
    assert red > 200 > blue  # what was on the left is on top
    assert shown.getexif().get(0x0112, 1) == 1


def test_transparent_parts_are_laid_on_white(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", Image.new("RGBA", (10, 10), (0, 0, 0, 0)))
    _, _, shown = decoded(data_uri(file, LIMIT))
    assert shown.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_cmyk_and_animations_become_plain_pictures(tmp_path: Path) -> None:
    _, _, shown = decoded(data_uri(saved(tmp_path / "a.jpg", picture(mode="CMYK")), LIMIT))
    assert shown.mode == "RGB"
    grey = picture(mode="L").convert("RGB")
    frames = saved(tmp_path / "b.png", picture(), save_all=True, append_images=[grey])
    _, _, shown = decoded(data_uri(frames, LIMIT))
    assert getattr(shown, "n_frames", 1) == 1


def test_a_file_of_too_many_bytes_is_encoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    file = saved(tmp_path / "a.png", Image.fromarray(noise))
    monkeypatch.setattr(images, "MAX_BYTES", file.stat().st_size - 1000)
    kind, content, shown = decoded(data_uri(file, LIMIT))
    assert kind == "image/jpeg"  # as a PNG it would have as many bytes again
    assert len(content) < file.stat().st_size
    assert shown.size == (90, 90)


@pytest.mark.parametrize(("form", "kind"), [("png", "image/png"), ("jpeg", "image/jpeg")])
def test_a_format_may_be_asked_for(tmp_path: Path, form: Any, kind: str) -> None:
    for name in ("a.png", "b.jpg", "c.gif"):
        uri = data_uri(saved(tmp_path / name, picture()), Encoding(10_000, form))
        assert decoded(uri)[0] == kind


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "cut.jpg", "cut.png"])
def test_what_cannot_be_read_is_an_image_problem(tmp_path: Path, kind: str) -> None:
    file = tmp_path / kind
    if kind == "folder":
        file.mkdir()
    elif kind in {"text", "empty"}:
        file.write_text("no image" if kind == "text" else "")
    elif kind != "missing":
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        data = saved(file, Image.fromarray(noise)).read_bytes()
        file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageProblem):
        data_uri(file, LIMIT)


@pytest.mark.parametrize(
    ("size", "most", "fitted"),
    [
        ((100, 100), 10_000, (100, 100)),
        ((200, 200), 10_000, (100, 100)),
        ((100_000, 1), 100, (100, 1)),
        ((1, 100_000), 100, (1, 100)),
        ((3, 3), 1, (1, 1)),
    ],
)
def test_sizes(size: tuple[int, int], most: int, fitted: tuple[int, int]) -> None:
    assert fitted_size(*size, most) == fitted


def test_no_size_is_over_the_limit() -> None:
    rng = np.random.default_rng(0)
    for width, height, most in rng.integers(1, 5000, (2000, 3)).tolist():
        wide, high = fitted_size(width, height, most)
        assert wide >= 1
        assert high >= 1
        assert wide * high <= most


def test_the_size_of_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert image_size(tmp_path / "none.png") is None
    assert image_size(saved(tmp_path / "a.png", picture())) == (40, 20)


class Encoder:
    """Counts what it encodes, and takes its time."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def __call__(self, path: Path) -> str:
        time.sleep(0.02)
        self.encoded.append(path.name)
        if path.name == "bad":
            raise ImageProblem("unreadable", "no image")
        return f"data:{path.name}"


def test_each_image_of_a_dialogue_is_encoded_once_by_many_threads(tmp_path: Path) -> None:
    encoder = Encoder()
    store = ImageStore(encoder)
    seen: list[str] = []

    def one() -> None:
        store.enter("d")
        seen.append(store.get("d", tmp_path / "a"))
        store.leave("d")

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["data:a"] * 8
    assert encoder.encoded == ["a"]


def test_an_image_that_cannot_be_read_is_tried_once(tmp_path: Path) -> None:
    encoder = Encoder()
    store = ImageStore(encoder)
    store.enter("d")
    for _ in range(2):
        with pytest.raises(ImageProblem):
            store.get("d", tmp_path / "bad")
    assert encoder.encoded == ["bad"]


def test_images_of_dialogues_that_are_over_are_forgotten(tmp_path: Path) -> None:
    store = ImageStore(Encoder())
    for number in range(6):
        store.enter(f"d{number}")
        store.get(f"d{number}", tmp_path / "a")
        if number:
            store.leave(f"d{number}")
    assert len(store) == 1 + images.IDLE_DIALOGUES  # d0 is under way, and the last ones are kept
    store.enter("d5")
    store.enter("d5")
    store.leave("d5")
    store.get("d5", tmp_path / "a")  # still under way
