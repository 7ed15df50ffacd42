"""A training that was killed goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.ffr_train.training.conftest import adapter, command, environment, lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ffr_train.training.conftest import World

WAIT_S = 240


def settings(stage: str, out: str, steps: int) -> list[str]:
    wanted = [f"{stage}.out={out}", f"{stage}.trainer.max_steps={steps}", "evaluation.every=3"]
    wanted += [f"{stage}.trainer.save_steps=2", "evaluation.samples=4"]
    if stage == "grpo":
        wanted += ["grpo.trainer.num_generations=4", "grpo.trainer.per_device_train_batch_size=8"]
        wanted += ["grpo.trainer.gradient_accumulation_steps=2"]  # two micro-steps a generation
    return [word for setting in wanted for word in ("--set", setting)]


def kill_after(world: World, checkpoint: Path, *args: str) -> None:
    """Train, and kill -9 as soon as a checkpoint is whole."""
    process = subprocess.Popen(
        command("train", *args),
        cwd=world.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + WAIT_S
    while not (checkpoint / "trainer_state.json").is_file():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_killed_training_goes_on_where_it_was(fresh: World, stage: str) -> None:
    args = ("train.yaml", *settings(stage, "killed", 6))
    killed = fresh.folder / "killed"
    kill_after(fresh, killed / "checkpoint-2", stage, *args)
    refused = fresh.train(stage, *args, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    (killed / "checkpoint-99").mkdir()  # as one that was being written
    done = fresh.train(stage, *args, "--resume")
    assert "going on from checkpoint-" in done.stderr
    assert "not whole, passed over: checkpoint-99" in done.stderr
    fresh.train(stage, "train.yaml", *settings(stage, "straight", 6))
    straight = fresh.folder / "straight"

    steps = [line["step"] for line in lines(killed / "evaluation.jsonl")]
    assert steps == [0, 3, 6]
    if stage == "grpo":
        orders = [
            [(line["step"], line["sample_id"]) for line in lines(folder / "rollouts.jsonl")]
            for folder in (killed, straight)
        ]
        assert orders[0] == orders[1]
    one, other = adapter(killed), adapter(straight)
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name] - other[name]).abs().max() < 1e-5, name


def test_another_training_is_not_gone_on_with(fresh: World) -> None:
    args = ("sft", "train.yaml", *settings("sft", "own", 2))
    fresh.train(*args)
    refused = fresh.train(*args, "--set", "sft.trainer.learning_rate=1e-4", "--resume", check=False)
    assert refused.returncode == 2
    assert "sft.trainer.learning_rate was 0.004, is 0.0001" in refused.stderr
    again = fresh.train(*args, "--set", "sft.trainer.logging_steps=1", "--resume")
    assert "was finished before" in again.stdout
    other = fresh.train("grpo", "train.yaml", "--set", "grpo.out=own", "--resume", check=False)
    assert other.returncode == 2
    assert "holds a training of stage sft, not grpo" in other.stderr
