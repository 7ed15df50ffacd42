"""The image files of a benchmark: their keys, and those that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ffr_eval.embeddings.keys import image_key
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

_SHOWN: Final = 5


class ImageFiles:
    """The keys of image files; each file is read once."""

    def __init__(self) -> None:
        self._keys: dict[Path, bytes | None] = {}

    def key(self, path: Path) -> bytes | None:
        """The key of a file's content; ``None`` if it is not there or cannot be read."""
        if path not in self._keys:
            self._keys[path] = _key(path)
        return self._keys[path]


def _key(path: Path) -> bytes | None:
    try:
        return image_key(path.read_bytes()) if path.is_file() else None  # a pipe might never end
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Which images of dialogues have files.

    Attributes:
        n_images: How many images there are.
        n_without: How many of them name no file.
        missing: Files that are named but not there.
    """

    n_images: int
    n_without: int
    missing: tuple[Path, ...]

    @classmethod
    def of(cls, benchmark: Benchmark, dialogues: Iterable[int]) -> ImageCounts:
        """Look at the images of dialogues, given by row."""
        offsets = benchmark.dialogues.img_ids.offsets
        paths = [
            benchmark.dialogues.path[i]
            for row in dialogues
            for i in range(*offsets[row : row + 2].tolist())
        ]
        root = benchmark.root
        named = [root / path for path in paths if path is not None and root is not None]
        missing = tuple(path for path in dict.fromkeys(named) if not path.is_file())
        return cls(len(paths), len(paths) - len(named), missing)

    def notes(self, instead: str = "") -> list[str]:
        """What the user should know.

        Args:
            instead: What is done with images that have no file.
        """
        notes = []
        if self.n_without:
            verb = "image has" if self.n_without == 1 else "images have"
            notes.append(f"{self.n_without} {verb} no file{instead}")
        if self.missing:
            verb = "image file is" if len(self.missing) == 1 else "image files are"
            some = ", ".join(map(str, self.missing[:_SHOWN]))
            more = ", …" if len(self.missing) > _SHOWN else ""
            notes.append(f"{len(self.missing)} {verb} missing{instead}: {some}{more}")
        return notes


def require_image_files(benchmark: Benchmark, encoder: str) -> None:
    """Refuse a benchmark with images of which none has a file.

    Raises:
        InputError: If it is one.
    """
    table, root = benchmark.dialogues, benchmark.root
    if not table.path:
        return
    if root is not None and any(path and (root / path).is_file() for path in table.path):
        return
    n_captions = sum(bool(caption) for caption in table.caption)
    message = f"{encoder} reads images, but none of the {len(table.path)} images here has a file"
    remedy = (
        f"add the files, find images by their captions with -o captions=true ({n_captions} have"
        " one), or use a model that reads text alone, such as sentence"
    )
    raise InputError(message, file=root, remedy=remedy)
