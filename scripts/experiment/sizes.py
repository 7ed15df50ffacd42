"""How large the experiment is, and which arms it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START: Final = "sft"
"""The name of the model that every arm starts from, among the runs that are compared."""


@dataclass(frozen=True)
class Reward:
    """What the answers of an arm are paid.

    Attributes:
        title: For people.
        profile: Of ``ffr_train.rewards``.
        weights: Of its terms.
    """

    title: str
    profile: str
    weights: Mapping[str, float]

    @property
    def most(self) -> float:
        """What no answer earns more than: all terms are at most 1."""
        return sum(self.weights.values())


REWARDS: Final = {
    "f1": Reward("F1", "fixed", {"f1": 1.0, "order": 0.0, "format": 0.3}),
    "f1-order-released": Reward(
        "F1 + order, released", "released", {"f1": 1.0, "order": 1.0, "format": 0.3}
    ),
    "f1-coherence-fixed": Reward(
        "F1 + coherence, fixed", "fixed", {"f1": 1.0, "order": 1.0, "format": 0.3}
    ),
}


@dataclass(frozen=True)
class Arm:
    """A reward, with or without the curriculum."""

    reward: str
    curriculum: bool

    @property
    def name(self) -> str:
        """As folders are named."""
        return f"{self.reward}{'-curriculum' if self.curriculum else ''}"

    @property
    def title(self) -> str:
        """For people."""
        return REWARDS[self.reward].title + (", curriculum" if self.curriculum else "")


ARMS: Final = {
    arm.name: arm for reward in REWARDS for arm in (Arm(reward, False), Arm(reward, True))
}


def chosen_arms(names: Sequence[str] | None) -> list[Arm]:
    """The arms of these names; all without.

    Raises:
        ValueError: If there is no such arm.
    """
    if names is None:
        return list(ARMS.values())
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise ValueError(f"no arm {unknown[0]!r}; there are: {', '.join(ARMS)}")
    return [ARMS[name] for name in dict.fromkeys(names)]


@dataclass(frozen=True)
class Size:
    """A size.

    Attributes:
        minutes: How long all of it may take, on what machine.
        splits: Dialogues of each split; ``train`` is for SFT, ``grpo`` for GRPO.
        kinds, turns, things: Of the dialogues, see ``ffr_train.toy.benchmark``.
        width, layers, heads: Of the language model.
        dtype: Of the computation.
        batch: Samples at a time where the model is only asked.
        most_tokens: Of an answer.
        sft, grpo: What the trainer is told.
        every: Steps of GRPO between two evaluations.
        replay: Share of the easier samples that a stage of the curriculum shows again.
    """

    minutes: str
    splits: Mapping[str, int]
    kinds: int
    turns: tuple[int, int]
    things: int
    width: int
    layers: int
    heads: int
    dtype: str
    batch: int
    most_tokens: int
    sft: Mapping[str, Any]
    grpo: Mapping[str, Any]
    every: int
    replay: float = 0.0


_SFT: Final = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 20,
    "weight_decay": 0.01,
    "gradient_accumulation_steps": 1,
    "logging_steps": 10,
    "save_total_limit": 1,
    "report_to": [],
    "disable_tqdm": True,
}
_GRPO: Final = {
    "lr_scheduler_type": "constant_with_warmup",  # the end of the curriculum counts as much
    "warmup_steps": 5,
    "num_generations": 8,
    "gradient_accumulation_steps": 1,
    "temperature": 1.0,
    "top_p": 1.0,
    "beta": 0.0,
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "logging_steps": 1,
    "log_completions": False,  # rollouts.jsonl has them; tables of all answers take long to print
    "save_total_limit": 1,
    "report_to": [],
    "disable_tqdm": True,
}

SIZES: Final = {
    "tiny": Size(
        minutes="2 on one core of a CPU; to try the script, its figures mean nothing",
        splits={"train": 200, "grpo": 20, "validation": 10, "test": 20},
        kinds=4,
        turns=(3, 5),
        things=2,
        width=64,
        layers=2,
        heads=4,
        dtype="float32",
        batch=64,
        most_tokens=32,
        sft={
            **_SFT,
            "learning_rate": 2e-3,
            "max_steps": 60,
            "per_device_train_batch_size": 16,
            "save_steps": 30,
        },
        grpo={
            **_GRPO,
            "learning_rate": 3e-4,
            "per_device_train_batch_size": 32,
            "save_steps": 10,
        },
        every=10,
    ),
    "cpu": Size(
        minutes="25 on one core of a CPU",
        splits={"train": 2000, "grpo": 600, "validation": 100, "test": 300},
        kinds=4,
        turns=(3, 5),
        things=2,
        width=64,
        layers=4,
        heads=4,
        dtype="float32",
        batch=64,
        most_tokens=32,
        sft={
            **_SFT,
            "learning_rate": 2e-3,
            "max_steps": 600,
            "per_device_train_batch_size": 32,
            "save_steps": 100,
        },
        grpo={
            **_GRPO,
            "learning_rate": 2e-4,
            "per_device_train_batch_size": 96,
            "save_steps": 25,
        },
        every=25,
    ),
    "gpu": Size(
        minutes="30 on one H200, by estimate: not tried",
        splits={"train": 10_000, "grpo": 800, "validation": 150, "test": 1000},
        kinds=8,
        turns=(8, 20),
        things=4,
        width=512,
        layers=8,
        heads=8,
        dtype="bfloat16",
        batch=256,
        most_tokens=64,
        sft={
            **_SFT,
            "learning_rate": 4e-4,
            "max_steps": 1500,
            "per_device_train_batch_size": 64,
            "save_steps": 250,
            "dataloader_num_workers": 4,
        },
        grpo={
            **_GRPO,
            "learning_rate": 3e-5,
            "per_device_train_batch_size": 256,
            "save_steps": 10,
        },
        every=10,
    ),
}
