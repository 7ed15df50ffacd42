"""``ffr train sft``: the cold start, on gold answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ffr_train.cli.training import training_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog="""\b
Examples:
  ffr train sft train.yaml
  ffr train sft train.yaml --resume
  ffr train sft train.yaml --set sft.trainer.learning_rate=5e-5 --set sft.out=out/sft-5e-5
  accelerate launch --config_file launch.yaml -m ffr_eval train sft train.yaml
""",
)
@training_options
def sft(config_file: Path, resume: bool, overrides: tuple[str, ...]) -> None:
    """Fine-tune the model of CONFIG on gold answers: the cold start.

    CONFIG is what `ffr train init` writes. Checkpoints, logs and the result (an adapter, or a whole
    model) are in `sft.out`; a training that was stopped or killed goes on with --resume.
    """
    from ffr_train.cli.training import run_training

    run_training("sft", config_file, resume=resume, overrides=overrides)
