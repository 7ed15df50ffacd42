"""Groups of samples: what a breakdown is by, and which samples are in which group.

A grouping is named, like a metric: ``turns``, ``turns(20,50)``, ``kind``, ``language``,
``dispersion``, ``position``, ``meta.FIELD``, and crossings such as ``turns*kind``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval import plugins
from ffr_eval.errors import InputError
from ffr_eval.places import places_of
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray

TURN_EDGES: Final = (35, 66)
"""Lower edges of ``medium`` and ``long``: short < 35 turns, medium 35-65, long > 65 (the paper)."""

CROSS: Final = "*"
"""Between two groupings that are crossed, and between the names of their groups."""

NO_GOLD: Final = "no gold"
"""The group of samples whose gold has no place (negative queries) in groupings by place."""

_THIRDS: Final = ("start", "middle", "end")
_QUARTILES: Final = ("q1", "q2", "q3", "q4")
_MOST_PARTS: Final = 100
_NO_VALUE: Final = "(none)"
_META: Final = "meta."
_NAME: Final = re.compile(r"([a-z_]+)\s*(?:\(([^()]*)\))?")
_FIELD: Final = "--group-by"


@dataclass(frozen=True, slots=True)
class Labels:
    """The group of each sample.

    Attributes:
        names: The groups in the order in which they are shown; some may have no samples.
        code: For each sample the place of its group in ``names``, shape ``(n,)``.
    """

    names: tuple[str, ...]
    code: IntArray


def group_rows(table: PredictionTable, by: str) -> dict[str, IntArray]:
    """The rows of each group that has samples, named.

    Args:
        table: The predictions.
        by: ``turns`` (short < 35, medium 35-65, long > 65; with other lower edges:
            ``turns(20,50)``), ``kind``, ``language``, ``dispersion`` (quartile of the span of the
            gold turns over their number, q1 the densest), ``position`` (the third of the dialogue
            in which the gold lies on average; ``position(5)`` for fifths), ``meta.FIELD``, or two
            of them with ``*`` between.

    Raises:
        InputError: If there is no such grouping, or nothing known to group by.
    """
    parts = [part.strip() for part in by.split(CROSS)]
    if len(parts) > 2:
        message = f"{by!r} crosses {len(parts)} groupings"
        raise InputError(message, field=_FIELD, remedy="cross two, for example turns*kind")
    labels = _labels(table, parts[0])
    if len(parts) == 2:
        labels = _crossed(labels, _labels(table, parts[1]))
    order = np.argsort(labels.code, kind="stable")
    ends = np.cumsum(np.bincount(labels.code, minlength=len(labels.names)))
    rows = np.split(order, ends[:-1]) if len(ends) else []
    return {name: found for name, found in zip(labels.names, rows, strict=True) if len(found)}


def _labels(table: PredictionTable, by: str) -> Labels:
    if by.startswith(_META):
        return _meta(table, by.removeprefix(_META))
    found = _NAME.fullmatch(by)
    if found is None or found[1] not in GROUPINGS:
        known = [*GROUPINGS, "meta.FIELD", "turns*kind"]
        raise InputError(
            f"unknown grouping {by!r}", field=_FIELD, remedy=plugins.nearest(by, known)
        )
    parameters = _numbers(by, found[2])
    most = _PARAMETERS.get(found[1], 0)
    if len(parameters) > most:
        message = f"{by!r}: {found[1]} takes " + ("one parameter" if most else "no parameters")
        raise InputError(message, field=_FIELD)
    return GROUPINGS[found[1]](table, *parameters)


def _numbers(by: str, text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        remedy = "for example turns(20,50) or position(5)"
        message = f"{by!r}: the parameters must be whole numbers"
        raise InputError(message, field=_FIELD, remedy=remedy) from None


def _crossed(first: Labels, second: Labels) -> Labels:
    """The pairs that occur, named by both; a name that holds the sign between them is quoted."""
    code = first.code * len(second.names) + second.code
    pairs, code = np.unique(code, return_inverse=True)
    names = tuple(
        f"{_quoted(first.names[pair // len(second.names)])}{CROSS}"
        f"{_quoted(second.names[pair % len(second.names)])}"
        for pair in pairs.tolist()
    )
    return Labels(names, code.astype(np.int64))


def _quoted(name: str) -> str:
    return msgspec.json.encode(name).decode() if CROSS in name else name


def _turns(table: PredictionTable, *edges: int) -> Labels:
    names: tuple[str, ...] = ("short", "medium", "long")
    if edges:
        if list(edges) != sorted(set(edges)) or edges[0] < 1:
            message = f"the edges {', '.join(map(str, edges))} do not rise from at least 1"
            remedy = "turns(20,50) makes <20, 20-49 and >=50"
            raise InputError(message, field=_FIELD, remedy=remedy)
        inner = [
            f"{low}-{high - 1}" if high > low + 1 else f"{low}" for low, high in pairwise(edges)
        ]
        names = (f"<{edges[0]}", *inner, f">={edges[-1]}")
    return Labels(names, np.searchsorted(edges or TURN_EDGES, table.turns, side="right"))


def _kind(table: PredictionTable) -> Labels:
    return _ordered(table.kind.tolist(), tuple(kind.value for kind in Kind))


def _language(table: PredictionTable) -> Labels:
    return _ordered([name or "unknown" for name in table.language or [None] * len(table)])


def _dispersion(table: PredictionTable) -> Labels:
    """Quartiles over the samples that have a place; a value on an edge is in the lower one."""
    gold = places_of(table).gold
    size, some = gold.lengths, gold.lengths > 0
    starts, ends = gold.offsets[:-1][some], gold.offsets[1:][some]
    values = np.full(len(table), np.nan)
    values[some] = (gold.values[ends - 1] - gold.values[starts] + 1) / size[some]
    if not some.any():
        return _or_no_gold(np.zeros(len(table), dtype=np.int64), some, _QUARTILES)
    edges = np.quantile(values[some], (0.25, 0.5, 0.75))
    return _or_no_gold(np.searchsorted(edges, values, side="left"), some, _QUARTILES)


def _position(table: PredictionTable, parts: int = len(_THIRDS)) -> Labels:
    """By the mean place of the gold turns, 0 the beginning of the dialogue and 1 its end."""
    if not 2 <= parts <= _MOST_PARTS:
        message = f"position({parts}): a dialogue is divided into at least 2 parts"
        message += f", at most {_MOST_PARTS}"
        raise InputError(message, field=_FIELD, remedy="for example position(5)")
    default = parts == len(_THIRDS)
    names = _THIRDS if default else tuple(f"{part}/{parts}" for part in range(1, parts + 1))
    gold = places_of(table).gold
    some = gold.lengths > 0
    middles = np.bincount(gold.rows, gold.values + 0.5, minlength=len(table))
    part_of = np.zeros(len(table))
    part_of[some] = middles[some] / (gold.lengths[some] * np.maximum(table.turns[some], 1)) * parts
    return _or_no_gold(np.clip(part_of.astype(np.int64), 0, parts - 1), some, names)


def _or_no_gold(code: IntArray, some: NDArray[np.bool_], names: tuple[str, ...]) -> Labels:
    return Labels((*names, NO_GOLD), np.where(some, code, len(names)))


def _meta(table: PredictionTable, name: str) -> Labels:
    if table.meta is None:
        message = "an inference file says nothing of its samples but their turns"
        remedy = "import it as a benchmark: `ffr data import mswift`"
        raise InputError(message, field=_FIELD, remedy=remedy)
    if not any(name in meta for meta in table.meta):
        known = dict.fromkeys(field for meta in table.meta for field in meta)
        remedy = plugins.nearest(name, known)
        raise InputError(f"no sample has meta.{name}", field=_FIELD, remedy=remedy)
    values = [meta[name] for meta in table.meta if name in meta]
    taken = {_json(value) for value in values if not isinstance(value, str)} | {_NO_VALUE}

    def text(value: Any) -> str:
        """Texts as they are, unless they look like something else; all else as JSON."""
        return value if isinstance(value, str) and value not in taken else _json(value)

    return _ordered([text(meta[name]) if name in meta else _NO_VALUE for meta in table.meta])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _ordered(labels: Sequence[str], names: tuple[str, ...] = ()) -> Labels:
    """Labels in a given order of names, or sorted."""
    names = names or tuple(sorted(set(labels)))
    place = {name: code for code, name in enumerate(names)}
    return Labels(names, np.array([place[label] for label in labels], dtype=np.int64))


GROUPINGS: Final[dict[str, Callable[..., Labels]]] = {
    "turns": _turns,
    "kind": _kind,
    "language": _language,
    "dispersion": _dispersion,
    "position": _position,
}
"""Groupings by name; ``meta.FIELD`` beside them."""

_PARAMETERS: Final = {"turns": 100, "position": 1}
