"""Tables in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import FIGURES, HEADLINE
from ffr_eval.report.console import Column, open_console, tables_of
from ffr_eval.report.safe_text import visible
from ffr_eval.scoring import ASK_AGAIN, INCOMPLETE_ABOVE, incomplete_mark
from ffr_eval.types import Outcome
from ffr_eval.uncertainty import FEW_DIALOGUES, UNASKED_DIALOGUES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from ffr_eval.scoring import GroupScores, Scores
    from ffr_eval.sources import Source
    from ffr_eval.statistics import Interval

_HEADINGS = ("P", "R", "F1", "MCC")


def print_scores(scores: Scores, source: Source, asked: Sequence[str] = ()) -> None:
    """Print the figures of one set of predictions.

    Args:
        scores: The figures.
        source: What was scored.
        asked: Names of metrics that groups are shown by too.
    """
    console = open_console()
    of = f" on {source.benchmark.name}" if source.benchmark is not None else ""
    split = f", split {source.split}" if source.split is not None else ""
    console.print(visible(f"{source.name}{of}{split}, protocol {scores.protocol}"))
    console.print(
        f"{scores.n_scored} of {scores.n_samples} answered ({_outcomes(scores.outcomes)})"
    )
    for line in (*_failure_lines(scores, source), *_reach_lines(scores)):
        console.print(line)
    console.print()
    _print_table(console, _modality_columns(scores))
    headline = scores.metric(HEADLINE)
    sure = _interval(scores.ci95.get(HEADLINE))
    console.print(f"\n{HEADLINE} = {_number(headline)}{sure}", style="bold")
    if sure:
        few = scores.n_dialogues < FEW_DIALOGUES
        caution = f"; below {FEW_DIALOGUES} it is somewhat too narrow" if few else ""
        console.print(f"95% interval: {scores.n_dialogues} dialogues resampled{caution}")
    elif scores.ci95 and scores.n_dialogues < 2:
        console.print("no intervals: with one dialogue nothing is known of how dialogues differ")
    elif not scores.ci95 and scores.n_dialogues > UNASKED_DIALOGUES:
        console.print(f"{scores.n_dialogues} dialogues: --ci computes intervals")
    if scores.n_scored < scores.n_samples:
        joint = scores.answered.micro.joint
        answered = _number(None if joint is None else joint.f1)
        console.print(f"over answered samples only ({scores.n_scored}): {answered}")
    for rates in _rate_lines(scores):
        console.print(rates)
    if scores.metrics:
        console.print()
        _print_table(console, _metric_columns(scores))
    for by, groups in scores.groups.items():
        console.print()
        console.print(visible(f"micro joint figures by {by}"), style="bold")
        _print_table(console, _group_columns(by, groups, scores, asked))
    for note in scores.notes:
        console.print(visible(f"note: {note}"))


def _print_table(console: Console, columns: Sequence[Column]) -> None:
    for table in tables_of(columns, console.width):
        console.print(table)


def _modality_columns(scores: Scores) -> list[Column]:
    micros = [getattr(scores.micro, modality) for modality in MODALITIES]
    macros = [getattr(scores.macro, modality) for modality in MODALITIES]
    counts = [
        Column(heading, [_count(getattr(micro, heading.lower(), None)) for micro in micros])
        for heading in ("TP", "FP", "FN")
    ]
    n = Column("n", [str(macro.n) for macro in macros])
    names = Column("", MODALITIES, "left")
    return [
        names,
        *_figure_columns("micro ", micros),
        *counts,
        *_figure_columns("macro ", macros),
        n,
    ]


def _figure_columns(before: str, found: Sequence[Any]) -> list[Column]:
    """P, R, F1 and MCC of several rows; a dash where there are none."""
    return [
        Column(f"{before}{heading}", [_number(getattr(each, name, None)) for each in found])
        for heading, name in zip(_HEADINGS, FIGURES, strict=True)
    ]


def _metric_columns(scores: Scores) -> list[Column]:
    intervals = [_interval(scores.ci95.get(name)).strip() for name in scores.metrics]
    return [
        Column("metric", list(scores.metrics), "left"),
        Column("value", [_number(value) for value in scores.metrics.values()]),
        *([Column("95% CI", intervals)] if any(intervals) else []),
    ]


def print_parsing(readings: Mapping[str, Scores]) -> None:
    """Print the same predictions scored under several ways of reading responses."""
    if not readings:
        return
    console = open_console()
    every = list(readings.values())
    columns = [
        Column("responses read", list(readings), "left"),
        Column("answered", [f"{scores.n_scored} of {scores.n_samples}" for scores in every]),
        *_figure_columns("micro joint ", [scores.micro.joint for scores in every]),
        Column("macro joint F1", [_number(scores.macro.joint.f1) for scores in every]),
    ]
    console.print()
    _print_table(console, columns)


def _group_columns(
    by: str, groups: Mapping[str, GroupScores], scores: Scores, asked: Sequence[str]
) -> list[Column]:
    """Micro joint figures of each group, and the metrics asked for."""
    every = list(groups.values())
    intervals = [_interval(group.ci95.get(HEADLINE)).strip() for group in every]
    return [
        Column(visible(by), [visible(name) for name in groups], "left"),
        Column("samples", [str(group.n_samples) for group in every]),
        *_figure_columns("", [group.micro.joint for group in every]),
        *([Column("95% CI of F1", intervals)] if scores.ci95 else []),
        Column("macro F1", [_number(group.macro.joint.f1) for group in every]),
        *(
            Column(name, [_number(group.metrics[name]) for group in every])
            for name in asked
            if name != HEADLINE
        ),
    ]


def _failure_lines(scores: Scores, source: Source) -> list[str]:
    """What is to be done about request errors, and what they mean for the figures."""
    lines = []
    failed = scores.outcomes.get(Outcome.REQUEST_ERROR, 0)
    if failed and source.run is not None:
        lines.append(f"{failed} {Outcome.REQUEST_ERROR}: {ASK_AGAIN}")
    mark = incomplete_mark(scores.outcomes, scores.n_samples)
    if mark is not None:
        lines.append(f"{mark}; above {INCOMPLETE_ABOVE:.0%} there is no rank")
    return lines


def _reach_lines(scores: Scores) -> list[str]:
    """What did not reach the model, if something did not."""
    reach = scores.reach
    if reach is None or reach.complete:
        return []
    shares = (("utterances", reach.utterance), ("images", reach.image))
    parts = [f"{_share(share)} of gold {name}" for name, share in shares if share is not None]
    turns = [
        f"{name} {_share(part.joint)}"
        for name, part in reach.turns.items()
        if part.joint is not None
    ]
    return [f"reached: {', '.join(parts)}; by bucket: {', '.join(turns)}"]


def _share(share: float) -> str:
    """A percentage; it is 0 or 100 only if nothing or everything is meant."""
    rounded = min(max(round(100 * share, 1), 0.1), 99.9) if 0 < share < 1 else 100 * share
    return f"{rounded:g}%"


def _rate_lines(scores: Scores) -> list[str]:
    lines = []
    for modality, rates in scores.rates.items():
        if rates.invented or rates.duplicate:
            lines.append(
                f"{modality} ids: {rates.invented:.2%} invented, {rates.duplicate:.2%} repeated"
            )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"  [{interval.lo:.4f}, {interval.hi:.4f}]"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value}"


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in outcomes.items() if number) or "none"
