"""verl: ``reward.custom_reward_function.path`` a file with ``from … import compute_score``.

Sample columns travel in ``extra_info``; options of TrainerReward in ``reward_kwargs``. verl has no
way to skip a sample, so a reward that cannot be computed raises.
"""

from __future__ import annotations

from typing import Any, Final

from ffr_train.rewards.columns import shared_reward

_OPTIONS: Final = ("profile", "weights", "terms", "benchmark", "folder")


def compute_score(
    data_source: str,  # noqa: ARG001
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, float]:
    """``score`` is the total; the terms are beside it, unweighted. ``ground_truth``: the gold."""
    kept = {name: value for name, value in options.items() if name in _OPTIONS}
    columns = {**(extra_info or {}), "solution": ground_truth}
    values = shared_reward(**kept).one(solution_str, columns)
    return {"score": values.pop("total"), **values}
