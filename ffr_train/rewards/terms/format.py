"""``format``: 1 for an answer that is exactly the markup and repeats no id, else 0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_train.rewards.registry import Term

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch, BoolArray
    from ffr_train.rewards.profile import Profile

_RELEASED: Final = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>(?![\s\S])", re.DOTALL)
"""What the second definition in the original plugin asks for; no answer markup is like that."""


def _compute(batch: Batch, profile: Profile) -> FloatArray:
    """With ``negative_all_or_nothing`` also 0 for ids on a query without gold.

    Otherwise a wrong answer would earn something there, against property 4 of docs/rewards.md.
    """
    if profile.released:
        return np.array([float(_RELEASED.match(text) is not None) for text in batch.texts])
    repeats = np.sum([counts.duplicates for counts in batch.counts.values()], axis=0)
    good: BoolArray = batch.parsed & (repeats == 0)
    if profile.settings("format").negative_all_or_nothing:
        good &= batch.silent | ~batch.negative
    return np.where(good, 1.0, 0.0)


TERM = Term(
    "format", "1 if the completion is exactly the answer markup and repeats no id", _compute
)
