"""SFT and GRPO on the toy: what changes, what does not, and what is written down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ffr_train.curriculum.levels import LEVELS
from ffr_train.curriculum.schedule import order
from tests.ffr_train.training.conftest import (
    GENERATIONS,
    GRPO_STEPS,
    PROMPTS,
    SFT_STEPS,
    adapter,
    lines,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ffr_train.training.conftest import World

HEADLINE = "micro.joint.f1"


def test_held_out_f1_rises_over_sft(world: World) -> None:
    first, last = (lines(world.folder / "sft" / "evaluation.jsonl")[end] for end in (0, -1))
    assert (first["step"], last["step"]) == (0, SFT_STEPS)
    for protocol in ("strict", "official"):
        assert first[protocol][HEADLINE] == 0.0
        low, high = last[protocol]["ci95"][HEADLINE]
        assert 0.0 < low <= last[protocol][HEADLINE] <= high
    assert first["outcomes"].get("ok", 0) == 0
    assert last["n_samples"] == 24


def test_mean_reward_rises_over_grpo(world: World) -> None:
    rollouts = lines(world.folder / "grpo" / "rollouts.jsonl")
    totals = [
        [line["f1"] + 0.3 * line["format"] for line in rollouts if line["step"] in steps]
        for steps in (range(1, 5), range(GRPO_STEPS - 3, GRPO_STEPS + 1))
    ]
    means = [sum(values) / len(values) for values in totals]
    assert means[1] > means[0] + 0.1


def test_only_adapters_on_the_language_model_change(world: World) -> None:
    for stage in ("sft", "grpo"):
        weights = adapter(world.folder / stage)
        assert weights
        assert all(".language_model.layers." in name for name in weights)
        assert {name.split(".")[-3] for name in weights} == {
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        }  # fmt: skip
        assert any(weight.abs().sum() > 0 for name, weight in weights.items() if "lora_B" in name)
    before, after = adapter(world.folder / "sft" / "checkpoint-20"), adapter(world.folder / "grpo")
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)


def test_the_vision_tower_of_a_merged_model_is_the_untouched_one(
    world: World, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    run("train", "merge", "grpo", "--out", tmp_path / "merged", cwd=world.folder)
    before = load_file(world.folder / "model" / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed
    assert not [name for name in changed if "visual" in name or "lm_head" in name]
    # What it answers is what model and adapter answer apart.
    asked = ("benchmark", "--split", "validation", "-o", "max_tokens=32", "-o", "images=in_place")
    run("run", "hf", *asked, "-o", f"model={tmp_path / 'merged'}", "--out", tmp_path / "whole",
        cwd=world.folder)  # fmt: skip
    run("run", "hf", *asked, "-o", "model=model", "-o", "adapter=grpo", "--out", tmp_path / "apart",
        cwd=world.folder)  # fmt: skip
    whole, apart = (lines(tmp_path / name / "predictions.jsonl") for name in ("whole", "apart"))
    assert {line["sample_id"]: line["response"] for line in whole} == {
        line["sample_id"]: line["response"] for line in apart
    }


def test_an_evaluation_is_what_run_and_score_say(world: World, tmp_path: Path) -> None:
    asked = ("--split", "validation", "-o", "model=model", "-o", "adapter=grpo")
    run("run", "hf", "benchmark", *asked, "-o", "max_tokens=32", "--out", tmp_path / "run",
        cwd=world.folder)  # fmt: skip
    last = lines(world.folder / "grpo" / "evaluation.jsonl")[-1]
    stored = world.folder / "grpo" / "evaluation" / f"step-{GRPO_STEPS:06d}.jsonl"
    there = {line["sample_id"]: line for line in lines(stored)}
    for line in lines(tmp_path / "run" / "predictions.jsonl"):
        assert (line["response"], line["outcome"]) == (
            there[line["sample_id"]]["response"],
            there[line["sample_id"]]["outcome"],
        )
    for protocol in ("strict", "official"):
        done = run("score", tmp_path / "run", "--protocol", protocol, "--json", "-",
                   cwd=world.folder)  # fmt: skip
        scored = json.loads(done.stdout)
        assert last[protocol][HEADLINE] == pytest.approx(scored["micro"]["joint"]["f1"], abs=1e-12)
        assert last[protocol]["protocol"] == scored["protocol"]


def test_samples_come_in_the_order_of_the_curriculum(world: World) -> None:
    rows = [row["sample_id"] for row in lines(world.folder / "data-grpo" / "train.jsonl")]
    codes = [LEVELS.index(world.levels[name]) for name in rows]
    expected = [rows[row] for row in order(codes, replay=0.0, multiple_of=PROMPTS).rows]
    rollouts = lines(world.folder / "grpo" / "rollouts.jsonl")
    seen = [line["sample_id"] for line in rollouts[::GENERATIONS]]
    assert seen == expected[: GRPO_STEPS * PROMPTS]
    assert [line["step"] for line in rollouts] == [
        step for step in range(1, GRPO_STEPS + 1) for _ in range(PROMPTS * GENERATIONS)
    ]
    assert all(line["level"] == world.levels[line["sample_id"]] for line in rollouts)
    assert {line["level"] for line in rollouts[: 8 * PROMPTS * GENERATIONS]} == {"easy"}


def test_every_answer_is_written_down_with_each_term(world: World) -> None:
    from ffr_train.rewards import Batch, score

    rows = {row["sample_id"]: row for row in lines(world.folder / "data-grpo" / "train.jsonl")}
    rollouts = lines(world.folder / "grpo" / "rollouts.jsonl")
    assert {"step", "sample_id", "window", "level", "completion", "format", "f1", "advantage"} == {
        *rollouts[0]
    }
    rewards = score(
        Batch(
            [line["completion"] for line in rollouts],
            [rows[line["sample_id"]]["solution"] for line in rollouts],
        ),
        "fixed",
        ["format", "f1"],
    )
    for term in ("format", "f1"):
        assert [line[term] for line in rollouts] == pytest.approx(rewards.column(term), abs=1e-6)


def test_groups_without_variance_and_lost_terms_are_reported(world: World) -> None:
    said = (world.folder / "grpo.txt").read_text(encoding="utf-8")
    assert "the reward is without order" in said
    assert "of the groups had no variance" in said
    assert "curriculum: easy (" in said


def test_the_record_says_what_was_trained(world: World) -> None:
    record = json.loads((world.folder / "grpo" / "training.json").read_text(encoding="utf-8"))
    assert record["finished"] is True
    assert record["steps"] == GRPO_STEPS
    assert record["identity"]["weights"].count("sha256-") == 2  # the model and the adapter
    assert record["config"]["grpo"]["trainer"]["learning_rate"] == 1e-3
    assert record["versions"]["trl"].startswith("1.16")
    assert (world.folder / "grpo" / "curves.png").stat().st_size > 10_000
    assert not (world.folder / "grpo" / "ref").exists()


def test_a_finished_training_is_not_done_again(world: World) -> None:
    before = (world.folder / "sft" / "adapter_model.safetensors").stat().st_mtime_ns
    done = world.train("sft", "train.yaml", "--resume")
    assert "was finished before after 60 steps" in done.stdout
    assert (world.folder / "sft" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_next_commands_name_the_result(world: World) -> None:
    said = (world.folder / "grpo.txt").read_text(encoding="utf-8")
    assert f"-o adapter={world.folder / 'grpo'}" in said


@pytest.mark.parametrize("command", ["run", "merge"])
def test_a_model_that_an_adapter_was_not_trained_on(
    world: World, tmp_path: Path, command: str
) -> None:
    from ffr_train.toy.model import ToySize, build_model

    other = tmp_path / "other"
    build_model(other, world.folder / "benchmark", ToySize(seed=1))
    asked = ("run", "hf", "benchmark", "--split", "validation", "--limit", 1)
    args = (
        (*asked, "-o", f"model={other}", "-o", "adapter=grpo", "--out", tmp_path / "run")
        if command == "run"
        else ("train", "merge", "grpo", "--model", other, "--out", tmp_path / "merged")
    )
    refused = run(*args, cwd=world.folder, check=False)
    assert refused.returncode == 2
    assert "trained on other weights" in refused.stderr
    assert str(world.folder / "model") in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "merged").exists()


def test_no_pickle_is_left_in_the_result(world: World) -> None:
    for stage in ("sft", "grpo"):
        names = [path.name for path in (world.folder / stage).iterdir() if path.is_file()]
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
