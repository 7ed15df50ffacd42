"""ms-swift 3 and 4: ``register()`` in the file of ``--external_plugins``; tried with 4.6.

Then ``--reward_funcs ffr_format ffr_f1 ffr_order`` with ``--reward_weights``, or ``ffr_total``.
ms-swift takes ``None`` but adds it up as 0, so a reward that cannot be computed stops the run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ffr_train.rewards.columns import TrainerReward
from ffr_train.rewards.profile import DEFAULT


def register(profile: str = DEFAULT, **options: Any) -> dict[str, float]:
    """Register a function for each term, and ``ffr_total``; options of TrainerReward.

    Returns:
        The functions of the terms by name, with their weights.
    """
    try:
        swift: Any = import_module("swift.rewards")
    except ModuleNotFoundError:  # ms-swift 3
        swift = import_module("swift.plugin")
    reward = TrainerReward(profile, **options)
    for name in (*reward.terms, "total"):
        swift.orms[f"ffr_{name}"] = _orm(swift.ORM, reward, name)
    return {f"ffr_{name}": w for name, w in zip(reward.terms, reward.weights, strict=True)}


def _orm(base: type, reward: TrainerReward, name: str) -> type:
    def call(self: Any, completions: list[Any], **columns: Any) -> list[float]:  # noqa: ARG001
        return reward.floats(name, completions, columns)

    return type(f"Ffr_{name}", (base,), {"__call__": call})
