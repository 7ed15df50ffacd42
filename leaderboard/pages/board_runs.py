"""The table of all runs on the board: paged, with rows that are picked to be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from leaderboard import charts, names
from leaderboard.context import current
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED, interval_text, rank_text
from leaderboard.pages.board_content import is_unfinished, unfinished_words
from leaderboard.view import MOST_MODELS
from leaderboard.view_bar import link, write_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.pages.board_content import Content
    from leaderboard.texts import Text

PAGE: Final = 50
"""So many runs a page."""
TABLE: Final = "board.table"
PAGES_KEPT: Final = 300

_FILTER: Final = "board.filter"
_PAGE: Final = "board.page"
_SHOWN: Final = "board.shown"
_TALLEST: Final = 640
_TALL_FROM: Final = 17
_UNFINISHED: Final = "◐"  # before the name, which is always in sight


def show_runs(context: Context, content: Content) -> pa.Table:
    """Draw the filter, the selection, and the table.

    Returns:
        The rows that are shown.
    """
    text, labels = context.text, content.labels
    needle = st.text_input(
        text("board.filter_label", n=content.runs.num_rows),
        key=_FILTER,
        placeholder=text("board.filter"),
        icon=":material/search:",
        max_chars=names.LONGEST_NAME,
        on_change=_first_page,
        width=420,
    )
    runs = matching(content.runs, labels, needle) if needle else content.runs
    number, pages = _open_page(runs.num_rows)
    page = _make_page(text, content, runs, number) if needle else _page(text, content, number)
    if page.run_ids:
        _show_picked(context, labels)
        _show_table(context, page)
        if pages > 1:
            st.pagination(pages, key=_PAGE, max_visible_pages=5)
        download_menu("ffr-board", lambda: _for_download(runs, labels))
    elif needle:
        st.text(text("board.filter_none", needle=needle))
    return page.rows


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the table, in a language.

    Attributes:
        rows: Of the runs, 50 at most.
        run_ids: Theirs.
        frame: What the table shows.
        lowest: Where the bars of the scores begin.
    """

    rows: pa.Table
    run_ids: Sequence[str]
    frame: pa.Table
    lowest: float


@lru_cache(maxsize=PAGES_KEPT)
def _page(text: Text, content: Content, number: int) -> Page:
    return _make_page(text, content, content.runs, number)


def _make_page(text: Text, content: Content, runs: pa.Table, number: int) -> Page:
    rows = runs.slice((number - 1) * PAGE, PAGE)
    lowest = pc.min(rows["value"]).as_py()
    return Page(
        rows,
        rows["run_id"].to_pylist(),
        shown_table(text, rows, content.labels),
        -1.0 if lowest is not None and lowest < 0 else 0.0,
    )


def matching(rows: pa.Table, labels: Mapping[str, str], needle: str) -> pa.Table:
    """The rows whose names have a text in them, whatever its case."""
    folded = needle.strip().casefold()
    found = [folded in labels[run_id].casefold() for run_id in rows["run_id"].to_pylist()]
    return rows.filter(pa.array(found, pa.bool_()))


def _open_page(n_rows: int) -> tuple[int, int]:
    """The page that is open, and how many there are."""
    pages = -(-n_rows // PAGE)
    page = st.session_state.get(_PAGE, 1)
    if not 1 <= page <= pages:
        page = 1
        st.session_state.pop(_PAGE, None)
    return page, pages


def _first_page() -> None:
    st.session_state[_PAGE] = 1


# --- the selection --------------------------------------------------------------------------------


def _show_picked(context: Context, labels: Mapping[str, str]) -> None:
    """The runs that are picked, on whatever page they stand, and what can be done with them."""
    text, view = context.text, context.view
    if not view.models:  # as high as what comes in its place: the table stays where it is
        label = text("board.compare_selected")
        st.button(label, key="board.none", icon=":material/balance:", disabled=True)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{text('board.selected')} {', '.join(labels[name] for name in view.models)}")
        if len(view.models) > 1:
            label = text("board.compare_selected")
            link("compare", replace(view, sample=None), label, icon=":material/balance:")
        else:
            label = text("board.details_of", a=labels[view.models[0]])
            link("model", view, label, icon=":material/deployed_code:")
        st.button(
            text("board.clear"),
            key="board.clear",
            icon=":material/close:",
            on_click=_pick,
            args=((),),
        )


def picked(models: Sequence[str], shown: Sequence[str], selected: Sequence[int]) -> tuple[str, ...]:
    """The runs that are picked after rows of a page were selected.

    Those of other pages stay; the order is that of picking.

    Args:
        models: Those that were picked before.
        shown: The ids of the page's rows.
        selected: The places of the selected rows.
    """
    here = {shown[place] for place in selected if 0 <= place < len(shown)}
    kept = [run_id for run_id in models if run_id not in shown or run_id in here]
    new = [run_id for run_id in shown if run_id in here and run_id not in kept]
    return tuple(kept + new)


def _select() -> None:
    """Rows of the table were selected, or are not any more."""
    state = st.session_state[TABLE]
    shown = st.session_state[_SHOWN]
    models = picked(current().view.models, shown, state["selection"]["rows"])
    if len(models) > MOST_MODELS:
        text = current().text
        st.toast(text("board.too_many", n=MOST_MODELS), icon=":material/info:")
    _pick(models[:MOST_MODELS])


def _pick(models: Sequence[str]) -> None:
    write_address(replace(current().view, models=tuple(models)))


# --- the table ------------------------------------------------------------------------------------


def shown_table(text: Text, rows: pa.Table, labels: Mapping[str, str]) -> pa.Table:
    """The rows of a page in words; numbers stay numbers."""
    found = rows.to_pydict()
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "rank": pa.array([_rank(*ranks) for ranks in _each(found, "rank", "rank_lo", "rank_hi")]),
        "name": pa.array(
            [
                f"{_UNFINISHED} {labels[run_id]}" if is_unfinished(*state) else labels[run_id]
                for run_id, *state in _each(found, "run_id", "n_missing", "status")
            ],
            pa.string(),
        ),
        "value": rows["value"],
        "ci": pa.array([interval_text(*ends) for ends in _each(found, "lo", "hi")]),
        "tier": rows["tier"],
        "status": pa.array(
            [_status(text, *why) for why in _each(found, "incomplete", "n_missing", "status")]
        ),
        "answered": rows["answered"],
        "setting": _words(text, found["setting"]),
        "provenance": _words(text, found["provenance"]),
        "weights": _words(text, found["weights"]),
        "params_b": rows["params_b"],
        "latency_s": rows["latency_s"],
        "cost": rows["cost"],
        "date": rows["date"],
    }
    return pa.table(columns)


