"""A report as Markdown, with links to the files of its figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.report.run_report import text
from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.html_page import TEMPLATES
from ffr_eval.report.run_report.table import main_table
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.report.run_report.contents import PairRow, Report
    from ffr_eval.report.run_report.figures import ReportFigure
    from ffr_eval.report.run_report.table import Cell

_SPECIAL: Final = re.compile(r"[\\`*_\[\]|~$]")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_LINKS: Final = (("://", "&#58;//"), ("www.", "www&#46;"))
_BEGINS: Final = re.compile(r"^(?:(\d{0,9})([-+.)])(?=\s|$)|(?=#|=|--))")
"""What is a heading or a list at the beginning of a line."""

_MOST_PAIRS: Final = 15


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escaped(value: Any) -> Markdown:
    """Text as it stands, in one line: nothing of it is markup, a link, a mention or a formula."""
    if isinstance(value, Markdown):
        return value
    shown = _SPECIAL.sub(r"\\\g<0>", visible(str(value)).strip())
    shown = _BEGINS.sub(lambda found: f"{found[1] or ''}\\{found[2] or ''}", shown)
    shown = "".join(_ENTITIES.get(char, char) for char in shown)
    for link, written in _LINKS:
        shown = shown.replace(link, written)
    return Markdown(shown)


def markdown_page(
    report: Report,
    figures: Sequence[ReportFigure],
    why: Mapping[str, str],
    folder: str,
) -> str:
    """The page.

    Args:
        report: What is shown.
        figures: Its figures.
        why: By section, why it is not there.
        folder: Where the figures are, relative to the page.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701  # every value goes through `escaped`
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    table = main_table(report)
    pairs, which = _pairs(report)
    return environment.get_template("report.md.j2").render(
        title=f"{report.benchmark}: {text.plural(len(report.everyone), 'run')}",
        facts=text.facts(report),
        table=table,
        headings=[
            column.label if not column.over else f"{column.over.split()[0]} {column.label}"
            for column in table.columns
        ],
        metric=metric_label(report.metric.name),
        significance=text.significance(report),
        mark_text=text.mark_text(),
        tier_text=text.tier_text(),
        references=text.references(report),
        pairs=[_pair(report, pair) for pair in pairs],
        which=which,
        figures=[(figure, Markdown(f"{_path(folder)}/{figure.name}.png")) for figure in figures],
        left_out=list(why.values()),
        notes=report.notes,
    )


def _cell(cell: Cell) -> Markdown:
    shown = escaped(cell.text)
    if cell.mark == "best":
        shown = Markdown(f"**{shown}**")
    elif cell.mark == "second":
        shown = Markdown(f"<ins>{shown}</ins>")
    return Markdown(f"{shown} {escaped(cell.ci)}".strip())


def _pairs(report: Report) -> tuple[list[PairRow], str]:
    """All pairs, better first; of many, those that are neighbours."""
    if len(report.pairs) > _MOST_PAIRS:
        return text.neighbours(report), "Every run against the next one"
    rows = report.rows
    found = [
        report.pair(row.name, other.name)
        for place, row in enumerate(rows)
        for other in rows[place + 1 :]
    ]
    return [pair for pair in found if pair is not None], "Every two runs"


def _pair(report: Report, pair: PairRow) -> dict[str, Any]:
    return {
        "a": pair.a + report.mark(pair.a),
        "b": pair.b + report.mark(pair.b),
        "delta": text.signed(pair.delta.value),
        "ci": text.interval(pair.delta.ci),
        "p": text.p_value(pair.p),
        "p_holm": text.p_value(pair.p_holm),
        "significant": pair.significant,
    }


def _path(folder: str) -> str:
    from urllib.parse import quote

    return quote(folder)
