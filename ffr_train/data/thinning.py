"""Rows before they are written, and fewer of those that show no gold."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_train.data.fitting import Measured


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be written.

    Attributes:
        dialogue: Its row in the dialogue table.
        found: What it shows.
        window: Its number; ``None`` for a whole sample.
        spare: Whether it is a window without gold of a sample that has some.
    """

    dialogue: int
    found: Measured
    window: int | None
    spare: bool = False


def has_no_gold(found: Measured) -> bool:
    """Whether the right answer is two empty lists."""
    return not (found.gold.utt_ids or found.gold.img_ids)


def thinned(rows: Sequence[Row], wanted: float) -> list[Row]:
    """Rows without some of the windows that show no gold; the same ones each time.

    Args:
        rows: All.
        wanted: How many such windows there may be for each window with gold.
    """
    spare = [place for place, row in enumerate(rows) if row.spare]
    full = sum(row.window is not None and not has_no_gold(row.found) for row in rows)
    number = min(len(spare), round(wanted * full))
    kept = set(random.Random(0).sample(spare, number))  # noqa: S311 - to be repeated
    return [row for place, row in enumerate(rows) if not row.spare or place in kept]
