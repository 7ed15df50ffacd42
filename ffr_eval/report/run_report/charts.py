"""The charts of a report: scores, curves, trade-offs, thresholds and outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.drawing import (
    GREY,
    HATCHES,
    WIDTH,
    colour,
    dashes,
    marker,
    plain,
    shortened,
)
from ffr_eval.report.run_report.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.report.run_report.contents import Calibration, Grouping, Report, RunRow

MOST_LINES: Final = 8
"""More lines in one figure cannot be told apart."""

_MOST_POINTS: Final = 150
_LEAP: Final = 0.02  # of the best value; such steps of a curve are drawn whatever their number


def draw_scores(figure: Any, report: Report) -> None:
    """The metric of every run with its interval, and what it is held against."""
    references = [
        (f"{cut.name}{report.mark(cut.name)}, best threshold", cut.value, "d")
        for cut in report.best_cuts
    ]
    references += [(f"floor: {floor.name}", floor.value, "x") for floor in report.floors]
    references = [found for found in references if found[1] is not None]
    n = len(report.rows) + len(references)
    figure.set_size_inches(WIDTH, 0.75 + 0.24 * n)
    axes = figure.subplots()
    for shaded, tier in enumerate(report.tiers):
        first = report.rows.index(tier[0])
        if shaded % 2 == 0 and len(report.tiers) > 1:
            axes.axhspan(first - 0.5, first + len(tier) - 0.5, color="#ececec", linewidth=0)
    for place, row in enumerate(report.rows):
        _estimate(axes, place, row)
    for place, (_, value, sign) in enumerate(references, len(report.rows)):
        axes.plot([value], [place], sign, color=GREY, markersize=5, fillstyle="none")
    if references:
        axes.axhline(len(report.rows) - 0.5, color="#bbbbbb", linewidth=0.8)
    names = [shortened(row.name, 32) + report.mark(row.name) for row in report.rows]
    names += [shortened(name, 32) for name, _, _ in references]
    axes.set_yticks(range(n), names)
    for label in axes.get_yticklabels()[len(report.rows) :]:
        label.set_color(GREY)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_xlabel(plain(metric_label(report.metric.name)))
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)


def _estimate(axes: Any, place: int, row: RunRow) -> None:
    value, ci = row.headline.value, row.headline.ci
    if value is None:
        axes.text(0.01, place, "undefined", transform=axes.get_yaxis_transform(), va="center",
                  color=GREY, fontsize=8)  # fmt: skip
        return
    if ci is not None:
        axes.plot([ci.lo, ci.hi], [place, place], "-", color=colour(0), solid_capstyle="butt")
    axes.plot([value], [place], "o", color=colour(0), markersize=5.5)


def draw_turns(figure: Any, report: Report, grouping: Grouping) -> None:
    """The metric of every run by length of the dialogue."""
    rows = report.rows[:MOST_LINES]
    figure.set_size_inches(WIDTH, max(2.9, 0.6 + 0.24 * len(rows)))
    axes = figure.subplots()
    step = 0.5 / max(len(rows), 1)
    for place in range(len(rows)):
        shift = (place - (len(rows) - 1) / 2) * min(step, 0.08)
        points = [
            (x + shift, group.values[place].value, group.values[place].ci)
            for x, group in enumerate(grouping.groups)
            if group.values[place].value is not None
        ]
        for x, _, ci in points:
            if ci is not None:
                axes.plot([x, x], [ci.lo, ci.hi], "-", color=colour(place), linewidth=0.9)
        axes.plot(
            [x for x, _, _ in points],
            [value for _, value, _ in points],
            linestyle=dashes(place),
            marker=marker(place),
            color=colour(place),
            markeredgecolor="white",
            markeredgewidth=0.6,
            markersize=6.5,
        )
    names = [
        f"{group.name}\n{plural(group.n_samples, 'query', 'queries')}" for group in grouping.groups
    ]
    axes.set_xticks(range(len(names)), [_plain_lines(name) for name in names])
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xlabel("turns of the dialogue")
    axes.set_ylabel(plain(metric_label(report.metric.name)))
    axes.grid(visible=True, axis="y")
    _legend(axes, [shortened(row.name, 22) + report.mark(row.name) for row in rows])


def _plain_lines(text: str) -> str:
    """Text of several lines for matplotlib."""
    return "\n".join(map(plain, text.split("\n")))


def _legend(axes: Any, names: Sequence[str], lines: bool = True) -> None:
    """A legend beside the axes; made by hand, as names may begin with an underscore."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=colour(place),
            marker=marker(place),
            linestyle=dashes(place) if lines else "none",
        )
        for place in range(len(names))
    ]
    axes.legend(
        handles,
        [_not_hidden(name) for name in names],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        handlelength=3.2 if lines else 1.2,
        ncols=1 if len(names) <= 16 else 2,
    )


def _not_hidden(label: str) -> str:
    """A label that matplotlib shows; it takes those with an underscore for hidden ones."""
    return f"\u200b{label}" if label.startswith("_") else label


