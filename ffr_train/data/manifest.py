"""``data.json``: what a folder of training data was made from, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import read_json

if TYPE_CHECKING:
    from pathlib import Path

Stage: TypeAlias = Literal["sft", "grpo"]

MANIFEST: Final = "data.json"
ROWS: Final = "train.jsonl"
IMAGES: Final = "images"
EMBEDDINGS: Final = "embeddings"
SCHEMA_VERSION: Final = 1


class BenchmarkRecord(msgspec.Struct, frozen=True):
    """A benchmark: its name, and its content hash."""

    name: str
    hash: str


class ModelRecord(msgspec.Struct, frozen=True):
    """A model; ``revision`` is a hash of its configuration, tokenizer and processor.

    The weights are not in it: fine-tuning them changes no row.
    """

    name: str
    revision: str


class EncoderRecord(msgspec.Struct, frozen=True):
    """The embeddings that rows have: encoder, and id of its space in the store."""

    label: str
    space: str


class DataManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of training data.

    Attributes:
        stage: ``sft`` or ``grpo``.
        benchmark: Where the samples are from.
        split: Of the benchmark.
        model: Whose processor counted the tokens.
        max_pixels, min_pixels: The bounds of images that the processor has to be given.
        max_length: Tokens of a prompt and its answer, at most.
        max_new_tokens: Tokens of the room that is left for an answer (``grpo``).
        language: Of the instruction; ``None`` for that of each dialogue.
        prompt_hash: Of the wording, as in ``run.json``.
        overlong: What was done with longer samples.
        counts: Of samples and rows.
        lengths: ``prompt``, ``completion`` and ``total``, each with min, median, p95 and max.
        overlap: What was found of the evaluation data in the training data.
        encoder: Whose embeddings the rows have, if they have any.
        versions: Of the programs.
        n_rows: Lines of ``train.jsonl``.
        hash: ``sha256:…`` of ``train.jsonl``.
    """

    schema_version: int = SCHEMA_VERSION
    stage: Stage
    benchmark: BenchmarkRecord
    split: str
    model: ModelRecord
    max_pixels: int
    min_pixels: int | None = None
    max_length: int
    max_new_tokens: int | None = None
    language: Literal["zh", "en"] | None = None
    prompt_hash: str
    overlong: Literal["window", "filter"]
    counts: dict[str, int]
    lengths: dict[str, dict[str, float]]
    overlap: dict[str, Any]
    encoder: EncoderRecord | None = None
    versions: dict[str, str]
    n_rows: int
    hash: str


def read_manifest(folder: Path) -> DataManifest:
    """The manifest of a folder of training data.

    Raises:
        InputError: If there is none, or it is not one that can be read here.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "is no folder of training data" if folder.is_dir() else "no such folder"
        remedy = "make one: `ffr train data BENCH --stage sft|grpo --model MODEL --out DIR`"
        raise InputError(what, file=folder, remedy=remedy)
    version = read_json(path, _Version).schema_version
    if version != SCHEMA_VERSION:
        message = f"version {version}; this program reads version {SCHEMA_VERSION}"
        remedy = "make the data again with `ffr train data`, or use the program that made them"
        raise InputError(message, file=path, field="schema_version", remedy=remedy)
    return read_json(path, DataManifest)


class _Version(msgspec.Struct, frozen=True):
    schema_version: int
