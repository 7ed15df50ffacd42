"""Up to four models beside each other: what differs, whether it is real, and where to look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from leaderboard import charts, names
from leaderboard.context import current
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED, interval_text, p_text, value_text
from leaderboard.queries import compare as queries
from leaderboard.view import MOST_MODELS
from leaderboard.view_bar import bucket_title, link, show_view_bar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.queries.compare import Difference, Disagreement
    from leaderboard.site.reader import Site
    from leaderboard.view import View

ENOUGH: Final = 2
"""So many models are needed to compare."""


def page() -> None:
    """Draw the page."""
    context = current()
    text, view = context.text, context.view
    st.title(text("compare.title"), anchor=False)
    show_view_bar(models=MOST_MODELS)
    if len(view.models) < ENOUGH:
        _suggest(context)
        return
    labels = _labels(context)
    found = _differences(context.site, context.site.key, view)
    here = [row for row in found if row.bucket == view.bucket_code]
    _verdicts(context, here, labels)
    _by_bucket(context, found, labels)
    _examples(context, labels)
    _curves(context, labels)


def _labels(context: Context) -> dict[str, str]:
    """The names of the picked models, safe and all different."""
    labels = context.site.labels(context.view.board)
    shown = names.unique(names.name(labels[run_id]) for run_id in context.view.models)
    return dict(zip(context.view.models, shown, strict=True))


def _suggest(context: Context) -> None:
    text, view = context.text, context.view
    st.info(text("compare.pick_two"), icon=":material/balance:")
    best = queries.leaders(context.site, view)
    pair = tuple(dict.fromkeys((*view.models, *best)))[:ENOUGH]
    if len(pair) == ENOUGH:
        labels = _labels(replace(context, view=replace(view, models=pair)))
        label = text("compare.suggestion", a=labels[pair[0]], b=labels[pair[1]])
        link("compare", replace(view, models=pair), label, icon=":material/arrow_forward:")


def _verdicts(context: Context, here: Sequence[Difference], labels: Mapping[str, str]) -> None:
    """The difference of each pair in the chosen bucket, in words first."""
    text, view = context.text, context.view
    st.subheader(bucket_title(text, view.bucket_code), anchor=False)
    for difference in here:
        with st.container(border=True):
            st.markdown(f"**{verdict(context, difference, labels)}**")
            with st.container(horizontal=True):
                for run_id, value in (
                    (difference.a, difference.value_a),
                    (difference.b, difference.value_b),
                ):
                    st.metric(labels[run_id], value_text(value), width=150)
                st.metric(
                    text("compare.difference"),
                    value_text(difference.delta, signed=True),
                    interval_text(difference.lo, difference.hi, signed=True),
                    delta_color="off",
                    delta_arrow="off",
                    width=210,
                )
                if difference.p_holm is not None:
                    st.metric(
                        text("compare.p_holm"),
                        p_text(difference.p_holm),
                        text("compare.p_alone", p=p_text(difference.p)),
                        delta_color="off",
                        delta_arrow="off",
                        help=text("compare.p_help"),
                        width=190,
                    )
            _wins(context, difference, labels)
    if not queries.is_tested(view.metric):
        st.caption(text("compare.not_tested", metric=view.metric))


def verdict(context: Context, difference: Difference, labels: Mapping[str, str]) -> str:
    """Which of two is better, and whether that is significant, in a sentence."""
    text = context.text
    a, b = labels[difference.a], labels[difference.b]
    if difference.delta is None:
        return text("compare.undefined", a=a, b=b)
    if difference.delta == 0:
        return text("compare.equal", a=a, b=b)
    ahead, behind = (a, b) if difference.delta > 0 else (b, a)
    by = value_text(abs(difference.delta))
    if difference.p_holm is None:
        return text("compare.ahead_untested", a=ahead, b=behind, by=by)
    alpha = context.site.manifest.alpha
    if difference.better(alpha):
        return text("compare.significant", a=ahead, b=behind, by=by, p=p_text(difference.p_holm))
    if difference.p is not None and difference.p <= alpha:
        alone, p = p_text(difference.p), p_text(difference.p_holm)
        return text("compare.only_alone", a=ahead, b=behind, by=by, p=p, alone=alone)
    return text("compare.not_significant", a=ahead, b=behind, by=by, p=p_text(difference.p_holm))


def _wins(context: Context, difference: Difference, labels: Mapping[str, str]) -> None:
    text = context.text
    if difference.wins is not None:
        st.caption(
            text(
                "compare.wins",
                a=labels[difference.a],
                b=labels[difference.b],
                wins=difference.wins,
                ties=difference.ties,
                losses=difference.losses,
            )
        )
    if difference.n_dialogues is not None:
        n_samples, n_dialogues = difference.n_samples, difference.n_dialogues
        st.caption(text("compare.counts", n_samples=n_samples, n_dialogues=n_dialogues))
    if difference.dialogues_needed is not None and not difference.better(
        context.site.manifest.alpha
    ):
        st.caption(text("compare.needed", n=difference.dialogues_needed))


def _by_bucket(context: Context, found: Sequence[Difference], labels: Mapping[str, str]) -> None:
    text, view = context.text, context.view
    st.subheader(text("compare.by_bucket"), anchor=False)
    rows = [_row(context, difference, labels) for difference in found]
    table = pa.Table.from_pylist(rows, schema=_COLUMNS)
    alpha = context.site.manifest.alpha
    data, spec = charts.difference_forest(rows, text("compare.difference"), alpha)
    st.vega_lite_chart(data, spec, width="stretch")
    shown = [*_FIRST, *(name for name in _COLUMNS.names if name not in _FIRST)]
    if len(view.models) == ENOUGH:
        shown.remove("pair")
    column = st.column_config
    signed = "%+.4f"
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "bucket": column.TextColumn(text("app.bucket"), pinned=True, width="medium"),
            "pair": column.TextColumn(text("compare.pair"), width="medium"),
            "delta": column.NumberColumn(text("compare.difference"), format=signed),
            "lo": column.NumberColumn(text("compare.lo"), format=signed),
            "hi": column.NumberColumn(text("compare.hi"), format=signed),
            "p_holm": column.NumberColumn("p (Holm)", format="%.4f", help=text("compare.p_help")),
            "p": column.NumberColumn("p", format="%.4f", help=text("compare.p_help")),
            "wins": column.NumberColumn(text("compare.n_wins")),
            "ties": column.NumberColumn(text("compare.n_ties")),
            "losses": column.NumberColumn(text("compare.n_losses")),
            "verdict": column.TextColumn(text("compare.verdict"), width="medium"),
        },
        column_order=shown,
        placeholder=UNDEFINED,
        height="content",
    )
    with st.container(horizontal=True):
        download_menu("ffr-compare", table, about={"models": ",".join(view.models)})
        download_menu("ffr-compare-chart", data, spec=spec)


_COLUMNS: Final = pa.schema(
    {
        "bucket": pa.string(),
        "pair": pa.string(),
        "delta": pa.float64(),
        "lo": pa.float64(),
        "hi": pa.float64(),
        "p_holm": pa.float64(),
        "p": pa.float64(),
        "wins": pa.int64(),
        "ties": pa.int64(),
        "losses": pa.int64(),
        "verdict": pa.string(),
    }
)


_FIRST: Final = ("bucket", "pair", "verdict")


def _row(context: Context, difference: Difference, labels: Mapping[str, str]) -> dict[str, Any]:
    text = context.text
    winner = difference.better(context.site.manifest.alpha)
    if winner is not None:
        word = text("compare.better", a=labels[winner])
    elif difference.p_holm is None:
        word = text("compare.untested")
    else:
        word = text("compare.inseparable")
    return {
        "bucket": bucket_title(text, difference.bucket),
        "pair": f"{labels[difference.a]} − {labels[difference.b]}",
        "verdict": word,
        **{
            name: getattr(difference, name)
            for name in ("delta", "lo", "hi", "p_holm", "p", "wins", "ties", "losses")
        },
    }


def _examples(context: Context, labels: Mapping[str, str]) -> None:
    """The samples on which the first two models disagree most, each a link."""
    text, view, site = context.text, context.view, context.site
    a, b, *_ = view.models
    st.subheader(text("compare.disagreements", a=labels[a], b=labels[b]), anchor=False)
    if site.board(view.board).hidden_gold:
        st.info(text("compare.hidden"), icon=":material/lock:")
        return
    found = _disagreements(site, site.key, view, a, b)
    if not found:
        st.info(text("compare.agree"), icon=":material/check:")
        return
    st.caption(text("compare.disagreements_help"))
    for sample in found:
        with st.container(border=True):
            _example(context, sample, labels[a], labels[b])


def _example(context: Context, sample: Disagreement, a: str, b: str) -> None:
    text, view = context.text, context.view
    st.text(names.line(sample.query))
    failing = b if sample.f1_a > sample.f1_b else a
    with st.container(horizontal=True, vertical_alignment="center"):
        kind = text(f"app.bucket_{sample.kind}") if sample.kind else ""
        st.caption(
            text(
                "compare.example",
                a=a,
                b=b,
                f1_a=value_text(sample.f1_a),
                f1_b=value_text(sample.f1_b),
                turns=sample.turns,
                kind=kind,
            ),
            width="stretch",
        )
        label = text("compare.open", a=failing)
        target = replace(view, sample=sample.sample_id)
        link("samples", target, label, icon=":material/forum:")


def _curves(context: Context, labels: Mapping[str, str]) -> None:
    text, view = context.text, context.view
    rows = _curve(context.site, context.site.key, view)
    shown = [row | {"model": labels[row["run_id"]]} for row in rows if row["value"] is not None]
    if not shown:
        return
    st.subheader(text("compare.curves"), anchor=False)
    words = {code: bucket_title(text, code) for code in charts.LENGTHS}
    data, spec = charts.bucket_curves(shown, view.metric, words)
    st.vega_lite_chart(data, spec, width="stretch")


@st.cache_resource(max_entries=200, show_spinner=False)
def _differences(_site: Site, key: str, view: View) -> list[Difference]:
    del key
    return queries.differences(_site, replace(view, sample=None))


@st.cache_resource(max_entries=200, show_spinner=False)
def _disagreements(_site: Site, key: str, view: View, a: str, b: str) -> list[Disagreement]:
    del key
    return queries.disagreements(_site, view, a, b)


@st.cache_resource(max_entries=200, show_spinner=False)
def _curve(_site: Site, key: str, view: View) -> list[dict[str, Any]]:
    del key
    return queries.curve(_site, view, view.models)
