"""``ffr data show``."""

from __future__ import annotations

from pathlib import Path

import click

from ffr_eval.cli.output import progress


@click.command(
    epilog="""\b
Examples:
  ffr data show ffr-sample zh-02#0
  ffr data show ffr-sample zh-02#0 --context 1
  FORCE_COLOR=1 ffr data show ffr-sample zh-02#0 | less -R
  ffr data show ffr-sample zh-02 --html zh-02.html --open
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("name", metavar="SAMPLE_ID")
@click.option(
    "--context",
    metavar="N",
    type=click.IntRange(min=0),
    help="Only the gold turns and N turns before and after each (in the terminal).",
)
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Draw images where the terminal can and the package textual-image is installed.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one HTML page that needs nothing else, instead of printing.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
def show(
    folder: Path,
    name: str,
    context: int | None,
    pictures: bool,
    html: Path | None,
    open_page: bool,
) -> None:
    """Show a sample of the benchmark folder DIR (or of a bundled benchmark by its name).

    The query, its gold, and the dialogue with the gold marked. With a dialogue id in place of a
    sample id: the dialogue, and all queries on it.
    """
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.errors import InputError
    from ffr_eval.report.dialogue_terminal import print_dialogue
    from ffr_eval.report.dialogue_view import view

    if open_page and html is None:
        raise InputError("needs --html FILE", field="--open", remedy="say where the page goes")
    with progress(f"reading {folder} …"):
        found = view(read_benchmark(folder), name)
    if html is None:
        print_dialogue(found, context, pictures)
        return
    from ffr_eval.report.dialogue_html import write_page

    with progress("writing the page …"):
        write_page(found, html)
    click.echo(f"wrote {html}")
    if open_page:
        import webbrowser

        if not webbrowser.open(html.resolve().as_uri()):
            click.echo("note: no browser could be started", err=True)
