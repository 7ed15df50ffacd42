"""The table of the runs, the selection in it, and its CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from ffr_eval.scoring import INCOMPLETE_ABOVE
from leaderboard import charts, names
from leaderboard.details import FIGURE_NAMES, UNDEFINED
from leaderboard.runs_table import FAILURES, FIGURE_ORDER, last_used, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.protocols import ProtocolName
    from leaderboard.runs_table import BoardRow, View

_TALLEST: Final = 740  # pixels, about 20 rows
_ROWS_AT_FULL_HEIGHT: Final = 20


def show_table(rows: Sequence[BoardRow], view: View) -> None:
    """The sortable table; selecting a row picks the run whose details are shown."""
    frame = _frame(rows, view)
    lowest = -1.0 if view.figure == "mcc" and frame["value"].min() < 0 else 0.0
    score = st.column_config.ProgressColumn(
        f"{view.modality.capitalize()} {FIGURE_NAMES[view.figure]}",
        format="%.4f",
        min_value=lowest,
        max_value=1.0,
        width=172,
        color=charts.BAR,
    )
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    marked = any(row.run.incomplete is not None for row in rows)
    config: dict[str, Any] = {
        "rank": number("#", pinned=True, width=36, help=_RANK_HELP),
        "run": text("Run", pinned=True, width=120),
        "model": text("Model", width=90),
        "value": score,
        "samples": number("Samples", width=80),
        "answered": number("Answered", format="percent", width=90, help=_ANSWERED_HELP),
        "missing": number("missing", format="percent", width=90, help=_OUTCOME_HELP),
        "options": text("Options", help="Those in which runs of the same model differ."),
        "tuned": text("Tuned on", width=80),
        "status": text("Status", width=210 if marked else 100),
        "date": text("Last used", width=130),
    }
    for figure in FIGURE_ORDER:
        config[figure] = number(FIGURE_NAMES[figure], format="%.4f", width=80)
    for name in FAILURES:
        config[name] = number(name, format="percent", width=110, help=_OUTCOME_HELP)
    tall = len(rows) > _ROWS_AT_FULL_HEIGHT
    # A new key when something else is picked below: the old selection goes away with the old table.
    key = f"table-{st.session_state.get('table', 0)}"
    st.session_state["table-key"], st.session_state["labels"] = key, frame["run"].tolist()
    st.dataframe(
        frame,
        hide_index=True,
        height=_TALLEST if tall else "content",
        column_config=config,
        key=key,
        on_select=_select,
        selection_mode="single-row",
        placeholder=UNDEFINED,
        alt="The runs, best first",
    )


_RANK_HELP: Final = (
    "Equal values share a rank; without a value there is none, nor if more than"
    f" {INCOMPLETE_ABOVE:.0%} of the requests failed."
)
_ANSWERED_HELP: Final = "Samples of the whole run with a usable answer (ok or empty)."
_OUTCOME_HELP: Final = "Share of the samples of the whole run that ended so."


def _frame(rows: Sequence[BoardRow], view: View) -> pd.DataFrame:
    """The table as it is shown and exported; outcomes that never occurred have no column."""
    others = [name for name in FIGURE_ORDER if name != view.figure]
    failed = [
        name
        for name in (*FAILURES, "missing")
        if any(row.run.scores["outcomes"][name] for row in rows)
    ]
    columns: dict[str, Any] = {
        "rank": pd.Series([row.rank for row in rows], dtype="Int64"),
        "run": [row.run.label for row in rows],
        "value": pd.Series([row.value for row in rows], dtype="float64"),
        "model": [names.name(row.run.record.model) for row in rows],
    }
    for figure in others:
        columns[figure] = pd.Series([getattr(row.figures, figure) for row in rows], dtype="float64")
    columns["samples"] = [row.figures.n_samples for row in rows]
    columns["answered"] = [_share(row, row.run.scores["n_scored"]) for row in rows]
    for name in failed:
        columns[name] = [_share(row, row.run.scores["outcomes"][name]) for row in rows]
    columns["options"] = [row.options for row in rows]
    columns["tuned"] = [names.name(row.run.record.tune_on or "") for row in rows]
    columns["status"] = [status_of(row.run) for row in rows]
    columns["date"] = [last_used(row.run.record) for row in rows]
    return pd.DataFrame(columns)


def _share(row: BoardRow, number: int) -> float:
    return number / max(int(row.run.scores["n_samples"]), 1)


def _select() -> None:
    """A row of the table was selected: show its details."""
    state = st.session_state[st.session_state["table-key"]]
    rows = state["selection"]["rows"]
    if rows:
        st.session_state["run"] = st.session_state["labels"][rows[0]]


def deselect() -> None:
    """A run was chosen by name: the row that was selected is not the one shown any more."""
    st.session_state["table"] = st.session_state.get("table", 0) + 1


def show_export(rows: Sequence[BoardRow], view: View, protocol: ProtocolName) -> None:
    """The button that gives the table as CSV; Streamlit's own does not escape formulas."""
    st.download_button(
        "CSV of this table",
        csv_bytes(_frame(rows, view), view, protocol),
        file_name="ffr-board.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def csv_bytes(frame: pd.DataFrame, view: View, protocol: ProtocolName) -> bytes:
    """The table with all digits, and what it is a table of; no cell is taken as a formula."""
    metric = f"{view.average}.{view.modality}.{view.figure}"
    group = "all" if view.group is None else "/".join(view.group)
    about = {
        "benchmark": view.benchmark[0],
        "benchmark_hash": view.benchmark[1],
        "split": view.split or "all",
        "samples_of": group,
        "protocol": protocol,
        "metric": metric,
    }
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*frame.columns, *about])
    rest = [names.csv_cell(names.line(value)) for value in about.values()]
    for row in frame.astype(object).where(frame.notna(), "").itertuples(index=False):
        writer.writerow([*(names.csv_cell(cell) for cell in row), *rest])
    return stream.getvalue().encode()
