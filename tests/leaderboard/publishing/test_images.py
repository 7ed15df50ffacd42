"""Images of a site are made anew: only pixels, only from inside the benchmark."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from ffr_eval.errors import InputError
from leaderboard.publishing import images
from leaderboard.publishing.images import publish_image
from tests.leaderboard.publishing.conftest import make_benchmark, make_run

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.leaderboard.publishing.conftest import World


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "root"


def _published(root: Path, name: str) -> images.PublishedImage:
    return publish_image(root, name, root.parent / "out")


def _opened(root: Path, found: images.PublishedImage) -> Image.Image:
    data = (root.parent / "out" / f"{found.sha256}.webp").read_bytes()
    assert hashlib.sha256(data).hexdigest() == found.sha256
    return Image.open(io.BytesIO(data), formats=["WEBP"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_become_small_and_bare(root: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET place"
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (3000, 1500), (200, 10, 10)).save(root / "x.bin", kind, exif=exif)
    found = _published(root, "x.bin")
    assert found.problem is None
    assert (found.width, found.height) == (512, 1024)
    image = _opened(root, found)
    assert (image.format, image.size) == ("WEBP", (512, 1024))
    assert not image.getexif()
    assert not set(image.info) & {"exif", "icc_profile", "xmp", "comment"}
    assert b"SECRET" not in (root.parent / "out" / f"{found.sha256}.webp").read_bytes()


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1", "LA", "I;16", "CMYK"])
def test_images_of_every_mode_are_taken(root: Path, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    Image.new(mode, (20, 10)).save(root / "x", kind)
    found = _published(root, "x")
    assert found.problem is None
    assert _opened(root, found).size == (20, 10)


def test_equal_images_are_stored_once(root: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 10)).save(root / name)
    assert _published(root, "a.png") == _published(root, "b.png")
    assert len(list((root.parent / "out").iterdir())) == 1


def _huge_png(side: int) -> bytes:
    """A small file that says it has many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no sound image"),
        (b"not an image", "no sound image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no sound image"),
        (b"GIF89a" + b"\0" * 50, "no sound image"),
        (_huge_png(8_000), "more than 50 million pixels"),
        (_huge_png(100_000), "more than 50 million pixels"),
    ],
    ids=["empty", "text", "svg", "gif", "large", "bomb"],
)
def test_what_is_no_image_is_not_shown(root: Path, data: bytes, problem: str) -> None:
    (root / "x.png").write_bytes(data)
    found = _published(root, "x.png")
    assert found.sha256 is None
    assert problem in (found.problem or "")
    assert not list((root.parent / "out").iterdir())


def test_a_cut_image_is_not_shown(root: Path) -> None:
    Image.effect_noise((200, 200), 50).save(root / "x.png")
    data = (root / "x.png").read_bytes()
    (root / "x.png").write_bytes(data[: len(data) // 2])
    assert "no sound image" in (_published(root, "x.png").problem or "")


def test_files_outside_are_not_opened(root: Path) -> None:
    Image.new("RGB", (20, 10)).save(root.parent / "secret.png")
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "inside").symlink_to(root.parent)
    (root / "circle.png").symlink_to(root / "circle.png")
    os.mkfifo(root / "pipe.png")
    (root / "folder.png").mkdir()
    for name in ("link.png", "../secret.png", str(root.parent / "secret.png"), "inside/secret.png"):
        assert _published(root, name).problem == "leads out of the benchmark folder", name
    assert _published(root, "missing.png").problem == "the file is missing"
    for name in ("circle.png", "pipe.png", "folder.png", "a\0b.png"):
        assert _published(root, name).sha256 is None, name
    assert not list((root.parent / "out").iterdir())


def test_large_files_are_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    Image.effect_noise((200, 200), 50).save(root / "x.png")
    assert "larger than" in (_published(root, "x.png").problem or "")


def test_dialogues_name_their_images(world: World) -> None:
    (world.bench / "images" / "1.png").write_bytes(b"broken")
    (world.bench / "images" / "2.png").unlink()
    done = world.publish()
    (warning,) = done.warnings
    assert warning.startswith("small: 2 images are not shown: d1, image 0: no sound image")
    rows = {row["dialogue_id"]: row for row in world.table("dialogues")}
    assert [image["sha256"] for image in rows["d1"]["images"] + rows["d2"]["images"]] == [None] * 2
    shown = rows["d0"]["images"][0]
    assert (shown["width"], shown["height"], shown["caption"]) == (40, 30, "picture 0")
    files = {path.name for path in (world.site / "public" / "images").iterdir()}
    hashes = {i["sha256"] for row in rows.values() for i in row["images"] if i["sha256"]}
    assert files == {f"{name}.webp" for name in hashes}
    assert all(f"public/images/{name}" in done.manifest.files for name in files)


def test_an_image_that_comes_back_is_shown(world: World) -> None:
    file = world.bench / "images" / "2.png"
    data = file.read_bytes()
    file.unlink()
    world.publish()
    file.write_bytes(data)
    done = world.publish()
    assert done.warnings == ()
    (row,) = world.table("dialogues", dialogue_id="d2")
    assert row["images"][0]["sha256"] is not None


def test_a_benchmark_with_a_link_that_leads_out_is_not_scored(world: World) -> None:
    secret = world.path / "elsewhere.png"
    Image.new("RGB", (20, 10)).save(secret)
    file = world.bench / "images" / "0.png"
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(InputError, match="leaves the benchmark folder"):
        world.publish()
    assert not world.site.exists()


def _pictures(world: World) -> dict[str, list[str | None]]:
    return {
        row["dialogue_id"]: [image["sha256"] for image in row["images"]]
        for row in world.table("dialogues")
    }


def _accepted(world: World, name: str, **more: Any) -> Path:
    """A run as `ffr review accept` makes it: on the copy of the benchmark in the site."""
    (copy,) = (world.site / "private" / "benchmarks").iterdir()
    assert not (copy / "images").exists()
    return make_run(world.path / "accepted" / name, copy, **more)


@pytest.mark.parametrize("original", ["there", "gone", "another"])
@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("split", ["test", None])
def test_a_run_on_the_copy_without_images_keeps_them(
    world: World, original: str, prune: bool, split: str | None
) -> None:
    world.publish()
    before = _pictures(world)
    files = {path: path.read_bytes() for path in (world.site / "public" / "images").iterdir()}
    assert len(files) == len(before) == 9
    if original != "there":
        world.bench.rename(world.path / "elsewhere")
    if original == "another":
        make_benchmark(world.path / "other")
        dialogues = world.path / "other" / "dialogues.jsonl"
        dialogues.write_text(dialogues.read_text().replace("what 1 says", "what one says"))
        (world.path / "other").rename(world.bench)
    run = _accepted(world, "a-first", seed=7, split=split)
    for _ in range(2):
        done = world.publish(run, prune=prune)
        assert not any("not shown" in warning for warning in done.warnings)
        assert _pictures(world) == before
        assert {path: path.read_bytes() for path in files} == files


def test_images_that_change_are_followed_beside_a_run_on_the_copy(world: World) -> None:
    world.publish()
    before = _pictures(world)
    run = _accepted(world, "a-first", seed=7)
    world.publish(run)
    Image.new("RGB", (44, 33), (1, 2, 3)).save(world.bench / "images" / "1.png")
    world.publish(run)
    after = _pictures(world)
    assert [name for name in before if before[name] != after[name]] == ["d1"]
    assert after["d1"] != [None]
