"""Images as a model's own preparation is given them: their sizes, and the pictures."""

from __future__ import annotations

import math
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.image_reading import UNREADABLE, ImageProblem, image_pixels, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image as Picture

    from ffr_eval.types import Image

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_BAD_EXIF: Final = (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error)
_PNG_SIGNATURE: Final = 8
_PNG_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_PNG_EXIF: Final = (b"Raw profile type", b"XML:com.adobe.xmp")
_FREE_SIZE: Final = 10_000
"""From here on, a size of a processor is a number of pixels, and not the side of a square."""
_OVERSAMPLED: Final = 16
"""What a processor reduces itself is given to it with so many times as many pixels, at most: a
batch of large photographs would take much memory otherwise."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The sizes of images that a model's own preparation is given.

    Attributes:
        max_pixels: Larger images are reduced.
        smallest: Sides of fewer pixels are enlarged.
        max_aspect: What is more than so many times as long as wide is squashed.
    """

    max_pixels: int
    smallest: int = 4
    max_aspect: int = 200

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what the model's preparation gets."""
        if width * height > self.max_pixels:
            scale = math.sqrt(self.max_pixels / (width * height))
            width, height = math.floor(width * scale), math.floor(height * scale)
        width, height = max(width, self.smallest), max(height, self.smallest)
        # One less than allowed, as models compare sides that they have rounded.
        longest = (self.max_aspect - 1) * min(width, height)
        return min(width, longest), min(height, longest)


def bounded(processor: Any, max_pixels: int, min_pixels: int | None = None) -> Fit:
    """Bound the sizes of images, in the processor itself where it takes images of any size.

    Args:
        processor: A processor of transformers; it is changed.
        max_pixels: Larger images are reduced.
        min_pixels: Smaller ones are enlarged, where images may be of any size; ``None`` for what
            the processor says.

    Returns:
        The sizes that the processor is to be given.
    """
    part = getattr(processor, "image_processor", None)
    most = getattr(getattr(part, "size", None), "get", lambda _: None)("longest_edge")
    if not hasattr(part, "merge_size") or most is None or most < _FREE_SIZE:
        return Fit(max_pixels)
    assert part is not None  # noqa: S101 - it has a size
    least = min_pixels or min(part.size["shortest_edge"], max_pixels)
    part.size = {"shortest_edge": least, "longest_edge": max_pixels}
    for name, value in (("min_pixels", least), ("max_pixels", max_pixels)):
        if hasattr(part, name):
            setattr(part, name, value)
    return Fit(max_pixels * _OVERSAMPLED, smallest=part.patch_size * part.merge_size)


def counts_images(processor: Any) -> bool:
    """Whether a processor says how many tokens an image of some size takes."""
    return hasattr(processor, "_get_num_multimodal_tokens")


def image_tokens(processor: Any, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The tokens of images of some widths and heights, by the processor's own arithmetic."""
    by_height = [[height, width] for width, height in sizes]
    counts = processor._get_num_multimodal_tokens(image_sizes=by_height)
    return [int(count) for count in counts["num_image_tokens"]]


def size_of(image: Image, fit: Fit) -> tuple[int, int]:
    """Width and height of an image as :func:`picture_of` gives it, from the file's header.

    Raises:
        ImageProblem: If it cannot be used.
    """
    from PIL import Image as Reader

    path = _path(image)
    image_pixels(path)  # says what is wrong with it
    with Reader.open(path) as header:
        width, height = header.size
        with suppress(*_BAD_EXIF):
            if (header.format != "PNG" or _has_exif(path)) and header.getexif().get(
                _ORIENTATION
            ) in _SIDEWAYS:
                width, height = height, width
    return fit.size(width, height)


def picture_of(image: Image, fit: Fit) -> Picture:
    """The picture of an image, as a model's own preparation gets it.

    Raises:
        ImageProblem: If it cannot be used; the message names the image.
    """
    from PIL.Image import Resampling

    path = _path(image)
    try:
        picture = read_image(path)
    except ImageProblem as problem:
        message = f"image {image.img_id} ({path.name}): {problem.message}"
        raise ImageProblem(problem.reason, message) from None
    size = fit.size(*picture.size)
    if size == picture.size:
        return picture
    return picture.resize(size, Resampling.BICUBIC, reducing_gap=3.0)


def _has_exif(path: Path) -> bool:
    """Whether a PNG has metadata that may say which way up it is.

    They may stand after the pixels; Pillow decodes these to find them.
    """
    with path.open("rb") as stream:
        stream.seek(_PNG_SIGNATURE)
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4]), head[4:]
            name = stream.read(min(length, 20)) if kind in _PNG_TEXTS else b""
            if kind == b"eXIf" or name.startswith(_PNG_EXIF):
                return True
            stream.seek(length - len(name) + 4, os.SEEK_CUR)
    return False


def _path(image: Image) -> Path:
    if image.file is None:
        raise ImageProblem(UNREADABLE, f"image {image.img_id} has no file")
    return image.file
