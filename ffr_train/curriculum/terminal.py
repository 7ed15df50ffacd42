"""What curriculum commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.report.console import open_console
from ffr_train.curriculum.levels import LEVELS, UNKNOWN, thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.curriculum.difficulty_file import Difficulty
    from ffr_train.curriculum.levels import Rule
    from ffr_train.curriculum.pilot import Pilot

_NONE: Final = "–"


def print_difficulty(difficulty: Difficulty, rule: Rule, title: str) -> None:
    """Levels with their shares and means, and the thresholds."""
    console = open_console()
    console.print(f"{title}: {len(difficulty):,} samples, levels by {rule}\n")
    table = _table("level", ("samples", "share", "mean F1", "mean entropy"))
    for code, name in [*enumerate(LEVELS), (UNKNOWN, "not measured")]:
        rows = difficulty.level == code
        number = int(rows.sum())
        if code == UNKNOWN and not number:
            continue
        table.add_row(
            name,
            f"{number:,}",
            f"{number / len(difficulty):.1%}",
            _mean(difficulty.f1[rows], 3),
            _mean(difficulty.entropy[rows], 4),
        )
    console.print(table)
    found = thresholds(difficulty.f1, difficulty.entropy)
    kinds = sorted({kind for kind in difficulty.entropy_kind if kind is not None})
    table = _table("threshold", ("25%", "50%", "75%"))
    table.add_row("F1", *(_number(value, 4) for value in found.f1))
    label = f"entropy ({', '.join(kinds)})" if kinds else "entropy"
    table.add_row(label, *(_number(value, 4) for value in found.entropy))
    console.print(table)


def print_pilot(pilot: Pilot, title: str, difficulty: Difficulty | None) -> None:
    """How many groups of rollouts have no variance, and why; by level if that is known."""
    console = open_console()
    n = len(pilot)
    kept = int(pilot.keep.sum())
    console.print(
        f"{title}: {n:,} samples × {pilot.rewards.shape[1]} rollouts, profile"
        f" {pilot.profile.name}; {kept:,} kept, {n - kept:,} without variance\n"
    )
    groups = pilot.groups()
    table = _table("samples", ("all", "kept", *list(groups)[1:], "mean reward"))
    parts = [("all", np.ones(n, dtype=np.bool_))]
    if difficulty is not None:
        levels = difficulty.levels_of(pilot.sample_id)
        parts += [(name, levels == code) for code, name in enumerate(LEVELS)]
        if (levels == UNKNOWN).any():
            parts.append(("not measured", levels == UNKNOWN))
    for name, rows in parts:
        numbers = [int((flags & rows).sum()) for flags in groups.values()]
        mean = _mean(pilot.rewards[rows].ravel(), 3)
        table.add_row(name, f"{int(rows.sum()):,}", *(f"{number:,}" for number in numbers), mean)
    console.print(table)


def _table(first: str, headings: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _mean(values: FloatArray, digits: int) -> str:
    known = values[~np.isnan(values)]
    return f"{known.mean():.{digits}f}" if len(known) else _NONE


def _number(value: float, digits: int) -> str:
    return _NONE if np.isnan(value) else f"{value:.{digits}f}"
