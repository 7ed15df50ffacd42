"""``pair_f1``: F1 over pairs of ids, which pays for whole fragments more than for parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_train.rewards.registry import Term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def _compute(batch: Batch, profile: Profile) -> FloatArray:  # noqa: ARG001
    """Pairs of distinct ids of the fragment, utterances and images alike; a gold of one id: F1."""
    tp, fp, fn = (
        np.sum([getattr(counts, name) for counts in batch.counts.values()], axis=0)
        for name in ("tp", "fp", "fn")
    )
    predicted, gold = tp + fp, tp + fn
    both, sizes = _pairs(tp), _pairs(predicted) + _pairs(gold)
    values = np.where(gold < 2, retrieval.f1(tp, fp, fn), retrieval.ratio(2 * both, sizes))
    values = np.where(predicted + gold == 0, 1.0, values)
    return np.where(batch.parsed, values, 0.0)


def _pairs(number: FloatArray) -> FloatArray:
    pairs: FloatArray = number * (number - 1) / 2
    return pairs


TERM = Term("pair_f1", "F1 over the pairs of ids of the fragment", _compute)
