"""A report as one HTML page that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.report.run_report import text
from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.table import main_table
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.report.run_report.contents import Report
    from ffr_eval.report.run_report.figures import ReportFigure

TEMPLATES: Final = Path(__file__).parent / "templates"


def html_page(
    report: Report,
    figures: Sequence[ReportFigure],
    why: Mapping[str, str],
    drawn: Mapping[str, bytes],
) -> str:
    """The page. All text is escaped; figures are put in as SVG.

    Args:
        report: What is shown.
        figures: Its figures.
        why: By section, why it is not there.
        drawn: The figures by name, as SVG.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    style = environment.get_template("report.css.j2").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        style=markupsafe.Markup(style),  # noqa: S704  # the template has no variables
        style_hash=f"sha256-{digest}",
        title=f"{report.benchmark}: {text.plural(len(report.everyone), 'run')}",
        facts=text.facts(report),
        table=main_table(report),
        metric=metric_label(report.metric.name),
        significance=text.significance(report),
        mark_text=text.mark_text(),
        tier_text=text.tier_text(),
        matrix=pair_matrix(report),
        references=text.references(report),
        figures=[_figure(figure, drawn[figure.name]) for figure in figures],
        left_out=list(why.values()),
        notes=report.notes,
    )


def _figure(figure: ReportFigure, svg: bytes) -> dict[str, str]:
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
        "uri": "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii"),
    }


def pair_matrix(report: Report) -> dict[str, Any] | None:
    """Every two runs: the row's metric less the column's, below the diagonal; ``None`` without."""
    if not report.pairs:
        return None
    rows = []
    for place, row in enumerate(report.rows[1:], 1):
        cells = []
        for other in report.rows[:place]:
            pair = report.pair(row.name, other.name)
            if pair is None or pair.delta.value is None:
                cells.append({"delta": text.NONE, "ci": "", "p": "", "differs": False})
                continue
            cells.append(
                {
                    "delta": text.signed(pair.delta.value),
                    "ci": text.interval(pair.delta.ci),
                    "p": "" if pair.p_holm is None else f"p {text.p_value(pair.p_holm)}",
                    "differs": pair.significant,
                }
            )
        rows.append({"name": row.name + report.mark(row.name), "cells": cells})
    columns = [row.name + report.mark(row.name) for row in report.rows[:-1]]
    return {"columns": columns, "rows": rows}
