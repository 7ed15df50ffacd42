"""Coherence in the terminal: each figure beside what it must be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffr_eval.coherence_parts import MEASURES
from ffr_eval.report.console import Column, open_console, tables_of
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from ffr_eval.coherence import Coherence, CoherenceReport

_HEADINGS = {"": "", "gold_": "gold's ", "random_": "random "}


def print_coherence(report: CoherenceReport | None) -> None:
    """Print coherence under each encoder, and how far the encoders agree."""
    if report is None:
        return
    console = open_console()
    console.print()
    console.print("coherence of fragments", style="bold")
    for table in tables_of(_columns(report.encoders), console.width):
        console.print(table)
    for found in report.encoders:
        _print_coverage(console, found)
    if report.agreement:
        console.print()
        pairs = [visible(" and ".join(each.encoders)) for each in report.agreement]
        columns = [
            Column("Kendall's tau-b between", pairs, "left"),
            Column("order", [_number(a.order) for a in report.agreement]),
            Column("query_sim", [_number(a.query_sim) for a in report.agreement]),
            Column("samples", [f"{a.n:,}" for a in report.agreement]),
        ]
        for table in tables_of(columns, console.width):
            console.print(table)


def _columns(encoders: tuple[Coherence, ...]) -> list[Column]:
    rows = [(found, measure) for found in encoders for measure in MEASURES]
    figures = [
        Column(
            f"{before}{after}".strip() or "value",
            [_number(found.figure(f"{beside}{measure}{variant}")) for found, measure in rows],
        )
        for variant, after in (("", ""), ("_centered", "centred"))
        for beside, before in _HEADINGS.items()
    ]
    return [
        Column("", [visible(f"{found.encoder} {measure}") for found, measure in rows], "left"),
        *figures,
        Column("n", [f"{found.n(measure):,}" for found, measure in rows]),
        Column("left out", [f"{found.n_skipped(measure):,}" for found, measure in rows]),
    ]


def _print_coverage(console: Console, found: Coherence) -> None:
    coverage = found.coverage
    share = coverage.with_vector / coverage.elements if coverage.elements else 1.0
    parts = [f"{n:,} {reason}" for reason, n in coverage.left_out.items()]
    if coverage.invented:
        parts.append(f"{coverage.invented:,} invented ids are no elements")
    why = f" ({', '.join(parts)})" if parts else ""
    console.print(
        visible(
            f"{found.encoder}: {coverage.with_vector:,} of {coverage.elements:,} predicted elements"
            f" have a vector ({share:.1%}){why}; {found.n_empty:,} samples without any count as 0,"
            f" {found.n_no_gold:,} without gold are left out"
        )
    )
    if found.suspicious:
        console.print(
            visible(
                f"{found.encoder}: predictions are far more coherent than their gold: do they name"
                " turns that nearly repeat each other?"
            )
        )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}"
