"""``ffr train grpo``: on rewards, in the order of the curriculum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ffr_train.cli.training import training_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog="""\b
Examples:
  ffr train grpo train.yaml
  ffr train grpo train.yaml --resume
  ffr train grpo train.yaml --set grpo.curriculum.difficulty=null --set grpo.out=out/shuffled
  accelerate launch --config_file launch.yaml -m ffr_eval train grpo train.yaml
""",
)
@training_options
def grpo(config_file: Path, resume: bool, overrides: tuple[str, ...]) -> None:
    """Train the model of CONFIG with GRPO, on rewards that are the metrics.

    CONFIG is what `ffr train init` writes. It starts from `grpo.start`, in the order of the
    curriculum if `grpo.curriculum.difficulty` names one. Checkpoints, logs, every answer with the
    terms of its reward (rollouts.jsonl) and the result are in `grpo.out`; a training that was
    stopped or killed goes on with --resume.
    """
    from ffr_train.cli.training import run_training

    run_training("grpo", config_file, resume=resume, overrides=overrides)
