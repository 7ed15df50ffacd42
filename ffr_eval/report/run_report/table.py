"""The main table of a report, before it is written in any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ffr_eval.metrics.named import HEADLINE
from ffr_eval.report.run_report.contents import metric_label
from ffr_eval.report.run_report.text import NONE, interval, number, ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.report.run_report.contents import Report, RunRow

Mark: TypeAlias = Literal["", "best", "second"]
RowKind: TypeAlias = Literal["run", "trivial", "ceiling", "floor"]

_FIGURES = (("precision", "P"), ("recall", "R"), ("f1", "F1"), ("mcc", "MCC"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures.

    Attributes:
        metric: Its metric's name.
        over: What stands over it and its neighbours; empty for nothing.
        label: Its heading.
        lower: Whether lower values are better.
    """

    metric: str
    over: str
    label: str
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as it is shown, with its interval if it has one."""

    text: str
    mark: Mark = ""
    ci: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of the table.

    Attributes:
        starts_tier: Whether a new tier begins here.
        cells: One for each column, the metric of the report first.
    """

    kind: RowKind
    tier: str
    rank: str
    name: str
    model: str
    cells: Sequence[Cell]
    answered: str
    starts_tier: bool = False


@dataclass(frozen=True, slots=True)
class MainTable:
    """The table: ranked runs, then references, which are not ranked.

    Attributes:
        ranked: Whether tiers and ranks are known.
        models: Whether some model is not called as its run.
        complete: Whether every run answered everything.
    """

    columns: Sequence[Column]
    rows: Sequence[TableRow]
    references: Sequence[TableRow]
    ranked: bool
    models: bool
    complete: bool

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The upper headings, and over how many columns each stands."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.over:
                found[-1] = (column.over, found[-1][1] + 1)
            else:
                found.append((column.over, 1))
        return found


def main_table(report: Report) -> MainTable:
    """The main table."""
    columns = _columns(report)
    marks = [_marks(report, column) for column in columns]
    rows = []
    before = None
    for place, row in enumerate(report.rows):
        cells = _cells(report, row, columns, [found[place] for found in marks])
        starts = place > 0 and row.tier != before
        rows.append(_line(report, row, cells, starts))
        before = row.tier
    references = [_line(report, row, _cells(report, row, columns)) for row in report.ceilings]
    for found in report.best_cuts:
        name = f"{found.name}{report.mark(found.name)}, best threshold"
        references.append(_reference("ceiling", name, found.value, len(columns)))
    references += [
        _reference("floor", f"floor: {floor.name}", floor.value, len(columns))
        for floor in report.floors
    ]
    ranked = any(row.tier is not None for row in report.rows)
    models = any(row.model for row in (*rows, *references))
    complete = all(row.n_scored == row.n_samples for row in report.everyone)
    return MainTable(columns, rows, references, ranked, models, complete)


def value_of(report: Report, row: RunRow, metric: str) -> float | None:
    """A figure of a run."""
    return row.headline.value if metric == report.metric.name else row.figures[metric]


def _columns(report: Report) -> list[Column]:
    name = report.metric.name
    columns = [Column(name, "", metric_label(name), lower=report.metric.better == "lower")]
    wanted = [Column(HEADLINE, "", metric_label(HEADLINE))]
    for modality in ("utterance", "image"):
        wanted += [
            Column(f"micro.{modality}.{figure}", f"{modality} (micro)", label)
            for figure, label in _FIGURES
        ]
    wanted += [
        Column("macro.joint.f1", "joint", "macro F1"),
        Column("micro.joint.adjusted_f1", "joint", "above chance"),
    ]
    for column in wanted:
        values = [row.figures[column.metric] for row in report.everyone]
        repeats = column.metric == HEADLINE == name
        if not repeats and any(value is not None for value in values):
            columns.append(column)
    return columns


def _marks(report: Report, column: Column) -> list[Mark]:
    """The best and second best of a column as shown, which may be several.

    Trivial and incomplete runs are left out.
    """
    values = [value_of(report, row, column.metric) for row in report.rows]
    shown = [
        None if value is None or row.role != "run" or row.incomplete else round(value, 3)
        for row, value in zip(report.rows, values, strict=True)
    ]
    known = sorted({value for value in shown if value is not None}, reverse=not column.lower)
    if len([value for value in shown if value is not None]) < 2:
        return [""] * len(shown)
    marked: list[Mark] = []
    for value in shown:
        place = None if value is None else known.index(value)
        marked.append("best" if place == 0 else "second" if place == 1 else "")
    return marked


def _cells(
    report: Report, row: RunRow, columns: Sequence[Column], marks: Sequence[Mark] = ()
) -> list[Cell]:
    cells = []
    for place, column in enumerate(columns):
        mark: Mark = marks[place] if marks else ""
        ci = interval(row.headline.ci) if place == 0 else ""
        cells.append(Cell(number(value_of(report, row, column.metric)), mark, ci))
    return cells


def _line(
    report: Report, row: RunRow, cells: Sequence[Cell], starts_tier: bool = False
) -> TableRow:
    without_tier = NONE if row.incomplete and row.role != "ceiling" else ""
    return TableRow(
        kind=row.role,
        tier=without_tier if row.tier is None else str(row.tier),
        rank="" if row.role == "ceiling" else ranks(row),
        name=row.name + report.mark(row.name),
        model="" if row.model == row.name else row.model,
        cells=cells,
        answered=f"{row.n_scored / row.n_samples:.1%}" if row.n_samples else "",
        starts_tier=starts_tier,
    )


def _reference(kind: RowKind, name: str, value: float | None, n_columns: int) -> TableRow:
    cells = [Cell(number(value)), *([Cell("")] * (n_columns - 1))]
    return TableRow(kind, "", "", name, "", cells, "")
