"""The image files of a source that names its images by path or address: which to copy, and how."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.benchmark.validation import leaves

if TYPE_CHECKING:
    from ffr_eval.benchmark import BenchmarkWriter, ImageRecord

IMAGE_SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


@dataclass(slots=True)
class _Left:
    """Images without a file, and a path that shows which."""

    count: int = 0
    path: str = ""

    def add(self, path: str) -> None:
        self.count += 1
        self.path = self.path or path

    @property
    def example(self) -> str:
        return f" (for example {self.path!r})" if self.path else ""

    def __str__(self) -> str:
        return f"{self.count} image{' has' if self.count == 1 else 's have'} no file"


class ImageFiles:
    """Copies the images of a source to a benchmark, and counts those that have no file.

    A web address is kept as the image's URL and not fetched. A relative path is followed inside
    its folder only; an absolute one only to a file with the name of an image, so that no other
    file of the machine gets into a benchmark.

    Args:
        writer: The benchmark to copy to.
        release: The folder of an unpacked release, if the images are from one. They are then looked
            for inside it only: in the given folder and those above it, since authors write paths
            from any of these. An absolute path is of the authors' machine; its longest end that is
            in the release counts, a folder and a name at least.
    """

    def __init__(self, writer: BenchmarkWriter, release: Path | None = None) -> None:
        self._writer = writer
        self._release = release
        self._addresses = 0
        self._missing = _Left()
        self._outside = _Left()

    def record(self, known: ImageRecord, path: str, folder: Path, dialogue_id: str) -> ImageRecord:
        """The record of an image; its file is copied if there is one.

        Args:
            known: What is known of it. A file is put at its ``path`` if it has one.
            path: What the source says: a path, a web address, or an empty text.
            folder: What a relative path is relative to, and must not leave.
            dialogue_id: The dialogue that shows it.
        """
        if path.startswith(("http://", "https://")):
            self._addresses += 1
            return known if known.url else msgspec.structs.replace(known, url=path)
        absolute = Path(path).is_absolute()
        source = folder / path
        if self._release is not None:
            source = _in_release(self._release, folder, path)
        elif not absolute and leaves(path, folder):
            self._outside.add(path)
            return known
        if not _is_file(source) or (absolute and source.suffix.lower() not in IMAGE_SUFFIXES):
            self._missing.add(path)
            return known
        if known.path is not None:
            return self._writer.restore_image_file(known, source)
        name = f"{folder_name(dialogue_id)}/{known.img_id}{source.suffix.lower()}"
        return self._writer.add_image_file(known, source, name)

    def notes(self, root: str = "the folder of the JSON file") -> list[str]:
        """Sentences about the images without a file.

        Args:
            root: What relative paths must not leave, in words.
        """
        notes = []
        if self._missing.count:
            notes.append(f"{self._missing}: none was found at their paths{self._missing.example}")
        if self._addresses:
            notes.append(f"{self._addresses} images are web addresses, which are not fetched")
        if self._outside.count:
            notes.append(
                f"{self._outside}: their relative paths lead out of {root}, and were not followed"
                f"{self._outside.example}"
            )
        return notes


def folder_name(dialogue_id: str) -> str:
    """A folder name of its own for each dialogue id, also where upper and lower case are one."""
    if re.fullmatch(r"[a-z0-9_]{1,80}", dialogue_id):
        return dialogue_id
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", dialogue_id)[:40]
    digest = hashlib.sha256(dialogue_id.encode()).hexdigest()[:16]
    return f"{readable}-{digest}"  # names without a hash have no hyphen


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # for example a data URI, which is too long for a path
        return False


def _in_release(release: Path, folder: Path, path: str) -> Path:
    """Where an image of a release is, or the release's folder if it is nowhere."""
    parts = Path(path).parts
    ends = [Path(*parts[k:]) for k in range(1, len(parts) - 1)] if Path(path).is_absolute() else []
    for end in ends or [Path(path)]:
        for base in (folder, *folder.parents):
            place = Path(os.path.normpath(base / end))
            if place.is_relative_to(release) and _is_file(place):
                return place
            if base == release:
                break
    return release
