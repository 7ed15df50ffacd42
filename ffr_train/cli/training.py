"""What ``ffr train sft`` and ``ffr train grpo`` share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_train.config import Stage, TrainConfig
    from ffr_train.training.session import Outcome

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def training_options(command: _Command) -> _Command:
    """The arguments of a command that trains."""
    for option in (
        click.option(
            "--set",
            "overrides",
            metavar="KEY=VALUE",
            multiple=True,
            help="Another value for a key of CONFIG; repeatable.",
        ),
        click.option("--resume", is_flag=True, help="Go on with the training that is in `out`."),
        click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def run_training(
    stage: Stage, config_file: Path, *, resume: bool, overrides: tuple[str, ...]
) -> None:
    """Train, and say what came of it."""
    from ffr_train.config import read_config

    config = read_config(config_file, overrides)
    require_training()
    if stage == "sft":
        from ffr_train.training.sft import train_sft as train
    else:
        from ffr_train.training.grpo import train_grpo as train
    try:
        outcome = train(config, resume=resume, note=_note)
    except KeyboardInterrupt:
        from ffr_train.training.failures import how_to_go_on

        sentence = how_to_go_on(config.stage(stage).out)
        if sentence is not None:
            _note(f"stopped: {sentence}")
        raise
    from accelerate import PartialState

    if PartialState().is_main_process:
        _summary(stage, config, outcome)


def require_training() -> None:
    """Refuse what needs the trainer where it is not installed.

    Raises:
        MissingExtraError: Naming the extra.
    """
    from ffr_eval.errors import MissingExtraError

    if any(find_spec(name) is None for name in ("torch", "transformers", "trl", "peft")):
        raise MissingExtraError("training", "train")


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _summary(stage: Stage, config: TrainConfig, outcome: Outcome) -> None:
    done = "was finished before" if outcome.before else "finished"
    click.echo(f"{stage}: {done} after {outcome.steps} steps: {outcome.out}")
    if outcome.figures is not None and outcome.first is not None:
        for protocol in ("strict", "official"):
            click.echo(f"  held out, {_figure(outcome.first[protocol], outcome.figures[protocol])}")
        answered = {"ok", "empty"}
        lost = {name: n for name, n in outcome.figures["outcomes"].items() if name not in answered}
        if lost:
            each = ", ".join(f"{n} {name}" for name, n in sorted(lost.items()))
            click.echo(f"  without a usable answer: {each} of {outcome.figures['n_samples']}")
    click.echo(f"  curves: {outcome.out / 'curves.png'}")
    for line in _next(stage, config, outcome):
        click.echo(f"  next: {line}")


def _figure(first: dict[str, Any], last: dict[str, Any]) -> str:
    """The headline figure at the end, and before."""
    name = "micro.joint.f1"
    interval = last["ci95"][name]
    sure = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    numbers = ["undefined" if each[name] is None else f"{each[name]:.3f}" for each in (last, first)]
    return f"{last['protocol']}: {name} {numbers[0]}{sure}, before the first step {numbers[1]}"


def _next(stage: Stage, config: TrainConfig, outcome: Outcome) -> list[str]:
    from ffr_train.training.model import ADAPTER_CONFIG

    adapted = (outcome.out / ADAPTER_CONFIG).is_file()
    start = config.grpo.start if stage == "grpo" and config.grpo is not None else None
    whole = start is not None and not (start / ADAPTER_CONFIG).is_file()
    base = start if whole else config.model.path
    model = f"--model {base} --adapter {outcome.out}" if adapted else f"--model {outcome.out}"
    options = f"-o model={base} -o adapter={outcome.out}" if adapted else f"-o model={outcome.out}"
    if stage == "sft" and config.grpo is not None:
        return [f"ffr train difficulty BENCH {model}", f"ffr train grpo {config.file}"]
    return [f"ffr run hf BENCH {options}"]
