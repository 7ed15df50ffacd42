"""``order``: fragment order consistency (F2RVLM Eq. 3), the mean cosine of adjacent elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_train.rewards import released
from ffr_train.rewards.fragments import NO_VECTOR
from ffr_train.rewards.registry import Term
from ffr_train.rewards.terms.gate import gated

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    if profile.released:
        values = released.order(batch)
        batch.cannot("order", np.isnan(values), NO_VECTOR)
        return values
    answer, gold = batch.coherence
    values = np.where(answer.size < 2, profile.settings("order").few, answer.order)
    if profile.gated:
        values, needed = gated(batch, profile, values, gold.order, gold.size >= 2)
        for reason, rows in gold.trouble.items():
            batch.cannot("order", rows & needed, f"{reason} (gold)")
    else:
        needed = batch.parsed
    for reason, rows in answer.trouble.items():
        batch.cannot("order", rows & needed & (answer.size >= 2), reason)
    return np.where(batch.parsed, values, 0.0)


TERM = Term(
    "order",
    "mean cosine of adjacent elements of the fragment, in dialogue order",
    _compute,
    embedded=True,
)
