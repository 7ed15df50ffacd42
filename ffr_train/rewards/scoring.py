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
        left_out: Terms that need embeddings where none were given to any sample: they are not in
            the total, whatever the other samples are.
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
    batch: Batch,
    profile: Profile | str = DEFAULT,
    terms: Sequence[str] | None = None,
    *,
    embedded: bool | None = None,
) -> Rewards:
    """Compute the terms of a profile.

    Args:
        batch: The completions.
        profile: The profile or its name: ``fixed``, ``paper`` or ``released``.
        terms: Which terms; by default those that have weight.
        embedded: Whether samples are to have embeddings: one without is then not computable,
            otherwise terms that need them are left out of every total. By default, whether any of
            this batch has; say it where one training is scored in several batches.

    Raises:
        InputError: If the profile or a term is unknown.
    """
    if isinstance(profile, str):
        profile = read_profile(profile)
    names = tuple(terms) if terms is not None else tuple(profile.weights)
    batch.reasons.clear()
    found = {name: term_named(name) for name in names}
    if embedded is None:
        embedded = any(dialogue.embeddings is not None for dialogue in batch.dialogues)
    left_out = tuple(
        name
        for name, term in found.items()
        if term.embedded and not embedded and not profile.released
    )
    values = {
        name: np.full(len(batch), np.nan) if name in left_out else term.compute(batch, profile)
        for name, term in found.items()
    }
    for name in left_out:
        batch.cannot(name, np.ones(len(batch), dtype=np.bool_), NO_EMBEDDINGS)
    reasons = {name: dict(number) for name, number in batch.reasons.items()}
    total = np.zeros(len(batch))
    for name, weight in profile.weights.items():
        if name in values and name not in left_out:
            total = total + weight * values[name]
    return Rewards(profile, values, total, left_out, reasons)
