"""``ffr train difficulty``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ffr_eval.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_train.curriculum.engine_run import Engine, RunPlan
    from ffr_train.curriculum.levels import Rule

Command = TypeVar("Command", bound="Callable[..., Any]")

_RULES: Final = ("eq4", "released")  # as in ffr_train.curriculum.levels


def engine_options(command: Command) -> Command:
    """What model answers, where and how: from ``--model`` to ``-o``."""
    for option in (
        click.option(
            "-o",
            "--option",
            "pairs",
            multiple=True,
            metavar="NAME=VALUE",
            help="Another option of the engine; `ffr models` lists them.",
        ),
        click.option(
            "--batch-size", type=click.IntRange(min=1), help="Answers at once, at most (hf)."
        ),
        click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (hf)."),
        click.option(
            "--engine",
            type=click.Choice(["hf", "vllm"]),
            default="hf",
            show_default=True,
            help="What runs the model.",
        ),
        click.option(
            "--adapter", metavar="DIR", help="A LoRA adapter, such as `ffr train sft` writes."
        ),
        click.option("--model", metavar="PATH|HUB", help="The cold-start model."),
        click.option(
            "--split", default="train", show_default=True, help="The samples to train on."
        ),
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  ffr train difficulty mldr --model Qwen/Qwen2.5-VL-7B-Instruct --adapter out/sft
  ffr train difficulty mldr --model merged --engine vllm --plot plane.png
  ffr train difficulty mldr --rule released --out released.jsonl \\
      --run difficulty.jsonl.run
\b
A line of the file:
  {"sample_id": "d1#0", "f1": 0.8, "entropy": 0.31, "entropy_kind": "full", "level": "medium"}
""",
)
@click.argument("benchmark", metavar="BENCH")
@engine_options
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("difficulty.jsonl"),
    show_default=True,
    help="The file to write; the run is kept in FILE.run.",
)
@click.option(
    "--run",
    "run_folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Read this run, in place of running the model.",
)
@click.option(
    "--rule",
    type=click.Choice(_RULES),
    default="eq4",
    show_default=True,
    help="eq4: Equation 4 of the paper; released: the cascade of the released code, with what it"
    " calls entropy.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also draw F1 against entropy, as .png, .svg or .pdf.",
)
def difficulty(
    benchmark: str,
    out: Path,
    run_folder: Path | None,
    rule: Rule,
    plot: Path | None,
    **asked: Any,
) -> None:
    """Sort the training samples of BENCH by how hard they are for a model.

    The model answers every sample once, with log-probabilities. F1 and entropy of its answers
    decide on the level: easy, medium, confusing or hard. A run that was interrupted goes on when
    the same command is given again; one that is finished is only read.

    Entropies of vllm are of the most likely tokens alone ("top-20"); those of hf are exact.
    """
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.cli.output import require_writable
    from ffr_train.curriculum import difficulty_file
    from ffr_train.curriculum.engine_run import complete
    from ffr_train.curriculum.measuring import measure
    from ffr_train.curriculum.terminal import print_difficulty

    require_writable(out)
    if plot is not None:
        from ffr_eval.report.statistics_figure import expect_figure_file

        expect_figure_file(plot)
    split = asked["split"]
    data = read_benchmark(benchmark)
    data.rows(split)  # a wrong split is refused before the model is loaded
    plan = None
    folder = run_folder
    if folder is None:
        plan = run_plan(benchmark, logprobs=True, reserved=("logprobs",), **asked)
        folder = beside(out, ".run")
        complete(plan, folder, _note)
    else:
        _refuse_model(**asked)
    with progress(f"measuring {folder} …"):
        found = measure(folder, data, split, rule)
        difficulty_file.write(found.difficulty, out)
    title = _title(data, split)
    print_difficulty(found.difficulty, rule, title)
    for note in found.notes:
        _note(note)
    if plan is not None and found.failed:
        click.echo(f"  → {plan.retry(folder)}", err=True)
    click.echo(f"wrote {out}")
    if plot is not None:
        from ffr_train.curriculum.figure import draw

        with progress(f"drawing {plot} …"):
            draw(found.difficulty, rule, f"{title}; levels by {rule}", plot)
        click.echo(f"wrote {plot}", err=True)


def run_plan(
    benchmark: str,
    *,
    model: str | None,
    adapter: str | None,
    engine: Engine,
    split: str,
    device: str | None,
    batch_size: int | None,
    pairs: Sequence[str],
    logprobs: bool = False,
    reserved: Sequence[str] = (),
    chosen: Mapping[str, Any] | None = None,
) -> RunPlan:
    """The run that the options ask for.

    Args:
        benchmark: As given.
        model: As given, and the others likewise.
        adapter: A folder.
        engine: What runs the model.
        split: Which samples.
        device: Where.
        batch_size: How many at once.
        pairs: Further options, as ``NAME=VALUE``.
        logprobs: Keep log-probabilities.
        reserved: Options that the command sets.
        chosen: Options that the command has chosen.

    Raises:
        InputError: If there is no model, or an option is malformed, given twice or reserved.
    """
    from ffr_eval.errors import InputError
    from ffr_train.curriculum.engine_run import RunPlan

    if model is None:
        remedy = "give the cold-start model: --model PATH, or --model HUB/NAME"
        raise InputError("no model is given", field="--model", remedy=remedy)
    if engine == "vllm" and (device or batch_size):
        message = "vllm places and batches by itself"
        raise InputError(message, field="--device", remedy="leave --device and --batch-size out")
    options: dict[str, Any] = {"model": model}
    if engine == "vllm" and not any(pair.partition("=")[0].strip() == "query" for pair in pairs):
        options["query"] = "first"  # as hf has it, and the rows that are trained on
    if adapter is not None:
        options["adapter"] = adapter
    options |= chosen or {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            remedy = "write NAME=VALUE, as in -o max_tokens=256"
            raise InputError(f"no option: {pair!r}", field="-o", remedy=remedy)
        if name in options or name in reserved:
            message = "is set by the command, or given twice"
            raise InputError(message, field=f"-o {name}", remedy="leave it out")
        options[name] = value
    given = {"--device": device, "--batch-size": batch_size}
    flags = {name: str(value) for name, value in given.items() if value is not None}
    return RunPlan(engine, benchmark, split, options, flags, logprobs)


def beside(path: Path, ending: str) -> Path:
    """A neighbour of a file, by its name."""
    return path.with_name(path.name + ending)


def _refuse_model(**asked: Any) -> None:
    """Refuse options of a run that is not made.

    Raises:
        InputError: If one is given.
    """
    from ffr_eval.errors import InputError

    for name in ("model", "adapter", "device", "batch_size", "pairs"):
        if asked[name]:
            flag = {"pairs": "-o"}.get(name, "--" + name.replace("_", "-"))
            message = "has no effect with --run: no model is run"
            raise InputError(message, field=flag, remedy=f"leave {flag} or --run out")


def _title(benchmark: Benchmark, split: str) -> str:
    return f"{benchmark.name}, split {split}"


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)
