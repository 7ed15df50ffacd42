"""Putting the windows of split dialogues together again (task-format: ``--merge-windows``).

A long dialogue may have been given to a model in windows named ``<dialogue_id>_split_<k>``. Image
ids restart at 0 in each window; windows may overlap. Gold and answers are merged by union, images
being the same where their paths are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.inference_columns import InferenceColumns
from ffr_eval.predictions import OUTCOME_CODE, OUTCOMES
from ffr_eval.ragged import Ragged
from ffr_eval.types import ANSWERED, Outcome
from ffr_eval.window_answers import apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WINDOW: Final = re.compile(r"(.+)_split_([0-9]{1,9})")


class _Sample(NamedTuple):
    """A merged sample: columns of one row."""

    dialogue_id: str
    outcome: Outcome
    has_response: bool
    ids: dict[str, list[int]]


def merge_windows(columns: InferenceColumns) -> tuple[InferenceColumns, list[str]]:
    """Merge the windows of each dialogue and query by union; other records stay as they are.

    A query asked several times in one window counts as several samples, told apart by their order.
    A merged sample has a usable answer if any of its windows has one that names an id, or if all
    windows were answered; else it has the outcome of its first failed window, so that an outage
    does not look like silence.

    Args:
        columns: Read with ``windows=True``.

    Returns:
        The merged columns, and notes.

    Raises:
        InputError: If no record is a window.
    """
    if columns.windows is None:
        raise ValueError("the columns were read without windows=True")
    groups: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    repeated: Counter[tuple[str, str]] = Counter()
    windows = 0
    for row, dialogue_id in enumerate(columns.dialogue_id):
        match = _WINDOW.fullmatch(dialogue_id)
        name, place = (match.group(1), int(match.group(2))) if match else (dialogue_id, 0)
        windows += match is not None
        query = columns.windows[row][0]
        again = repeated[dialogue_id, query]
        repeated[dialogue_id, query] += 1
        groups.setdefault((name, query, again), []).append((place, row))
    if not windows:
        remedy = "leave --merge-windows out"
        message = "no record is a window (dialogue ids of the form NAME_split_0)"
        raise InputError(message, field="dialogue_id", remedy=remedy)
    samples = [
        _merge(columns, name, [row for _, row in sorted(members)])
        for (name, _, _), members in groups.items()
    ]
    note = f"{windows} windows merged: {len(columns)} records make {len(samples)} samples"
    return _columns(samples, columns.lost_lists), [note]


def _merge(columns: InferenceColumns, name: str, rows: Sequence[int]) -> _Sample:
    numbering = _number_images(columns, rows)
    ids: dict[str, list[int]] = {}
    for field in ("utt_marked", "utt_gold", "utt_predicted"):
        ragged: Ragged = getattr(columns, field)
        ids[field] = _union(ragged[row].tolist() for row in rows)
    for field in ("img_marked", "img_gold", "img_predicted"):
        ragged = getattr(columns, field)
        ids[field] = _union(
            [numbers.get(local, apart(local, window)) for local in ragged[row].tolist()]
            for window, (row, numbers) in enumerate(zip(rows, numbering, strict=True))
        )
    outcomes = [OUTCOMES[columns.outcome[row]] for row in rows]
    failed = [outcome for outcome in outcomes if outcome not in ANSWERED]
    if ids["utt_predicted"] or ids["img_predicted"]:
        outcome = Outcome.OK
    else:
        outcome = failed[0] if failed else Outcome.EMPTY
    responded = bool(columns.has_response[list(rows)].any())
    return _Sample(name, outcome, responded, ids)


def _number_images(columns: InferenceColumns, rows: Sequence[int]) -> list[dict[int, int]]:
    """For each window, its image ids to image ids of the whole dialogue.

    The ``k``-th path of a record belongs to its image id ``k``. Images with the same path are the
    same image (the second one with a path within a window is another). Without a path for every
    image, windows are taken not to overlap.
    """
    assert columns.windows is not None  # noqa: S101  # checked by the only caller
    numbers: dict[tuple[str, int], int] = {}
    result = []
    for window, row in enumerate(rows):
        paths = columns.windows[row][1]
        marked = _union([columns.img_marked[row].tolist()])
        known = all(local < len(paths) and paths[local] for local in marked)
        seen: Counter[str] = Counter()
        numbering = {}
        for local in sorted(marked):
            path = paths[local] if known else f"{window}:{local}"
            key = (path, seen[path])
            seen[path] += 1
            numbering[local] = numbers.setdefault(key, len(numbers))
        result.append(numbering)
    return result


def _union(lists: Iterable[Sequence[int]]) -> list[int]:
    return list(dict.fromkeys(number for numbers in lists for number in numbers))


def _columns(samples: Sequence[_Sample], lost_lists: int) -> InferenceColumns:
    marked = [len(sample.ids["utt_marked"]) for sample in samples]

    def ragged(name: str) -> Ragged:
        return Ragged.from_lists([sample.ids[name] for sample in samples])

    return InferenceColumns(
        dialogue_id=[sample.dialogue_id for sample in samples],
        outcome=np.array([OUTCOME_CODE[sample.outcome] for sample in samples], dtype=np.int8),
        has_response=np.array([sample.has_response for sample in samples]),
        turns=np.array(marked, dtype=np.int64),
        utt_marked=ragged("utt_marked"),
        img_marked=ragged("img_marked"),
        utt_gold=ragged("utt_gold"),
        img_gold=ragged("img_gold"),
        utt_predicted=ragged("utt_predicted"),
        img_predicted=ragged("img_predicted"),
        lost_lists=lost_lists,
    )
