"""``ffr data export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.formats import FormatsCommand
from ffr_eval.cli.output import progress

if TYPE_CHECKING:
    from ffr_eval.exporters import Exporter, ImageMode


class _ExportCommand(FormatsCommand):
    plugins = "ffr.exporters"
    path_names = "target"


@click.command(
    cls=_ExportCommand,
    epilog="""\b
Examples:
  ffr data export mswift ffr-sample --out train.jsonl --split dev
  ffr data export mswift mldr --out mldr.jsonl --images absolute
  ffr data export datasets mldr --out mldr-hub
""",
)
@click.argument("format_name", metavar="FORMAT")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The file or folder to write; must not exist.",
)
@click.option("--split", help="Only this split.  [default: all samples]")
@click.option(
    "--images",
    type=click.Choice(["copy", "absolute", "embed"]),
    help="copy: image files beside the file; absolute: left where they are, named by absolute"
    " path; embed: inside the files.  [default: copy for mswift, embed for datasets]",
)
def export(
    format_name: str, folder: Path, out: Path, split: str | None, images: ImageMode | None
) -> None:
    """Convert the benchmark folder DIR (or a bundled benchmark by its name) to another FORMAT.

    PATH appears only if all of it could be written.
    """
    from ffr_eval import plugins
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.errors import InputError
    from ffr_eval.exporters import ExportOptions

    if not out.name:
        raise InputError("is a folder", file=out, remedy="name what is to be written")
    exporter: Exporter = plugins.load(plugins.EXPORTERS, format_name)
    if images is not None and images not in exporter.images:
        message = f"format {format_name!r} does not have {images!r}"
        remedy = f"it has: {', '.join(exporter.images)}"
        raise InputError(message, field="--images", remedy=remedy)
    mode: ImageMode = exporter.images[0] if images is None else images
    with progress(f"exporting to {format_name} …"):
        benchmark = read_benchmark(folder)
        n_queries = len(benchmark.rows(split))
        notes = exporter.convert(benchmark, out, ExportOptions(split, mode))
    click.echo(f"wrote {out} ({n_queries} queries)")
    for note in notes:
        click.echo(f"note: {note}")
