"""``ffr train rewards explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_train.cli.score import chosen_profile, profile_options

if TYPE_CHECKING:
    from ffr_train.rewards import Batch


@click.command(
    epilog="""\b
Examples:
  ffr train rewards explain --line 3 completions.jsonl --profile paper
  ffr train rewards explain --benchmark ffr-sample --sample SAMPLE_ID \\
    --completion "<|utt_ids_start|>[1]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
  ffr train rewards explain --benchmark my-benchmark --sample SAMPLE_ID \\
    --completion-file answer.txt --embeddings vectors.npz
""",
)
@click.argument("file", metavar="[FILE.jsonl]", required=False, type=click.Path(path_type=Path))
@click.option("--line", type=click.IntRange(min=1), help="The line of FILE, counted from 1.")
@click.option("--completion", metavar="TEXT", help="What the model answered.")
@click.option(
    "--completion-file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with what the model answered; - is standard input.",
)
@click.option("--sample", metavar="SAMPLE_ID", help="The sample that it answered.")
@click.option("--benchmark", metavar="DIR", help="The sample's benchmark, or a bundled one.")
@click.option(
    "--embeddings",
    metavar="NPZ",
    type=click.Path(path_type=Path),
    help="Vectors of the dialogue, keys u<id>, i<id>, and q for the query.",
)
@profile_options
@click.option(
    "--terms", default="", metavar="NAME,…", help="Also these terms, whatever their weight."
)
def explain(
    file: Path | None,
    line: int | None,
    completion: str | None,
    completion_file: Path | None,
    sample: str | None,
    benchmark: str | None,
    embeddings: Path | None,
    profile_name: str,
    weights: tuple[str, ...],
    terms: str,
) -> None:
    """Take one reward apart: the parse, the counts, and every factor of every term.

    Of a line of a FILE as `ffr train rewards score` reads it, or of a completion to a sample.
    """
    from ffr_eval.errors import InputError
    from ffr_eval.metrics.named import split_names
    from ffr_eval.report.safe_text import visible
    from ffr_train.rewards.explaining import explain as explained
    from ffr_train.rewards.lines import read_completions
    from ffr_train.rewards.scoring import score

    profile = chosen_profile(profile_name, weights)
    names = tuple(dict.fromkeys((*profile.weights, *split_names(terms))))
    of_sample = (completion, completion_file, sample, benchmark, embeddings)
    if file is not None and line is not None and not any(given is not None for given in of_sample):
        batch, title = read_completions(file, line), f"{file}:{line}"
    elif (
        file is None
        and line is None
        and sample is not None
        and benchmark is not None
        and (completion is None) != (completion_file is None)
    ):
        text = _read(completion_file) if completion_file is not None else completion
        batch, title = _of_sample(text or "", sample, benchmark, embeddings), sample
    else:
        remedy = (
            "give --line N FILE.jsonl, or --sample and --benchmark with one of --completion"
            " and --completion-file"
        )
        raise InputError("what is to be explained is not clear", remedy=remedy)
    rewards = score(batch, profile, names)
    click.echo(f"{visible(title)}, profile {profile.name}: {profile.summary}\n")
    for shown in explained(batch, rewards):
        click.echo(visible(shown))


def _read(path: Path) -> str:
    import sys

    from ffr_eval.errors import InputError
    from ffr_eval.jsonl import read_bytes

    data = sys.stdin.buffer.read() if str(path) == "-" else read_bytes(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8 (byte {error.start})"
        raise InputError(message, file=path, remedy="save the file as UTF-8") from None


def _of_sample(text: str, sample_id: str, benchmark: str, embeddings: Path | None) -> Batch:
    from ffr_train.rewards import Batch, read_embeddings
    from ffr_train.rewards.columns import BenchmarkSamples, with_embeddings

    known, solution = BenchmarkSamples(benchmark).find(sample_id)
    if embeddings is not None:
        known = with_embeddings(known, read_embeddings(embeddings))
    return Batch([text], [solution], [known])
