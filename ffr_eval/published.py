"""Published results: figures as papers report them, with their source; never computed by us."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

PUBLISHED: Final = Path(__file__).parent / "data" / "published"


class PublishedDataset(msgspec.Struct, frozen=True):
    """A dataset of a paper's comparison table; means over its dialogues."""

    dataset: str
    language: str
    avg_turns: float
    avg_topics: float


class PublishedScores(msgspec.Struct, frozen=True):
    """Scores in percent, under the paper's protocol."""

    precision: float
    recall: float
    f1: float
    mcc: float


class PublishedRow(msgspec.Struct, frozen=True):
    """A model of a paper's main table.

    ``zero_shot`` means not tuned on MLDR; ``sliding_window`` that dialogues were cut into windows
    whose answers were merged.
    """

    model: str
    zero_shot: bool
    sliding_window: bool
    mldr_val: PublishedScores | None = None
    wechat_test: PublishedScores | None = None


class PublishedPaper(msgspec.Struct, frozen=True):
    """What one paper reports."""

    source: str
    unit: str
    protocol: str
    notes: str
    table1_datasets: tuple[PublishedDataset, ...]
    table2_main: tuple[PublishedRow, ...]


def published_papers() -> list[PublishedPaper]:
    """The papers whose figures come with the package."""
    decoder = msgspec.json.Decoder(PublishedPaper)
    return [decoder.decode(path.read_bytes()) for path in sorted(PUBLISHED.glob("*.json"))]
