"""Images of a request: their sizes before anything is decoded, and the pictures themselves."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from baselines.encoders.images import UNREADABLE, ImageProblem, image_pixels, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as Picture

    from ffr_eval.types import Image

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_BAD_EXIF: Final = (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error)


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
            if header.getexif().get(_ORIENTATION) in _SIDEWAYS:
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


def _path(image: Image) -> Path:
    if image.file is None:
        raise ImageProblem(UNREADABLE, f"image {image.img_id} has no file")
    return image.file
