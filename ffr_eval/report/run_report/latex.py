"""The main table of a report for LaTeX (booktabs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ffr_eval.report.run_report import text
from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.html_page import TEMPLATES
from ffr_eval.report.run_report.table import main_table
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.report.run_report.contents import Report
    from ffr_eval.report.run_report.figures import ReportFigure
    from ffr_eval.report.run_report.table import Cell, MainTable

_WRITTEN: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "*": "{*}",  # at the beginning of a row this and the next would belong to \\
    "[": "{[}",
    "]": "{]}",
    "–": "--",
    "−": "$-$",
    "…": r"\dots{}",
}
_LAST_LATIN: Final = 0x17F


class Latex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def escaped(value: Any) -> Latex:
    """Text as it stands, in one line."""
    if isinstance(value, Latex):
        return value
    return Latex("".join(_WRITTEN.get(char, char) for char in visible(str(value))))


def latex_table(report: Report, figures: Sequence[ReportFigure], folder: str) -> str:
    r"""The table, ready for ``\input``.

    Args:
        report: What is shown.
        figures: Its figures, which are named in a comment.
        folder: Where the figures are, relative to the table.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701  # every value goes through `escaped`
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    table = main_table(report)
    names = "".join(row.name + row.model for row in (*table.rows, *table.references))
    first = 1 + 2 * table.ranked + table.models
    columns = "rr" * table.ranked + "l" + "l" * table.models + "r" * len(table.columns)
    return environment.get_template("report.tex.j2").render(
        table=table,
        facts=[(name, Latex(visible(value))) for name, value in text.facts(report)],
        notes=[Latex(visible(note)) for note in report.notes if report.incomplete],
        columns=Latex(columns + "r" * (not table.complete)),
        spans=_spans(table, first),
        rules=_rules(table, first),
        not_latin=any(ord(char) > _LAST_LATIN for char in names + report.benchmark),
        caption=_caption(report, table),
        label=Latex(
            "tab:ffr-" + "".join(c for c in report.benchmark if c.isascii() and c.isalnum())
        ),
        figures=[Latex(f"{visible(folder)}/{figure.name}.pdf") for figure in figures],
    )


def _cell(cell: Cell) -> Latex:
    shown = escaped(cell.text)
    if cell.mark == "best":
        shown = Latex(rf"\textbf{{{shown}}}")
    elif cell.mark == "second":
        shown = Latex(rf"\underline{{{shown}}}")
    if cell.ci:
        low, high = cell.ci.strip("[]").replace("−", "-").split(", ")
        shown = Latex(rf"{shown}$_{{[{low},\,{high}]}}$")
    return shown


def _spans(table: MainTable, first: int) -> list[Latex]:
    """The upper headings, one a cell; the columns before them are empty."""
    cells = [Latex("")] * first
    for over, n in table.spans:
        if over:
            cells.append(Latex(rf"\multicolumn{{{n}}}{{c}}{{{escaped(over)}}}"))
        else:
            cells += [Latex("")] * n
    return cells if table.complete else [*cells, Latex("")]


def _rules(table: MainTable, first: int) -> list[Latex]:
    """The lines below the upper headings."""
    rules, start = [], first + 1
    for over, n in table.spans:
        if over:
            rules.append(Latex(rf"\cmidrule(lr){{{start}-{start + n - 1}}}"))
        start += n
    return rules


def _caption(report: Report, table: MainTable) -> str:
    split = f", split {report.split}" if report.split else ""
    figures = f"{metric_label(report.metric.name)} and further figures on {report.benchmark}{split}"
    parts = [f"{figures} ({text.sample_text(report)}), protocol {report.protocol}."]
    if report.n_dialogues > 1:
        method = "BCa" if report.resampling.method == "bca" else "percentile"
        parts.append(
            f"In brackets: 95% intervals, {method} bootstrap over dialogues,"
            f" B = {report.resampling.replicates:,}."
        )
    parts.append("Bold: best, underlined: second best.")
    if len(report.tiers) > 1:
        parts.append("A tier ends where the next run is significantly worse than its first.")
    parts += text.incomplete(report)
    if table.references:
        parts.append("Below the line: not ranked.")
    return " ".join(parts)
