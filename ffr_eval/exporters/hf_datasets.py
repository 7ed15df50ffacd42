"""A folder that ``datasets.load_dataset`` reads: Parquet files and a dataset card.

Config ``queries`` has one Parquet split for each split of the benchmark, config ``dialogues`` one
split of all dialogues, their image files inside.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import warnings
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ffr_eval.benchmark.reader import NOTICE
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.exporters import Exporter, ExportOptions
from ffr_eval.exporters.source import image_file, root_of, source_dialogues
from ffr_eval.exporters.staging import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark, DialogueRecord, ImageRecord
    from ffr_eval.types import Sample

DIALOGUES: Final = "dialogues"
"""The name of the config of the dialogues, and of its only split."""
QUERIES: Final = "queries"
_SPLIT: Final = re.compile(r"\w+(\.\w+)*", re.ASCII)
_SHARD_BYTES: Final = 256 * 2**20  # of text and images before they are written
_SHARD_ROWS: Final = 2000
_LICENCE_ID: Final = re.compile(r"[a-z0-9.+-]{2,40}")
_SIZES: Final = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def _convert(benchmark: Benchmark, out: Path, options: ExportOptions) -> list[str]:
    """Write Parquet files and the card."""
    try:
        import datasets
        import huggingface_hub  # noqa: F401  # comes with datasets
        import PIL  # noqa: F401
    except ImportError:
        raise MissingExtraError("the export to datasets", "datasets") from None
    splits = benchmark.splits if options.split is None else (options.split,)
    for split in splits:
        if not _SPLIT.fullmatch(split) or split == "all":
            message = f"the library datasets has no split names such as {split!r}"
            remedy = "rename the split in queries.jsonl: letters, digits, _ and . between them"
            raise InputError(message, file=root_of(benchmark), field="split", remedy=remedy)
    images = _Images(root_of(benchmark))
    with staged([out]) as work:
        folder = work / out.name
        for split in splits:
            queries = map(_query_row, benchmark.samples(split))
            _write(queries, _query_features(datasets), folder / QUERIES / split)
        records = (each.record for each in source_dialogues(benchmark, options.split))
        rows = (_dialogue_row(record, images) for record in records)
        n_dialogues = _write(rows, _dialogue_features(datasets), folder / DIALOGUES)
        notice = root_of(benchmark) / NOTICE
        if notice.is_file():
            shutil.copyfile(notice, folder / NOTICE)
        card = _card(benchmark, splits, n_dialogues, options, has_notice=notice.is_file())
        (folder / "README.md").write_text(card, encoding="utf-8")
    return images.notes()


def _query_features(datasets: Any) -> Any:
    string, ids = datasets.Value("string"), [datasets.Value("int32")]
    return datasets.Features(
        {
            "sample_id": string,
            "dialogue_id": string,
            "query": string,
            "gold_utt_ids": ids,
            "gold_img_ids": ids,
            "kind": string,
            "meta": string,
        }
    )


def _dialogue_features(datasets: Any) -> Any:
    string, number = datasets.Value("string"), datasets.Value("int32")
    turn = {
        "utt_id": number,
        "speaker": string,
        "text": string,
        "images": [number],
        "time": string,
    }
    image = {
        "img_id": number,
        "image": datasets.Image(),
        "caption": string,
        "url": string,
        "path": string,
        "sha256": string,
    }
    return datasets.Features(
        {
            "dialogue_id": string,
            "language": string,
            "turns": [turn],
            "images": [image],
            "meta": string,
        }
    )


def _query_row(sample: Sample) -> dict[str, Any]:
    gold = sample.gold
    return {
        "sample_id": sample.sample_id,
        "dialogue_id": sample.dialogue.dialogue_id,
        "query": sample.query,
        "gold_utt_ids": list(gold.utt_ids) if gold else [],
        "gold_img_ids": list(gold.img_ids) if gold else [],
        "kind": None if sample.kind is None else sample.kind.value,
        "meta": _json(sample.meta),
    }


def _dialogue_row(record: DialogueRecord, images: _Images) -> dict[str, Any]:
    turns = [
        {
            "utt_id": turn.utt_id,
            "speaker": turn.speaker,
            "text": turn.text,
            "images": list(turn.images),
            "time": turn.time,
        }
        for turn in record.turns
    ]
    return {
        "dialogue_id": record.dialogue_id,
        "language": record.language,
        "turns": turns,
        "images": [images.row(image) for image in record.images],
        "meta": _json(record.meta),
    }


def _json(meta: Any) -> str | None:
    """Meta has no fixed columns, so it goes in as JSON."""
    return msgspec.json.encode(meta, order="sorted").decode() if meta else None


class _Images:
    """Reads image files, and counts those that cannot go in."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._without_file = 0
        self._unreadable: list[str] = []

    def row(self, image: ImageRecord) -> dict[str, Any]:
        """An image, with the bytes of its file."""
        file = image_file(self._root, image)
        data = None if file is None else file.read_bytes()
        if file is None or data is None:
            self._without_file += 1
        elif not _is_image(data):
            self._unreadable.append(str(image.path))
            data = None
        return {
            "img_id": image.img_id,
            "image": None if data is None or file is None else {"bytes": data, "path": file.name},
            "caption": image.caption,
            "url": image.url,
            "path": image.path,
            "sha256": image.sha256,
        }

    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = []
        if self._without_file:
            notes.append(f"{self._without_file} images have no file")
        if self._unreadable:
            files = ", ".join(self._unreadable[:5])
            notes.append(f"{len(self._unreadable)} files left out, not readable images: {files}")
        return notes


