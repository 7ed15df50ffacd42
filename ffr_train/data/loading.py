"""Reading rows for a trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ffr_eval.benchmark.writer import sha256_of
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.jsonl import read_records
from ffr_train.data.manifest import MANIFEST, ROWS, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE: Final = 1000
_MAKE_AGAIN: Final = "make the data again with `ffr train data`"


def load_rows(folder: Path) -> Any:
    """The rows of a folder of training data, with absolute paths and images that open when asked.

    Raises:
        InputError: If a file is missing, or the rows are not those that were written.
        MissingExtraError: If datasets is not installed.

    Returns:
        A ``datasets.Dataset``.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("reading training data", "train") from error
    folder = folder.absolute()
    manifest = read_manifest(folder)
    path = folder / ROWS
    if not path.is_file():
        raise InputError("no such file", file=path, remedy=_MAKE_AGAIN)
    if f"sha256:{sha256_of(path)}" != manifest.hash:
        message = f"is not the file that {MANIFEST} describes: its hash is another"
        raise InputError(message, file=path, remedy=_MAKE_AGAIN)
    features: Any = None
    parts: list[Any] = []
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for located in read_records(path, dict[str, Any]):
        row = located.record
        features = features or _features(row)
        row["images"] = [str(folder / image) for image in row["images"]]
        for image in row["images"]:
            if image not in known:
                _require(image, row["sample_id"], path, located.line)
                known.add(image)
        if "embeddings" in row:
            row["embeddings"] = str(folder / row["embeddings"])
        rows.append(row)
        if len(rows) == _AT_ONCE:
            parts.append(datasets.Dataset.from_list(rows, features=features))
            rows = []
    if rows:
        parts.append(datasets.Dataset.from_list(rows, features=features))
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _require(image: str, sample_id: str, path: Path, line: int) -> None:
    from pathlib import Path as AnyPath

    if not AnyPath(image).is_file():
        message = f"sample {sample_id!r}: no such image file: {image}"
        remedy = f"put it back, or {_MAKE_AGAIN}"
        raise InputError(message, file=path, line=line, field="images", remedy=remedy)


def _features(row: dict[str, Any]) -> Any:
    """The types of columns, which a table of rows without images would not show."""
    from datasets import Features, Image, List, Value

    text, number = Value("string"), Value("int64")
    messages = List({"role": text, "content": List({"type": text, "text": text})})
    known = {
        "sample_id": text,
        "window": number,
        "dialogue_id": text,
        "prompt": messages,
        "completion": messages,
        "solution": text,
        "utt_ids": List(number),
        "img_ids": List(number),
        "image_turn": List(number),
        "embeddings": text,
        "images": List(Image()),
        "n_prompt_tokens": number,
        "n_completion_tokens": number,
        "n_images": number,
    }
    return Features({name: known[name] for name in row})
