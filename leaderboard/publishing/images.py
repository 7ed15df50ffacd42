"""Images made safe to serve: decoded, made smaller, and written anew with nothing else in them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ffr_eval.writing import temporary_name

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""Told by content, whatever the file is called."""

MAX_IMAGE_PIXELS: Final = 50_000_000
MAX_BYTES: Final = 50 * 2**20
LONGEST_SIDE: Final = 1024
_QUALITY: Final = 82
_TOO_LARGE: Final = f"more than {MAX_IMAGE_PIXELS // 10**6} million pixels"


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """An image of the site; without a hash there is none, and ``problem`` says why."""

    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    problem: str | None = None


def publish_image(root: Path, path: str, folder: Path) -> PublishedImage:
    """Write an image of a benchmark into a folder as ``<sha256>.webp``.

    Args:
        root: The benchmark folder; nothing outside of it is opened.
        path: Of the image, relative to it.
        folder: Where the new file goes.
    """
    data = _read(root, path)
    if isinstance(data, str):
        return PublishedImage(problem=data)
    encoded = _encoded(data)
    if isinstance(encoded, str):
        return PublishedImage(problem=encoded)
    webp, (width, height) = encoded
    name = hashlib.sha256(webp).hexdigest()
    target = folder / f"{name}.webp"
    if not target.exists():
        temporary = temporary_name(target)
        temporary.write_bytes(webp)
        temporary.replace(target)
    return PublishedImage(name, width, height)


def _read(root: Path, path: str) -> bytes | str:
    """The bytes of a file inside the folder, or why they are not read."""
    try:
        inside = root.resolve(strict=True)
        place = (inside / path).resolve(strict=True)
        if not place.is_relative_to(inside):
            return "leads out of the benchmark folder"
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(place, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return "is no ordinary file"
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return "the file is missing"
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        return f"cannot be read ({type(error).__name__})"
    return f"larger than {MAX_BYTES // 2**20} MiB" if len(data) > MAX_BYTES else data


def _encoded(data: bytes) -> tuple[bytes, tuple[int, int]] | str:
    """The image as WebP with its size, or why there is none."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the number of pixels is looked at here
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_IMAGE_PIXELS:
                    return _TOO_LARGE
                image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                upright = ImageOps.exif_transpose(image)
                plain = _plain(upright)
        stream = io.BytesIO()
        plain.save(stream, "WEBP", quality=_QUALITY, method=4)
    except Image.DecompressionBombError:  # found before we could look
        return _TOO_LARGE
    except (OSError, SyntaxError, ValueError, MemoryError):
        return f"no sound image of a kind that is shown ({', '.join(FORMATS)})"
    return stream.getvalue(), plain.size


def _plain(image: Image) -> Image:
    """Pixels only: small, of one mode, without metadata."""
    transparent = image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
    pixels = image.convert("RGBA" if transparent else "RGB")
    pixels.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    pixels.info.clear()
    return pixels
