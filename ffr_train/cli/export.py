"""``ffr train export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ffr_eval.cli.output import progress

if TYPE_CHECKING:
    from ffr_eval.prompt import Language

_TRAINERS: Final = ("swift", "trl", "verifiers", "verl")


@click.command(
    epilog="""\b
Examples:
  ffr train export --to trl ffr-sample --out grpo
  ffr train export --to swift my-benchmark --split train --profile paper --out grpo
  ffr train export --to verl my-benchmark --encoder clip --out grpo
  MODEL=my-checkpoint grpo/run.sh
""",
)
@click.option("--to", "trainer", required=True, type=click.Choice(_TRAINERS), help="The trainer.")
@click.argument("benchmark", metavar="BENCH", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write; must not exist, or be empty.",
)
@click.option("--split", help="Only this split.  [default: all samples]")
@click.option(
    "--profile",
    "profile_name",
    default="fixed",
    show_default=True,
    metavar="NAME",
    help="fixed, paper or released.",
)
@click.option(
    "--lang",
    "language",
    type=click.Choice(["zh", "en"]),
    help="Language of the instruction.  [default: that of each dialogue]",
)
@click.option(
    "--encoder",
    metavar="SPEC",
    help="Give rows the embeddings that `ffr embed BENCH --encoder SPEC` made.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the embeddings.  [default: as of `ffr embed`]",
)
def export(
    trainer: str,
    benchmark: Path,
    out: Path,
    split: str | None,
    profile_name: str,
    language: Language | None,
    encoder: str | None,
    store: Path | None,
) -> None:
    """Write what a trainer needs for GRPO on BENCH: data, reward plugin and run command.

    The settings are those of the F2RVLM release. DIR appears only if all of it could be written; it
    holds copies of the images and no absolute path, and can be moved.
    """
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.errors import InputError
    from ffr_train.export import ExportRequest
    from ffr_train.export import export as write
    from ffr_train.rewards import read_profile

    if not out.name:
        raise InputError("is a folder", file=out, remedy="name what is to be written")
    if store is not None and encoder is None:
        remedy = "name the encoder whose embeddings are meant: --encoder SPEC"
        raise InputError("has no effect without --encoder", field="--store", remedy=remedy)
    profile = read_profile(profile_name)
    request = ExportRequest(trainer, profile, split, language, encoder, store)
    with progress(f"exporting {benchmark} …"):
        notes = write(read_benchmark(benchmark), out, request)
    click.echo(f"wrote {out}")
    for note in notes:
        click.echo(f"note: {note}")
