"""``ffr train merge``."""

from __future__ import annotations

from pathlib import Path

import click

from ffr_eval.cli.output import progress


@click.command(
    epilog="""\b
Examples:
  ffr train merge out/grpo --out merged
  ffr train merge out/grpo --model my-base --out merged
  ffr run hf my-benchmark -o model=merged
""",
)
@click.argument("adapter", metavar="ADAPTER", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write; must not exist, or be empty.",
)
@click.option(
    "--model", metavar="PATH|HUB", help="The base model.  [default: the one that ADAPTER names]"
)
def merge(adapter: Path, out: Path, model: str | None) -> None:
    """Add the changes of ADAPTER to the weights of its model, and write a whole model."""
    from ffr_train.cli.training import require_training

    require_training()
    from ffr_train.training.merging import merge as merged

    with progress("merging"):
        base = merged(adapter, out, model)
    click.echo(f"wrote {out}: {base} with {adapter}")
    click.echo(f"next: ffr run hf BENCH -o model={out}")
