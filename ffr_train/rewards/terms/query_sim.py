"""``query_sim``: query-fragment similarity, the mean cosine of query and element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_train.rewards.registry import Term
from ffr_train.rewards.terms.gate import gated

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    answer, gold = batch.coherence
    if profile.gated:
        values, needed = gated(
            batch, profile, answer.query, gold.query, (gold.size > 0) & (answer.size > 0)
        )
        for reason, rows in gold.query_trouble.items():
            batch.cannot("query_sim", rows & needed, f"{reason} (gold)")
    else:
        needed = (answer.size > 0) & batch.parsed
        silence = ((gold.size == 0) & (answer.size == 0)).astype(np.float64)
        values = np.where(answer.size > 0, answer.query, silence)
    for reason, rows in answer.query_trouble.items():
        batch.cannot("query_sim", rows & needed, reason)
    return np.where(batch.parsed, values, 0.0)


TERM = Term(
    "query_sim",
    "mean cosine of the query and each element of the fragment",
    _compute,
    embedded=True,
)
