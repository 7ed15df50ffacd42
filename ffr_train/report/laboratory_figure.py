"""Figures of the laboratory: who is paid what, and where training leads; readable in greyscale."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.writing import replacing
from ffr_train.rewards.bandit import METRICS
from ffr_train.rewards.laboratory import MORE_THAN_GOLD, PAID_ON_NEGATIVE, UNDESERVED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_train.rewards.bandit import Simulation
    from ffr_train.rewards.laboratory import Check, PolicyResult, Stage

_STYLE: Final[dict[str, Any]] = {
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "ffr",
}
_LINES: Final = (  # Okabe-Ito colours of different lightness, and dashes
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#000000", ":"),
    ("#56B4E9", "-."),
)
_TITLES: Final = {
    "strict_f1": "strict F1 (micro, joint)",
    "mcc": "MCC",
    "empty_rate": "share of answers without ids",
    "size_ratio": "ids answered / ids of the gold",
}


def draw_check(check: Check, path: Path) -> None:
    """Draw the totals as a heat map, policies by profiles; the file is replaced in one step.

    Raises:
        InputError: If the file cannot be written.
    """
    names = list(check.profiles)
    policies = list(next(iter(check.profiles.values())).policies)
    found = [[check.profiles[name].policies[policy] for name in names] for policy in policies]
    totals = np.array([[_total(result) for result in row] for row in found])
    shown = np.array([[_label(result) for result in row] for row in found])
    with _figure(path, (2.9 + 1.5 * len(names), 0.34 * len(policies) + 1.6)) as figure:
        axes = figure.subplots()
        top = max(float(np.nanmax(totals, initial=0.0)), 1e-9)
        image = axes.imshow(
            totals, cmap="Greys", vmin=min(float(np.nanmin(totals, initial=0.0)), 0.0),
            vmax=top * 1.15, aspect="auto",
        )  # fmt: skip
        axes.set_xticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(policies)), policies)
        axes.tick_params(length=0)
        for (row, column), label in np.ndenumerate(shown):
            dark = totals[row, column] > 0.6 * top
            cheats = label.endswith("!")
            axes.text(
                column,
                row,
                label,
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if cheats else "normal",
                color="white" if dark else "black",
            )
        for edge in range(1, len(policies)):
            axes.axhline(edge - 0.5, color="white", linewidth=1)
        figure.colorbar(image, label="mean total reward", shrink=0.6)
        figure.suptitle(_title(check.stage), fontsize=9)
        figure.supxlabel(
            "!! more than the gold    ! at least a random half of the gold, lower strict F1\n"
            "° something for a wrong answer to a query without gold",
            fontsize=8,
        )


def draw_simulation(simulation: Simulation, path: Path) -> None:
    """Draw the hidden metrics over steps: mean of the seeds, and the band from least to most.

    Raises:
        InputError: If the file cannot be written.
    """
    steps = np.arange(simulation.steps + 1)
    with _figure(path, (9.5, 6.0)) as figure:
        panels = figure.subplots(2, 2, sharex=True)
        for axes, metric in zip(panels.flat, METRICS, strict=True):
            for place, (name, course) in enumerate(simulation.profiles.items()):
                colour, dashes = _LINES[place % len(_LINES)]
                values = course.metrics[metric]
                axes.fill_between(
                    steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0
                )
                axes.plot(steps, values.mean(axis=0), dashes, color=colour, label=name, lw=1.8)
            axes.set_title(_TITLES[metric])
            axes.spines[["top", "right"]].set_visible(False)
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, 0.0), max(high, 0.05))
            axes.axhline(0, color="#999999", linewidth=0.6)
        for axes in panels[1]:
            axes.set_xlabel("step")
        panels[1, 1].axhline(1, color="#999999", linewidth=0.6)
        panels[0, 0].legend(frameon=False, fontsize=9)
        figure.suptitle(
            f"{_title(simulation.stage)}\n{simulation.seeds} seeds, mean and range; the honest arm"
            f" gets {simulation.skill:.0%} of the ids right",
            fontsize=9,
        )


def _total(result: PolicyResult) -> float:
    return math.nan if result.total is None else result.total


def _label(result: PolicyResult) -> str:
    number = "–" if result.total is None else f"{result.total:.2f}"
    negative = "°" if PAID_ON_NEGATIVE in result.flags else ""
    if MORE_THAN_GOLD in result.flags:
        return f"{number}{negative} !!"
    return f"{number}{negative} !" if UNDESERVED in result.flags else f"{number}{negative}"


def _title(stage: Stage) -> str:
    split = f", split {stage.split}" if stage.split is not None else ""
    text = f"{stage.name}{split}: {len(stage.samples):,} queries; vectors: {stage.vectors}"
    return "".join(char for char in text if char.isprintable()).replace("$", r"\$")


@contextlib.contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """A figure that is written at the end."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = _STYLE
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of the benchmark's name
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        kind = path.suffix.lower()[1:]
        meta = {} if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=100, metadata=meta)
