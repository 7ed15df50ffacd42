"""The figures of a report: what they are called, what they say, and how each is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.report.run_report.charts import (
    MOST_LINES,
    draw_calibration,
    draw_outcomes,
    draw_scores,
    draw_tradeoff,
    draw_turns,
)
from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.maps import draw_errors, draw_groups
from ffr_eval.report.run_report.text import joined, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.report.run_report.contents import Grouping, Report

_MOST_CURVES: Final = 6
_SECTIONS: Final = ("groups", "latency", "cost", "calibration", "outcomes", "errors")


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure.

    Attributes:
        name: Of its files, without suffix.
        title: What it shows, in a few words.
        caption: What it says and how it was computed.
        alt: For who cannot see it.
        draw: Draws it on a matplotlib figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Any], None]


NAMES: Final = (
    "scores", "turns", "groups", "cost", "latency", "calibration", "outcomes", "errors",
)  # fmt: skip
"""All names that figures may have, in the order in which they are shown."""


def report_figures(report: Report) -> tuple[list[ReportFigure], dict[str, str]]:
    """The figures of a report that there is data for, and for the others why there is none."""
    why = dict(report.left_out)
    found = [_scores(report)]
    found += _turns(report)
    if report.groupings:
        found.append(_groups(report))
    for name, unit in (("cost", "cost"), ("latency_s", "latency")):
        figure = _tradeoff(report, name)
        if figure is None:
            complete = "complete " if report.incomplete else ""
            why[unit] = f"Fewer than two {complete}runs say what their answers took in {unit}."
        else:
            found.append(figure)
    if report.calibrations:
        found.append(_calibration(report))
    if report.n_samples:
        found.append(_outcomes(report))
    if report.errors:
        found.append(_errors(report))
    return found, {name: why[name] for name in _SECTIONS if name in why}


def _label(report: Report) -> str:
    return metric_label(report.metric.name)


def _best_text(report: Report) -> str:
    return "lower is better" if report.metric.better == "lower" else "higher is better"


def _scores(report: Report) -> ReportFigure:
    label = _label(report)
    bars = "" if report.n_dialogues < 2 else " The lines are 95% intervals over dialogues."
    bands = " Shaded bands are tiers." if len(report.tiers) > 1 else ""
    below = [
        ("floors", report.floors),
        ("scoring models at their best threshold", report.best_cuts),
    ]
    shown = joined([name for name, references in below if references])
    grey = f" In grey: {shown}." if shown else ""
    best = report.rows[0]
    first = "" if best.incomplete else f"; {best.name} is first"
    return ReportFigure(
        "scores",
        "Scores",
        f"{label} of each run ({_best_text(report)}).{grey}{bars}{bands}",
        f"{label} of {plural(len(report.rows), 'run')}{first}.",
        partial(draw_scores, report=report),
    )


def _turns(report: Report) -> list[ReportFigure]:
    grouping = report.grouping("turns")
    if grouping is None or len(grouping.groups) < 2:
        return []
    label = _label(report)
    shown = min(len(report.rows), MOST_LINES)
    some = f" Only the first {shown} runs are drawn." if shown < len(report.rows) else ""
    sizes = ", ".join(f"{group.name} {_size(group.n_samples)}" for group in grouping.groups)
    return [
        ReportFigure(
            "turns",
            "Length of the dialogue",
            f"{label} by the number of turns of the dialogue ({sizes}).{_edges(grouping)}"
            f" Lines up and down are 95% intervals over the dialogues of a group.{some}",
            f"{label} of {plural(shown, 'run')} for dialogues of growing length.",
            partial(draw_turns, report=report, grouping=grouping),
        )
    ]


def _size(n: int) -> str:
    return plural(n, "query", "queries")


def _edges(grouping: Grouping) -> str:
    """What the names of the usual groups mean; others say it themselves."""
    return " Short: below 35 turns, medium: 35 to 65, long: more." if grouping.by == "turns" else ""


def _groups(report: Report) -> ReportFigure:
    label = _label(report)
    shown = ", ".join(grouping.by for grouping in report.groupings)
    families = {grouping.family for grouping in report.groupings}
    parts = [f"{label} of each run (rows) in groups of samples (columns: {shown}); the number of"]
    parts.append("samples is below each group. A dash: undefined there.")
    if "position" in families:
        parts.append("Position: the third of the dialogue in which the gold lies on average.")
    if "dispersion" in families:
        parts.append("Dispersion: quarters by how far the gold is scattered, q1 the densest.")
    if "kind" in families:
        parts.append("On negative queries, which have no gold, F1 is 0 or undefined.")
    n_groups = sum(len(grouping.groups) for grouping in report.groupings)
    return ReportFigure(
        "groups",
        "Groups of samples",
        " ".join(parts),
        f"Heat map of {label}: {plural(len(report.everyone), 'run')} by {n_groups} groups.",
        partial(draw_groups, report=report),
    )


def _errors(report: Report) -> ReportFigure:
    classes = "; ".join(f"{name} ({what})" for name, what in report.error_classes.items())
    return ReportFigure(
        "errors",
        "Classes of errors",
        "What micro joint F1 would rise by if only the errors of one class were put right; every"
        f" wrong or missed id is in one class, the first that fits: {classes}.",
        f"Heat map of gains: {plural(len(report.errors), 'run')} by"
        f" {len(report.error_classes)} classes of errors.",
        partial(draw_errors, report=report),
    )


def _tradeoff(report: Report, attribute: str) -> ReportFigure | None:
    rows = [
        row
        for row in report.rows
        if getattr(row, attribute) is not None
        and row.headline.value is not None
        and not row.incomplete
    ]
    if len(rows) < 2 or all(not getattr(row, attribute) for row in rows):
        return None
    label = _label(report)
    some = " Incomplete runs are not drawn." if any(row.incomplete for row in report.rows) else ""
    unit = "cost" if attribute == "cost" else "latency"
    what = (
        "mean cost of a query, in the currency of the price table"
        if unit == "cost"
        else "mean seconds a query, as the runs recorded them on the machines they ran on"
    )
    return ReportFigure(
        unit,
        f"Score against {unit}",
        f"{label} against {unit} ({what}). The line joins the runs to which no other is both better"
        f" and at most as {'expensive' if unit == 'cost' else 'slow'}.{some}",
        f"{label} of {plural(len(rows), 'run')} against {unit}.",
        partial(draw_tradeoff, report=report, rows=rows, attribute=attribute),
    )


def _calibration(report: Report) -> ReportFigure:
    runs = _scoring_runs(report)
    more = len({found.run for found in report.calibrations}) - len(runs)
    some = f" {plural(more, 'more run')} with scores not drawn." if more else ""
    return ReportFigure(
        "calibration",
        "Threshold of the selection",
        "Micro F1 of a modality if everything with a score of at least the threshold were selected."
        " The dot is the best threshold, chosen on these very samples; the dashed line is what the"
        " run's own selection reached. A selection that is no single threshold, such as the k best"
        f" of each query, can lie above the curve.{some}",
        f"F1 over the selection threshold for {plural(len(runs), 'run')}.",
        partial(draw_calibration, report=report, runs=runs),
    )


def _scoring_runs(report: Report) -> list[str]:
    return list(dict.fromkeys(found.run for found in report.calibrations))[:_MOST_CURVES]


def _outcomes(report: Report) -> ReportFigure:
    return ReportFigure(
        "outcomes",
        "Outcomes",
        f"How the {_size(report.n_samples)} of each run ended. ok: an answer with ids; empty: the"
        " model said that nothing matches; all others: no usable answer, which scores as nothing"
        " found and is never dropped.",
        f"Share of outcomes for {plural(len(report.everyone), 'run')}.",
        partial(draw_outcomes, report=report),
    )
