"""Checking a benchmark folder: everything that is wrong with it, not only the first thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffr_eval.benchmark.reader import (
    DIALOGUES,
    INFO,
    BenchmarkBuilder,
    iter_dialogues,
    iter_queries,
    read_info,
    resolve,
)
from ffr_eval.benchmark.schema import InfoRecord
from ffr_eval.benchmark.validation import escapes
from ffr_eval.benchmark.writer import sha256_of
from ffr_eval.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark.schema import DialogueRecord
    from ffr_eval.benchmark.tables import Benchmark
    from ffr_eval.jsonl import Located


def check_benchmark(benchmark: str | Path) -> tuple[list[Problem], Benchmark | None]:
    """Check a benchmark folder.

    Returns:
        The problems, and the benchmark as far as it could be read (``None`` if a file could not
        be read to its end); records with problems are left out of it.

    Raises:
        InputError: If there is no such folder at all.
    """
    folder = resolve(benchmark)
    problems: list[Problem] = []
    builder = BenchmarkBuilder(folder, problems.append)
    info = InfoRecord(name=folder.name)
    try:
        info = read_info(folder)
    except InputError as error:
        problems.append(error.problem)
    try:
        builder.add_dialogues(_with_files(iter_dialogues(folder), folder, problems))
    except InputError as error:
        problems.append(error.problem)
        return problems, None  # without all dialogues every query would be blamed
    try:
        builder.add_queries(iter_queries(folder))
    except InputError as error:
        problems.append(error.problem)
        return problems, None
    result = builder.build(info)
    complete = not problems  # otherwise records may be left out, which changes the hash
    problems.extend(_info_problems(folder, info, result, complete))
    return problems, result


def _with_files(
    records: Iterator[Located[DialogueRecord]], folder: Path, problems: list[Problem]
) -> Iterator[Located[DialogueRecord]]:
    """Pass the records on, looking at their image files on the way."""
    file = str(folder / DIALOGUES)
    for located in records:
        for index, image in enumerate(located.record.images):
            if image.path is None or escapes(image.path):
                continue  # no file, or reported with the record
            field = f"images[{index}].path"
            path = folder / image.path
            if not path.is_file():
                message = f"there is no file {image.path!r}"
                remedy = "put the image there, or remove the path (an image may have no file)"
                problems.append(Problem(message, file, located.line, field, remedy))
            elif image.sha256 is not None and sha256_of(path) != image.sha256:
                message = f"{image.path!r} is not the image that was recorded (sha256 differs)"
                remedy = "restore the image, or remove its sha256 and write the benchmark again"
                problems.append(Problem(message, file, located.line, field, remedy))
        yield located


def _info_problems(
    folder: Path, info: InfoRecord, result: Benchmark, complete: bool
) -> Iterator[Problem]:
    file = str(folder / INFO)
    if complete and info.hash is not None and info.hash != result.content_hash:
        message = f"recorded {info.hash}, but the content gives {result.content_hash}"
        remedy = "if the change was meant, raise the version and record the new hash"
        yield Problem(message, file, None, "hash", remedy)
    if info.splits is not None:
        for split in result.splits:
            if split not in info.splits:
                message = f"queries are in split {split!r}, which is not listed"
                yield Problem(message, file, None, "splits", "list it or correct the queries")
