"""The commands ``ffr run`` and ``ffr demo``."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from baselines.machine import Machine
    from baselines.runner import RunResult
    from ffr_eval.types import Outcome

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""

_DEMO_MODELS: Final = ("none", "all", "random", "window", "bm25", "tfidf", "oracle")
_DEMO_BENCHMARK: Final = "ffr-sample"
_DEMO_TUNE_ON: Final = "dev"
_DEMO_SPLIT: Final = "test"
_SHOWN_FAILURES: Final = 5


@click.command()
@click.argument("model")
@click.argument("benchmark")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder to write (needed to run)."
)
@click.option(
    "--split", help="Predict this split. Default: all samples; with --tune-on, the split 'test'."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples.")
@click.option("--tune-on", metavar="SPLIT", help="Let the model learn from the gold of this split.")
@click.option(
    "-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the model."
)
@click.option("--save-scores", is_flag=True, help="Keep the scores of scoring models.")
@click.option(
    "--window", type=click.IntRange(min=1), metavar="TURNS", help="Show so many turns at a time."
)
@click.option(
    "--stride", type=click.IntRange(min=1), metavar="TURNS", help="From one window to the next."
)
@click.option("--logprobs", is_flag=True, help="Keep log-probabilities and entropies of tokens.")
@click.option("--dry-run", is_flag=True, help="Show the first prompt, tokens and cost, no more.")
@click.option(
    "--retry-outcomes", metavar="A,B", help="Ask again for samples that ended so: request_error,…"
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run here, or replicas of the model over Ray Data.",
)
@click.option("--address", help="Of a Ray cluster. Default: this machine.")
@click.option("--replicas", type=click.IntRange(min=1), help="Of the model, over Ray.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="How much to compute at once, at most."
)
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    help="Compute embeddings in this interpreter, which has the encoder's libraries.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The embedding store's folder.",
)
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests at once, at most.")
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="At most.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), help="At most.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MONEY",
    help="Stop when the run has cost so much.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give a request up.",
)
@click.option("--max-retries", type=click.IntRange(min=0), help="Of a request that failed.")
@click.option(
    "--prices", type=click.Path(path_type=Path, dir_okay=False), help="Your own price table."
)
@click.option(
    "--cache", type=click.Path(path_type=Path, dir_okay=False), help="The response cache's file."
)
@click.option("--no-cache", is_flag=True, help="Neither read nor write the response cache.")
@click.option("--refresh", is_flag=True, help="Ask again what the response cache knows.")
def run(
    model: str,
    benchmark: str,
    out: Path | None,
    split: str | None,
    limit: int | None,
    tune_on: str | None,
    pairs: tuple[str, ...],
    save_scores: bool,
    window: int | None,
    stride: int | None,
    logprobs: bool,
    dry_run: bool,
    retry_outcomes: str | None,
    engine: str,
    address: str | None,
    replicas: int | None,
    **settings: Any,
) -> None:
    """Run MODEL over BENCHMARK into a run folder.

    BENCHMARK is a benchmark folder, or the name of a bundled one. A run that was interrupted goes
    on when the same command is given again. `ffr models` lists the models and their options;
    `ffr prompt` shows what is sent.

    --window, --stride and --logprobs are options of models that answer in text. The flags from
    --device on say where, how fast and at what expense, never what is answered: a run may go on
    with others. Each model takes some of them: embeddings --device, --batch-size, --python and
    --store; hf --device and --batch-size; api those from --concurrency on.

    \b
    Examples:
      ffr run bm25 ffr-sample --out runs/bm25
      ffr run bm25 ffr-sample --tune-on dev --split test --out runs/bm25-tuned
      ffr run bm25 my-benchmark -o k=8 -o captions=true --out runs/bm25-k8
      ffr run sentence my-benchmark --tune-on dev --device cuda --out runs/sentence
      ffr run gme my-benchmark --python gme-venv/bin/python --batch-size 4 --out runs/gme
      ffr run api my-benchmark -o preset=openai -o model=gpt-4o --dry-run
      ffr run api my-benchmark -o preset=openai -o model=gpt-4o --max-cost 20 --out runs/gpt-4o
      ffr run api my-benchmark -o preset=openai -o model=gpt-4o --out runs/gpt-4o \\
          --retry-outcomes request_error
      ffr run hf my-benchmark -o model=qwen2.5-vl-7b --window 40 --out runs/qwen
      ffr run bm25 my-benchmark --engine ray --replicas 4 --out runs/bm25-ray
    """  # noqa: D301 - click needs the backspace
    from baselines.machine import Machine
    from baselines.options import parse_pairs
    from baselines.runner import ScaleOut
    from baselines.runner import run as run_model

    options = _with_flags(parse_pairs(pairs), window=window, stride=stride, logprobs=logprobs)
    machine = Machine(**settings)
    if dry_run:
        _show_preview(model, options, benchmark, split, limit, tune_on, machine)
        return
    if out is None:
        raise click.UsageError("Missing option '--out': the run folder to write.")
    if engine == "local" and (address or replicas):
        raise click.UsageError("--address and --replicas need --engine ray.")
    with _interruptible(out):
        result = run_model(
            model,
            options,
            benchmark,
            out,
            split,
            limit,
            tune_on,
            machine=machine,
            retry_outcomes=_outcomes(retry_outcomes),
            scale_out=ScaleOut(address, replicas) if engine == "ray" else None,
            save_scores=save_scores,
            progress=True,
            note=_note,
        )
    _summarise(result)
    _print_oracle_gap(result)
    click.echo(f"next: ffr score {out}")
    if result.failed:
        raise SystemExit(1)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("ffr-demo"),
    show_default=True,
    help="The folder for the run folders.",
)
def demo(out: Path) -> None:
    """Run the built-in models on the bundled benchmark and rank them.

    \b
    Examples:
      ffr demo
      ffr demo --out demo-runs
    """  # noqa: D301 - click needs the backspace
    from baselines.model import registered_models
    from baselines.runner import run as run_model

    infos = {info.name: info for info in registered_models()}
    paths, failed = [], False
    for name in _DEMO_MODELS:
        info = infos[name]
        if not info.installed or info.capabilities is None:
            _note(f"{name} is left out: pip install 'ffr-eval[{info.extra}]'")
            continue
        tune_on = _DEMO_TUNE_ON if info.capabilities.needs_tuning else None
        with _interruptible(out):
            result = run_model(
                name,
                {},
                _DEMO_BENCHMARK,
                out / name,
                _DEMO_SPLIT,
                tune_on=tune_on,
                progress=True,
                note=_note,
            )
        _summarise(result)
        failed = failed or bool(result.failed)
        paths.append(result.path)
    from ffr_eval.cli.rank import print_ranking

    click.echo()
    print_ranking(paths)
    click.echo(f"the same in a browser: {_ffr()} board {out}")
    if failed:
        raise SystemExit(1)


def _with_flags(options: dict[str, str], **flags: Any) -> dict[str, Any]:
    """Options with those that have flags of their own."""
    from ffr_eval.errors import InputError

    given = {name: value for name, value in flags.items() if value}
    twice = sorted(options.keys() & given.keys())
    if twice:
        message, remedy = "given twice", f"leave out --{twice[0]} or -o {twice[0]}"
        raise InputError(message, field=f"option {twice[0]}", remedy=remedy)
    return options | given


def _outcomes(names: str | None) -> list[Outcome]:
    """Outcomes by name, separated by commas."""
    from ffr_eval.errors import InputError
    from ffr_eval.plugins import nearest
    from ffr_eval.types import ANSWERED, Outcome

    known = [outcome.value for outcome in Outcome if outcome is not Outcome.MISSING]
    chosen = [name.strip() for name in (names or "").split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            message, remedy = f"there is no outcome {name!r}", nearest(name, known)
            raise InputError(message, field="--retry-outcomes", remedy=remedy)
        if name in ANSWERED:
            message = f"{name!r} is an answer: asking until it is another one would be choosing"
            remedy = "use a new --out, or --refresh with a new run"
            raise InputError(message, field="--retry-outcomes", remedy=remedy)
    return [Outcome(name) for name in chosen]


def _show_preview(
    model: str,
    options: Mapping[str, Any],
    benchmark: str,
    split: str | None,
    limit: int | None,
    tune_on: str | None,
    machine: Machine,
) -> None:
    from baselines.preview import preview

    plan = preview(
        model,
        options,
        benchmark,
        split,
        limit,
        tune_on,
        machine=machine,
        progress=True,
        note=_note,
    )
    click.echo("first prompt:")
    click.echo(plan.first_prompt)
    about = "" if plan.exact else "about "
    click.echo(f"\n{plan.n_samples} samples, {plan.n_requests} requests")
    click.echo(f"prompts: {about}{plan.prompt_tokens:,} tokens")
    click.echo(f"answers: at most {plan.max_completion_tokens:,} tokens")
    if plan.min_cost is None or plan.max_cost is None:
        if not plan.exact:  # what counts exactly runs here
            click.echo("cost: no price is known")
    else:
        low, high = (f"{cost:.2f}" for cost in (plan.min_cost, plan.max_cost))
        click.echo(f"cost: {about}{low} to {high} {plan.currency}")
    for text in plan.notes:
        _note(text)


def _ffr() -> str:
    """How the user can call this program again."""
    program = sys.argv[0]
    found = shutil.which("ffr")
    if found is None or Path(found).resolve() != Path(program).resolve():
        return program
    return "ffr"


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    """Ends with a sentence and exit code 130 on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; what was predicted is in {out}", err=True)
        click.echo("  → run the same command again to go on from there", err=True)
        raise SystemExit(INTERRUPTED) from None


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _summarise(result: RunResult) -> None:
    split = f"split {result.split!r}" if result.split is not None else "all samples"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in result.outcomes.most_common())
    numbers = f"{result.n_done} of {result.n_samples} predictions ({result.n_new} new)"
    click.echo(f"{result.path}: {split}, {numbers}: {counts}")
    if not result.failed:
        return
    some = ", ".join(result.failed[:_SHOWN_FAILURES])
    more = ", …" if len(result.failed) > _SHOWN_FAILURES else ""
    click.echo(f"the model failed for {len(result.failed)} samples: {some}{more}", err=True)
    hint = "ask again: the same command with --retry-outcomes request_error"
    click.echo(f'  → "meta" in predictions.jsonl says why; {hint}', err=True)


def _print_oracle_gap(result: RunResult) -> None:
    """What was tuned, and how the best policies in hindsight compare; nothing if not known."""
    import msgspec

    from baselines.selection import Policy, described

    gap, selection = result.record.oracle_gap or {}, result.record.selection or {}
    for name in ("utterance", "image"):
        if name not in gap:
            continue
        figures = gap[name]
        used, best = (
            described(msgspec.convert(figures[key], Policy)) for key in ("policy", "best_policy")
        )
        learned = selection.get(name)
        dev_f1 = learned.get("dev_f1") if isinstance(learned, dict) else None
        there = "no gold" if dev_f1 is None else f"F1 {dev_f1:.3f}"
        click.echo(
            f"selection of {name}s: {used} ({there} on {result.record.tune_on!r}, "
            f"{figures['f1']:.3f} here; best in hindsight: {best}, {figures['best_f1']:.3f})"
        )
