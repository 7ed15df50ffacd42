"""``ffr report``: several runs as one report for people."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.uncertainty import Method


@click.command(
    epilog="""\b
Examples:
  ffr report runs/* --out report.html
  ffr report runs/* --out report.md --group-by turns,kind,meta.topic
  ffr report runs/a runs/b --out table.tex --metric macro.joint.f1
  ffr report a.jsonl b.jsonl --benchmark my-benchmark --split test --out report.html
""",
)
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to: .html, .md or .tex. Figures go beside it, into a folder NAME-figures.",
)
@click.option("--benchmark", metavar="DIR", help="Benchmark folder, or a bundled one by name.")
@click.option("--split", help="Only this split.  [default: that of the runs]")
@click.option("--metric", default="micro.joint.f1", show_default=True, help="What to rank by.")
@click.option(
    "--protocol", default="strict", show_default=True, help="official: as the papers; strict: ours."
)
@click.option(
    "--group-by",
    metavar="NAME,…",
    default="",
    help="Groups of samples, with commas.  [default: turns, kind, language, position and"
    " dispersion, where they divide the samples]",
)
@click.option("--replicates", type=int, default=10_000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random numbers.")
@click.option(
    "--interval",
    type=click.Choice(["percentile", "bca"]),
    default="percentile",
    show_default=True,
    help="How 95% intervals are computed.",
)
@click.option("--common", is_flag=True, help="Only the samples that no run lacks.")
def report(
    runs: tuple[Path, ...],
    out: Path,
    benchmark: str | None,
    split: str | None,
    metric: str,
    protocol: ProtocolName,
    group_by: str,
    replicates: int,
    seed: int,
    interval: Method,
    common: bool,
) -> None:
    """Write a report on runs of one benchmark and split.

    The ranking with intervals and tiers, figures by groups of samples, cost and latency,
    thresholds, outcomes and errors: as one HTML page that needs nothing else, as Markdown, or as a
    table for LaTeX. The figures go beside it as PNG, SVG and PDF.
    """
    from ffr_eval.metrics.named import split_names
    from ffr_eval.report.run_report.build import Options, build_report
    from ffr_eval.report.run_report.writing import expect_report_file, figures_folder, write_report
    from ffr_eval.uncertainty import Resampling

    expect_report_file(out)
    options = Options(
        benchmark=benchmark,
        split=split,
        metric=metric,
        protocol=protocol,
        group_by=tuple(split_names(group_by)),
        resampling=Resampling(replicates, seed, interval),
        common=common,
    )

    def command(names: Sequence[str]) -> str:
        return _command(names, out)

    with _progress() as step:
        found = build_report(runs, options, command, lambda part: step(0.6 * part))
        figures = write_report(found, out, lambda part: step(0.6 + 0.4 * part))
    click.echo(f"wrote {out} and {len(figures)} figures in {figures_folder(out)}")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _command(names: Sequence[str], out: Path) -> str:
    """The command as it is shown in the report: names of runs, and only options that were given."""
    context = click.get_current_context()
    words = ["ffr", "report", *names, "--out", out.name]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in {"runs", "out"} or source is click.core.ParameterSource.DEFAULT:
            continue
        value = context.params[name]
        words.append(parameter.opts[0])
        if name == "benchmark":
            words.append(Path(value).name)
        elif not isinstance(value, bool):
            words.append(str(value))
    return shlex.join(words)


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error that appears when it takes more than two seconds."""
    import sys
    import time

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("making the report", total=1.0)
    began = time.monotonic()

    def step(part: float) -> None:
        bar.update(task, completed=part)
        if time.monotonic() - began > 2:
            bar.start()

    try:
        yield step
    finally:
        bar.stop()
