"""Exporters: benchmark folders to other formats, one file a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

ImageMode: TypeAlias = Literal["copy", "absolute", "embed"]
"""How image files go out: copied beside the file, named by absolute path, or inside the files."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the user chose.

    Attributes:
        split: Only this split, with the dialogues of its queries; ``None`` is everything.
        images: One of the exporter's image modes.
    """

    split: str | None = None
    images: ImageMode = "copy"


@dataclass(frozen=True, slots=True)
class Exporter:
    """How one format goes out; registered in the entry-point group ``ffr.exporters``.

    Attributes:
        target: What ``--out`` is, for example ``FILE`` or ``DIR``.
        summary: One line on the format.
        images: The image modes it has, the default first.
        convert: Writes a benchmark to a path where nothing is yet, whole or not at all. Returns
            sentences about what a reader should know. Raises
            :class:`~ffr_eval.errors.InputError` for a benchmark that the format cannot hold.
    """

    target: str
    summary: str
    images: tuple[ImageMode, ...]
    convert: Callable[[Benchmark, Path, ExportOptions], list[str]]
