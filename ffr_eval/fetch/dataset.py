"""From an unpacked release to a benchmark folder: which files are datasets, of which split."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ffr_eval.errors import InputError
from ffr_eval.jsonl import read_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import InfoRecord
    from ffr_eval.benchmark.summary import Summary

_PREFIX: Final = 2**24
_WORD: Final = re.compile(r"[a-z0-9]+")
_SPLITS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("dev", "development"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class DatasetFile(NamedTuple):
    """A file of ms-swift records and the split it is."""

    path: Path
    split: str


def find_datasets(
    root: Path, default_split: str | None, wanted: Collection[str] = ()
) -> tuple[list[DatasetFile], list[str]]:
    """Find the ms-swift files below an unpacked release.

    These are the ``.json`` and ``.jsonl`` files whose first record has ``messages`` and no
    ``response`` (which inference outputs have). The split is said by a word of the file name, or
    else of the folder nearest to it: train, val, dev or test.

    Args:
        root: The folder that was unpacked.
        default_split: The split of files that say none; ``None`` to refuse them.
        wanted: The splits to keep; all if it is empty.

    Returns:
        The files, and sentences about JSON files that are something else.

    Raises:
        InputError: If there is none, or the split of one is not clear.
    """
    files = [
        path
        for path in sorted(root.rglob("*"), key=lambda path: (path.as_posix().casefold(), path))
        if path.suffix.lower() in (".json", ".jsonl")
        and not path.name.startswith(".")
        and path.is_file()
    ]
    is_dataset = {path: _is_dataset(path) for path in files}
    others = [path.relative_to(root).as_posix() for path in files if not is_dataset[path]]
    found = [
        DatasetFile(path, _split_of(path, root, default_split))
        for path in files
        if is_dataset[path]
    ]
    if not found:
        seen = f"; its JSON files are {', '.join(others[:10])}" if others else ""
        message = f"no ms-swift file in the archive (a first record with `messages`){seen}"
        remedy = "check that it is the archive of this release, or import by `ffr data import`"
        raise InputError(message, file=root, remedy=remedy)
    kept = [file for file in found if not wanted or file.split in wanted]
    if missing := set(wanted) - {file.split for file in found}:
        has = ", ".join(sorted({file.split for file in found}))
        message = f"the release has no split {sorted(missing)[0]!r}"
        raise InputError(message, field="--split", remedy=f"it has {has}")
    notes = [f"left out {name}: not a dataset of ms-swift records" for name in others]
    return kept, notes


def import_datasets(
    root: Path, files: Sequence[DatasetFile], out: Path, info: InfoRecord
) -> tuple[Summary, list[str]]:
    """Import the files into the new benchmark folder ``out``.

    Returns:
        What it holds, and sentences about what a reader of it should know.

    Raises:
        InputError: For the first record that is wrong.
    """
    from ffr_eval.benchmark import BenchmarkWriter
    from ffr_eval.importers.mswift import ImportState, add_file, notes_on

    with BenchmarkWriter(out, info) as writer:
        state = ImportState(writer, release=root)
        for file in files:
            add_file(state, file.path, file.split)
    return writer.summary, notes_on(state)


def _is_dataset(path: Path) -> bool:
    text = read_bytes(path, _PREFIX).decode("utf-8-sig", errors="replace").lstrip()
    try:
        first: Any = json.JSONDecoder().raw_decode(text.removeprefix("[").lstrip())[0]
    except (ValueError, RecursionError):
        return '"messages"' in text  # damaged: the import says where
    return isinstance(first, dict) and "messages" in first and "response" not in first


def _split_of(path: Path, root: Path, default: str | None) -> str:
    folders = reversed(path.relative_to(root).parts[:-1])
    for name in (path.stem, *folders):
        said = {_SPLITS[word] for word in _WORD.findall(name.lower()) if word in _SPLITS}
        if len(said) > 1:
            break
        if said:
            return said.pop()
    else:
        if default is not None:
            return default
    message = "its name does not say of which split it is (train, val, dev or test)"
    remedy = "unpack the archive and import the file by `ffr data import mswift FILE`"
    raise InputError(message, file=path, remedy=remedy)
