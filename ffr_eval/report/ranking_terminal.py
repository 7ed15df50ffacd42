"""A ranking in the terminal, its floors in their places; rounded for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from ffr_eval.floors import Floor
from ffr_eval.ranking import sort_key
from ffr_eval.report.console import open_console
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from ffr_eval.ranking import Ranking, RankRow
    from ffr_eval.statistics import Interval

_BAR: Final = 10  # characters

_VALUE: Final = "value"
_CORRECTED: Final = "chance-\ncorrected"
_ORACLE: Final = "oracle\nthreshold"
_COLUMNS: Final = (
    *("rank", "run", "model", _VALUE, "95% CI", "bar"),
    *(_CORRECTED, _ORACLE, "answered", "not answered"),
)
_ALWAYS: Final = frozenset({"rank", "run", _VALUE, "bar", _CORRECTED, "answered"})
_RIGHT: Final = frozenset({"rank", _VALUE, _CORRECTED, _ORACLE, "answered"})


def print_ranking(ranking: Ranking, console: Console | None = None) -> None:
    """Print a ranking."""
    console = console or open_console()
    split = f", split {ranking.split}" if ranking.split is not None else ""
    better = "lower" if ranking.better == "lower" else "higher"
    console.print(visible(f"{ranking.benchmark}{split}, protocol {ranking.protocol}"))
    console.print(f"by {ranking.metric} ({better} is better)")
    console.print(_table(ranking))
    if any(row.oracle_threshold is not None for row in ranking.rows):
        console.print(
            "oracle threshold: the value with one threshold for utterances and one for images that"
            " are best on these very samples"
        )
    for note in ranking.notes:
        console.print(visible(f"note: {note}"))


def _table(ranking: Ranking) -> Table:
    lines = [_cells(entry) for entry in _in_order(ranking)]
    hidden = {name for name in _COLUMNS if not any(line.get(name) for line in lines)} - _ALWAYS
    if all(row.run == row.model for row in ranking.rows):
        hidden.add("model")
    shown = [name for name in _COLUMNS if name not in hidden]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        heading = "" if name == "bar" else name
        table.add_column(heading, justify="right" if name in _RIGHT else "left", overflow="fold")
    for line in lines:
        style = "" if line.get("rank") else "dim"
        table.add_row(*(line.get(name, "") for name in shown), style=style)
    return table


def _in_order(ranking: Ranking) -> list[RankRow | Floor]:
    """Runs and floors from best to worst; a floor comes after runs of the same value.

    Incomplete runs come after all others.
    """
    ranked = [row for row in ranking.rows if not row.incomplete]
    entries: list[RankRow | Floor] = [*ranked, *ranking.floors]
    entries.sort(key=lambda entry: sort_key(entry.value, ranking.better))
    return [*entries, *(row for row in ranking.rows if row.incomplete)]


def _cells(entry: RankRow | Floor) -> dict[str, str]:
    """What stands in the columns of a line; a floor has a name and a value only."""
    value = _number(entry.value)
    if isinstance(entry, Floor):
        return {"run": f"– floor: {entry.name}", _VALUE: value}
    oracle, failed = entry.oracle_threshold, {**entry.outcomes, "ok": 0, "empty": 0}
    return {
        "rank": "" if entry.rank is None else str(entry.rank),
        "run": visible(entry.run) + (" (incomplete)" if entry.incomplete else ""),
        "model": visible(entry.model),
        _VALUE: value,
        "95% CI": _interval(entry.ci95),
        "bar": "█" * round(min(max(entry.value or 0.0, 0.0), 1.0) * _BAR),
        _CORRECTED: _number(entry.adjusted_f1),
        _ORACLE: "" if oracle is None else _number(oracle),
        "answered": f"{entry.n_scored} of {entry.n_samples}",
        "not answered": ", ".join(f"{n} {name}" for name, n in failed.items() if n),
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval.lo:.3f}, {interval.hi:.3f}]"
