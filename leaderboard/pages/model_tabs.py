"""What the tabs of the model page show: figures, groups of samples, worst samples, outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from ffr_eval.metrics.named import ADJUSTED, HEADLINE
from ffr_eval.types import ANSWERED
from leaderboard import names
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED, rank_text, value_text
from leaderboard.pages import model_charts
from leaderboard.queries import model as queries
from leaderboard.view_bar import bucket_title, link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.queries.model import Figure, Found, WorstSample
    from leaderboard.view import View

    Run = Mapping[str, Any]

FIGURE_NAMES: Final = {"precision": "Precision", "recall": "Recall", "f1": "F1", "mcc": "MCC"}
OTHERS: Final = {
    ADJUSTED: "adjusted_help",
    "exact": "exact_help",
    "answered_rate": "answered_help",
}
"""The board's metrics that are not one of precision, recall, F1 and MCC, and what explains them."""
_NARROW, _WIDE, _SHORT = 172, 260, 17
"""Two narrow boxes stand side by side on a telephone; long names of metrics need a wide one."""


def metric_box(label: str, value: str, below: str | None, help_text: str) -> None:
    """A figure in a box, with words below and words that explain it."""
    st.metric(
        label,
        value,
        below,
        delta_color="off",
        delta_arrow="off",
        help=help_text,
        border=True,
        width=_NARROW if len(label) <= _SHORT else _WIDE,
        height="stretch",
    )


def all_figures(context: Context, found: Found) -> None:
    """Every figure with its interval: averages and modalities down, figures across."""
    text = context.text
    of = [f"{text(f'model.{average}')} · {text(f'model.{name}')}" for average, name in queries.ROWS]
    column = st.column_config.TextColumn
    config: dict[str, Any] = {"of": column(text("model.average"), pinned=True, width=150)}
    config |= {name: column(title, width=170) for name, title in FIGURE_NAMES.items()}
    st.dataframe(
        found.matrix.add_column(0, "of", pa.array(of)),
        hide_index=True,
        column_config=config,
        height="content",
        alt=text("model.tab_figures"),
    )
    shown = {metric: queries.with_interval(found.figures.get(metric)) for metric in OTHERS}
    others = [
        f"* **{metric}** {shown[metric]} · {text(f'model.{key}')}" for metric, key in OTHERS.items()
    ]
    st.markdown("\n".join([*others, "", text("model.joint_help"), "", text("model.figures_help")]))
    download_menu("model-figures", found.table)


def groups(context: Context, found: Sequence[Figure]) -> None:
    """The view's metric in each group of samples, beside the best run and the floor."""
    text, view = context.text, context.view
    rows = [_group_row(bucket_title(text, figure.bucket), figure) for figure in found]
    table = pa.Table.from_pylist(rows, _GROUP_COLUMNS)
    st.caption(text("model.groups_help", metric=view.metric))
    _group_notes(context, found)
    named = [row | {"name": row["group"]} for row in rows]
    data, spec = model_charts.group_intervals(named, view.metric)
    if data.num_rows:
        st.vega_lite_chart(data, spec, width="stretch", alt=text("model.tab_groups"))
    column = st.column_config
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "group": column.TextColumn(text("app.bucket"), pinned=True, width="medium"),
            "n_samples": column.NumberColumn(text("model.samples"), width="small"),
            "value": column.NumberColumn(text("model.value"), format="%.4f"),
            "lo": column.NumberColumn(text("model.lo"), format="%.4f"),
            "hi": column.NumberColumn(text("model.hi"), format="%.4f"),
            "rank": column.TextColumn(text("model.rank"), help=text("model.rank_help")),
            "tier": column.NumberColumn(text("model.tier"), help=text("model.tier_help")),
            "best": column.NumberColumn(text("model.best"), format="%.4f"),
            "floor": column.NumberColumn(
                text("model.floor"), format="%.4f", help=text("model.floor_help")
            ),
        },
        placeholder=UNDEFINED,
        height="content",
        alt=text("model.tab_groups"),
    )
    with st.container(horizontal=True):
        download_menu("model-groups", table)
        if data.num_rows:
            download_menu("model-groups-chart", data, spec=spec)


def _group_notes(context: Context, found: Sequence[Figure]) -> None:
    """What a metric cannot say of some kinds of queries."""
    metric, kinds = context.view.metric, {figure.bucket for figure in found}
    notes = []
    if metric in (HEADLINE, ADJUSTED) and kinds & {"utterance", "image"}:
        notes.append("one_modality_help")
    if metric.startswith("micro.") and metric.endswith("f1") and "negative" in kinds:
        notes.append("no_answer_help")
    if notes:
        st.caption("\n\n".join(context.text(f"model.{note}") for note in notes))


