"""A configuration file to change, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ffr_eval.errors import InputError
from ffr_train.config import read_config, trainer_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.errors import Problem
    from ffr_train.config import Stage

MINIMAL = """\
schema_version: 1
trl: "1.16"
model:
  path: Qwen/Qwen2-VL-2B-Instruct
sft:
  data: data/sft
  out: out/sft
  trainer:
    learning_rate: 1e-4
grpo:
  data: data/grpo
  out: out/grpo
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.fixture
def refused(config_file: Path) -> Callable[..., Problem]:
    """What is wrong with the minimal file after replacing text in it and with overrides."""

    def call(old: str = "", new: str = "", *overrides: str, stage: Stage | None = None) -> Problem:
        assert old in MINIMAL
        config_file.write_text(MINIMAL.replace(old, new, 1) if old else MINIMAL + new)
        with pytest.raises(InputError) as caught:
            _read(config_file, overrides, stage)
        problem = caught.value.problem
        assert problem.file == str(config_file)
        assert problem.remedy
        return problem

    return call


def _read(path: Path, overrides: tuple[str, ...], stage: Stage | None) -> None:
    config = read_config(path, overrides)
    if stage is not None:
        trainer_config(config, stage)
