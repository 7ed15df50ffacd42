"""Two processes on the CPU: one training, every sample once, one folder."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ffr_train.curriculum.levels import LEVELS
from ffr_train.curriculum.schedule import order
from tests.ffr_train.training.conftest import adapter, environment, lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ffr_train.training.conftest import World

PROCESSES, STEPS, GENERATIONS, A_PROCESS = 2, 4, 2, 4
PROMPTS = PROCESSES * A_PROCESS // GENERATIONS
ASKED = 5


def launched(world: World, stage: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A stage in two processes, as `accelerate launch` starts them on GPUs."""
    settings = [
        f"{stage}.out=two",
        f"{stage}.trainer.max_steps={STEPS}",
        f"{stage}.trainer.per_device_train_batch_size={A_PROCESS}",
        f"{stage}.trainer.logging_steps=1",
        f"evaluation.samples={ASKED}",
        "evaluation.every=2",
        "evaluation.max_new_tokens=8",
        *more,
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"]
    return subprocess.run(
        [sys.executable, *launcher, "-m", "ffr_eval", "train", stage, "train.yaml", *words],
        cwd=world.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def check_evaluations(out: Path) -> None:
    evaluations = lines(out / "evaluation.jsonl")
    assert [line["step"] for line in evaluations] == [0, 2, 4]
    assert [line["n_samples"] for line in evaluations] == [ASKED] * 3
    for step in (0, 2, 4):
        names = [line["sample_id"] for line in lines(out / "evaluation" / f"step-{step:06d}.jsonl")]
        assert names == sorted(set(names))
        assert len(names) == ASKED


def check_log(out: Path) -> None:
    """Also the steps after which an evaluation was logged have their loss."""
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    losses = [entry["step"] for entry in state["log_history"] if "loss" in entry]
    assert losses == list(range(1, STEPS + 1))
    evaluated = [
        entry["step"] for entry in state["log_history"] if "held_out/strict/micro.joint.f1" in entry
    ]
    assert evaluated == [0, 2, 4]


def write_levels(folder: Path) -> list[int]:
    """Two samples without images come first, so that the first process has none; their codes."""
    rows = lines(folder / "data-grpo" / "train.jsonl")
    first = [row["sample_id"] for row in rows if not row["n_images"]][: PROMPTS // 2]
    codes = [0 if row["sample_id"] in first else 1 + (row["n_images"] == 0) for row in rows]
    with (folder / "own.jsonl").open("w", encoding="utf-8") as stream:
        for row, code in zip(rows, codes, strict=True):
            record = {"sample_id": row["sample_id"], "f1": 0.5, "entropy": 0.5}
            record |= {"entropy_kind": "full", "level": LEVELS[code]}
            stream.write(json.dumps(record) + "\n")
    return codes


def test_grpo(fresh: World) -> None:
    codes = write_levels(fresh.folder)
    more = (f"grpo.trainer.num_generations={GENERATIONS}", "grpo.curriculum.difficulty=own.jsonl")
    done = launched(fresh, "grpo", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("note: curriculum: ") == 1
    assert done.stderr.count("the reward is without order") == 1
    assert done.stdout.count("grpo: finished after 4 steps") == 1
    out = fresh.folder / "two"
    check_evaluations(out)
    check_log(out)

    rows = lines(fresh.folder / "data-grpo" / "train.jsonl")
    schedule = order(codes, replay=0.0, multiple_of=PROMPTS).rows[: STEPS * PROMPTS]
    rollouts = lines(out / "rollouts.jsonl")
    assert [line["sample_id"] for line in rollouts] == [
        rows[row]["sample_id"] for row in schedule for _ in range(GENERATIONS)
    ]
    assert [line["step"] for line in rollouts] == [
        step for step in range(1, STEPS + 1) for _ in range(PROCESSES * A_PROCESS)
    ]
    images = [rows[row]["n_images"] for row in schedule[:PROMPTS]]
    assert images[:2] == [0, 0]
    assert all(images[2:])
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert (record["finished"], len(record["sessions"])) == (True, 1)
    assert record["identity"]["batch"] == PROCESSES * A_PROCESS
    assert not [path for path in fresh.folder.rglob("training.json") if path.parent != out]
    assert any(weight.any() for name, weight in adapter(out).items() if "lora_B" in name)


@pytest.mark.slow
def test_sft(fresh: World) -> None:
    done = launched(fresh, "sft")
    assert done.returncode == 0, done.stderr[-3000:]
    out = fresh.folder / "two"
    check_evaluations(out)
    check_log(out)
    # One process with batches of the same size has the same samples in a step.
    one = fresh.train(
        "sft", "train.yaml", "--set", "sft.out=one", "--set", f"sft.trainer.max_steps={STEPS}",
        "--set", f"sft.trainer.per_device_train_batch_size={PROCESSES * A_PROCESS}",
        "--set", "evaluation.benchmark=null",
    )  # fmt: skip
    assert "sft: finished" in one.stdout
    weights, same = adapter(out), adapter(fresh.folder / "one")
    assert weights.keys() == same.keys()
    assert all((weights[name] - same[name]).abs().max() < 1e-3 for name in weights)


@pytest.mark.slow
def test_a_mistake_ends_all_processes(fresh: World) -> None:
    (fresh.folder / "two").mkdir()
    (fresh.folder / "two" / "notes.txt").write_text("mine", encoding="utf-8")
    done = launched(fresh, "sft")
    assert done.returncode == 1  # of the launcher
    assert "error: " in done.stderr
    assert "is not empty, and holds no training" in done.stderr
    assert [path.name for path in (fresh.folder / "two").iterdir()] == ["notes.txt"]
