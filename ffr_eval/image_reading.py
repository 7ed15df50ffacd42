"""Image files as RGB pictures, whatever they are on the disk.

Rules (``LOADING`` names them in the description of a space):

* The EXIF orientation is applied; of an animation the first frame is taken.
* Transparent parts are laid on white.
* 16-bit grey is scaled to 8 bits. Grey of 32-bit numbers has no agreed range: values within 0-255
  (floating point within 0-1: 0-1) are taken as they are, values within 0-65535 as 16-bit ones, and
  others are spread between their smallest and their largest.
* More than ``MAX_IMAGE_PIXELS`` pixels are refused on the header, before anything is decoded.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

LOADING: Final = "1"
"""The version of these rules: raised whenever the same file may become another picture."""
MAX_IMAGE_PIXELS: Final = 1024 * 1024 * 1024 // 4 // 3
"""Images of more pixels are refused: Pillow's own limit, about 89 million."""
UNREADABLE: Final = "unreadable"
"""There is no such file, it is not an image, or it is damaged."""
TOO_LARGE: Final = "too_large"
"""It has too many pixels."""

_DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise for files that are damaged, one way or another."""


class ImageProblem(Exception):  # noqa: N818 - an outcome, not a failure of the program
    """An image that cannot be used.

    Args:
        reason: ``UNREADABLE`` or ``TOO_LARGE``.
        message: What is wrong, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def image_pixels(path: Path) -> int:
    """The number of pixels, as the header says.

    Raises:
        ImageProblem: If it cannot be read, or is too large.
    """
    with _opened(path) as image:
        return image.width * image.height


def read_image(path: Path) -> Image:
    """The picture in a file, upright, in RGB.

    Raises:
        ImageProblem: If it cannot be read, or is too large.
    """
    with _opened(path) as image:
        image.load()
        _turn_upright(image)
        return _rgb(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    from PIL import Image

    # Not an image, and reading it might never end (a pipe) or never begin (a folder).
    if not path.is_file():
        raise ImageProblem(UNREADABLE, "no such file" if not path.exists() else "not a file")
    try:
        with warnings.catch_warnings():
            # Pillow's remarks about files that it reads all the same.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_IMAGE_PIXELS:
                    raise ImageProblem(TOO_LARGE, _too_large(f"{image.width} × {image.height}"))
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageProblem(TOO_LARGE, _too_large(str(error).partition(",")[0])) from None
    except _DAMAGED as error:
        text = " ".join(str(error).replace(str(path), path.name).split())
        raise ImageProblem(UNREADABLE, text or type(error).__name__) from None


def _too_large(size: str) -> str:
    return f"{size}: more than {MAX_IMAGE_PIXELS} pixels"


def _turn_upright(image: Image) -> None:
    from PIL import ImageOps

    # EXIF data that make no sense say nothing about the orientation.
    with suppress(*_DAMAGED):
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I;16"):
        # A table takes less memory than arithmetic; 65535 is 255 × 257.
        table = np.rint(np.arange(65536) / 257).astype(np.uint8)
        return Image.fromarray(table[np.asarray(image)]).convert("RGB")
    if image.mode in {"I", "F"}:
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(grey: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Grey of 32-bit numbers, scaled to eight bits."""
    values = np.nan_to_num(grey.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    for limit in (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0):
        if low >= 0 and high <= limit:
            low, high = 0.0, limit
            break
    values -= low
    values *= 255.0 / ((high - low) or 1.0)
    return np.rint(values).clip(0, 255).astype(np.uint8)
