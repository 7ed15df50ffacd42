"""``query_sim``: query-fragment similarity, the mean cosine of query and element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_train.rewards.fragments import coherence
from ffr_train.rewards.registry import Term
from ffr_train.rewards.terms.f1 import f1_term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    answer = coherence(batch, batch.predicted("utterance"), batch.predicted("image"))
    gold = coherence(batch, batch.gold("utterance"), batch.gold("image"))
    f1 = f1_term(batch, profile)
    silence = np.where(gold.size == 0, np.where(answer.size == 0, 1.0, 0.0), 0.0)
    if profile.gated:
        needed = (f1 > 0) & (gold.size > 0) & (answer.size > 0)
        relative = np.clip(answer.query / np.where(gold.query > 0, gold.query, 1.0), 0.0, 1.0)
        gate = np.where(gold.query > 0, relative, 1.0)
        values = np.where(needed, f1 * np.where(np.isnan(gold.query), np.nan, gate), f1)
        values = np.where(needed & np.isnan(answer.query), np.nan, values)
        for reason, rows in gold.query_trouble.items():
            batch.cannot("query_sim", rows & needed, f"{reason} (gold)")
    else:
        needed = (answer.size > 0) & batch.parsed
        values = np.where(answer.size > 0, answer.query, silence)
    for reason, rows in answer.query_trouble.items():
        batch.cannot("query_sim", rows & needed & batch.parsed, reason)
    return np.where(batch.parsed, values, 0.0)


TERM = Term("query_sim", "mean cosine of the query and each element of the fragment", _compute)
