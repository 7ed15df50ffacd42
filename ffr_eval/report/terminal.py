"""Tables in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import FIGURES, HEADLINE
from ffr_eval.report.console import open_console
from ffr_eval.scoring import ALSO
from ffr_eval.uncertainty import FEW_DIALOGUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.scoring import GroupScores, Scores
    from ffr_eval.sources import Source
    from ffr_eval.statistics import Interval

_HEADINGS = ("P", "R", "F1", "MCC")


def print_scores(scores: Scores, source: Source) -> None:
    """Print the figures of one set of predictions."""
    console = open_console()
    of = f" on {source.benchmark.name}" if source.benchmark is not None else ""
    split = f", split {source.split}" if source.split is not None else ""
    console.print(f"{source.name}{of}{split}, protocol {scores.protocol}")
    console.print(
        f"{scores.n_scored} of {scores.n_samples} answered ({_outcomes(scores.outcomes)})"
    )
    console.print()
    console.print(_modality_table(scores))
    headline = scores.metric(HEADLINE)
    sure = _interval(scores.ci95.get(HEADLINE))
    console.print(f"\n{HEADLINE} = {_number(headline)}{sure}", style="bold")
    if sure:
        few = scores.n_dialogues < FEW_DIALOGUES
        caution = f"; below {FEW_DIALOGUES} it is somewhat too narrow" if few else ""
        console.print(f"95% interval: {scores.n_dialogues} dialogues resampled{caution}")
    elif scores.ci95 and scores.n_dialogues < 2:
        console.print("no intervals: with one dialogue nothing is known of how dialogues differ")
    if scores.n_scored < scores.n_samples:
        joint = scores.answered.micro.joint
        answered = _number(None if joint is None else joint.f1)
        console.print(f"over answered samples only ({scores.n_scored}): {answered}")
    for rates in _rate_lines(scores):
        console.print(rates)
    if scores.metrics:
        console.print()
        console.print(_metric_table(scores))
    for by, groups in scores.groups.items():
        console.print()
        console.print(_group_table(by, groups, scores))
    for note in scores.notes:
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


def _metric_table(scores: Scores) -> Table:
    table = _table("metric", "value", "95% CI")
    table.columns[0].justify = "left"
    for name, value in scores.metrics.items():
        table.add_row(name, _number(value), _interval(scores.ci95.get(name)).strip())
    return table


def print_parsing(readings: Mapping[str, Scores]) -> None:
    """Print the same predictions scored under several ways of reading responses."""
    if not readings:
        return
    console = open_console()
    headings = [f"micro joint {name}" for name in _HEADINGS]
    table = _table("responses read", "answered", *headings, "macro joint F1")
    table.columns[0].justify = "left"
    for name, scores in readings.items():
        figures = _figures(scores.micro.joint)
        answered = f"{scores.n_scored} of {scores.n_samples}"
        table.add_row(name, answered, *figures, _number(scores.macro.joint.f1))
    console.print()
    console.print(table)


def _group_table(by: str, groups: Mapping[str, GroupScores], scores: Scores) -> Table:
    """Micro joint figures of each group, and the metrics asked for."""
    sure = ["95% CI of F1"] if scores.ci95 else []
    metrics = [name for name in scores.metrics if name not in {*ALSO, HEADLINE}]
    table = _table(by, "samples", *_HEADINGS, *sure, "macro F1", *metrics)
    table.title = f"micro joint figures by {by}"
    table.title_justify = "left"
    table.title_style = "bold"
    table.columns[0].justify = "left"
    for column in table.columns:
        column.no_wrap = True
    for name, group in groups.items():
        macro = group.macro.joint.f1
        figures = _figures(group.micro.joint)
        interval = [_interval(group.ci95.get(HEADLINE)).strip()] if scores.ci95 else []
        more = [_number(group.metrics[metric]) for metric in metrics]
        table.add_row(name, str(group.n_samples), *figures, *interval, _number(macro), *more)
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


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"  [{interval.lo:.4f}, {interval.hi:.4f}]"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value}"


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in outcomes.items() if number) or "none"
