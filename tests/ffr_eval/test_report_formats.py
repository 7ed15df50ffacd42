"""The formats of a report: what users wrote stays text, and pages need nothing but themselves."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from ffr_eval.metrics.named import parse_metric
from ffr_eval.report.run_report import latex as report_latex
from ffr_eval.report.run_report import markdown as report_markdown
from ffr_eval.report.run_report.build import COLUMNS
from ffr_eval.report.run_report.contents import (
    Estimate,
    Group,
    Grouping,
    PairRow,
    ReferenceRow,
    Report,
    RunRow,
)
from ffr_eval.report.run_report.drawing import render, shortened
from ffr_eval.report.run_report.figures import report_figures
from ffr_eval.report.run_report.html_page import html_page
from ffr_eval.report.run_report.latex import latex_table
from ffr_eval.report.run_report.markdown import markdown_page
from ffr_eval.report.run_report.table import main_table
from ffr_eval.statistics import Interval
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Sequence

NASTY = '<script>alert(1)</script> & "q" 模型 $x$ a_b 50% | #1 {c} \\d ~ ^ [e](http://f.g) *h*'


def row(name: str, value: float | None, tier: int | None = 1, **more: object) -> RunRow:
    ci = None if value is None else Interval(value - 0.1, value + 0.1)
    found = RunRow(
        name=name,
        model="m",
        role="run",
        headline=Estimate(value, ci),
        figures=dict.fromkeys(COLUMNS, value),
        n_samples=10,
        n_scored=10,
        outcomes={"ok": 9, "empty": 1, "refusal": 0},
        tier=tier,
        rank_lo=1,
        rank_hi=2,
    )
    return replace(found, **more)  # type: ignore[arg-type]


def report(rows: Sequence[RunRow], **more: object) -> Report:
    names = [found.name for found in rows]
    pairs = [
        PairRow(a, b, Estimate(0.1, Interval(0.0, 0.2)), 0.01, 0.02)
        for place, a in enumerate(names)
        for b in names[place + 1 :]
    ]
    groups = [
        Group(name, 5, 2, [Estimate(found.headline.value) for found in rows])
        for name in ("short", NASTY)
    ]
    found = Report(
        benchmark="bench",
        hash="sha256:0",
        split="test",
        n_samples=10,
        n_dialogues=4,
        protocol="strict-1",
        metric=parse_metric("micro.joint.f1"),
        resampling=Resampling(100),
        version="0",
        command="ffr report",
        rows=rows,
        ceilings=(),
        floors=(ReferenceRow("none", "nothing is predicted", 0.0),),
        best_cuts=(),
        pairs=pairs,
        groupings=[Grouping("turns", groups)],
        calibrations=(),
        errors=(),
        error_classes={},
        left_out={"errors": f"left out: {NASTY}"},
        notes=[f"note: {NASTY}"],
    )
    return replace(found, **more)  # type: ignore[arg-type]


def html(found: Report) -> str:
    figures, why = report_figures(found)
    drawn = {figure.name: render(figure.draw, "svg") for figure in figures}
    return html_page(found, figures, why, drawn)


class Page(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_needs_nothing_and_runs_nothing() -> None:
    page = html(report([row(NASTY, 0.5), row("b", 0.4)], command=NASTY, benchmark=NASTY))
    found = Page(page)
    assert "script" not in found.tags
    assert "a" not in found.tags
    assert not {"href", "onload", "style"} & {name for name, _ in found.attributes}
    images = [value or "" for name, value in found.attributes if name == "src"]
    assert images
    assert all(uri.startswith("data:image/svg+xml;base64,") for uri in images)
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?https?:", page)
    for uri in images:
        svg = base64.b64decode(uri.partition(",")[2])
        ET.fromstring(svg)  # noqa: S314
        assert b"<script" not in svg
    assert found.text.count(NASTY) >= 5
    assert all(value for name, value in found.attributes if name == "alt")
    assert ("lang", "en") in found.attributes


def test_style_is_the_one_that_the_policy_allows() -> None:
    page = html(report([row("a", 0.5)], pairs=()))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}&#39;" in page or f"'sha256-{digest}'" in page
    assert "prefers-color-scheme: dark" in style[1]


def test_markdown_keeps_text_as_text() -> None:
    found = report([row(NASTY, 0.5), row("- b", 0.4), row("1. c", 0.3)])
    figures, why = report_figures(found)
    page = markdown_page(found, figures, why, "my figures")
    assert "<script" not in page
    assert "](my%20figures/scores.png)" in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    main = [line for line in tables if "tier" in line or "strict" not in line]
    cells = {len(re.split(r"(?<!\\)\|", line)) for line in main if "\\$x\\$" in line}
    assert len(cells) <= 2  # the main table and the pairs; no name makes columns of its own
    assert r"\- b" in page
    assert r"1\. c" in page


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b", r"a\_b"),
        ("a|b", r"a\|b"),
        ("$x$", r"\$x\$"),
        ("<i>", "&lt;i&gt;"),
        ("&amp;", "&amp;amp;"),
        ("# a", r"\# a"),
        ("+0.5", "+0.5"),
        ("+ 0.5", r"\+ 0.5"),
        ("0.5", "0.5"),
        ("2) b", r"2\) b"),
        ("a\nb", r"a\\nb"),
        ("http://a.b", "http&#58;//a.b"),
        ("![a](b)", r"!\[a\](b)"),
        ("模型", "模型"),
    ],
)
def test_markdown_escapes(text: str, written: str) -> None:
    assert report_markdown.escaped(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b&c%d#e$f", r"a\_b\&c\%d\#e\$f"),
        ("{x}\\y", r"\{x\}\textbackslash{}y"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("<|>", r"$<$$|$$>$"),
        ("[a]*", r"{[}a{]}{*}"),
        ("a\nb%", r"a\textbackslash{}nb\%"),
        ("模型", "模型"),
    ],
)
def test_latex_escapes(text: str, written: str) -> None:
    assert report_latex.escaped(text) == written


def test_latex_is_one_table_of_even_rows() -> None:
    found = report([row(NASTY, 0.5, n_scored=9), row("b", 0.4, tier=2)])
    page = latex_table(found, report_figures(found)[0], "t-figures")
    body = "\n".join(line for line in page.splitlines() if not line.startswith("%"))
    columns = re.search(r"\\begin\{tabular\}\{([rl]+)\}", body)
    assert columns is not None
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 + 2 + 1
    for line in rows:
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        cells = len(re.split(r"(?<!\\)&", line)) + sum(spans) - len(spans)
        assert cells == len(columns[1])
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    assert re.sub(r"\\\$", "", body).count("$") % 2 == 0
    assert r"\addlinespace" in body
    assert "XeLaTeX" in page
    assert "XeLaTeX" not in latex_table(report([row("é", 0.5)]), [], "f")


def test_best_is_bold_second_underlined_and_ties_share() -> None:
    rows = [
        row("a", 0.50004),
        row("b", 0.5),
        row("c", 0.3),
        row("all", 0.9, role="trivial"),
        row("none", None),
    ]
    table = main_table(report(rows, ceilings=[row("oracle", 1.0, None, role="ceiling")]))
    assert [found.cells[0].mark for found in table.rows] == ["best", "best", "second", "", ""]
    assert [found.cells[0].mark for found in table.references] == ["", ""]
    latex = latex_table(report(rows), [], "f")
    assert r"\textbf{0.500}$_{[0.400,\,0.600]}$" in latex
    assert r"\underline{0.300}" in latex


def test_marks_turn_with_the_metric() -> None:
    metric = parse_metric("over_retrieval")
    rows = [row("a", 0.1), row("b", 0.2), row("c", 0.3)]
    marks = [found.cells[0].mark for found in main_table(report(rows, metric=metric)).rows]
    assert marks == ["best", "second", ""]


def test_twenty_runs_with_long_names() -> None:
    rows = [row(f"{NASTY} {place}", 0.9 - place / 40, tier=1 + place // 5) for place in range(20)]
    found = report(rows)
    assert Page(html(found)).text.count(f"{NASTY} 19") >= 2
    assert len(shortened(NASTY)) <= 26 + NASTY.count("$")
