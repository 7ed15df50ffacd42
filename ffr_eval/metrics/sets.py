"""The metrics on plain collections of ids: the kernel on one sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import Counts, count
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def set_counts(
    predicted: Iterable[int], gold: Iterable[int], universe: Collection[int] | None = None
) -> Counts:
    """Counts of one sample (shape ``(1,)``).

    Args:
        predicted: Predicted ids; repeated ids count once, ids outside the universe as ``fp``.
        gold: Gold ids.
        universe: The ids that the dialogue has; by default those of ``predicted`` and ``gold``,
            so that nothing is invented and ``tn`` is 0.
    """
    predicted, gold = list(predicted), list(gold)
    inside = dict.fromkeys(universe if universe is not None else [*gold, *predicted])
    codes = {number: code for code, number in enumerate(inside)}
    for number in (*gold, *predicted):
        codes.setdefault(number, len(codes))
    return count(
        Ragged.from_lists([[codes[number] for number in gold]]),
        Ragged.from_lists([[codes[number] for number in predicted]]),
        np.array([len(inside)], dtype=np.int64),
    )


def precision(predicted: Iterable[int], gold: Iterable[int]) -> float:
    """|P ∩ G| / |P|. Both empty: 1; only one of them empty: 0."""
    counts = set_counts(predicted, gold)
    return _both_empty(counts) or float(retrieval.precision(counts.tp, counts.fp)[0])


def recall(predicted: Iterable[int], gold: Iterable[int]) -> float:
    """|P ∩ G| / |G|. Both empty: 1; only one of them empty: 0."""
    counts = set_counts(predicted, gold)
    return _both_empty(counts) or float(retrieval.recall(counts.tp, counts.fn)[0])


def f1(predicted: Iterable[int], gold: Iterable[int]) -> float:
    """2 |P ∩ G| / (|P| + |G|). Both empty: 1; only one of them empty: 0."""
    counts = set_counts(predicted, gold)
    return _both_empty(counts) or float(retrieval.f1(counts.tp, counts.fp, counts.fn)[0])


def mcc(predicted: Iterable[int], gold: Iterable[int], universe: Collection[int]) -> float:
    """Matthews correlation over the ids of ``universe``; 0 where it is undefined.

    Predicted ids outside the universe count as false positives.
    """
    counts = set_counts(predicted, gold, universe)
    return float(retrieval.mcc(counts.tp, counts.fp, counts.fn, counts.tn)[0])


def _both_empty(counts: Counts) -> float:
    return float(counts.tp[0] + counts.fp[0] + counts.fn[0] == 0)
