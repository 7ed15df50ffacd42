"""``ffr train toy``: a synthetic benchmark and a small model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import click

from ffr_eval.cli.output import progress

_PARTS: Final = ("benchmark", "model")


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
    from ffr_eval.writing import cannot_write, work_folder
    from ffr_train.toy.benchmark import ToyOptions, build_benchmark
    from ffr_train.toy.model import ToySize, build_model

    for part in _PARTS:
        if (out / part).exists():
            remedy = "choose another folder for --out, or remove this one"
            raise InputError("already exists", file=out / part, remedy=remedy)
    with work_folder(out.resolve(), "toy") as work:
        benchmark, model = (work / part for part in _PARTS)
        try:
            with progress("drawing dialogues"):
                build_benchmark(benchmark, ToyOptions(seed=seed))
            with progress("building the model"):
                build_model(model, benchmark, ToySize(seed=seed))
        except ImportError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise MissingExtraError("the toy", "train") from error
        try:
            out.mkdir(exist_ok=True)
            for part in _PARTS:
                shutil.move(work / part, out / part)
        except OSError as error:
            remedy = "choose another folder for --out"
            raise cannot_write(out, error, remedy) from None
    click.echo(f"wrote {out / 'benchmark'} and {out / 'model'}")
    click.echo("next: ffr train init --recipe toy-cpu --out train.yaml")
