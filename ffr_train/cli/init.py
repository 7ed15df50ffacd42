"""``ffr train init``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

_RECIPES: Final = ("paper", "toy-cpu")
_LAUNCH: Final = (  # as in ffr_train.config.files
    "one_gpu",
    "multi_gpu",
    "fsdp2",
    "deepspeed_zero2",
    "deepspeed_zero3",
    "multi_node_fsdp2",
)


@click.command(
    epilog="""\b
Examples:
  ffr train init --recipe paper
  ffr train init --recipe toy-cpu --out toy.yaml
  ffr train init --recipe paper --launch fsdp2
  ffr train init --launch deepspeed_zero2
""",
)
@click.option(
    "--recipe",
    type=click.Choice(_RECIPES),
    help="paper: the settings of the F2RVLM release; toy-cpu: the whole path on a CPU in minutes.",
)
@click.option(
    "--launch",
    type=click.Choice(_LAUNCH),
    metavar="NAME",
    help="Also write settings of accelerate, NAME.yaml beside FILE: one_gpu, multi_gpu, fsdp2,"
    " deepspeed_zero2, deepspeed_zero3 or multi_node_fsdp2.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("train.yaml"),
    show_default=True,
    help="The configuration to write.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
def init(recipe: str | None, launch: str | None, out: Path, force: bool) -> None:
    """Write a configuration of training: one YAML file with a comment on every value.

    It has sections for SFT, GRPO and evaluation; `ffr train sft` and `ffr train grpo` read it.
    Printed are the commands that come next. Without --recipe only the settings of accelerate are
    written, for a configuration that is there.
    """
    from ffr_eval.errors import InputError
    from ffr_train.config.files import launch_text, next_commands, recipe_text, write_new

    if recipe is None and launch is None:
        remedy = "give --recipe paper or --recipe toy-cpu"
        raise InputError("nothing to write", field="--recipe", remedy=remedy)
    texts: dict[Path, str] = {}
    if recipe is not None:
        texts[out] = recipe_text(recipe)
    launch_file = None if launch is None else out.with_name(f"{launch}.yaml")
    if launch is not None and launch_file is not None:
        if launch_file in texts:
            message = f"{launch_file} would be both files"
            raise InputError(message, field="--out", remedy="name the configuration otherwise")
        texts[launch_file] = launch_text(launch)
    write_new(texts, force=force)
    for path in texts:
        click.echo(f"wrote {path}")
    click.echo("next:")
    for command in next_commands(recipe, out, launch_file):
        click.echo(f"  {command}")
