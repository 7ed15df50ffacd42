"""The form that ``order`` and ``query_sim`` have under a gated profile (``fixed``).

rewards.md has (F1 term) · clip(coherence(P) / coherence(G), 0, 1). That breaks its third property:

* Of a gold in one modality, an answer with nothing right in it has an F1 term of 0.5, for the other
  modality, in which both are empty. With the F1 term as a factor it is paid that 0.5 again, and a
  wrong fragment that is coherent (or silence) gets more than half of the gold that is less so. So
  the factor is F1 over the modalities in which there is gold or an answer, 0 if nothing is right.
* Half of the gold may have a coherence of 0 or below, and get nothing, where selecting all gets all
  that its F1 allows. So the ratio is not clipped to 0 but to 0.25, the least (in round numbers)
  that keeps the property for all vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_train.rewards.terms.f1 import answered_f1

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch, BoolArray
    from ffr_train.rewards.profile import Profile

LEAST: Final = 0.25


def gated(
    batch: Batch, profile: Profile, values: FloatArray, gold: FloatArray, applies: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """F1 times a figure of the answer relative to the gold's.

    Args:
        batch: The completions.
        profile: For the constants of F1.
        values: The figure of each answer; NaN where it is not known.
        gold: Of the gold.
        applies: Where there is anything to be relative to; elsewhere it is F1 alone.

    Returns:
        The values, and where the two figures were needed for them.
    """
    f1 = answered_f1(batch, profile)
    needed = applies & (f1 > 0)
    positive = gold > 0
    relative = np.clip(values / np.where(positive, gold, 1.0), LEAST, 1.0)
    share = np.where(positive, relative, 1.0)
    unknown = np.isnan(gold) | np.isnan(values)
    return np.where(needed, np.where(unknown, np.nan, f1 * share), f1), needed
