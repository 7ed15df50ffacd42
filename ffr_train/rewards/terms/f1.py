"""``f1``: F1 of both modalities, with a penalty for a fragment of another size than the gold's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_train.rewards import released
from ffr_train.rewards.registry import Term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile


def f1_term(batch: Batch, profile: Profile) -> FloatArray:
    """Σ λ_m · F1(P_m, G_m) · γ^d_m, both empty 1; 0 where the completion does not parse.

    With sets P and G, d = ``| |P| - |G| |`` (F2RVLM, as the release and our ``paper`` read it) or,
    ``relative``, that over max(|G|, 1).
    """
    settings = profile.settings("f1")
    if profile.released:
        return released.f1(batch, settings)
    total = np.zeros(len(batch))
    for share, counts in zip(settings.lambdas, batch.counts.values(), strict=True):
        predicted, gold = counts.tp + counts.fp, counts.tp + counts.fn
        apart = np.abs(predicted - gold).astype(np.float64)
        if settings.relative:
            apart = apart / np.maximum(gold, 1)
        f1 = retrieval.f1(counts.tp, counts.fp, counts.fn)
        value = np.where(predicted + gold == 0, 1.0, f1 * settings.gamma**apart)
        total += share * value
    if settings.negative_all_or_nothing:
        total = np.where(batch.negative, batch.silent * sum(settings.lambdas), total)
    return np.where(batch.parsed, total, 0.0)


TERM = Term("f1", "F1 of the two modalities with a size penalty", f1_term)