_GROUP_COLUMNS: Final = pa.schema(
    {
        "group": pa.string(),
        "n_samples": pa.int64(),
        "value": pa.float64(),
        "lo": pa.float64(),
        "hi": pa.float64(),
        "rank": pa.string(),
        "tier": pa.int64(),
        "best": pa.float64(),
        "floor": pa.float64(),
    }
)


def _group_row(title: str, figure: Figure) -> dict[str, Any]:
    rank = rank_text(figure.rank_lo, figure.rank_hi)
    if figure.rank_lo is None and figure.rank is not None:
        rank = f"{figure.rank}"
    kept = ("n_samples", "value", "lo", "hi", "tier", "best", "floor")
    return {
        "group": title,
        "rank": rank,
        **{name: getattr(figure, name) for name in kept},
    }


def worst(context: Context, view: View, found: Sequence[WorstSample]) -> None:
    """The samples on which it does worst, each with a link that opens it."""
    text = context.text
    if context.site.board(view.board).hidden_gold:
        st.info(text("model.hidden"), icon=":material/lock:")
        return
    if not found:
        st.info(text("model.no_worst"), icon=":material/check:")
        return
    st.caption(text("model.worst_help"))
    for sample in found:
        with st.container(border=True):
            st.text(names.line(sample.query))
            target = replace(view, sample=sample.sample_id)
            link("samples", target, _about(context, sample), icon=":material/forum:")


def _about(context: Context, sample: WorstSample) -> str:
    text = context.text
    f1, wrong, missed = value_text(sample.f1), sample.n_wrong, sample.n_missed
    parts = [
        text("model.counts", f1=f1, wrong=wrong, missed=missed),
        text("model.turns", n=sample.turns),
    ]
    if sample.kind:
        parts.append(text(f"app.bucket_{sample.kind}"))
    if sample.outcome not in ANSWERED:
        parts.append(text(f"model.outcome_{sample.outcome}"))
    return " · ".join(parts)


def outcomes(context: Context, run: Run) -> None:
    """How asking ended: every outcome is named, those that never occurred too."""
    text = context.text
    rows = [
        {
            "outcome": outcome.value,
            "n": number,
            "share": share or 0.0,
            "text": f"{number} ({share or 0:.1%})",
            "answered": outcome in ANSWERED,
            "meaning": text(f"model.outcome_{outcome.value}"),
        }
        for outcome, number, share in queries.outcomes(run)
    ]
    data, spec = model_charts.outcome_bars(rows)
    st.vega_lite_chart(data, spec, width="stretch", alt=text("model.tab_outcomes"))
    column = st.column_config
    st.dataframe(
        pa.Table.from_pylist(rows),
        hide_index=True,
        column_order=("outcome", "n", "share", "meaning"),
        column_config={
            "outcome": column.TextColumn(text("model.outcome"), pinned=True, width=130),
            "n": column.NumberColumn(text("model.samples"), width="small"),
            "share": column.NumberColumn(text("model.share"), format="percent", width="small"),
            "meaning": column.TextColumn(text("model.meaning"), width="large"),
        },
        placeholder=UNDEFINED,
        height="content",
        alt=text("model.tab_outcomes"),
    )
    st.caption(text("model.outcomes_help"))
    if run["n_request_error"]:
        st.caption(text("model.request_errors", n=run["n_request_error"]))
    if run["n_missing"]:
        st.caption(text("model.missing", n=run["n_missing"]))
    _rates(context, run)


def _rates(context: Context, run: Run) -> None:
    text = context.text

    def share(value: float | None) -> str:
        return UNDEFINED if value is None else f"{value:.2%}"

    def number(value: float | None) -> str:
        return UNDEFINED if value is None else f"{value:.4g}"

    n_samples = run["n_samples"] or 0
    each = run["cost"] / n_samples if run["cost"] is not None and n_samples else None
    with st.container(horizontal=True):
        metric_box(
            text("model.invented"),
            share(run["invented_rate"]),
            text("model.invented_of"),
            text("model.invented_help"),
        )
        metric_box(
            text("model.duplicate"),
            share(run["duplicate_rate"]),
            text("model.duplicate_of"),
            text("model.duplicate_help"),
        )
        metric_box(
            text("model.latency"), number(run["latency_s"]), None, text("model.latency_help")
        )
        below = None if each is None else text("model.cost_each", cost=number(each))
        metric_box(text("model.cost"), number(run["cost"]), below, text("model.cost_help"))
