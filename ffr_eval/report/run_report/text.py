"""Numbers and sentences of a report, the same in every format; nothing is escaped here."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.scoring import incomplete_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.report.run_report.contents import Estimate, PairRow, Report, RunRow
    from ffr_eval.statistics import Interval

NONE = "–"
"""What stands where a value is undefined."""


def number(value: float | None) -> str:
    """Three decimals."""
    if value is None:
        return NONE
    shown = f"{value:.3f}"
    return shown.replace("-", "−") if float(shown) else "0.000"


def signed(value: float | None) -> str:
    """Three decimals and a sign."""
    if value is None:
        return NONE
    shown = f"{value:+.3f}"
    return shown.replace("-", "−") if float(shown) else "0.000"


def interval(ci: Interval | None) -> str:
    """An interval in brackets; empty without one."""
    return "" if ci is None else f"[{number(ci.lo)}, {number(ci.hi)}]"


def with_interval(estimate: Estimate) -> str:
    """A value, and its interval if there is one."""
    return f"{number(estimate.value)} {interval(estimate.ci)}".strip()


def p_value(p: float | None) -> str:
    """A p-value; never 0, which none is."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def ranks(row: RunRow) -> str:
    """The ranks that a run may have."""
    if row.rank_lo is None or row.rank_hi is None:
        return NONE
    return f"{row.rank_lo}" if row.rank_lo == row.rank_hi else f"{row.rank_lo}–{row.rank_hi}"


def joined(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def plural(n: int, noun: str, many: str = "") -> str:
    """A number and a noun."""
    return f"{n:,} {noun if n == 1 else many or noun + 's'}"


def sample_text(report: Report) -> str:
    """How much the figures rest on."""
    dialogues = plural(report.n_dialogues, "dialogue")
    return f"{plural(report.n_samples, 'query', 'queries')} on {dialogues}"


def interval_text(report: Report) -> str:
    """How intervals are computed."""
    if report.n_dialogues < 2:
        return "none, because all samples are on one dialogue"
    found = report.resampling
    method = "BCa" if found.method == "bca" else "percentile"
    return (
        f"95%, {method}, cluster bootstrap over dialogues,"
        f" {found.replicates:,} replicates, seed {found.seed}"
    )


def facts(report: Report) -> list[tuple[str, str]]:
    """What the report is of, as names and values."""
    return [
        ("benchmark", report.benchmark),
        ("content hash", report.hash),
        ("split", report.split or "all samples"),
        ("samples", sample_text(report)),
        ("protocol", report.protocol),
        ("metric", f"{report.metric.name}: {report.metric.summary}"),
        ("intervals", interval_text(report)),
        ("made by", f"ffr {report.version}: {report.command}"),
    ]


def significance(report: Report) -> list[str]:
    """What the tests say, in sentences."""
    if not report.pairs:
        return []
    untested = [row.name + report.mark(row.name) for row in report.rows if row.incomplete]
    were = "was" if len(untested) == 1 else "were"
    why = "too many of the requests failed"
    said = [f"{joined(untested)} {were} not tested against other runs: {why}."] if untested else []
    ranked = [row for row in report.rows if row.headline.value is not None and not row.incomplete]
    if not ranked or all(pair.p_holm is None for pair in report.pairs):
        return said
    best = ranked[0]
    label = metric_label(report.metric.name)
    beaten: list[str] = []
    level: list[str] = []
    for row in ranked[1:]:
        pair = report.pair(best.name, row.name)
        (beaten if pair is not None and pair.significant else level).append(row.name)
    sentences = [f"{best.name} has the best {label}, {with_interval(best.headline)}."]
    if beaten:
        sentences.append(f"It is significantly better than {joined(beaten)}.")
    if level:
        sentences.append(f"No significant difference was found between it and {joined(level)}.")
    tiers = report.tiers
    if len(tiers) == len(ranked) > 2:
        sentences.append("Each run is a tier of its own.")
    elif len(tiers) > 1:
        names = (joined([row.name for row in tier]) for tier in tiers)
        listed = "; ".join(f"{place}: {name}" for place, name in enumerate(names, 1))
        sentences.append(f"The tiers are {listed}.")
    tested = sum(pair.p_holm is not None for pair in report.pairs)
    sentences.append(
        f"{plural(tested, 'pair')} tested: two-sided paired sign-flip test over"
        f" dialogues, {report.resampling.replicates:,} random swaps, p-values after"
        " Holm, level 0.05. A difference that was not found may still"
        " be there."
    )
    return sentences + said


def tier_text() -> str:
    """What tiers and rank intervals are."""
    return (
        "A tier ends where the next run is significantly worse than the tier's first. The rank runs"
        " from 1 + the number of runs that are significantly better to the number of runs less"
        " those that are significantly worse."
    )


def mark_text() -> str:
    """What bold and underlined mean."""
    return (
        "Bold: best of its column, underlined: second best, to three decimals, among runs of models"
        " that look at the query (not all, none, random and oracle)."
    )


def neighbours(report: Report) -> list[PairRow]:
    """Every ranked run against the next one, better first."""
    rows = [row for row in report.rows if row.headline.value is not None and not row.incomplete]
    pairs = (report.pair(a.name, b.name) for a, b in pairwise(rows))
    return [pair for pair in pairs if pair is not None]


def incomplete(report: Report) -> list[str]:
    """What the mark of incomplete runs means, in a sentence; none without such runs."""
    marks = [
        f"{row.name} ({incomplete_mark(row.outcomes, row.n_samples)})" for row in report.incomplete
    ]
    return [f"Not ranked, tested or marked as best: {joined(marks)}."] if marks else []


def references(report: Report) -> list[str]:
    """What the rows of the main table are that are not ranked, in sentences."""
    found = incomplete(report)
    if report.ceilings:
        names = joined([row.name for row in report.ceilings])
        found.append(f"{names}: sees the gold; not ranked.")
    if report.best_cuts:
        found.append(f"Best threshold: {report.best_cuts[0].summary}.")
    found += [f"Floor {floor.name}: {floor.summary}." for floor in report.floors]
    return found
