"""A comparison of runs in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from ffr_eval.report.console import open_console
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from ffr_eval.comparison import Comparison
    from ffr_eval.disagreement import Disagreements
    from ffr_eval.pairs import Pair, RankedRun
    from ffr_eval.statistics import Interval

_BAR: Final = (16, 32)  # characters, on a narrow terminal and elsewhere
_NARROW: Final = 100
_MOST_PAIRS: Final = 10

Justify: TypeAlias = Literal["left", "right"]
_QUERY: Final = (24, 60)  # columns at least and at most
_BESIDE_QUERY: Final = 31  # columns of what stands beside it, but for the sample id


def print_comparison(
    comparison: Comparison,
    paths: Mapping[str, Path],
    benchmark: str | None = None,
    console: Console | None = None,
) -> None:
    """Print ranks with tiers, pairs, the samples on which two runs disagree, and notes.

    Args:
        comparison: What is printed.
        paths: Where the runs are, by name, for the command that shows a sample.
        benchmark: The benchmark that was named, for the same command.
        console: Where to; by default standard output.
    """
    console = console or open_console()
    for line in _head(comparison):
        console.print(Text(visible(line)))
    console.print(_ranks(comparison, _BAR[console.width >= _NARROW]))
    if comparison.floors:
        values = (f"{floor.name} {_number(floor.value)}" for floor in comparison.floors)
        console.print("floors: " + ", ".join(values), style="dim")
    every = len(comparison.pairs)
    pairs = comparison.pairs if every <= _MOST_PAIRS else _neighbours(comparison)
    if pairs:
        if len(pairs) < every:
            console.print(f"neighbours in rank; --json has all {every} pairs", style="dim")
        console.print(_pairs(comparison, pairs))
        console.print(_significance(comparison), style="dim")
    found = comparison.disagreements
    if found is not None and found.samples:
        a, b = (_marked(comparison)[name] for name in (found.a, found.b))
        console.print(
            Text(
                visible(
                    f"where {a} (a) and {b} (b) disagree most, by {found.metric} of the sample"
                    f" ({found.n_samples} samples differ)"
                )
            )
        )
        console.print(_disagreements(found, console.width))
        if comparison.benchmark:  # inference files have no dialogues to show
            console.print(Text(_diff(found, paths, benchmark), style="dim"), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(f"note: {visible(note)}"))


def _head(comparison: Comparison) -> list[str]:
    parts = [comparison.benchmark or "inference files"]
    parts += [f"split {comparison.split}"] if comparison.split is not None else []
    parts += [f"only {comparison.group}"] if comparison.group is not None else []
    parts.append(f"protocol {comparison.protocol}")
    parts.append(f"{comparison.n_samples} samples on {comparison.n_dialogues} dialogues")
    return [", ".join(parts), f"by {comparison.metric} ({comparison.better} is better)"]


# Ranks --------------------------------------------------------------------------------------------


def _ranks(comparison: Comparison, width: int) -> Table:
    runs = comparison.ranks
    names = _marked(comparison)
    scale = _scale(runs)
    table = _table("tier", "rank", "model", "value", "95% CI", right=("tier", "rank", "value"))
    if scale is not None:
        table.add_column(_ends(*scale, width), no_wrap=True)
    for run, after in pairwise((*runs, None)):
        if run is None:
            continue
        cells = [
            "–" if run.tier is None else str(run.tier),
            _rank(run),
            names[run.model],
            _number(run.value),
            _interval(run.ci95),
        ]
        if scale is not None:
            cells.append(_bar(run, *scale, width))
        table.add_row(*map(Text, cells), end_section=after is not None and after.tier != run.tier)
    return table


def _marked(comparison: Comparison) -> dict[str, str]:
    """The names of all runs as they are shown."""
    return {
        run.model: visible(run.model) + (" (incomplete)" if run.incomplete else "")
        for run in comparison.ranks
    }


def _rank(run: RankedRun) -> str:
    if run.rank_lo is None:
        return "–"
    return str(run.rank_lo) if run.rank_lo == run.rank_hi else f"{run.rank_lo}–{run.rank_hi}"


def _scale(runs: Sequence[RankedRun]) -> tuple[float, float] | None:
    """The ends of the common scale of all intervals."""
    ends = [run.value for run in runs if run.value is not None]
    ends += [end for run in runs if run.ci95 is not None for end in (run.ci95.lo, run.ci95.hi)]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _ends(low: float, high: float, width: int) -> str:
    left, right = f"{low:.3f}", f"{high:.3f}"
    return left + " " * (width - len(left) - len(right)) + right


def _bar(run: RankedRun, low: float, high: float, width: int) -> str:
    """The interval as a line, the value as a dot in it."""
    if run.value is None:
        return ""

    def place(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (width - 1))

    cells = [" "] * width
    if run.ci95 is not None:
        first, last = place(run.ci95.lo), place(run.ci95.hi)
        cells[first : last + 1] = "─" * (last + 1 - first)
    cells[place(run.value)] = "●"
    return "".join(cells).rstrip()


# Pairs --------------------------------------------------------------------------------------------


def _neighbours(comparison: Comparison) -> tuple[Pair, ...]:
    ranked = [run.model for run in comparison.ranks if run.tier is not None]
    return tuple(comparison.pair(a, b) for a, b in pairwise(ranked))


def _pairs(comparison: Comparison, pairs: Sequence[Pair]) -> Table:
    numbers = ("a – b", "p", "p (Holm)", "dialogues needed")
    table = _table("a", "b", numbers[0], "95% CI", *numbers[1:], right=numbers)
    names = _marked(comparison)
    for pair in pairs:
        found = _significant(pair, comparison.alpha)
        cells = (
            names[pair.a],
            names[pair.b],
            _number(pair.delta, sign=True),
            _interval(pair.ci95, sign=True),
            _probability(pair.p),
            _probability(pair.p_holm) + (" *" if found else "  "),
            "–" if pair.dialogues_needed is None else f"{pair.dialogues_needed:,}",
        )
        table.add_row(*map(Text, cells), style="bold" if found else "")
    return table


def _significance(comparison: Comparison) -> str:
    tested = sum(pair.p is not None for pair in comparison.pairs)
    if not tested:
        return "no pair could be tested"
    adjusted = f" adjusted for {tested} pairs (Holm)" if tested > 1 else ""
    level = f"p{adjusted} is at most {comparison.alpha:g}"
    if any(_significant(pair, comparison.alpha) for pair in comparison.pairs):
        return f"* significant: {level}"
    return f"no difference is significant: for none {level}"


def _significant(pair: Pair, alpha: float) -> bool:
    return pair.p_holm is not None and pair.p_holm <= alpha


# Samples ------------------------------------------------------------------------------------------


def _disagreements(found: Disagreements, width: int) -> Table:
    numbers = ("a", "b", "a – b")
    table = _table("sample", *numbers, "query", right=numbers)
    ids = [Text(visible(sample.sample_id)) for sample in found.samples]
    room = width - _BESIDE_QUERY - max(name.cell_len for name in ids)
    for name, sample in zip(ids, found.samples, strict=True):
        query = Text(visible(" ".join((sample.query or "").split())))
        query.truncate(min(max(room, _QUERY[0]), _QUERY[1]), overflow="ellipsis")
        numbers = (f"{sample.a:.3f}", f"{sample.b:.3f}", f"{sample.delta:+.3f}")
        table.add_row(name, *map(Text, numbers), query)
    return table


def _diff(found: Disagreements, paths: Mapping[str, Path], benchmark: str | None) -> str:
    """The command that shows the first sample."""
    words = ["ffr", "diff", str(paths.get(found.a, found.a)), str(paths.get(found.b, found.b))]
    words += ["--benchmark", benchmark] if benchmark is not None else []
    return visible(shlex.join([*words, "--sample", found.samples[0].sample_id]))


# Cells --------------------------------------------------------------------------------------------


def _table(*headings: str, right: Sequence[str]) -> Table:
    table = Table(box=box.HORIZONTALS, pad_edge=False)
    for heading in headings:
        justify: Justify = "right" if heading in right else "left"
        whole = heading in {"value", "95% CI", "a – b", "p", "p (Holm)"}
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=whole)
    return table


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def _interval(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return "–"
    return f"[{_number(interval.lo, sign=sign)}, {_number(interval.hi, sign=sign)}]"


def _probability(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.4f}" if p >= 0.00005 else f"{p:.1e}"
