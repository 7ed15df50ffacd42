"""The heat maps of a report: runs by groups, and runs by classes of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.drawing import GREY, WIDTH, plain, shortened
from ffr_eval.report.run_report.text import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffr_eval.report.run_report.contents import Report

_MAP: Final = "cividis"  # even in lightness, also for the colour-blind and in greyscale
_GAP: Final = 0.35  # between groupings, in cells
_BRIGHT: Final = 0.5


def draw_groups(figure: Any, report: Report) -> None:
    """Runs by groups of samples, groupings side by side."""
    rows = report.everyone
    values = [
        np.array(
            [
                [np.nan if cell.value is None else cell.value for cell in group.values]
                for group in grouping.groups
            ],
            dtype=np.float64,
        ).T
        for grouping in report.groupings
    ]
    n_columns = sum(part.shape[1] for part in values)
    figure.set_size_inches(max(WIDTH, 1.6 + 0.56 * n_columns), 1.35 + 0.27 * len(rows))
    axes = figure.subplots()
    ranked = np.concatenate([part[: len(report.rows)].ravel() for part in values])
    shades = _shades(axes, ranked, metric_label(report.metric.name))
    start = 0.0
    ticks: list[float] = []
    labels: list[str] = []
    for grouping, part in zip(report.groupings, values, strict=True):
        _cells(axes, part, start, shades)
        for place, group in enumerate(grouping.groups):
            ticks.append(start + place)
            labels.append(f"{shortened(group.name, 14)}\n{group.n_samples:,}")
        middle = start + (part.shape[1] - 1) / 2
        axes.text(middle, -0.75, shortened(grouping.by, 8 * part.shape[1]), ha="center",
                  va="bottom", fontsize=9, fontweight="bold")  # fmt: skip
        start += part.shape[1] + _GAP
    _frame(axes, start - _GAP - 0.5, [shortened(row.name) + report.mark(row.name) for row in rows])
    crowded = max((len(line) for label in labels for line in label.split("\n")), default=0) > 9
    axes.set_xticks(ticks, labels, fontsize=8, rotation=90 if crowded else 0)
    if report.ceilings:
        axes.axhline(len(report.rows) - 0.5, color="white", linewidth=3)


def draw_errors(figure: Any, report: Report) -> None:
    """Runs by classes of errors."""
    names = list(report.error_classes)
    gains = np.array(
        [
            [np.nan if row.gains[name] is None else row.gains[name] for name in names]
            for row in report.errors
        ],
        dtype=np.float64,
    )
    figure.set_size_inches(WIDTH, 1.0 + 0.27 * len(report.errors))
    axes = figure.subplots()
    trivial = {row.name for row in report.rows if row.role != "run"}  # they would set the scale
    telling = [row.run not in trivial for row in report.errors]
    scale = gains[telling] if any(telling) else gains
    shades = _shades(axes, scale.ravel(), "gain in micro joint F1")
    _cells(axes, gains, 0.0, shades)
    runs = [shortened(row.run) + report.mark(row.run) for row in report.errors]
    _frame(axes, len(names) - 0.5, runs)
    axes.set_xticks(range(len(names)), [_two_lines(name) for name in names], fontsize=8)


def _two_lines(name: str) -> str:
    """A class of errors, broken where it has two parts."""
    return plain(name).replace(" ", "\n", 1).replace("-", "-\n", 1)


def _shades(axes: Any, values: NDArray[np.float64], label: str) -> Any:
    """The colours of values, and a bar that explains them."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    known = values[~np.isnan(values)]
    low = min(float(known.min(initial=0.0)), 0.0)
    high = max(float(known.max(initial=0.0)), low + 1e-9)
    shades = ScalarMappable(Normalize(low, high, clip=True), _MAP)
    bar = axes.figure.colorbar(shades, ax=axes, fraction=0.025, pad=0.015)
    bar.set_label(plain(label), fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return shades


def _cells(axes: Any, values: NDArray[np.float64], start: float, shades: Any) -> None:
    from matplotlib.patches import Rectangle

    for (row, column), value in np.ndenumerate(values):
        x = start + column
        if np.isnan(value):
            axes.text(x, row, NONE, ha="center", va="center", fontsize=8, color=GREY)
            continue
        red, green, blue, _ = shades.to_rgba(value)
        axes.add_patch(Rectangle((x - 0.5, row - 0.5), 1, 1, color=(red, green, blue), linewidth=0))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < _BRIGHT
        shown = f"{value:.2f}"
        axes.text(
            x,
            row,
            shown.replace("-", "−") if float(shown) else "0",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )


def _frame(axes: Any, right: float, names: list[str]) -> None:
    axes.set_xlim(-0.5, right)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