def frontier(points: Sequence[tuple[float, float]], lower: bool = False) -> list[int]:
    """The points that no other beats: at most as expensive and better, or cheaper and as good.

    Args:
        points: Cost and value of each.
        lower: Whether lower values are better.

    Returns:
        Their places, cheapest first.
    """
    sign = 1 if lower else -1
    order = sorted(
        range(len(points)), key=lambda place: (points[place][0], sign * points[place][1])
    )
    found: list[int] = []
    for place in order:
        if not found or sign * points[place][1] < sign * points[found[-1]][1]:
            found.append(place)
    return found


def draw_tradeoff(figure: Any, report: Report, rows: Sequence[RunRow], attribute: str) -> None:
    """The metric against cost or latency, with the frontier."""
    figure.set_size_inches(WIDTH, max(2.9, 0.6 + 0.22 * min(len(rows), 16)))
    axes = figure.subplots()
    points = [(float(getattr(row, attribute)), float(row.headline.value or 0)) for row in rows]
    best = frontier(points, report.metric.better == "lower")
    axes.plot(
        [points[place][0] for place in best],
        [points[place][1] for place in best],
        color="#999999",
        linewidth=1,
        drawstyle="steps-post",
        zorder=1,
    )
    for place, ((x, y), row) in enumerate(zip(points, rows, strict=True)):
        ci = row.headline.ci
        if ci is not None:
            axes.plot([x, x], [ci.lo, ci.hi], "-", color=colour(place), linewidth=0.9)
        axes.plot([x], [y], marker=marker(place), color=colour(place), markersize=7)
    cheap = [x for x, _ in points]
    if min(cheap) > 0 and max(cheap) > 10 * min(cheap):
        axes.set_xscale("log")
    unit = "cost of a query" if attribute == "cost" else "seconds a query"
    axes.set_xlabel(f"{unit}, mean" + (" (log scale)" if axes.get_xscale() == "log" else ""))
    axes.set_ylabel(plain(metric_label(report.metric.name)))
    axes.grid(visible=True)
    _legend(axes, [shortened(row.name, 22) for row in rows], lines=False)


def draw_calibration(figure: Any, report: Report, runs: Sequence[str]) -> None:
    """F1 over thresholds: one line of panels a run, one column a modality."""
    modalities = list(dict.fromkeys(found.modality for found in report.calibrations))
    figure.set_size_inches(WIDTH, 0.5 + 1.7 * len(runs))
    grid = figure.subplots(len(runs), len(modalities), squeeze=False)
    curves = {(found.run, found.modality): found for found in report.calibrations}
    for line, run in enumerate(runs):
        for column, modality in enumerate(modalities):
            axes = grid[line, column]
            found = curves.get((run, modality))
            axes.set_title(f"{shortened(run)}{report.mark(run)}: {modality}s")
            if found is None:
                axes.set_axis_off()
                continue
            draw_curve(axes, found)
            if line == len(runs) - 1:
                axes.set_xlabel("threshold")
            if column == 0:
                axes.set_ylabel("micro F1")


def draw_curve(axes: Any, found: Calibration) -> None:
    """One panel of the thresholds: the curve thinned out, its best point, the run's selection."""
    import numpy as np

    thresholds, f1 = found.thresholds[::-1], found.f1[::-1]  # rising, as the steps are drawn
    grid = np.linspace(thresholds[0], thresholds[-1], _MOST_POINTS)
    leaps = np.flatnonzero(np.abs(np.diff(f1)) > _LEAP * found.best_f1)
    kept = np.unique(
        np.concatenate([np.searchsorted(thresholds, grid), leaps, leaps + 1, [f1.argmax()]])
    )
    axes.plot(thresholds[kept], f1[kept], color=colour(0), drawstyle="steps-pre")
    axes.plot([found.best_threshold], [found.best_f1], "o", color=colour(1), zorder=3)
    said = f"best {found.best_f1:.3f} at {found.best_threshold:.3g}"
    if found.reached is not None:
        axes.axhline(found.reached, color=GREY, linestyle="--", linewidth=1)
        said += f"\nselection {found.reached:.3f} (dashed)"
    axes.text(0.99, 0.98, said, transform=axes.transAxes, ha="right", va="top", fontsize=8)
    axes.set_ylim(0, 1.5 * max(found.best_f1, found.reached or 0.0, 0.01))
    axes.grid(visible=True)


def draw_outcomes(figure: Any, report: Report) -> None:
    """How the samples of every run ended, as stacked bars."""
    rows = report.everyone
    names = [name for name in rows[0].outcomes if any(row.outcomes[name] for row in rows)]
    figure.set_size_inches(WIDTH, 0.8 + 0.2 * -(-len(names) // 4) + 0.26 * len(rows))
    axes = figure.subplots()
    shades = {"ok": "#0072B2", "empty": "#9AC6E8"}
    others = ("#D55E00", "#E69F00", "#CC79A7", "#009E73", "#7A7A7A", "#D9D9D9")
    left = [0.0] * len(rows)
    for name in names:
        place = list(rows[0].outcomes).index(name)
        shares = [100 * row.outcomes[name] / max(row.n_samples, 1) for row in rows]
        axes.barh(
            range(len(rows)),
            shares,
            left=left,
            height=0.72,
            color=shades.get(name, others[(place - 2) % len(others)]),
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white",
            linewidth=0.6,
            label=name.replace("_", " "),
        )
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_yticks(range(len(rows)), [shortened(row.name) + report.mark(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the samples in %")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=min(len(names), 4), handlelength=2.4)
