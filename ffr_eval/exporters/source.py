"""A benchmark as exporters go through it: dialogue by dialogue, each with its queries."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ffr_eval.benchmark import iter_dialogues
from ffr_eval.benchmark.writer import sha256_of
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark, DialogueRecord, ImageRecord


class SourceDialogue(NamedTuple):
    """A dialogue; ``rows`` are its queries' rows in the query table, ``row`` its own."""

    record: DialogueRecord
    row: int
    rows: list[int]


def root_of(benchmark: Benchmark) -> Path:
    """The folder that a benchmark was read from.

    Raises:
        InputError: If it was not read from one.
    """
    if benchmark.root is None:
        message = f"benchmark {benchmark.name!r} was not read from a folder"
        raise InputError(message, remedy="write it to a folder, and export that")
    return benchmark.root


def source_dialogues(benchmark: Benchmark, split: str | None) -> Iterator[SourceDialogue]:
    """All dialogues, or those with queries in a split, with all that their lines say.

    Raises:
        InputError: If there is no such split.
    """
    rows: dict[int, list[int]] = defaultdict(list)
    for row in benchmark.rows(split).tolist():
        rows[int(benchmark.queries.dialogue[row])].append(row)
    for index, located in enumerate(iter_dialogues(root_of(benchmark))):
        if split is None or index in rows:
            yield SourceDialogue(located.record, index, rows.get(index, []))


def image_file(root: Path, image: ImageRecord) -> Path | None:
    """The file of an image, checked against the hash that is recorded.

    Raises:
        InputError: If it is another file than the recorded one.
    """
    if not image.path:
        return None
    path = root / image.path
    if not path.is_file():
        return None
    if image.sha256 is not None and sha256_of(path) != image.sha256:
        message = "is not the image that was recorded (sha256 differs)"
        raise InputError(message, file=path, remedy="`ffr data check` lists all that is wrong")
    return path
