"""A small world: toy benchmark, model, training data, and one training of each stage."""

from __future__ import annotations

import os

# Other things run beside the tests; with one thread each, all of them are faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPLITS = {"train": 120, "validation": 12, "test": 12}
SFT_STEPS, GRPO_STEPS, PROMPTS, GENERATIONS = 60, 15, 4, 8
LEVELS = ("easy", "medium", "confusing", "hard")
CONFIG = f"""
schema_version: 1
trl: "1.16"
model: {{path: ./model, dtype: float32, kernels: false, max_pixels: 602112}}
lora: {{r: 64, alpha: 128, dropout: 0.0, target: language}}
sft:
  data: data-sft
  out: sft
  trainer:
    learning_rate: 4e-3
    max_steps: {SFT_STEPS}
    per_device_train_batch_size: 16
    logging_steps: 10
    save_steps: 20
    report_to: none
grpo:
  data: data-grpo
  out: grpo
  start: sft/checkpoint-20  # where answers are not always in format yet
  reward: {{profile: fixed, weights: {{f1: 1.0, order: 1.0, format: 0.3}}}}
  curriculum: {{difficulty: difficulty.jsonl, replay: 0.0}}
  trainer:
    learning_rate: 1e-3
    max_steps: {GRPO_STEPS}
    num_generations: {GENERATIONS}
    per_device_train_batch_size: {PROMPTS * GENERATIONS}
    max_completion_length: 32
    beta: 0.02
    logging_steps: 1
    save_steps: 5
    num_completions_to_print: 0
    report_to: none
evaluation: {{benchmark: ./benchmark, split: validation, every: 0, samples: null, batch_size: 24,
  max_new_tokens: 32}}
"""


@dataclass(frozen=True)
class World:
    """A folder with everything that a training needs.

    Attributes:
        folder: With benchmark, model, data-sft, data-grpo, difficulty.jsonl and train.yaml.
        levels: The level of each sample.
    """

    folder: Path
    levels: dict[str, str]

    @property
    def config(self) -> Path:
        return self.folder / "train.yaml"

    def train(self, *args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run("train", *args, cwd=self.folder, check=check)


def run(*args: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*args), cwd=cwd, capture_output=True, text=True, env=environment(), check=False
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "ffr_eval", *map(str, args)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def adapter(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def write_difficulty(path: Path, names: Sequence[str]) -> dict[str, str]:
    """One of each four samples is of each level."""
    levels = {name: LEVELS[place % 4] for place, name in enumerate(names)}
    with path.open("w", encoding="utf-8") as stream:
        for name, level in levels.items():
            record = {"sample_id": name, "f1": 0.5, "entropy": 0.5, "entropy_kind": "full"}
            stream.write(json.dumps({**record, "level": level}) + "\n")
    return levels


def _build(folder: Path) -> None:
    from ffr_train.toy.benchmark import ToyOptions, build_benchmark
    from ffr_train.toy.model import build_model

    build_benchmark(folder / "benchmark", ToyOptions(splits=SPLITS))
    build_model(folder / "model", folder / "benchmark")
    (folder / "train.yaml").write_text(CONFIG, encoding="utf-8")
    for stage in ("sft", "grpo"):
        run("train", "data", "benchmark", "--stage", stage, "--model", "model",
            "--out", f"data-{stage}", cwd=folder)  # fmt: skip
    rows = lines(folder / "data-grpo" / "train.jsonl")
    write_difficulty(folder / "difficulty.jsonl", [row["sample_id"] for row in rows])
    for stage in ("sft", "grpo"):
        done = run("train", stage, "train.yaml", cwd=folder)
        (folder / f"{stage}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once for all test processes: a training of each stage takes a while."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "training-world"
    with FileLock(shared / "training-world.lock"):
        if not (folder / "ready").is_file():
            folder.mkdir(exist_ok=True)
            _build(folder)
            (folder / "ready").touch()
    records = lines(folder / "difficulty.jsonl")
    return World(folder, {record["sample_id"]: record["level"] for record in records})


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> World:
    """The same with links in a folder of its own, where nothing has been trained but the start."""
    data = ("data-sft", "data-grpo", "difficulty.jsonl")
    for name in ("benchmark", "model", *data, "train.yaml", "sft"):
        (tmp_path / name).symlink_to(world.folder / name)
    return World(tmp_path, world.levels)
