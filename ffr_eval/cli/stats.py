"""``ffr data stats``."""

from __future__ import annotations

from pathlib import Path

import click

from ffr_eval.cli.output import progress, write_report


@click.command(
    epilog="""\b
Examples:
  ffr data stats ffr-sample
  ffr data stats mldr --split test --json stats.json
  ffr data stats mldr --plot stats.png
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--split", help="Only the queries of this split, and their dialogues.")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the numbers as JSON, unrounded; - is standard output.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also draw them, as .png, .svg or .pdf.",
)
def stats(folder: Path, split: str | None, json_file: Path | None, plot: Path | None) -> None:
    """Describe the benchmark folder DIR (or a bundled benchmark by its name) in numbers.

    Lengths, images, gold and its places in the dialogues, beside the datasets of the papers.
    """
    import msgspec

    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.benchmark.statistics import describe, measure, topic_counts
    from ffr_eval.report.statistics_table import print_statistics

    if plot is not None:
        from ffr_eval.report.statistics_figure import draw_statistics, expect_figure_file

        expect_figure_file(plot)
    with progress(f"reading {folder} …"):
        benchmark = read_benchmark(folder)
        topics = topic_counts(benchmark.root) if benchmark.root is not None else {}
        values = measure(benchmark, split, topics)
        statistics = describe(values)
    if str(json_file) != "-":
        print_statistics(statistics, benchmark, split)
    if json_file is not None:
        named = {"benchmark": benchmark.name, "content_hash": benchmark.content_hash}
        write_report(named | {"split": split} | msgspec.to_builtins(statistics), json_file)
    if plot is not None:
        with progress("drawing …"):
            draw_statistics(values, benchmark.name, plot)
        click.echo(f"wrote {plot}", err=True)
