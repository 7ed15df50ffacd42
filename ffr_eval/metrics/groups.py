"""Groups of samples: by length of the dialogue, by query kind, by language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.plugins import nearest
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray

TURN_EDGES: Final = (35, 66)
"""Lower edges of ``medium`` and ``long``: short < 35 turns, medium 35-65, long > 65 (the paper)."""


def group_rows(table: PredictionTable, by: str) -> dict[str, IntArray]:
    """The rows of each group that has samples, named.

    Args:
        table: The predictions.
        by: ``turns``, ``kind`` or ``language``.

    Raises:
        InputError: If there is no such grouping.
    """
    if by not in GROUPINGS:
        remedy = nearest(by, GROUPINGS)
        raise InputError(f"unknown grouping {by!r}", field="--group-by", remedy=remedy)
    labels = np.asarray(GROUPINGS[by](table))
    order = {name: place for place, name in enumerate(_ORDER.get(by, ()))}
    names = sorted(set(labels.tolist()), key=lambda name: (order.get(name, len(order)), name))
    return {name: np.flatnonzero(labels == name) for name in names}


def _turns(table: PredictionTable) -> Sequence[str]:
    names = np.array(_ORDER["turns"])
    labels: list[str] = names[np.searchsorted(TURN_EDGES, table.turns, side="right")].tolist()
    return labels


def _kind(table: PredictionTable) -> Sequence[str]:
    labels: list[str] = table.kind.tolist()
    return labels


def _language(table: PredictionTable) -> Sequence[str]:
    return [name or "unknown" for name in table.language or [None] * len(table)]


_ORDER: Final = {"turns": ("short", "medium", "long"), "kind": tuple(kind.value for kind in Kind)}
GROUPINGS: Final[dict[str, Callable[[PredictionTable], Sequence[str]]]] = {
    "turns": _turns,
    "kind": _kind,
    "language": _language,
}
"""Groupings by name: a table to one label a sample."""