def _is_image(data: bytes) -> bool:
    """Whether Pillow can tell that it is an image; a file that it cannot open would fail later."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _write(rows: Iterator[dict[str, Any]], features: Any, folder: Path) -> int:
    """Write rows as Parquet files of bounded size; memory holds one of them. Returns their number.

    The files are what the library itself writes, so that it finds its own types in them.
    """
    import datasets

    folder.mkdir(parents=True)
    shard: list[dict[str, Any]] = []
    total = size = n_files = 0

    def flush() -> None:
        nonlocal n_files, size
        table = datasets.Dataset.from_list(shard, features=features)
        with (folder / f"{n_files:05}.parquet").open("wb") as stream:
            table.to_parquet(stream)
        n_files += 1
        size = 0
        shard.clear()

    with _quiet():
        for row in rows:
            shard.append(row)
            total += 1
            size += _size(row)
            if size >= _SHARD_BYTES or len(shard) >= _SHARD_ROWS:
                flush()
        if shard or not n_files:
            flush()
    return total


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own progress bars."""
    from datasets.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _size(row: dict[str, Any]) -> int:
    """About how many bytes a row takes in memory."""
    images = (image["image"] for image in row.get("images", ()))
    texts = (turn["text"] for turn in row.get("turns", ()))
    return sum(len(image["bytes"]) for image in images if image) + sum(map(len, texts))


def _card(
    benchmark: Benchmark,
    splits: tuple[str, ...],
    n_dialogues: int,
    options: ExportOptions,
    *,
    has_notice: bool,
) -> str:
    """The dataset card: YAML for the library, text for people."""
    from huggingface_hub import DatasetCardData

    info = benchmark.info
    n_queries = sum(len(benchmark.rows(split)) for split in splits)
    languages = [info.language] if isinstance(info.language, str) else list(info.language or ())
    files = [{"split": split, "path": f"{QUERIES}/{split}/*.parquet"} for split in splits]
    dialogues = [{"split": DIALOGUES, "path": f"{DIALOGUES}/*.parquet"}]
    data = DatasetCardData(
        pretty_name=info.name,
        language=languages or None,
        size_categories=next((name for limit, name in _SIZES if n_queries < limit), "100K<n<1M"),
        configs=[
            {"config_name": QUERIES, "data_files": files, "default": True},
            {"config_name": DIALOGUES, "data_files": dialogues},
        ],
        **_licence(info.licence),
    )
    part = "" if options.split is None else f" (split `{options.split}` only)"
    task = (
        "A benchmark for Fine-grained Fragment Retrieval: given a long multimodal dialogue and a"
        " query, find the utterances and images that answer it."
        f" {n_dialogues} dialogues, {n_queries} queries{part}."
    )
    example = (
        "```python\nimport datasets\n\n"
        f'queries = datasets.load_dataset("PATH", "{QUERIES}", split="{splits[0]}")\n'
        f'dialogues = datasets.load_dataset("PATH", "{DIALOGUES}", split="{DIALOGUES}")\n```'
    )
    columns = (
        "`gold_utt_ids` and `gold_img_ids` of a query refer to `turns` and `images` of the dialogue"
        " with its `dialogue_id`; `meta` is JSON."
    )
    lines = [
        f"---\n{data.to_yaml()}\n---",
        f"# {info.name}",
        info.description,
        task,
        example,
        columns,
        None if info.licence is None else f"Licence: {info.licence}",
        f"[{NOTICE}]({NOTICE}) says more of its origin and its licences." if has_notice else None,
        None if info.citation is None else f"Citation: {info.citation}",
        f"Version: {info.version}. Content hash of the benchmark: `{benchmark.content_hash}`",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _licence(name: str | None) -> dict[str, Any]:
    """The card's licence fields, whose ids are in lower case."""
    if name is None:
        return {}
    if _LICENCE_ID.fullmatch(name.lower()):
        return {"license": name.lower()}
    return {"license": "other", "license_name": name}


exporter: Final = Exporter(
    target="DIR",
    summary="Parquet files with images inside and a dataset card, for datasets.load_dataset",
    images=("embed",),
    convert=_convert,
)
