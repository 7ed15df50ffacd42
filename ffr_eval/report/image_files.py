"""Image files of a benchmark, looked at before they are shown: anything may be in a file."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

FORMATS: Final = ("PNG", "JPEG", "WEBP")
_MIME: Final = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp"}  # MPO: some phones
_MAX_BYTES: Final = 20 * 2**20
_MAX_PIXELS: Final = 50_000_000
_INLINE_BYTES: Final = 400_000  # larger ones are made smaller
_INLINE_SIDE: Final = 1280  # pixels


class Inline(NamedTuple):
    """An image as a ``data:`` URI with its size in pixels, or why there is none."""

    uri: str | None
    width: int = 0
    height: int = 0
    problem: str | None = None


def problem_of(path: Path) -> str | None:
    """Why a file is not shown; ``None`` if it is a sound image of a bearable size."""
    from PIL import Image

    try:
        if not path.is_file():
            return "the file is missing"
        if path.stat().st_size > _MAX_BYTES:
            return f"larger than {_MAX_BYTES // 2**20} MiB"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its size is looked at here
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    return f"more than {_MAX_PIXELS // 10**6} million pixels"
                image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return f"not a sound image of a kind that is shown ({', '.join(FORMATS)})"
    return None


def inline(path: Path) -> Inline:
    """A file as a ``data:`` URI, made smaller if it is large."""
    from PIL import Image, ImageOps

    if problem := problem_of(path):
        return Inline(None, problem=problem)
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind, (width, height) = str(image.format), image.size
            if len(data) > _INLINE_BYTES or max(width, height) > _INLINE_SIDE:
                upright = ImageOps.exif_transpose(image).convert("RGBA")
                upright.thumbnail((_INLINE_SIDE, _INLINE_SIDE))
                kind, (width, height) = "WEBP", upright.size
                small = io.BytesIO()
                upright.save(small, kind, quality=85)
                data = small.getvalue()
    except (OSError, SyntaxError, ValueError):
        return Inline(None, problem="cannot be decoded")
    encoded = base64.b64encode(data).decode("ascii")
    return Inline(f"data:image/{_MIME[kind]};base64,{encoded}", width, height)
