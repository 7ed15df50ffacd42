"""Importers: other formats to benchmark folders, one file a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter, InfoRecord


@dataclass(frozen=True, slots=True)
class Importer:
    """How one format comes in; registered in the entry-point group ``ffr.importers``.

    Attributes:
        sources: What the paths on the command line are, one name each, for example
            ``("QMSUM_DIR", "EVIDENCE_DIR")``; a name that ends in ``…`` takes one or more.
        summary: One line on the format.
        info: The descriptive fields (licence, citation, language); the name is filled in.
        convert: Writes dialogues and queries of the sources to the writer, and returns sentences
            about what a reader should know (images without a file, records left out). Raises
            :class:`~ffr_eval.errors.InputError` that names file, record and field.
    """

    sources: tuple[str, ...]
    summary: str
    info: InfoRecord
    convert: Callable[[Sequence[Path], BenchmarkWriter], list[str]]
