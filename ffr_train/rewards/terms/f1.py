"""``f1``: F1 of both modalities, with a penalty for a fragment of another size than the gold's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_train.rewards import released
from ffr_train.rewards.registry import Term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch, BoolArray
    from ffr_train.rewards.profile import Profile, TermSettings


def f1_term(batch: Batch, profile: Profile) -> FloatArray:
    """Σ λ_m · F1(P_m, G_m) · γ^d_m, both empty 1; 0 where the completion does not parse.

    With sets P and G, d = ``| |P| - |G| |`` (F2RVLM, as the release and our ``paper`` read it) or,
    ``relative``, that over max(|G|, 1), but at least the excess of the whole fragment over the
    whole gold, relative to it. Without the latter everything is right in a modality all of which is
    gold, and selecting all of the dialogue could earn more than half of the gold (property 3).
    """
    settings = profile.settings("f1")
    if profile.released:
        return released.f1(batch, settings)
    total = np.zeros(len(batch))
    for share, value, _ in _modalities(batch, settings):
        total += share * value
    return _where_answered(batch, settings, total)


def answered_f1(batch: Batch, profile: Profile) -> FloatArray:
    """The same over the modalities that have gold or were answered: 0 if nothing is right."""
    settings = profile.settings("f1")
    total, shares, both = (np.zeros(len(batch)) for _ in range(3))
    for share, value, live in _modalities(batch, settings):
        total += share * value * live
        shares += share * live
        both += share * value
    total = np.where(shares > 0, total / np.where(shares > 0, shares, 1.0), both)
    return _where_answered(batch, settings, total)


def _modalities(
    batch: Batch, settings: TermSettings
) -> Iterator[tuple[float, FloatArray, BoolArray]]:
    """Share, F1 · γ^d, and whether there is gold or an answer, of each modality."""
    excess = relative_excess(batch)
    for share, counts in zip(settings.lambdas, batch.counts.values(), strict=True):
        predicted, gold = counts.tp + counts.fp, counts.tp + counts.fn
        apart = np.abs(predicted - gold).astype(np.float64)
        if settings.relative:
            apart = np.maximum(apart / np.maximum(gold, 1), excess)
        f1 = retrieval.f1(counts.tp, counts.fp, counts.fn)
        live = predicted + gold > 0
        yield share, np.where(live, f1 * settings.gamma**apart, 1.0), live


def relative_excess(batch: Batch) -> FloatArray:
    """How many ids more than in the whole gold were predicted, over the size of the gold."""
    every = batch.counts.values()
    wrong, missed = sum(c.fp for c in every), sum(c.fn for c in every)
    gold = sum(c.tp + c.fn for c in every)
    excess: FloatArray = np.maximum(np.subtract(wrong, missed), 0) / np.maximum(gold, 1)
    return excess


def _where_answered(batch: Batch, settings: TermSettings, values: FloatArray) -> FloatArray:
    if settings.negative_all_or_nothing:
        values = np.where(batch.negative, batch.silent * sum(settings.lambdas), values)
    return np.where(batch.parsed, values, 0.0)


TERM = Term("f1", "F1 of the two modalities with a size penalty", f1_term)
