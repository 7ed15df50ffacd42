"""Tables in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from ffr_eval.scoring import FIGURES, HEADLINE, MODALITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.ranking import Ranking
    from ffr_eval.scoring import GroupScores, Scores
    from ffr_eval.sources import Source

_HEADINGS = ("P", "R", "F1", "MCC")


def print_scores(scores: Scores, source: Source) -> None:
    """Print the figures of one set of predictions."""
    console = _console()
    of = f" on {source.benchmark.name}" if source.benchmark is not None else ""
    split = f", split {source.split}" if source.split is not None else ""
    console.print(f"{source.name}{of}{split}, protocol {scores.protocol}")
    console.print(
        f"{scores.n_scored} of {scores.n_samples} answered ({_outcomes(scores.outcomes)})"
    )
    console.print()
    console.print(_modality_table(scores))
    headline = scores.metric(HEADLINE)
    console.print(f"\n{HEADLINE} = {_number(headline)}", style="bold")
    if scores.n_scored < scores.n_samples:
        joint = scores.answered.micro.joint
        answered = _number(None if joint is None else joint.f1)
        console.print(f"over answered samples only ({scores.n_scored}): {answered}")
    for rates in _rate_lines(scores):
        console.print(rates)
    for by, groups in scores.groups.items():
        console.print()
        console.print(_group_table(by, groups))
    for note in scores.notes:
        console.print(f"note: {note}")


def print_ranking(ranking: Ranking) -> None:
    """Print a ranking."""
    console = _console()
    split = f", split {ranking.split}" if ranking.split is not None else ""
    console.print(f"{ranking.benchmark}{split}, protocol {ranking.protocol}")
    table = _table("rank", "run", "model", ranking.metric, "", "answered", "not answered")
    for row in ranking.rows:
        failed = {name: n for name, n in row.outcomes.items() if name not in {"ok", "empty"}}
        table.add_row(
            str(row.rank),
            row.run,
            row.model,
            _number(row.value),
            _bar(row.value),
            f"{row.n_scored} of {row.n_samples}",
            _outcomes(failed) if any(failed.values()) else "",
        )
    console.print(table)
    for note in ranking.notes:
        console.print(f"note: {note}")


def _modality_table(scores: Scores) -> Table:
    table = _table("", *(f"micro {name}" for name in _HEADINGS), "TP", "FP", "FN")
    for heading in (*(f"macro {name}" for name in _HEADINGS), "n"):
        table.add_column(heading, justify="right")
    for modality in MODALITIES:
        micro, macro = getattr(scores.micro, modality), getattr(scores.macro, modality)
        counts = [_count(getattr(micro, name, None)) for name in ("tp", "fp", "fn")]
        means = _figures(macro)
        table.add_row(modality, *_figures(micro), *counts, *means, str(macro.n))
    return table


def _group_table(by: str, groups: Mapping[str, GroupScores]) -> Table:
    names = [f"micro joint {name}" for name in _HEADINGS]
    table = _table(by, "samples", *names, "macro joint F1")
    for name, group in groups.items():
        macro = group.macro.joint.f1
        figures = _figures(group.micro.joint)
        table.add_row(name, str(group.n_samples), *figures, _number(macro))
    return table


def _rate_lines(scores: Scores) -> list[str]:
    lines = []
    for modality, rates in scores.rates.items():
        if rates.invented or rates.duplicate:
            lines.append(
                f"{modality} ids: {rates.invented:.2%} invented, {rates.duplicate:.2%} repeated"
            )
    return lines


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    texts = {"", "run", "model", "turns", "kind", "language", "not answered"}
    for heading in headings:
        table.add_column(heading, justify="left" if heading in texts else "right", overflow="fold")
    return table


def _figures(found: Any) -> list[str]:
    return [_number(getattr(found, name, None)) for name in FIGURES]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value}"


def _bar(value: float | None, width: int = 20) -> str:
    return "█" * round(max(value or 0.0, 0.0) * width)


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in outcomes.items() if number) or "none"


def _console() -> Console:
    """Plain text when it goes to a file: no colours, no wrapping at a terminal's width."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=160)
