"""The records of a benchmark folder as they stand in its files (task-format)."""

from __future__ import annotations

from typing import Any

import msgspec


class TurnRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A turn of ``dialogues.jsonl``; ``images`` are image ids."""

    utt_id: int
    speaker: str = ""
    text: str = ""
    images: tuple[int, ...] = ()
    time: str | None = None


class ImageRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An image of ``dialogues.jsonl``; ``path`` is relative to the benchmark folder.

    ``sha256`` is the hash of the file's bytes; the writer fills it in.
    """

    img_id: int
    path: str | None = None
    url: str | None = None
    caption: str | None = None
    sha256: str | None = None


class DialogueRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of ``dialogues.jsonl``."""

    dialogue_id: str
    turns: tuple[TurnRecord, ...]
    images: tuple[ImageRecord, ...] = ()
    language: str | None = None
    meta: dict[str, Any] | None = None


class QueryRecord(msgspec.Struct, frozen=True):
    """A line of ``queries.jsonl``; ``kind`` follows from the gold where it is left out."""

    sample_id: str
    dialogue_id: str
    query: str
    gold_utt_ids: tuple[int, ...]
    gold_img_ids: tuple[int, ...]
    split: str = "test"
    kind: str | None = None
    meta: dict[str, Any] | None = None


class InfoRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """``benchmark.json``; ``hash`` is the content hash when it was written."""

    name: str
    version: str = "1"
    language: str | tuple[str, ...] | None = None
    licence: str | None = None
    citation: str | None = None
    description: str | None = None
    splits: tuple[str, ...] | dict[str, Any] | None = None
    hash: str | None = None
    meta: dict[str, Any] | None = None
