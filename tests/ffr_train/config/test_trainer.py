"""The trainer's sections against TRL's own configuration classes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import MissingExtraError
from ffr_train.config import check_trainer, read_config, trainer_arguments, trainer_config
from ffr_train.config.reserved import reserved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.errors import Problem
    from ffr_train.config import Stage

    Refused = Callable[..., Problem]

pytest.importorskip("trl")


def _arguments(path: Path, stage: Stage, *overrides: str) -> dict[str, Any]:
    return trainer_arguments(read_config(path, overrides), stage)


def test_values_come_in_the_trainers_types(config_file: Path) -> None:
    found = _arguments(
        config_file,
        "sft",
        "sft.trainer={max_steps: 1e3, weight_decay: 0, run_name: 2026, save_strategy: no, seed: 7,"
        " lr_scheduler_kwargs: {min_lr: 1e-6}, report_to: null, num_train_epochs: 2}",
    )
    assert (found["max_steps"], type(found["max_steps"])) == (1000, int)
    assert (found["weight_decay"], type(found["weight_decay"])) == (0.0, float)
    assert (found["run_name"], found["save_strategy"], found["seed"]) == ("2026", "no", 7)
    assert found["lr_scheduler_kwargs"] == {"min_lr": 1e-6}
    assert found["report_to"] == "none"
    assert (found["num_train_epochs"], type(found["num_train_epochs"])) == (2.0, float)


def test_what_is_ours_for_sft(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = _arguments(config_file, "sft")
    assert found == {
        "output_dir": str(config_file.parent / "out" / "sft"),
        "learning_rate": 1e-4,
        "remove_unused_columns": False,
        "max_length": None,
        "completion_only_loss": True,
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "gradient_checkpointing": False,
        "report_to": ["tensorboard"],
    }


def test_what_is_ours_for_grpo(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = _arguments(
        config_file, "grpo", "grpo.trainer={log_completions: false, gradient_checkpointing: true}"
    )
    assert found["shuffle_dataset"] is False
    assert found["log_completions"] is False
    assert found["gradient_checkpointing"] is True
    assert "max_length" not in found
    assert _arguments(config_file, "grpo")["log_completions"] is True


@pytest.mark.parametrize(
    ("dtype", "native", "bf16", "fp16"),
    [
        ("auto", True, True, False),
        ("auto", False, False, True),
        ("float16", True, False, True),
        ("float32", True, False, False),
        ("bfloat16", True, True, False),
    ],
)
def test_precision_on_a_gpu(
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    native: bool,
    bf16: bool,
    fp16: bool,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native)
    found = _arguments(config_file, "sft", f"model.dtype={dtype}")
    assert (found["use_cpu"], found["bf16"], found["fp16"]) == (False, bf16, fp16)
    assert "gradient_checkpointing" not in found
    found = _arguments(config_file, "sft", "sft.trainer.use_cpu=true")
    assert (found["use_cpu"], found["bf16"], found["fp16"]) == (True, False, False)


def test_precision_that_the_device_has_not(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    problem = refused("", "", "model.dtype=float16", stage="sft")
    assert problem.field == "model.dtype"
    assert "needs a GPU" in problem.message
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Old GPU")
    problem = refused("", "", "model.dtype=bfloat16", stage="sft")
    assert "Old GPU does not compute in bfloat16" in problem.message


def test_the_trainers_configuration_is_built(config_file: Path) -> None:
    config = read_config(config_file, ["sft.trainer.use_cpu=true", "grpo.trainer.use_cpu=true"])
    sft = trainer_config(config, "sft")
    assert (sft.max_length, sft.learning_rate, sft.output_dir) == (
        None,
        1e-4,
        str(config_file.parent / "out" / "sft"),
    )
    grpo = trainer_config(config, "grpo", reward_weights=[1.0, 0.3])
    assert (grpo.shuffle_dataset, grpo.reward_weights) == (False, [1.0, 0.3])


@pytest.mark.parametrize(
    ("stage", "setting", "says"),
    [
        ("grpo", "learning_rat: 1e-5", "did you mean 'learning_rate'?"),
        ("sft", "num_generations: 8", "trl.SFTConfig 1.16 has no such field"),
        ("grpo", "max_prompt_length: 9", "no prompt is cut"),
        ("sft", "warmup_ratio: 0.05", "set warmup_steps"),
        ("sft", "learning_rate: fast", "'fast' is not a number"),
        ("sft", "max_steps: 1.5", "1.5 is not a whole number"),
        ("sft", "max_steps: null", "null is not a whole number"),
        ("sft", "gradient_checkpointing: yes", "'yes' is not true or false"),
        ("sft", "seed: true", "true is not a whole number"),
        ("sft", "lr_scheduler_type: cosin", "did you mean 'cosine'?"),
        ("sft", "loss_type: nl", "did you mean 'nll'?"),
        ("sft", "optim: adamw", "not one of its choices"),
        ("sft", "report_to: [wanda]", "did you mean 'wandb'?"),
        ("sft", "logging_steps: 0", "the trainer says"),
        ("sft", "save_steps: 1.5", "the trainer says"),
        ("grpo", "num_generations: 7", "must be divisible by num_generations"),
        ("grpo", "num_generations: 16", "raise gradient_accumulation_steps"),
    ],
)
def test_mistakes_are_named(refused: Refused, stage: Stage, setting: str, says: str) -> None:
    name = setting.partition(":")[0]
    override = f"{stage}.trainer={{{setting}, use_cpu: true}}"
    problem = refused("", "", override, stage=stage)
    assert problem.field == f"{stage}.trainer.{name}"
    assert says in f"{problem.message} {problem.remedy}"
    assert override in problem.message


def test_the_line_is_that_of_the_field(refused: Refused) -> None:
    problem = refused("learning_rate", "seed: 3\n    learning_rat", stage="sft")
    assert (problem.line, problem.field) == (10, "sft.trainer.learning_rat")
    problem = refused(
        "", "  trainer:\n    seed: 1\n    num_generations: 3\n    use_cpu: true\n", stage="grpo"
    )
    assert (problem.line, problem.field) == (15, "grpo.trainer.num_generations")


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_every_field_that_may_not_be_set_is_one_and_says_why(
    config_file: Path, stage: Stage
) -> None:
    import trl

    kind = trl.SFTConfig if stage == "sft" else trl.GRPOConfig
    fields = {field.name for field in dataclasses.fields(kind)}
    assert set(reserved(stage)) <= fields
    ours = set(trainer_arguments(read_config(config_file), stage)) - {
        "gradient_checkpointing",
        "learning_rate",
        "log_completions",
        "num_completions_to_print",
        "report_to",
        "use_cpu",
    }
    assert ours <= set(reserved(stage))


@pytest.mark.parametrize(
    ("stage", "setting", "goes"),
    [
        ("sft", "output_dir: x", "sft.out"),
        ("grpo", "output_dir: x", "grpo.out"),
        ("sft", "max_length: 100", "ffr train data --max-length"),
        ("sft", "packing: true", "rows with images"),
        ("sft", "bf16: true", "model.dtype"),
        ("sft", "eval_strategy: steps", "evaluation.every"),
        ("sft", "use_liger_kernel: true", "model.kernels"),
        ("sft", "deepspeed: ds.json", "--launch"),
        ("sft", "hub_token: secret", "HF_TOKEN"),
        ("grpo", "shuffle_dataset: true", "grpo.curriculum"),
        ("grpo", "reward_weights: [1]", "grpo.reward.weights"),
        ("grpo", "resume_from_checkpoint: x", "--resume"),
    ],
)
def test_fields_that_are_set_elsewhere(
    refused: Refused, stage: Stage, setting: str, goes: str
) -> None:
    problem = refused("", "", f"{stage}.trainer={{{setting}}}", stage=stage)
    assert "may not be set here" in problem.message
    assert goes in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("stage", "setting", "package"),
    [
        ("sft", "report_to: [tensorboard, wandb]", "wandb"),
        ("sft", "report_to: trackio", "trackio"),
        ("grpo", "use_vllm: true", "vLLM"),
    ],
)
def test_packages_that_are_not_installed(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, stage: Stage, setting: str, package: str
) -> None:
    from importlib.util import find_spec

    absent = {"wandb", "trackio", "vllm"}
    monkeypatch.setattr(
        "ffr_train.config.trainer.find_spec",
        lambda name: None if name in absent else find_spec(name),
    )
    problem = refused("", "", f"{stage}.trainer={{{setting}}}", stage=stage)
    assert f"{package} is not installed" in problem.message
    assert "pip install" in str(problem.remedy)


def test_without_the_trainer_the_extra_is_named(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ffr_train.config import trainer

    trainer._fields.cache_clear()
    monkeypatch.setattr("ffr_train.config.trainer.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"ffr-eval\[train\]"):
        check_trainer(read_config(config_file), "sft")
