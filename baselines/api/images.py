"""Image files as ``data:`` URIs, within the limits of pixels and bytes of a request."""

from __future__ import annotations

import base64
import io
import math
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.image_reading import UNREADABLE, ImageProblem, image_pixels, read_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

ImageFormat: TypeAlias = Literal["auto", "png", "jpeg"]

MAX_BYTES: Final = 3_500_000
"""Larger files are encoded anew: as base64 they would be over the 5 MB that some servers take."""
IDLE_DIALOGUES: Final = 2
"""Images of so many dialogues are kept after their last request, in case another one comes."""

_PLAIN_MODES: Final = {"PNG": {"1", "L", "P", "RGB"}, "JPEG": {"L", "RGB"}}
_LOSSLESS: Final = frozenset({"PNG", "GIF", "BMP", "PPM", "TIFF", "ICO", "TGA", "PCX"})
_ENDS: Final = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_ORIENTATION: Final = 0x0112

# The reader of images sets filters of warnings, which threads share.
_READING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Encoding:
    """How images are sent.

    Attributes:
        max_pixels: Larger ones are made smaller, width and height alike.
        format: ``auto`` makes PNG of files without loss and JPEG of others.
        jpeg_quality: From 1 to 100.
    """

    max_pixels: int
    format: ImageFormat = "auto"
    jpeg_quality: int = 95


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of its picture.

    Attributes:
        plain: Every reader shows the same picture: it is upright, opaque, of 8 bits and alone.
    """

    kind: str
    width: int
    height: int
    plain: bool


def data_uri(path: Path, encoding: Encoding) -> str:
    """An image file as a ``data:`` URI.

    A PNG or JPEG file that is within the limits and that every server shows alike is sent as it
    is. Other pictures are turned upright, laid on white, and made smaller if need be.

    Raises:
        ImageProblem: If it cannot be read.
    """
    with _READING:
        header = _header(path)
    wanted = {"auto": {"PNG", "JPEG"}, "png": {"PNG"}, "jpeg": {"JPEG"}}[encoding.format]
    fits = header.width * header.height <= encoding.max_pixels
    if header.plain and header.kind in wanted and fits:
        data = _read(path)
        if len(data) <= MAX_BYTES and _complete(data, header.kind):
            return _uri(data, header.kind)
    with _READING:
        picture = read_image(path)
    size = fitted_size(picture.width, picture.height, encoding.max_pixels)
    return _uri(*_encoded(picture, size, header.kind, encoding))


def fitted_size(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """The size within a number of pixels, width and height scaled alike."""
    if width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    wide = min(max(1, math.floor(width * scale)), max_pixels)
    high = min(max(1, math.floor(height * scale)), max_pixels // wide)
    return min(wide, max_pixels // high), high


@lru_cache(maxsize=4096)
def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height as the header says; ``None`` if it cannot be read."""
    try:
        with _READING:
            header = _header(path)
    except ImageProblem:
        return None
    return header.width, header.height


def _header(path: Path) -> _Header:
    from PIL import Image

    image_pixels(path)  # refuses what is no image, or too large
    try:
        with Image.open(path) as image:
            kind = image.format or ""
            plain = image.mode in _PLAIN_MODES.get(kind, ()) and "transparency" not in image.info
            plain = plain and getattr(image, "n_frames", 1) == 1
            plain = plain and image.getexif().get(_ORIENTATION, 1) == 1
            return _Header(kind, image.width, image.height, plain)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError) as error:
        raise ImageProblem(UNREADABLE, type(error).__name__) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageProblem(UNREADABLE, error.strerror or type(error).__name__) from None


def _complete(data: bytes, kind: str) -> bool:
    """Whether a file has its end; one without it is decoded, which shows whether it is damaged."""
    return data[-64:].rstrip(b"\0").endswith(_ENDS[kind])


def _encoded(
    picture: Image, size: tuple[int, int], source: str, encoding: Encoding
) -> tuple[bytes, str]:
    from PIL import Image

    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    lossless = source in _LOSSLESS if encoding.format == "auto" else encoding.format == "png"
    if lossless:
        data = _saved(picture, "PNG", optimize=False)
        if len(data) <= MAX_BYTES:
            return data, "PNG"
    return _saved(picture, "JPEG", quality=encoding.jpeg_quality), "JPEG"


def _saved(picture: Image, kind: str, **how: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    return stream.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"


class ImageStore:
    """The images of the dialogues under way, each encoded once; threads may share it.

    Args:
        encode: Makes the ``data:`` URI of a file.
    """

    def __init__(self, encode: Callable[[Path], str]) -> None:
        self._encode = encode
        self._lock = threading.Lock()
        self._users: dict[str, int] = {}
        self._images: OrderedDict[str, dict[Path, Future[str]]] = OrderedDict()

    def enter(self, dialogue_id: str) -> None:
        """A request of a dialogue is under way."""
        with self._lock:
            self._users[dialogue_id] = self._users.get(dialogue_id, 0) + 1
            self._images.setdefault(dialogue_id, {})

    def leave(self, dialogue_id: str) -> None:
        """A request of a dialogue is over; images that nobody needs are forgotten."""
        with self._lock:
            self._users[dialogue_id] -= 1
            if self._users[dialogue_id]:
                return
            del self._users[dialogue_id]
            self._images.move_to_end(dialogue_id)
            idle = [name for name in self._images if name not in self._users]
            for name in idle[:-IDLE_DIALOGUES]:
                del self._images[name]

    def get(self, dialogue_id: str, path: Path) -> str:
        """The image as a ``data:`` URI; between :meth:`enter` and :meth:`leave`.

        Raises:
            ImageProblem: If it cannot be read.
        """
        with self._lock:
            images = self._images[dialogue_id]
            future = images.get(path)
            mine = future is None
            if future is None:
                future = images[path] = Future()
        if mine:
            try:
                future.set_result(self._encode(path))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def __len__(self) -> int:
        return sum(map(len, self._images.values()))
