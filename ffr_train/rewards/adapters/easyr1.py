"""EasyR1: a reward file with ``from … import REWARD_NAME, REWARD_TYPE, compute_score``.

``ground_truth`` is the gold, or a JSON object with ``solution`` and other columns. EasyR1 has no
way to skip a sample, so a reward that cannot be computed raises. Written to its documentation.
"""

from __future__ import annotations

from typing import Any

from ffr_train.rewards.adapters.openrlhf import columns_of
from ffr_train.rewards.columns import shared_reward

REWARD_NAME = "ffr"
REWARD_TYPE = "batch"


def compute_score(reward_inputs: list[dict[str, Any]], **options: Any) -> list[dict[str, float]]:
    """``overall`` is the total; the terms are beside it, unweighted."""
    reward = shared_reward(**options)
    scores = []
    for sample in reward_inputs:
        values = reward.one(sample["response"], columns_of(sample["ground_truth"]))
        scores.append({"overall": values.pop("total"), **values})
    return scores
