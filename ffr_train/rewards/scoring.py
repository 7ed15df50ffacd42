"""The core: a batch of completions and a profile in, unweighted terms and their total out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_train.rewards.fragments import NO_EMBEDDINGS
from ffr_train.rewards.profile import DEFAULT, Profile, read_profile
from ffr_train.rewards.registry import term_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch


@dataclass(frozen=True, slots=True)
class Rewards:
    """Rewards of a batch of n completions.

    Attributes:
        profile: What they were computed by.
        terms: Each term, unweighted, shape ``(n,)``; NaN where it could not be computed.
        total: The weighted sum, shape ``(n,)``; NaN where a term that has weight could not be
            computed.
        left_out: Terms that no sample has, as no embeddings were given: they are not in the total.
        reasons: Why terms could not be computed, and for how many samples.
    """

    profile: Profile
    terms: Mapping[str, FloatArray]
    total: FloatArray
    left_out: tuple[str, ...] = ()
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def column(self, name: str) -> list[float | None]:
        """A term, or ``total``, as trainers take it: ``None`` where it could not be computed."""
        values = self.total if name == "total" else self.terms[name]
        return [None if np.isnan(value) else float(value) for value in values]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary a sample, in order: the unweighted terms and the total."""
        columns = {name: self.column(name) for name in (*self.terms, "total")}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def score(
    batch: Batch, profile: Profile | str = DEFAULT, terms: Sequence[str] | None = None
) -> Rewards:
    """Compute the terms of a profile.

    Args:
        batch: The completions.
        profile: The profile or its name: ``fixed``, ``paper`` or ``released``.
        terms: Which terms; by default those that have weight.

    Raises:
        InputError: If the profile or a term is unknown.
    """
    if isinstance(profile, str):
        profile = read_profile(profile)
    names = tuple(terms) if terms is not None else tuple(profile.weights)
    batch.reasons.clear()
    values = {name: term_named(name).compute(batch, profile) for name in names}
    reasons = {name: dict(found) for name, found in batch.reasons.items()}
    embedded = any(dialogue.embeddings is not None for dialogue in batch.dialogues)
    left_out = tuple(
        name
        for name, found in reasons.items()
        if not embedded and all(reason.startswith(NO_EMBEDDINGS) for reason in found)
    )
    values |= {name: np.full(len(batch), np.nan) for name in left_out}
    total = np.zeros(len(batch))
    for name, weight in profile.weights.items():
        if name in values and name not in left_out:
            total = total + weight * values[name]
    return Rewards(profile, values, total, left_out, reasons)
