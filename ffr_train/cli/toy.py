"""``ffr train toy``: a synthetic benchmark and a small model."""

from __future__ import annotations

from pathlib import Path

import click

from ffr_eval.cli.output import progress


@click.command(
    epilog="""\b
Examples:
  ffr train toy --out toy
  ffr train init --recipe toy-cpu --out train.yaml
""",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write: DIR/benchmark and DIR/model.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn."
)
def toy(out: Path, seed: int) -> None:
    """Write a synthetic benchmark and a small model with random weights.

    With them, the whole way from data to a trained and scored model takes minutes on a CPU. The
    model has the classes of Qwen2-VL and a vocabulary of the benchmark's words; its figures say
    nothing about other models or benchmarks.
    """
    from ffr_eval.errors import InputError, MissingExtraError
    from ffr_train.toy.benchmark import ToyOptions, build_benchmark
    from ffr_train.toy.model import ToySize, build_model

    if (out / "model").exists():
        remedy = "choose another folder for --out, or remove this one"
        raise InputError("already exists", file=out / "model", remedy=remedy)
    try:
        with progress("drawing dialogues"):
            build_benchmark(out / "benchmark", ToyOptions(seed=seed))
        with progress("building the model"):
            build_model(out / "model", out / "benchmark", ToySize(seed=seed))
    except ImportError as error:
        if isinstance(error, MissingExtraError):
            raise
        raise MissingExtraError("the toy", "train") from error
    click.echo(f"wrote {out / 'benchmark'} and {out / 'model'}")
    click.echo("next: ffr train init --recipe toy-cpu --out train.yaml")
