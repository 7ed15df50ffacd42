"""A hash of what a benchmark says, whatever its file layout.

It covers every dialogue and query (images by the hash of their bytes where that is recorded, else
by path or URL), and not the order of lines, the spelling of the JSON, or the descriptive fields
of ``benchmark.json``. It needs no encoder and no image to be read.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ffr_eval.benchmark.schema import DialogueRecord, ImageRecord, QueryRecord

_TURN_CONTENT = attrgetter("utt_id", "speaker", "text", "images", "time")
_ENCODER = msgspec.json.Encoder(order="sorted")


class ContentHash:
    """Accumulates records in any order; equal contents give equal digests."""

    def __init__(self) -> None:
        self._records: list[bytes] = []

    def add_dialogue(self, record: DialogueRecord) -> None:
        """Add a dialogue."""
        images = [_image_content(image) for image in record.images]
        turns = list(map(_TURN_CONTENT, record.turns))
        self._add(
            ["dialogue", record.dialogue_id, turns, images, record.language, record.meta or None]
        )

    def add_query(self, record: QueryRecord) -> None:
        """Add a query; the order and repetition of gold ids do not matter."""
        gold = [sorted(set(record.gold_utt_ids)), sorted(set(record.gold_img_ids))]
        content = [record.sample_id, record.dialogue_id, record.split, record.query, gold]
        self._add(["query", *content, record.meta or None])

    def hexdigest(self) -> str:
        """``sha256:`` and 64 hexadecimal digits."""
        total = hashlib.sha256(b"".join(sorted(self._records)))
        return f"sha256:{total.hexdigest()}"

    def _add(self, content: list[Any]) -> None:
        self._records.append(hashlib.sha256(_ENCODER.encode(content)).digest())


def _image_content(image: ImageRecord) -> list[Any]:
    source = image.sha256 or image.path or image.url
    return [image.img_id, source, image.caption]
