"""TRL: ``reward_funcs, reward_weights = reward_functions("fixed")``; tried with 1.16.

``None`` is TRL's own way to skip: a completion for which all functions return it has advantage 0
and is not in its group's mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ffr_train.rewards.columns import TrainerReward
from ffr_train.rewards.profile import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable


PREFIX: Final = "ffr_"
"""The name of a function is this and the name of its term."""


def reward_functions(profile: str = DEFAULT, **options: Any) -> tuple[list[Any], list[float]]:
    """A function for each term (TRL logs each), and their weights; options of TrainerReward."""
    reward = TrainerReward(profile, **options)
    return [_function(reward, name) for name in reward.terms], reward.weights


def total_function(profile: str = DEFAULT, **options: Any) -> Callable[..., list[float | None]]:
    """One function, the weighted sum; options of TrainerReward."""
    return _function(TrainerReward(profile, **options), "total")


def _function(reward: TrainerReward, name: str) -> Callable[..., list[float | None]]:
    def compute(completions: list[Any], **columns: Any) -> list[float | None]:
        return reward.column(name, completions, columns)

    compute.__name__ = f"{PREFIX}{name}"
    return compute
