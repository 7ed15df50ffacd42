"""The files that `ffr train init` writes: recipes, and settings of accelerate."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECIPES: Final = ("paper", "toy-cpu")
LAUNCH: Final = (
    "one_gpu",
    "multi_gpu",
    "fsdp2",
    "deepspeed_zero2",
    "deepspeed_zero3",
    "multi_node_fsdp2",
)

_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "paper": (
        "ffr data fetch mldr --out {at}mldr",
        "ffr train data {at}mldr --stage sft --model {model} --out {at}data/sft",
        "{start} train sft {config}",
        (
            "ffr train difficulty {at}mldr --model {model} --adapter {at}out/sft"
            " --out {at}difficulty.jsonl"
        ),
        "ffr embed {at}mldr --encoder clip --split train",
        "ffr train data {at}mldr --stage grpo --model {model} --encoder clip --out {at}data/grpo",
        "{start} train grpo {config}",
        "ffr run hf {at}mldr --split val -o model={model} -o adapter={at}out/grpo --out {at}run",
        "ffr score {at}run",
    ),
    "toy-cpu": (
        "ffr train toy --out {at}toy",
        "ffr train data {at}toy/benchmark --stage sft --model {at}toy/model --out {at}toy/sft",
        "{start} train sft {config}",
        (
            "ffr train difficulty {at}toy/benchmark --split train-grpo --model {at}toy/out/sft"
            " --out {at}toy/difficulty.jsonl"
        ),
        (
            "ffr train data {at}toy/benchmark --stage grpo --split train-grpo"
            " --model {at}toy/model --out {at}toy/grpo"
        ),
        "{start} train grpo {config}",
        (
            "ffr run hf {at}toy/benchmark --split test -o model={at}toy/out/sft"
            " -o adapter={at}toy/out/grpo --out {at}toy/runs/grpo"
        ),
        "ffr score {at}toy/runs/grpo",
    ),
}
_TRAINING: Final = ("{start} train sft {config}", "{start} train grpo {config}")
_MODEL: Final = "Qwen/Qwen2.5-VL-7B-Instruct"


def recipe_text(name: str) -> str:
    """The configuration of a recipe."""
    return _text(f"recipes/{name}.yaml")


def launch_text(name: str) -> str:
    """The settings of ``accelerate launch`` for a way to use GPUs."""
    return _text(f"launch/{name}.yaml")


def write_new(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write files, none of them if one is there already.

    Args:
        texts: By path.
        force: Replace files that are there.

    Raises:
        InputError: If one is there and ``force`` is not given, or one cannot be written.
    """
    for path in texts:
        if path.is_dir() or not path.name:
            raise InputError("is a folder", file=path, remedy="give the name of a file")
        if not path.parent.is_dir():
            remedy = "give a file in an existing folder"
            raise InputError("cannot be written: no such folder", file=path, remedy=remedy)
        if not force and (path.exists() or path.is_symlink()):
            remedy = "name another file with --out, or replace it with --force"
            raise InputError("exists already", file=path, remedy=remedy)
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def next_commands(recipe: str | None, config: Path, launch: Path | None) -> Iterable[str]:
    """The commands that come after ``ffr train init``, in their order."""
    start = "ffr"
    if launch is not None:
        start = f"accelerate launch --config_file {shlex.quote(str(launch))} -m ffr_eval"
    stages = _COMMANDS[recipe] if recipe is not None else _TRAINING
    folder = config.parent
    at = "" if folder == Path() else f"{shlex.quote(str(folder))}/"
    for stage in stages:
        yield stage.format(start=start, config=shlex.quote(str(config)), at=at, model=_MODEL)


def _text(name: str) -> str:
    return files("ffr_train.config").joinpath(name).read_text(encoding="utf-8")
