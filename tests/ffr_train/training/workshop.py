"""Trainings in this process on the small world, each in a folder of its own."""

from __future__ import annotations

import logging
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli, Result
    from tests.ffr_train.training.conftest import World

SHORT = {
    "sft": {
        "sft.trainer.max_steps": 3,
        "sft.trainer.per_device_train_batch_size": 4,
        "sft.trainer.save_steps": 1,
        "sft.trainer.logging_steps": 1,
    },
    "grpo": {
        "grpo.trainer.max_steps": 2,
        "grpo.trainer.num_generations": 2,
        "grpo.trainer.per_device_train_batch_size": 4,
        "grpo.trainer.save_steps": 1,
        "grpo.trainer.max_completion_length": 8,
    },
}
"""A training of a few seconds."""


@dataclass(frozen=True)
class Workshop:
    """The world's configuration with other settings, and a folder for results.

    Attributes:
        world: With model, data and benchmark.
        folder: For what a test makes; ``out`` in it is where a training goes.
        cli: ``ffr`` in this process.
    """

    world: World
    folder: Path
    cli: Cli

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def train(self, stage: str, *more: str, **settings: object) -> Result:
        """Train for a few steps; ``sft__data`` is the setting ``sft.data``."""
        named = {name.replace("__", "."): value for name, value in settings.items()}
        wanted = {
            **SHORT[stage],
            f"{stage}.out": self.out,
            "evaluation.benchmark": "null",
            **named,
        }
        reopen_logs()
        words = [word for pair in wanted.items() for word in ("--set", "=".join(map(str, pair)))]
        return self.cli.run("train", stage, self.world.config, *words, *more)

    def trained(self, stage: str, *more: str, **settings: object) -> Result:
        """The same, and it has to end well."""
        result = self.train(stage, *more, **settings)
        assert result.code == 0, result.err[-3000:]
        return result

    def refused(self, stage: str, *more: str, **settings: object) -> str:
        """What is said where nothing is to be trained, and nothing made."""
        before = contents(self.folder)
        result = self.train(stage, *more, **settings)
        assert (result.code, result.out) == (2, ""), result.err[-3000:]
        assert contents(self.folder) == before
        assert "\n  → " in result.err
        return result.err

    def copy(self, name: str) -> Path:
        """A folder of the world, to be changed."""
        return self.folder.__class__(shutil.copytree(self.world.folder / name, self.folder / name))


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """All files and folders: sizes, and when they were changed."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    } | {path.relative_to(folder).as_posix(): (0, 0) for path in folder.rglob("*") if path.is_dir()}


def unlike(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The names of weights that differ."""
    assert one.keys() == other.keys()
    return {name for name in one if (one[name] != other[name]).any()}


def reopen_logs() -> None:
    """Libraries write to the standard error of the test that imported them, which is closed."""
    for name in ("accelerate", "datasets", "transformers", "trl"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stderr
                vars(handler).pop("flush", None)  # of the other one
