"""``ffr data``: import, check and split benchmark folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ffr_eval.cli.export import export
from ffr_eval.cli.fetch import fetch
from ffr_eval.cli.formats import FormatsCommand
from ffr_eval.cli.groups import SuggestingGroup
from ffr_eval.cli.output import progress, summary_text
from ffr_eval.cli.show import show
from ffr_eval.cli.stats import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.importers import Importer

_SHOWN: Final = 50  # problems printed one by one


class _ImportCommand(FormatsCommand):
    plugins = "ffr.importers"
    path_names = "sources"


@click.group(
    cls=SuggestingGroup,
    epilog="""\b
Examples:
  ffr data import qmsum QMSum/data/ALL/val --out qmsum-val
  ffr data check qmsum-val
  ffr data split qmsum-val --fractions dev=0.3,test=0.7 --seed 7
""",
)
def data() -> None:
    """Import, fetch, check, split, look at and export benchmark folders."""


for _command in (export, fetch, show, stats):
    data.add_command(_command)


@data.command(
    "import",
    cls=_ImportCommand,
    epilog="""\b
Examples:
  ffr data import qmsum QMSum/data/ALL/val --out qmsum-val
  ffr data import qmsum-evidence QMSum/data/ALL/val evidence/val --out fine
  ffr data import mswift test.json --out mldr --name mldr-test
""",
)
@click.argument("format_name", metavar="FORMAT")
@click.argument("sources", metavar="SRC…", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The benchmark folder to write; must not exist, or be empty.",
)
@click.option("--name", help="The benchmark's name.  [default: the name of DIR]")
def import_(format_name: str, sources: tuple[Path, ...], out: Path, name: str | None) -> None:
    """Convert data of another FORMAT into a benchmark folder.

    DIR appears only if all of it could be converted.
    """
    import msgspec

    from ffr_eval import plugins
    from ffr_eval.benchmark import BenchmarkWriter
    from ffr_eval.errors import InputError

    importer: Importer = plugins.load(plugins.IMPORTERS, format_name)
    _expect_sources(format_name, importer.sources, sources)
    info = msgspec.structs.replace(importer.info, name=name or out.resolve().name)
    with progress(f"importing {format_name} …"), BenchmarkWriter(out, info) as writer:
        notes = importer.convert(sources, writer)
        if not writer.n_queries:
            remedy = "a benchmark needs at least one: check that these are the right files"
            raise InputError("no queries", file=" ".join(map(str, sources)), remedy=remedy)
    click.echo(f"wrote {out}")
    click.echo(summary_text(info.name, writer.summary))
    for note in notes:
        click.echo(f"note: {note}")


@data.command(
    epilog="""\b
Examples:
  ffr data check mldr
  ffr data check mldr --json problems.json
  ffr data check mldr --json - | jq .ok
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the result as JSON; - is standard output.",
)
@click.pass_context
def check(ctx: click.Context, folder: Path, json_file: Path | None) -> None:
    """Check the benchmark folder DIR (or a bundled benchmark by its name).

    Lists everything that is wrong with it, not only the first thing, and says what it holds. Ends
    with exit code 2 if something is wrong.
    """
    from ffr_eval.benchmark import check_benchmark
    from ffr_eval.benchmark.summary import summarise
    from ffr_eval.cli.output import write_report
    from ffr_eval.errors import InputError

    benchmark: Benchmark | None = None
    try:
        with progress(f"checking {folder} …"):
            problems, benchmark = check_benchmark(folder)
    except InputError as error:
        problems = [error.problem]
    to_stdout = json_file is not None and str(json_file) == "-"
    if json_file is not None:
        names = ("file", "line", "field", "message", "remedy")
        errors = [{name: getattr(problem, name) for name in names} for problem in problems]
        write_report({"ok": not errors, "errors": errors}, json_file)
    for problem in problems[:_SHOWN]:
        click.echo(str(problem), err=True)
    if len(problems) > _SHOWN:
        click.echo(f"… and {len(problems) - _SHOWN} more (--json FILE has all)", err=True)
    if benchmark is not None:
        shown = summary_text(benchmark.name, summarise(benchmark))
        if problems:
            shown = f"what is right of it:\n{shown.rpartition(chr(10))[0]}"  # without its hash
        click.echo(shown, err=to_stdout)
    plural = "" if len(problems) == 1 else "s"
    click.echo(f"{len(problems)} problem{plural}" if problems else "ok", err=to_stdout)
    if problems:
        ctx.exit(2)


@data.command(
    epilog="""\b
Examples:
  ffr data split mldr --fractions dev=0.3,test=0.7 --seed 7
  ffr data split mldr --fractions train=0.8,dev=0.1,test=0.1
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--fractions",
    required=True,
    metavar="NAME=FRACTION,…",
    help="The splits and their shares of the dialogues, which add up to 1.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Another seed, another division."
)
def split(folder: Path, fractions: str, seed: int) -> None:
    """Divide the benchmark folder DIR into splits, in place.

    All queries on one dialogue go to the same split. The same folder, fractions and seed always
    give the same splits. The content hash changes with them, so split before you run: runs made
    earlier belong to the benchmark as it was.
    """
    from ffr_eval.benchmark import read_benchmark, split_benchmark
    from ffr_eval.benchmark.split import parse_fractions
    from ffr_eval.benchmark.summary import summarise

    counts = split_benchmark(folder, parse_fractions(fractions), seed)
    for name, count in counts.items():
        click.echo(f"{name}: {count} dialogues")
    benchmark = read_benchmark(folder)
    click.echo(summary_text(benchmark.name, summarise(benchmark)))


def _expect_sources(name: str, expected: Sequence[str], given: Sequence[Path]) -> None:
    """Check the number of sources.

    Raises:
        InputError: If there are too few or too many.
    """
    from ffr_eval.errors import InputError

    open_ended = bool(expected) and expected[-1].endswith("…")
    if len(given) == len(expected) or (open_ended and len(given) > len(expected)):
        return
    wanted = " ".join(expected)
    count = "1 path was" if len(given) == 1 else f"{len(given)} paths were"
    message = f"format {name!r} takes {wanted}, but {count} given"
    raise InputError(message, remedy=f"ffr data import {name} {wanted} --out DIR")
