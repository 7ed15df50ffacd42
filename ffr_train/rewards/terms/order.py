"""``order``: fragment order consistency (F2RVLM Eq. 3), the mean cosine of adjacent elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_train.rewards import released
from ffr_train.rewards.fragments import coherence
from ffr_train.rewards.registry import Term
from ffr_train.rewards.terms.f1 import f1_term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    if profile.released:
        return released.order(batch)
    few = profile.settings("order").few
    answer = coherence(batch, batch.predicted("utterance"), batch.predicted("image"))
    values = np.where(answer.size < 2, few, answer.order)
    needed = answer.size >= 2
    if profile.gated:
        f1 = f1_term(batch, profile)
        gold = coherence(batch, batch.gold("utterance"), batch.gold("image"))
        needed = (f1 > 0) & (gold.size >= 2)
        relative = np.clip(values / np.where(gold.order > 0, gold.order, 1.0), 0.0, 1.0)
        gate = np.where(gold.order > 0, relative, 1.0)
        values = np.where(needed, f1 * np.where(np.isnan(gold.order), np.nan, gate), f1)
        missing = needed & (answer.size >= 2) & np.isnan(answer.order)
        values = np.where(missing, np.nan, values)
        for reason, rows in gold.trouble.items():
            batch.cannot("order", rows & needed, f"{reason} (gold)")
    values = np.where(batch.parsed, values, 0.0)
    for reason, rows in answer.trouble.items():
        batch.cannot("order", rows & needed & (answer.size >= 2) & batch.parsed, reason)
    return values


TERM = Term(
    "order", "mean cosine of adjacent elements of the fragment, in dialogue order", _compute
)