def _each(columns: Mapping[str, Sequence[Any]], *wanted: str) -> zip[tuple[Any, ...]]:
    return zip(*(columns[name] for name in wanted), strict=True)


def _rank(rank: int | None, lo: int | None, hi: int | None) -> str:
    return rank_text(rank, rank) if lo is None else rank_text(lo, hi)


def _words(text: Text, values: Sequence[str | None]) -> pa.Array:
    known = ("zero-shot", "tuned", "verified", "submitted", "open", "closed")
    words = {value: text(f"board.value_{value}") for value in known}
    unknown = text("board.value_unknown")
    return pa.array([words.get(value or "", unknown) for value in values])


def _status(text: Text, incomplete: str | None, n_missing: int, status: str | None) -> str:
    if incomplete is not None:
        return f"{text('board.status_incomplete')}{text('board.colon')}{names.line(incomplete)}"
    if is_unfinished(n_missing, status):
        return unfinished_words(text, n_missing)
    return text("board.status_complete")


def _show_table(context: Context, page: Page) -> None:
    text, models = context.text, context.view.models
    rows = [place for place, run_id in enumerate(page.run_ids) if run_id in models]
    # The address decides which rows are selected, also after turning the page.
    st.session_state[TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    st.session_state[_SHOWN] = page.run_ids
    st.dataframe(
        page.frame,
        hide_index=True,
        height=_TALLEST if page.frame.num_rows > _TALL_FROM else "content",
        column_config=_configuration(text, page.lowest),
        key=TABLE,
        on_select=_select,
        selection_mode="multi-row",
        placeholder=UNDEFINED,
        alt=text("board.table"),
    )


@lru_cache(maxsize=8)  # Streamlit copies it
def _configuration(text: Text, lowest: float) -> dict[str, Any]:
    column = st.column_config
    words, number = column.TextColumn, column.NumberColumn

    def said(key: str) -> dict[str, Any]:
        return {"label": text(f"board.{key}"), "help": text(f"board.{key}_help")}

    columns: dict[str, Any] = {
        "name": words(text("board.name"), width=190, pinned=True),
        "rank": words(**said("rank"), width=70),
        "value": column.ProgressColumn(
            text("board.score"),
            format="%.3f",
            min_value=lowest,
            max_value=1.0,
            width=150,
            color=charts.BLUE,
        ),
        "ci": text("board.ci"),
        "tier": number(**said("tier"), width=55),
        "status": words(text("board.status"), width=120),
        "answered": number(**said("answered"), format="percent", width=85),
        "setting": words(**said("setting"), width=85),
        "provenance": words(**said("provenance"), width=100),
        "weights": text("board.weights"),
        "params_b": number(text("board.params"), format="%.2f", width=105),
        "latency_s": number(text("board.latency_s"), format="%.2f", width=115),
        "cost": number(**said("cost"), format="%.4f", width=80),
        "date": text("board.date"),
    }
    return {name: _shortened(column) for name, column in columns.items()}


def _shortened(config: Any) -> Any:
    """A configuration without what is not set: Streamlit copies it, key by key, every time."""
    if not isinstance(config, dict):
        return config
    return {key: _shortened(value) for key, value in config.items() if value is not None}


def _for_download(rows: pa.Table, labels: Mapping[str, str]) -> pa.Table:
    shown = pa.array([labels[run_id] for run_id in rows["run_id"].to_pylist()])
    return rows.add_column(1, "name", shown)
