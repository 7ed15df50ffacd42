"""``ffr train data``."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from ffr_eval.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.prompt import Language
    from ffr_train.data.manifest import Stage
    from ffr_train.data.request import OnOverlap, Overlong

_SHOWN_AFTER: Final = 2.0  # seconds


@click.command(
    epilog="""\b
Examples:
  ffr train data mldr --stage sft --model Qwen/Qwen2.5-VL-7B-Instruct --out data/sft
  ffr train data mldr --stage grpo --model Qwen/Qwen2.5-VL-7B-Instruct --out data/grpo \\
    --encoder clip --check-against other-benchmark
  ffr train data mldr --stage sft --model my-model --out data/sft --max-length 8192 \\
    --overlong filter --overlap refuse --json -
""",
)
@click.argument("benchmark", metavar="BENCH")
@click.option(
    "--stage",
    required=True,
    type=click.Choice(["sft", "grpo"]),
    help="sft: the gold as answer; grpo: what rewards need.",
)
@click.option(
    "--model",
    required=True,
    metavar="PATH|HUB",
    help="The model that is trained: a folder, or a hub name. Only its processor is loaded.",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write; must not exist, or be empty.",
)
@click.option("--split", default="train", show_default=True, help="The samples to train on.")
@click.option(
    "--max-length",
    metavar="N",
    type=click.IntRange(1),
    default=15536,
    show_default=True,
    help="Tokens of a prompt and its answer, at most.",
)
@click.option(
    "--max-completion",
    metavar="N",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="grpo: so many of these are left for the answer.",
)
@click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(28 * 28),
    default=602112,
    show_default=True,
    help="Larger images are reduced.",
)
@click.option(
    "--min-pixels",
    metavar="N",
    type=click.IntRange(1),
    help="Smaller images are enlarged.  [default: what the model says]",
)
@click.option(
    "--overlong",
    type=click.Choice(["window", "filter"]),
    default="window",
    show_default=True,
    help="Samples that are too long: divided into windows, or left out.",
)
@click.option(
    "--empty-windows",
    metavar="X",
    type=click.FloatRange(0),
    help="At most X windows without gold for each window with some.  [default: all]",
)
@click.option(
    "--lang",
    "language",
    type=click.Choice(["zh", "en"]),
    help="Language of the instruction.  [default: that of each dialogue]",
)
@click.option(
    "--check-against",
    "check_against",
    metavar="BENCH",
    multiple=True,
    help="Evaluation data that must not be trained on, besides the other splits of BENCH;"
    " repeatable.",
)
@click.option(
    "--overlap",
    type=click.Choice(["drop", "keep", "refuse"]),
    default="drop",
    show_default=True,
    help="Samples on dialogues that are in evaluation data.",
)
@click.option(
    "--similarity",
    metavar="X",
    type=click.FloatRange(0.1, 1),
    default=0.8,
    show_default=True,
    help="From so large a share of common word triples on, two dialogues are the same.",
)
@click.option(
    "--encoder",
    metavar="SPEC",
    help="grpo: give rows the embeddings that `ffr embed BENCH --encoder SPEC` made.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the embeddings.  [default: as of `ffr embed`]",
)
@json_option("the report")
def data(
    benchmark: str,
    stage: str,
    model: str,
    out: Path,
    split: str,
    max_length: int,
    max_completion: int,
    max_pixels: int,
    min_pixels: int | None,
    overlong: str,
    empty_windows: float | None,
    language: str | None,
    check_against: tuple[str, ...],
    overlap: str,
    similarity: float,
    encoder: str | None,
    store: Path | None,
    json_file: Path | None,
) -> None:
    """Make training data of BENCH for a model: rows, images, and a report.

    Prompts are those of `ffr run hf` with its default options, token for token, and every row fits
    into the limit as it is: samples that are too long are divided into windows or left out, and
    never cut. DIR appears only if all of it could be written; it holds copies of the images and no
    absolute path, and can be moved.
    """
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.cli.output import require_writable, write_report
    from ffr_train.data import DataRequest, build

    require_writable(json_file)
    _check_options(stage, out, encoder, store)
    with _progress() as progress:
        request = DataRequest(
            stage=cast("Stage", stage),
            model=model,
            out=out,
            split=split,
            max_length=max_length,
            max_completion=max_completion,
            max_pixels=max_pixels,
            min_pixels=min_pixels,
            overlong=cast("Overlong", overlong),
            empty_windows=empty_windows,
            language=cast("Language | None", language),
            check_against=tuple(read_benchmark(name) for name in dict.fromkeys(check_against)),
            overlap=cast("OnOverlap", overlap),
            similarity=similarity,
            encoder=encoder,
            store=store,
        )
        report = build(read_benchmark(benchmark), request, progress)
    if json_file is not None:
        write_report(report.to_dict(), json_file)
    if str(json_file) == "-":
        return
    click.echo(f"wrote {out}")
    for line in report.lines():
        click.echo(line)
    for note in report.notes:
        click.echo(f"note: {note}")


def _check_options(stage: str, out: Path, encoder: str | None, store: Path | None) -> None:
    from ffr_eval.errors import InputError

    if not out.name:
        raise InputError("is a folder", file=out, remedy="name what is to be written")
    if encoder is not None and stage != "grpo":
        message = "embeddings are for rewards, which sft has none of"
        raise InputError(message, field="--encoder", remedy="leave it out, or use --stage grpo")
    if store is not None and encoder is None:
        message = "has no effect without --encoder"
        raise InputError(message, field="--store", remedy="leave it out, or name the encoder")


class _Bar:
    """A bar on the terminal for each part of the work, once that takes long."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._begun = time.monotonic()

    def begin(self, what: str, total: int) -> None:
        """Another part of the work begins."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total)

    def advance(self, number: int) -> None:
        """So much more of it is done."""
        if not self._bar.live.is_started and time.monotonic() - self._begun > _SHOWN_AFTER:
            self._bar.start()
        self._bar.advance(self._task, number)


@contextmanager
def _progress() -> Iterator[_Bar | None]:
    """Progress on standard error, if that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield _Bar(bar)
    finally:
        bar.stop()
