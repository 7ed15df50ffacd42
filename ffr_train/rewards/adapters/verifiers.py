"""verifiers v1: ``reward = reward_method()`` in a ``vf.Task``; tried with 0.4.

The task's data has ``solution`` and the other columns as fields. A reward that cannot be computed
raises: verifiers marks the rollout as failed, and trainers leave it out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ffr_train.rewards.columns import COLUMNS, TrainerReward
from ffr_train.rewards.profile import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS = ("solution", "sample_id", *COLUMNS)


def reward_method(profile: str = DEFAULT, **options: Any) -> Callable[..., Any]:
    """A ``@vf.reward`` method: keyed scores, one a term, weighted; options of TrainerReward."""
    vf: Any = import_module("verifiers.v1")
    kept = TrainerReward(profile, **options)

    async def ffr(self: Any, trace: Any) -> dict[str, float]:
        # A field that the data does not have is no column; one that is null is.
        columns = {n: getattr(self.data, n) for n in _COLUMNS if hasattr(self.data, n)}
        values = kept.one(trace.last_reply, columns)
        settings = zip(kept.terms, kept.weights, strict=True)
        return {f"ffr_{name}": w * values[name] for name, w in settings if name in values}

    method: Callable[..., Any] = vf.reward(weight=1.0)(ffr)
    return method
