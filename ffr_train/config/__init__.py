"""The configuration of a training: one strict YAML file for SFT, GRPO and evaluation."""

from __future__ import annotations

from ffr_train.config.reading import read_config
from ffr_train.config.schema import (
    CurriculumSection,
    EvaluationSection,
    GrpoSection,
    LoraSection,
    ModelSection,
    RewardSection,
    SftSection,
    Stage,
    TrainConfig,
)
from ffr_train.config.trainer import check_trainer, trainer_arguments, trainer_config

__all__ = [
    "CurriculumSection",
    "EvaluationSection",
    "GrpoSection",
    "LoraSection",
    "ModelSection",
    "RewardSection",
    "SftSection",
    "Stage",
    "TrainConfig",
    "check_trainer",
    "read_config",
    "trainer_arguments",
    "trainer_config",
]
