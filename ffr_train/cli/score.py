"""``ffr train rewards score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ffr_eval.cli.options import json_option
from ffr_eval.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ffr_train.rewards import Profile, Rewards

Command = TypeVar("Command", bound="Callable[..., Any]")


def profile_options(command: Command) -> Command:
    """``--profile`` and ``--weight``."""
    for option in (
        click.option(
            "--weight",
            "weights",
            multiple=True,
            metavar="NAME=W",
            help="Another weight for a term than the profile's; may be given again.",
        ),
        click.option(
            "--profile",
            "profile_name",
            default="fixed",
            show_default=True,
            metavar="NAME",
            help="fixed, paper or released.",
        ),
    ):
        command = option(command)
    return command


def chosen_profile(name: str, weights: Sequence[str]) -> Profile:
    """The profile that was asked for.

    Raises:
        InputError: If it, or a weight, is unknown or wrong.
    """
    from ffr_eval.errors import InputError
    from ffr_train.rewards import read_profile

    given: dict[str, float] = {}
    for item in weights:
        term, _, weight = item.partition("=")
        try:
            given[term.strip()] = float(weight)
        except ValueError:
            remedy = "write it as in --weight order=0.5"
            raise InputError(f"no weight: {item!r}", field="--weight", remedy=remedy) from None
    return read_profile(name).with_weights(given)


@click.command(
    epilog="""\b
Examples:
  ffr train rewards score completions.jsonl
  ffr train rewards score completions.jsonl --profile paper --json rewards.json
  ffr train rewards score completions.jsonl --weight order=0 --terms mcc,pair_f1 --json -
\b
A line of FILE:
  {"completion": "<|utt_ids_start|>[1]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>",
   "solution": …, "utt_ids": [0, 1, 2], "img_ids": [0], "image_turn": [2],
   "embeddings": "vectors.npz"}
The last four are optional.
""",
)
@click.argument("file", metavar="FILE.jsonl", type=click.Path(path_type=Path))
@profile_options
@click.option(
    "--terms", default="", metavar="NAME,…", help="Also these terms, whatever their weight."
)
@json_option("a list with the terms and the total of each line")
def score(
    file: Path, profile_name: str, weights: tuple[str, ...], terms: str, json_file: Path | None
) -> None:
    """Rewards of completions: the terms of a profile, unweighted, and their weighted total.

    A term is null where it cannot be computed, and so is a total that it has weight in. Without any
    embeddings, terms that need them are left out of the total.
    """
    from ffr_eval.cli.output import require_writable, write_report
    from ffr_eval.errors import InputError
    from ffr_eval.metrics.named import split_names
    from ffr_train.rewards import term_named
    from ffr_train.rewards.lines import read_completions
    from ffr_train.rewards.scoring import score

    profile = chosen_profile(profile_name, weights)
    names = tuple(dict.fromkeys((*profile.weights, *split_names(terms))))
    for name in names:
        term_named(name)  # a wrong name is refused before anything is read
    require_writable(json_file)
    if json_file is not None and json_file.exists() and json_file.samefile(file):
        remedy = "give another file, or - for standard output"
        raise InputError("is the file that is read", file=json_file, field="--json", remedy=remedy)
    with progress(f"reading {file} …"):
        batch = read_completions(file)
    with progress("computing rewards …"):
        rewards = score(batch, profile, names)
    if str(json_file) != "-":
        _print(rewards, len(batch), file)
    if json_file is not None:
        write_report(rewards.to_dicts(), json_file)


def _print(rewards: Rewards, n: int, file: Path) -> None:
    from rich import box
    from rich.table import Table

    from ffr_eval.report.console import open_console

    console = open_console()
    profile = rewards.profile
    weights = ", ".join(f"{name} {weight:g}" for name, weight in profile.weights.items())
    console.print(f"{file}: {n:,} completions, profile {profile.name}")
    console.print(f"weights: {weights or 'none'}\n")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("term")
    for heading in ("mean", "min", "max", "null"):
        table.add_column(heading, justify="right")
    for name in (*rewards.terms, "total"):
        table.add_row(name, *_figures(rewards, name))
    console.print(table)
    for name, reasons in rewards.reasons.items():
        more = "; left out of the total" if name in rewards.left_out else ""
        found = ", ".join(f"{reason} ({number:,})" for reason, number in reasons.items())
        console.print(f"{name}: {found}{more}")


def _figures(rewards: Rewards, name: str) -> list[str]:
    import numpy as np

    values = rewards.total if name == "total" else rewards.terms[name]
    there = values[~np.isnan(values)]
    missing = f"{1 - len(there) / len(values):.1%}"
    if not len(there):
        return ["–", "–", "–", missing]
    return [*(f"{value:.4f}" for value in (there.mean(), there.min(), there.max())), missing]
