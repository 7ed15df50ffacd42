"""``mcc``: Matthews correlation over the ids of the dialogue, the mean of its modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_train.rewards.registry import Term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile

NO_IDS = "the ids of the dialogue are not known"


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    """-1 to 1; where the gold is empty or all ids, which leaves MCC undefined, 1 for it, else 0."""
    total, number = np.zeros(len(batch)), np.zeros(len(batch))
    for modality, counts in batch.counts.items():
        gold = counts.tp + counts.fn
        same = (counts.fp + counts.fn == 0).astype(np.float64)
        undefined = (gold == 0) | (gold == batch.universe(modality))
        mcc = retrieval.mcc(counts.tp, counts.fp, counts.fn, counts.tn)
        there = (batch.universe(modality) > 0) | (gold + counts.fp > 0)
        total += np.where(there, np.where(undefined, same, mcc), 0.0)
        number += there
    values = np.where(number > 0, total / np.maximum(number, 1), 1.0)
    known = batch.ids_known("utterance") & batch.ids_known("image")
    if profile.gated:
        values = np.where(batch.negative, batch.silent.astype(np.float64), values)
    batch.cannot("mcc", ~known & batch.parsed, NO_IDS)
    return np.where(batch.parsed, np.where(known, values, np.nan), 0.0)


TERM = Term("mcc", "Matthews correlation over the ids of the dialogue", _compute)
