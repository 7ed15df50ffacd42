"""The commands ``ffr run``, ``ffr models`` and ``ffr demo``."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from baselines.model import ModelInfo
    from baselines.runner import RunResult

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
    "--out", required=True, type=click.Path(path_type=Path), help="The run folder to write."
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
    "--device", default="auto", help="Where to compute embeddings: auto, cpu, cuda, cuda:1, mps."
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="How many elements to embed at once, at most."
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
def run(
    model: str,
    benchmark: str,
    out: Path,
    split: str | None,
    limit: int | None,
    tune_on: str | None,
    pairs: tuple[str, ...],
    save_scores: bool,
    device: str,
    batch_size: int | None,
    python: Path | None,
    store: Path | None,
) -> None:
    """Run MODEL over BENCHMARK into a run folder.

    BENCHMARK is a benchmark folder, or the name of a bundled one. A run that was interrupted goes
    on when the same command is given again. `ffr models` lists the models and their options.

    --device, --batch-size, --python and --store are for models that compute embeddings. They say
    where and how fast, never what: a run may go on with others.

    \b
    Examples:
      ffr run bm25 ffr-sample --out runs/bm25
      ffr run bm25 ffr-sample --tune-on dev --split test --out runs/bm25-tuned
      ffr run bm25 my-benchmark -o k=8 -o captions=true --out runs/bm25-k8
      ffr run sentence my-benchmark --tune-on dev --device cuda --out runs/sentence
      ffr run gme my-benchmark --python gme-venv/bin/python --batch-size 4 --out runs/gme
    """  # noqa: D301 - click needs the backspace
    from baselines.encoders.encoder import Machine
    from baselines.options import parse_pairs
    from baselines.runner import run as run_model

    options = parse_pairs(pairs)
    with _interruptible(out):
        result = run_model(
            model,
            options,
            benchmark,
            out,
            split,
            limit,
            tune_on,
            machine=Machine(device, batch_size, python, store),
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the models, what they need and their options.

    \b
    Examples:
      ffr models
      ffr models --json
    """  # noqa: D301 - click needs the backspace
    from baselines.model import registered_models

    infos = registered_models()
    if as_json:
        click.echo(json.dumps([_model_record(info) for info in infos], indent=2))
    else:
        _print_models(infos)


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
    click.echo('  → "meta" in predictions.jsonl says why', err=True)


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


def _model_record(info: ModelInfo) -> dict[str, Any]:
    from dataclasses import asdict

    capabilities = None if info.capabilities is None else asdict(info.capabilities)
    return {
        "name": info.name,
        "capabilities": capabilities,
        "extra": info.extra,
        "installed": info.installed,
    }


def _print_models(infos: list[ModelInfo]) -> None:
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from baselines.selection import SelectionOptions

    shared = _texts(msgspec.to_builtins(SelectionOptions()))
    models = Table(box=None, pad_edge=False)
    options = Table(box=None, pad_edge=False, show_header=False)
    for table, headings in (
        (models, ("model", "answers", "reads", "installed")),
        (options, ("model", "options")),
    ):
        for heading in headings:
            table.add_column(heading, overflow="fold", no_wrap=heading == "model")
    for info in infos:
        answers = info.capabilities.answers if info.capabilities else ""
        hint = f"no: pip install 'ffr-eval[{info.extra}]'" if info.extra else "no"
        models.add_row(info.name, answers, _reads(info), "yes" if info.installed else hint)
        common = shared if answers == "scores" else {}
        own = {key: text for key, text in _texts(info.options).items() if common.get(key) != text}
        if own:
            options.add_row(info.name, _joined(own))
    options.add_row("all with scores", _joined(shared))
    console = Console(highlight=False, markup=False)
    console.print(models)
    console.print("\nOptions (-o KEY=VALUE) with their defaults:")
    console.print(options)


def _joined(options: Mapping[str, str]) -> str:
    return " ".join(f"{key}={text}" for key, text in options.items())


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as one would give them."""
    texts = {key: _value(value) for key, value in options.items()}
    return {key: f"'{text}'" if " " in text else text for key, text in texts.items()}


def _reads(info: ModelInfo) -> str:
    kept = info.capabilities
    if kept is None:
        return ""
    parts = {"text": kept.text, "images": kept.images, "captions": kept.captions}
    parts |= {"gold": kept.needs_gold, "tuning split": kept.needs_tuning}
    return ", ".join(name for name, wanted in parts.items() if wanted) or "nothing"


def _value(value: Any) -> str:
    return "" if value is None else json.dumps(value).strip('"')
