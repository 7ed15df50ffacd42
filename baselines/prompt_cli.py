"""The command ``ffr prompt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.generative.options import GenerativeOptions
    from baselines.prompt_view import PromptView
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.types import Sample


@click.command(
    epilog="""\b
Examples:
  ffr prompt ffr-sample en-01#0
  ffr prompt ffr-sample en-01#0 -o prompt=cot -o query=last
  ffr prompt ffr-sample en-01#0 -o shots=2 --tune-on dev
  ffr prompt ffr-sample en-01#0 -o window=20 -o images=text_only -o captions=true
  ffr prompt my-benchmark d7#0 -o template=mine.jinja -o system=@system.txt --json
""",
)
@click.argument("benchmark")
@click.argument("sample_id", metavar="SAMPLE_ID")
@click.option(
    "-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the model."
)
@click.option(
    "--model",
    default="api",
    show_default=True,
    metavar="api|hf|vllm",
    help="The model whose options are given.",
)
@click.option("--tune-on", metavar="SPLIT", help="Choose the examples (-o shots=N) of this split.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the texts as they are.")
def prompt(
    benchmark: str,
    sample_id: str,
    pairs: tuple[str, ...],
    model: str,
    tune_on: str | None,
    as_json: bool,
) -> None:
    """Show what `ffr run` would send to a model for one sample of BENCHMARK.

    Each message with its role, images named in their places. Nothing is sent, and the model's
    libraries need not be installed. With the same options as `ffr run`, the prompt hash is that of
    the run.

    BENCHMARK is a benchmark folder, or the name of a bundled one. With -o window=N every window is
    shown. Without it a dialogue is shown whole; only the model itself knows whether it fits
    (`ffr run --dry-run`).
    """
    from baselines.options import parse_pairs
    from baselines.prompt_view import prompt_lines
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.cli.output import progress, write_report

    options = _options(model, parse_pairs(pairs))
    with progress(f"reading {benchmark} …"):
        data = read_benchmark(benchmark)
    view = _view(data, _sample(data, sample_id), options, tune_on)
    if as_json:
        write_report(view.record(), Path("-"))
    else:
        for line in prompt_lines(view):
            click.echo(line)


def _options(name: str, pairs: Mapping[str, str]) -> GenerativeOptions:
    """The options of a registered model; the model is not made."""
    from baselines.generative.options import GenerativeOptions, check_options
    from baselines.options import make_options
    from ffr_eval.errors import InputError
    from ffr_eval.plugins import MODELS, load

    kind = load(MODELS, name).Options
    if not issubclass(kind, GenerativeOptions):
        remedy = "one that answers in text: api, hf or vllm"
        raise InputError(f"the model {name!r} sends no prompts", field="--model", remedy=remedy)
    options = make_options(kind, pairs)
    if not isinstance(options, GenerativeOptions):
        raise AssertionError("options are of the type that was asked for")
    check_options(options)
    return options


def _sample(benchmark: Benchmark, name: str) -> Sample:
    import difflib

    from ffr_eval.errors import InputError

    row = benchmark.row_of(name)
    if row is not None:
        return benchmark.sample(row)
    known = list(benchmark.queries.sample_id)
    of_dialogue = [
        benchmark.queries.sample_id[row]
        for row, dialogue in enumerate(benchmark.queries.dialogue.tolist())
        if benchmark.dialogues.dialogue_id[dialogue] == name
    ]
    close = of_dialogue or difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    remedy = (
        f"did you mean {', '.join(map(repr, close))}?"
        if close
        else f"sample ids here are such as {', '.join(map(repr, known[:3]))}"
    )
    raise InputError(f"no sample {name!r}", file=benchmark.root, remedy=remedy)


def _view(
    benchmark: Benchmark, sample: Sample, options: GenerativeOptions, tune_on: str | None
) -> PromptView:
    from baselines.generative.prompts import PromptBuilder
    from baselines.generative.shots import shots_for
    from baselines.generative.structured import ANSWER_SCHEMA
    from baselines.model import hidden
    from baselines.prompt_view import Asked, PromptView
    from ffr_eval.dialogue_views import sliding, whole

    builder = PromptBuilder(options)
    shots = shots_for(sample, _shots(benchmark, options, tune_on))
    if tune_on is not None and sample.split == tune_on:
        click.echo(f"note: `ffr run --tune-on {tune_on}` does not ask for this sample", err=True)
    asked = hidden(sample)
    views = (
        [whole(asked)] if options.window is None else sliding(asked, options.window, options.stride)
    )
    return PromptView(
        sample=asked,
        prompt_hash=builder.hash,
        shots=tuple(shot.sample_id for shot in shots),
        requests=tuple(Asked(view, builder.messages(view.sample, shots)) for view in views),
        schema=None if options.answer == "markup" else ANSWER_SCHEMA,
        root=benchmark.root,
    )


def _shots(benchmark: Benchmark, options: GenerativeOptions, tune_on: str | None) -> list[Sample]:
    """The examples that a run with this tuning split would choose."""
    from baselines.generative.shots import choose_shots
    from ffr_eval.errors import InputError

    if options.shots == 0:
        if tune_on is not None:
            remedy = "add -o shots=N, or leave it out"
            raise InputError("has no effect without examples", field="--tune-on", remedy=remedy)
        return []
    if tune_on is None:
        message, remedy = "examples are samples of a tuning split", "add --tune-on SPLIT"
        raise InputError(message, field="option shots", remedy=remedy)
    samples = list(benchmark.samples(tune_on))
    chosen = {name: place for place, name in enumerate(choose_shots(samples, options))}
    shots = [sample for sample in samples if sample.sample_id in chosen]
    return sorted(shots, key=lambda shot: chosen[shot.sample_id])
