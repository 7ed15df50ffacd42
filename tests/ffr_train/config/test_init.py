"""``ffr train init``: recipes that can be read and that the trainer takes, and what comes next."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import yaml

from ffr_train.config import read_config, trainer_config
from ffr_train.config.files import LAUNCH, RECIPES, launch_text, recipe_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_read_and_taken_by_the_trainer(cli: Cli, tmp_path: Path, recipe: str) -> None:
    pytest.importorskip("trl")
    path = tmp_path / "train.yaml"
    cli("train", "init", "--recipe", recipe, "--out", path)
    overrides = ["sft.trainer.use_cpu=true", "grpo.trainer.use_cpu=true"]
    if recipe == "paper":  # one process in place of 8, as its comment says
        overrides.append("grpo.trainer.gradient_accumulation_steps=32")
    config = read_config(path, overrides)
    for stage in ("sft", "grpo"):
        built = trainer_config(config, stage)
        given = config.stage(stage).trainer
        assert {name: getattr(built, name) for name in given if name != "logging_steps"} == {
            name: value for name, value in given.items() if name != "logging_steps"
        }
    assert config.evaluation is not None


def test_the_paper_recipe_has_the_released_settings(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(recipe_text("paper"))
    config = read_config(path)
    assert config.lora is not None
    assert (config.lora.r, config.lora.alpha, config.lora.target) == (8, 32, "language")
    assert (config.model.freeze_vision, config.model.max_pixels) == (True, 602_112)
    assert config.sft is not None
    assert config.grpo is not None
    released = {
        "learning_rate": 1e-4,
        "num_train_epochs": 1,
        "warmup_steps": 0.05,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
    }
    assert released.items() <= config.sft.trainer.items()
    released = {
        "learning_rate": 2e-6,
        "num_generations": 8,
        "temperature": 1.0,
        "top_p": 0.85,
        "beta": 0.02,
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "max_completion_length": 1024,
        "num_train_epochs": 1,
    }
    assert released.items() <= config.grpo.trainer.items()
    assert config.grpo.reward.weights == {"f1": 1, "order": 1, "format": 0.3}
    assert config.grpo.reward.profile == "fixed"
    assert config.grpo.start == config.sft.out
    assert config.grpo.curriculum.difficulty == tmp_path / "difficulty.jsonl"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_value_of_a_recipe_has_a_comment(recipe: str) -> None:
    for line in recipe_text(recipe).splitlines():
        if re.match(r" *\w+: \S", line) and not line.lstrip().startswith("out: "):
            assert "#" in line, line


def test_lines_that_are_commented_out_can_be_used(tmp_path: Path) -> None:
    """The settings of vLLM and of other reporters, each block in place of nothing."""
    pytest.importorskip("trl")
    lines = recipe_text("paper").splitlines()
    settings = [
        line.replace("# ", "", 1)
        for line in lines
        if re.match(r" +# (use_vllm|vllm_\w+|run_name|pilot): ", line)
    ]
    assert len({line.split(":")[0] for line in settings}) == 8
    from ffr_train.config.trainer import _fields

    fields = {*_fields("grpo"), "pilot"}
    assert {line.split(":")[0].strip() for line in settings} <= fields
    for line in settings:
        assert yaml.safe_load(line.strip())


def test_next_commands_start_where_the_file_is(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("train", "init", "--recipe", "toy-cpu").out
    assert "wrote train.yaml\n" in said
    assert "  ffr train sft train.yaml\n" in said
    assert " --out toy/sft\n" in said
    (tmp_path / "my runs").mkdir()
    said = cli("train", "init", "--recipe", "toy-cpu", "--out", "my runs/t.yaml").out
    assert "  ffr train grpo 'my runs/t.yaml'\n" in said
    assert " --out 'my runs'/toy/sft\n" in said


def test_the_commands_make_what_the_recipe_reads(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in RECIPES:
        said = cli("train", "init", "--recipe", recipe, "--force").out
        made = {tmp_path / name for name in re.findall(r"--out (\S+)", said)}
        config = read_config("train.yaml")
        assert config.sft is not None
        assert config.grpo is not None
        assert {config.sft.data, config.grpo.data, config.grpo.curriculum.difficulty} <= made
        # SFT makes an adapter of the model, or a model that GRPO's adapter is then of.
        kind = "--adapter" if config.lora_of("sft") else "--model"
        assert f"{kind} {config.sft.out.relative_to(tmp_path)} " in said
        base = config.model.path if config.lora_of("sft") else str(config.sft.out)
        base = base.removeprefix(f"{tmp_path}/")
        adapter = config.grpo.out.relative_to(tmp_path)
        assert f"-o model={base} -o adapter={adapter} " in said
        assert f"--model {config.model.path.removeprefix(f'{tmp_path}/')} " in said


def test_a_file_that_is_there_is_kept(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("mine")
    said = cli.refused("train", "init", "--recipe", "paper", "--out", path)
    assert "exists already" in said
    assert "--force" in said
    assert path.read_text() == "mine"
    cli("train", "init", "--recipe", "paper", "--out", path, "--force")
    assert path.read_text() == recipe_text("paper")


def test_all_files_or_none(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fsdp2.yaml").write_text("mine")
    out = tmp_path / "train.yaml"
    cli.refused("train", "init", "--recipe", "paper", "--launch", "fsdp2", "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["fsdp2.yaml"]
    cli.refused("train", "init", "--recipe", "paper", "--launch", "fsdp2", "--out", tmp_path)
    out = tmp_path / "no" / "train.yaml"
    assert "no such folder" in cli.refused("train", "init", "--recipe", "paper", "--out", out)
    assert not out.parent.exists()


def test_what_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    assert "--recipe paper" in cli.refused("train", "init", "--out", tmp_path / "x")
    assert "'papre' is not one of" in cli.refused("train", "init", "--recipe", "papre")
    out = tmp_path / "fsdp2.yaml"
    said = cli.refused("train", "init", "--recipe", "paper", "--launch", "fsdp2", "--out", out)
    assert "both files" in said


@pytest.mark.parametrize("launch", LAUNCH)
def test_settings_of_accelerate_alone(cli: Cli, tmp_path: Path, launch: str) -> None:
    said = cli("train", "init", "--launch", launch, "--out", tmp_path / "train.yaml").out
    file = tmp_path / f"{launch}.yaml"
    assert file.read_text() == launch_text(launch)
    assert (
        f"accelerate launch --config_file {file} -m ffr_eval train sft {tmp_path}/train.yaml"
    ) in said
    assert not (tmp_path / "train.yaml").exists()


def test_names_are_those_of_the_files_and_of_the_command() -> None:
    from ffr_train.cli import init

    for names, folder, said in (
        (RECIPES, "recipes", init._RECIPES),
        (LAUNCH, "launch", init._LAUNCH),
    ):
        there = {file.name for file in files("ffr_train.config").joinpath(folder).iterdir()}
        assert there == {f"{name}.yaml" for name in names}
        assert said == names
