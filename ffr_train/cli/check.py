"""``ffr train rewards check`` and ``bandit``: what a reward pays for."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ffr_eval.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_train.rewards.laboratory import Stage
    from ffr_train.rewards.profile import Profile

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _stage_options(command: _Command) -> _Command:
    for option in (
        click.option(
            "--plot",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Also draw it, as .png, .svg or .pdf.",
        ),
        click.option(
            "--embeddings",
            metavar="hashed|none|DIR",
            default="hashed",
            show_default=True,
            help="Vectors: hashed character n-grams made on the spot, none at all, or a folder with"
            " DIALOGUE_ID.npz (keys u<id>, i<id>, q) for each dialogue.",
        ),
        click.option(
            "--weight",
            "weights",
            metavar="TERM=W",
            multiple=True,
            help="Another weight for a term, in all profiles; repeatable.",
        ),
        click.option(
            "--profile",
            "profiles",
            metavar="NAME",
            multiple=True,
            help="fixed, paper or released; repeatable.  [default: all three]",
        ),
        click.option("--split", help="Only the queries of this split."),
        click.option("--toy", is_flag=True, help="Made-up dialogues in place of BENCH."),
        click.argument("benchmark", metavar="[BENCH]", required=False),
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  ffr train rewards check ffr-sample
  ffr train rewards check mldr --split train --profile fixed --json paid.json
  ffr train rewards check ffr-sample --weight order=0 --plot paid.png
""",
)
@_stage_options
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn."
)
@json_option("the figures")
def check(
    benchmark: str | None,
    toy: bool,
    split: str | None,
    profiles: tuple[str, ...],
    weights: tuple[str, ...],
    embeddings: str,
    plot: Path | None,
    seed: int,
    json_file: Path | None,
) -> None:
    """Play honest and degenerate policies on BENCH and show who is paid what.

    BENCH is a benchmark folder or a bundled benchmark. Marked is every policy that earns at least
    as much as an honest random half of the gold, or more than the gold itself, and every wrong
    answer to a query without gold that earns something.

    Vectors decide what coherence terms pay. The hashed ones are no encoder; give those that you
    train with.
    """
    from ffr_eval.cli.output import write_report
    from ffr_train.report.laboratory_terminal import print_check
    from ffr_train.rewards import laboratory

    _expect_plot(plot)
    chosen = laboratory.profiles_of(profiles, _weights(weights))
    with _progress("playing") as progress:
        stage = _stage(benchmark, split, embeddings, chosen, toy=toy)
        found = laboratory.check(stage, chosen, seed, progress)
    if str(json_file) != "-":
        print_check(found)
    if json_file is not None:
        write_report(found.to_dict(), json_file)
    if plot is not None:
        from ffr_train.report.laboratory_figure import draw_check

        draw_check(found, plot)
        click.echo(f"wrote {plot}", err=True)


@click.command(
    epilog="""\b
Examples:
  ffr train rewards bandit ffr-sample
  ffr train rewards bandit ffr-sample --skill 0.6 --plot course.png
  ffr train rewards bandit --toy --profile paper --profile fixed --json course.json
""",
)
@_stage_options
@click.option(
    "--steps", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Of training."
)
@click.option(
    "--seeds",
    metavar="K",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Trainings: seeds 0 to K-1.",
)
@click.option(
    "--skill",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the ids that the honest arm gets right.",
)
@json_option("the course of every metric")
def bandit(
    benchmark: str | None,
    toy: bool,
    split: str | None,
    profiles: tuple[str, ...],
    weights: tuple[str, ...],
    embeddings: str,
    plot: Path | None,
    steps: int,
    seeds: int,
    skill: float,
    json_file: Path | None,
) -> None:
    """Simulate training on BENCH: does the reward pull towards right answers?

    A bandit chooses between policies: an honest one that gets a share of the ids right, and ones
    that cheat. It sees the reward only, with the advantages of GRPO (8 rollouts a prompt). Shown
    is what it does not see: strict F1, MCC, how often it answers nothing, and how many ids it
    answers for each id of the gold.
    """
    from ffr_eval.cli.output import write_report
    from ffr_train.report.laboratory_terminal import print_simulation
    from ffr_train.rewards.bandit import simulate
    from ffr_train.rewards.laboratory import profiles_of

    _expect_plot(plot)
    chosen = profiles_of(profiles, _weights(weights))
    with _progress("training") as progress:
        stage = _stage(benchmark, split, embeddings, chosen, toy=toy)
        found = simulate(stage, chosen, steps=steps, seeds=seeds, skill=skill, progress=progress)
    if str(json_file) != "-":
        print_simulation(found)
    if json_file is not None:
        write_report(found.to_dict(), json_file)
    if plot is not None:
        from ffr_train.report.laboratory_figure import draw_simulation

        draw_simulation(found, plot)
        click.echo(f"wrote {plot}", err=True)


def _stage(
    benchmark: str | None,
    split: str | None,
    embeddings: str,
    profiles: tuple[Profile, ...],
    *,
    toy: bool,
) -> Stage:
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.errors import InputError
    from ffr_train.rewards.bandit import toy_stage
    from ffr_train.rewards.laboratory import stage_of

    if toy == (benchmark is not None):
        message = "--toy stands in place of BENCH" if toy else "no benchmark is given"
        remedy = "give either; for example ffr-sample"
        raise InputError(message, field="BENCH", remedy=remedy)
    if benchmark is None:
        if split is not None or embeddings != "hashed":
            message = "the made-up dialogues have no splits, and vectors of their own"
            remedy = "leave --split and --embeddings out"
            raise InputError(message, field="--toy", remedy=remedy)
        return toy_stage()
    queries = any("query_sim" in profile.weights for profile in profiles)
    return stage_of(read_benchmark(benchmark), split, embeddings, queries=queries)


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    from ffr_eval.errors import InputError

    weights = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            remedy = "write TERM=W, for example order=0"
            raise InputError(f"cannot read {text!r}", field="--weight", remedy=remedy) from None
    return weights


def _expect_plot(plot: Path | None) -> None:
    if plot is not None:
        from ffr_eval.report.statistics_figure import expect_figure_file

        expect_figure_file(plot)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, if that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda part: bar.update(task, completed=part)
