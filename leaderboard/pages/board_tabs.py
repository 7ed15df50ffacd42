"""The tabs below the board's table; only the one that is open is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from leaderboard import charts, names
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED
from leaderboard.queries import board as queries
from leaderboard.view import bucket_code
from leaderboard.view_bar import bucket_title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.pages.board_content import Content
    from leaderboard.site.reader import Site
    from leaderboard.view import View

BEST: Final = 5
"""So many runs have curves if none is selected."""
MOST_LINES: Final = 40
MOST_IN_HEAT_MAP: Final = 25


def show_tabs(context: Context, content: Content, shown: pa.Table) -> None:
    """Draw the choice of what follows, and what is chosen.

    Args:
        context: Of this run of the script.
        content: What is on the board.
        shown: The rows of the table above.
    """
    text = context.text
    drawn: dict[str, Callable[[], None]] = {
        "scores": lambda: _show_scores(context, content, shown),
        "tradeoff": lambda: _show_tradeoff(context, content),
        "lengths": lambda: _show_lengths(context, content),
        "heat": lambda: _show_heat_map(context, content, shown),
        "reported": lambda: _show_reported(context),
    }
    if context.site.manifest.unscored:
        drawn["unscored"] = lambda: _show_unscored(context)
    # Nothing is open at first: the code that draws charts would make the page come later.
    chosen = st.segmented_control(
        text("board.tabs"),
        list(drawn),
        format_func=lambda name: text(f"board.tab_{name}"),
        key="board.tab",
        label_visibility="collapsed",
    )
    if chosen in drawn:
        drawn[chosen]()


def _show_chart(name: str, chart: charts.Chart, alt: str) -> None:
    data, spec = chart
    st.vega_lite_chart(data, spec, width="stretch", alt=alt)
    download_menu(name, data, spec=spec)


# --- charts of the runs ---------------------------------------------------------------------------


def _show_scores(context: Context, content: Content, shown: pa.Table) -> None:
    text, view = context.text, context.view
    entries = _entries(shown.slice(0, MOST_LINES), content.labels, view.models)
    ceilings = _entries(content.ceilings, content.labels, ())
    floor = text("board.floor")
    references = [{"name": f"{name} ({floor})", "value": value} for name, value in content.floors]
    chart = charts.score_intervals(entries, view.metric, [*references, *ceilings])
    _show_chart("ffr-scores", chart, text("board.scores_of"))


def _entries(
    rows: pa.Table, labels: Mapping[str, str], models: Sequence[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.select(["run_id", "role", "value", "lo", "hi"]).to_pylist()
    for row in found:
        row |= {
            "name": labels[row["run_id"]],
            "picked": row["run_id"] in models,
            "unranked": row["role"] != "run",
        }
    return found


def _show_tradeoff(context: Context, content: Content) -> None:
    text, view = context.text, context.view
    rows = content.runs.filter(pc.equal(content.runs["role"], "run"))
    known = [name for name in queries.TRADEOFFS if rows[name].null_count < rows.num_rows]
    if not known:
        st.info(text("board.tradeoff_nothing"), icon=":material/payments:")
        return
    against = st.segmented_control(
        text("board.tradeoff_by"),
        known,
        default=known[0],
        required=True,
        format_func=lambda name: text(f"board.{name}"),
        key="board.against",
        label_visibility="collapsed",
    )
    against = against if against in known else known[0]
    entries = _tradeoff_rows(context, rows, content.labels, against)
    if len(entries) < 2:
        st.info(text("board.tradeoff_few", n=len(entries)), icon=":material/payments:")
        return
    st.caption(text("board.tradeoff_help", n=rows.num_rows - len(entries)))
    axis = text("board.cost_axis" if against == "cost" else f"board.{against}")
    chart = charts.tradeoff(entries, axis, view.metric, text("board.weights"))
    _show_chart(f"ffr-tradeoff-{against}", chart, text("board.tab_tradeoff"))


def _tradeoff_rows(
    context: Context, rows: pa.Table, labels: Mapping[str, str], against: str
) -> list[dict[str, Any]]:
    """The runs that have both numbers, with those on the frontier marked."""
    text = context.text
    found: list[dict[str, Any]] = [
        row
        for row in rows.select(["run_id", "value", "lo", "hi", "weights", against]).to_pylist()
        if row["value"] is not None and row[against] is not None
    ]
    best = queries.frontier([(row[against], row["value"]) for row in found])
    words = {kind: text(f"board.value_{kind}") for kind in ("open", "closed", "unknown")}
    for row, is_best in zip(found, best, strict=True):
        row |= {
            "name": labels[row["run_id"]],
            "x": row[against],
            "frontier": is_best,
            "group": words.get(row["weights"], words["unknown"]),
        }
    return found


def _show_lengths(context: Context, content: Content) -> None:
    text, view, rows = context.text, context.view, content.runs
    ranked = rows.filter(pc.and_(pc.equal(rows["role"], "run"), pc.is_valid(rows["value"])))
    chosen = view.models or tuple(ranked["run_id"].slice(0, BEST).to_pylist())
    entries = [
        row | {"model": content.labels[row["run_id"]]}
        for row in _buckets(context.site, context.site.key, replace(view, models=chosen))
        if row["grouping"] == "turns" and row["value"] is not None
    ]
    if not entries:
        st.info(text("board.lengths_nothing"), icon=":material/block:")
        return
    st.caption(text("board.lengths_help"))
    words = {bucket: text(f"board.{bucket}") for bucket in queries.LENGTHS}
    chart = charts.bucket_curves(entries, view.metric, words)
    _show_chart("ffr-lengths", chart, text("board.tab_lengths"))


def _show_heat_map(context: Context, content: Content, shown: pa.Table) -> None:
    text, view = context.text, context.view
    st.caption(text("board.heat_help"))
    chosen = view.models or tuple(shown["run_id"].slice(0, MOST_IN_HEAT_MAP).to_pylist())
    entries = [
        {
            "model": content.labels[row["run_id"]],
            "bucket": bucket_title(text, bucket_code(row["grouping"], row["bucket"])),
            "value": row["value"],
        }
        for row in _buckets(context.site, context.site.key, replace(view, models=chosen))
    ]
    chart = charts.heat_map(entries, view.metric)
    _show_chart("ffr-heat-map", chart, text("board.tab_heat"))


@st.cache_resource(max_entries=200, show_spinner=False)
def _buckets(_site: Site, key: str, view: View) -> list[dict[str, Any]]:
    del key
    return queries.bucket_values(_site, view, view.models)


# --- what is not computed -------------------------------------------------------------------------


def _show_reported(context: Context) -> None:
    """Results that papers report, apart from everything that is computed."""
    from ffr_eval.published import published_papers
    from leaderboard.reported import DATASETS, reported_rows

    text = context.text
    st.badge(text("board.reported_badge"), icon=":material/menu_book:", color="gray")
    st.caption(text("board.reported_help"))
    dataset = st.segmented_control(
        text("board.reported_dataset"),
        list(DATASETS),
        default=next(iter(DATASETS)),
        required=True,
        key="board.dataset",
    )
    yes, no = text("board.yes"), text("board.no")
    for number, paper in enumerate(published_papers()):
        rows = reported_rows(paper, dataset or next(iter(DATASETS)))
        with st.container(border=True):
            st.text(
                f"{text('board.reported_source')}{text('board.colon')}{names.line(paper.source)}"
            )
            st.text(f"{names.line(paper.protocol)}. {names.line(paper.notes)}")
            table = pa.table(
                {
                    "model": pa.array([names.name(row.model) for row in rows], pa.string()),
                    **{
                        name: pa.array([getattr(row, name) for row in rows], pa.float64())
                        for name in ("f1", "precision", "recall", "mcc")
                    },
                    "setting": pa.array(
                        [
                            text("board.value_zero-shot" if row.zero_shot else "board.value_tuned")
                            for row in rows
                        ],
                        pa.string(),
                    ),
                    "windows": pa.array(
                        [yes if row.sliding_window else no for row in rows], pa.string()
                    ),
                }
            )
            _show_reported_table(context, table)
            about = {"source": paper.source, "computed": "no: as the paper reports"}
            download_menu(f"ffr-reported-{number}", table, about=about | {"dataset": dataset})
            left_out = len(paper.table2_main) - len(rows)
            if left_out:
                st.caption(text("board.reported_left_out", n=left_out))


def _show_reported_table(context: Context, table: pa.Table) -> None:
    text = context.text
    words, number = st.column_config.TextColumn, st.column_config.NumberColumn
    progress = st.column_config.ProgressColumn
    config: dict[str, Any] = {
        "model": words(text("board.name"), pinned=True, width=190),
        "f1": progress(
            text("board.reported_f1"), format="%.4f", min_value=0, max_value=1, color="gray"
        ),
        "precision": number(text("board.precision"), format="%.4f"),
        "recall": number(text("board.recall"), format="%.4f"),
        "mcc": number(text("board.mcc"), format="%.4f"),
        "setting": words(text("board.setting")),
        "windows": words(text("board.reported_windows")),
    }
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config=config,
        placeholder=UNDEFINED,
        alt=text("board.tab_reported"),
    )


def _show_unscored(context: Context) -> None:
    """The folders without figures, each with its reason."""
    text = context.text
    st.markdown(text("board.unscored_help"))
    unscored = context.site.manifest.unscored
    words = st.column_config.TextColumn
    columns = {
        field: pa.array([names.line(getattr(record, field)) for record in unscored], pa.string())
        for field in ("label", "reason", "remedy")
    }
    st.dataframe(
        pa.table(columns),
        hide_index=True,
        column_config={
            "label": words(text("board.unscored_label"), pinned=True, width=170),
            "reason": words(text("board.unscored_reason"), width="large"),
            "remedy": words(text("board.unscored_remedy"), width="large"),
        },
        alt=text("board.tab_unscored"),
    )
