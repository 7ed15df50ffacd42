"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL_NAMES: Final = ("official", "strict", "official-1", "strict-1")
"""As in :mod:`ffr_eval.metrics.protocols`, which the start of a command should not import."""

Command = TypeVar("Command", bound="Callable[..., Any]")


def benchmark_option(command: Command) -> Command:
    """``--benchmark``."""
    text = "Benchmark folder, or a bundled one by name.  [default: that of the run]"
    return click.option("--benchmark", metavar="DIR", help=text)(command)


def split_option(command: Command) -> Command:
    """``--split``."""
    text = "Only this split.  [default: the run's, else all samples]"
    return click.option("--split", help=text)(command)


def protocol_option(default: str) -> Callable[[Command], Command]:
    """``--protocol``, ``None`` where it is not given.

    Args:
        default: What the help says of that.
    """
    return click.option(
        "--protocol",
        type=click.Choice(PROTOCOL_NAMES),
        metavar="|".join(PROTOCOL_NAMES[:2]),
        help="official: as the papers; strict: ours; or a version, strict-1.  "
        f"[default: {default}]",
    )


def resampling_options(command: Command) -> Command:
    """``--replicates``, ``--seed`` and ``--interval``: :class:`~ffr_eval.Resampling`."""
    for option in (
        click.option(
            "--interval",
            type=click.Choice(["percentile", "bca"]),
            default="percentile",
            show_default=True,
            help="How 95% intervals are read off the replicates.",
        ),
        click.option("--seed", default=0, show_default=True, help="Of the random numbers."),
        click.option(
            "--replicates",
            metavar="B",
            default=10_000,
            show_default=True,
            help="Bootstrap replicates: dialogues are drawn anew B times.",
        ),
    ):
        command = option(command)
    return command


def json_option(what: str) -> Callable[[Command], Command]:
    """``--json FILE``, passed on as ``json_file``.

    Args:
        what: What is written.
    """
    return click.option(
        "--json",
        "json_file",
        metavar="FILE",
        type=click.Path(path_type=Path, allow_dash=True),
        help=f"Also write {what} as JSON, unrounded; - is standard output.",
    )
