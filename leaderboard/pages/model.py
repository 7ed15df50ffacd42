"""One model: where it stands, all its figures, on what it does well, and where they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from ffr_eval.metrics.named import ADJUSTED, HEADLINE
from leaderboard import names
from leaderboard.context import current
from leaderboard.figures import UNDEFINED, interval_text, rank_text, value_text
from leaderboard.pages import model_record, model_tabs
from leaderboard.pages.model_tabs import metric_box
from leaderboard.queries import model as queries
from leaderboard.queries.board import shown_labels
from leaderboard.view import View
from leaderboard.view_bar import bucket_title, link, show_view_bar, write_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leaderboard.context import Context
    from leaderboard.queries.model import Figure, Found, Standing
    from leaderboard.site.reader import Site

    Run = Mapping[str, Any]

TABS: Final = ("figures", "groups", "worst", "outcomes", "record")
_BADGES: Final = {
    "setting": {"zero-shot": "blue", "tuned": "violet", "unknown": "gray"},
    "weights": {"open": "blue", "closed": "violet", "unknown": "gray"},
    "provenance": {"verified": "green", "submitted": "orange"},
}


def page() -> None:
    """Draw the page."""
    context = current()
    st.title(context.text("model.title"), anchor=False)
    show_view_bar()
    labels = _labels(context.site, context.site.key, context.view.board)
    _choose(context, labels)
    if not context.view.models:
        _nothing_chosen(context, labels)
        return
    run_id = context.view.models[0]
    view = replace(context.view, models=(run_id,), sample=None)
    found = _found(context.site, view)
    st.subheader(labels[run_id], anchor=False)
    _badges(context, found.run)
    _key_figures(context, found)
    _links(context, view, found, labels)
    titles = [context.text(f"model.tab_{name}") for name in TABS]
    tabs = st.tabs(titles, key=f"model.tab.{context.language}", on_change="rerun")
    parts: tuple[Callable[[], None], ...] = (
        lambda: model_tabs.all_figures(context, found.figures),
        lambda: model_tabs.groups(context, found.groups),
        lambda: model_tabs.worst(context, view, found.worst),
        lambda: model_tabs.outcomes(context, found.run),
        lambda: model_record.show(context, found.run),
    )
    for tab, part in zip(tabs, parts, strict=True):
        if tab.open:
            with tab:
                part()


def _choose(context: Context, labels: Mapping[str, str]) -> None:
    """A choice of the model; others that are in the address stay behind it."""
    key = "model.choice"
    st.session_state[key] = context.view.models[0] if context.view.models else None

    def changed() -> None:
        view, chosen = current().view, st.session_state[key]
        others = tuple(run_id for run_id in view.models[1:] if run_id != chosen)
        write_address(replace(view, models=() if chosen is None else (chosen, *others)))

    st.selectbox(
        context.text("model.choice"),
        list(labels),
        index=None,
        format_func=labels.__getitem__,
        key=key,
        placeholder=context.text("model.placeholder"),
        disabled=not labels,
        on_change=changed,
        width=480,
    )


def _nothing_chosen(context: Context, labels: Mapping[str, str]) -> None:
    text, view = context.text, context.view
    if not labels:
        st.info(text("model.no_runs"), icon=":material/inbox:")
        return
    st.info(text("model.pick", n=len(labels)), icon=":material/deployed_code:")
    link("board", view, text("model.to_board"), icon=":material/leaderboard:")


def _badges(context: Context, run: Run) -> None:
    text = context.text
    with st.container(horizontal=True):
        for name, colours in _BADGES.items():
            value = run[name] if run[name] in colours else "unknown"
            label = text(f"model.{name}_{value}")
            colour: Any = colours.get(value, "gray")
            st.badge(label, color=colour, help=text(f"model.{name}_help"))
        if run["ceiling"]:
            st.badge(text("model.ceiling"), color="gray", help=text("model.ceiling_help"))
        if run["incomplete"] is not None:
            help_text = text("model.incomplete_help")
            st.badge(
                text("model.incomplete"), icon=":material/warning:", color="red", help=help_text
            )
    if run["incomplete"] is not None:
        st.text(names.line(run["incomplete"]))


def _key_figures(context: Context, found: Found) -> None:
    text, view = context.text, context.view
    shown = found.figures.get(view.metric)
    with st.container(horizontal=True):
        if shown is not None and shown.rank is not None:
            below = text("model.of", n=found.standing.n_ranked)
            if shown.rank_lo is None:  # the metric is not compared in pairs: a place, no interval
                metric_box(text("model.place"), f"{shown.rank}", below, text("model.place_help"))
            else:
                ranks = rank_text(shown.rank_lo, shown.rank_hi)
                metric_box(text("model.rank"), ranks, below, text("model.rank_help"))
                tier = UNDEFINED if shown.tier is None else f"{shown.tier}"
                metric_box(text("model.tier"), tier, None, text("model.tier_help"))
        short = {ADJUSTED: text("model.adjusted"), "answered_rate": text("model.answered")}
        for metric in dict.fromkeys((view.metric, HEADLINE, *short)):
            figure = found.figures.get(metric)
            value = value_text(figure.value if figure else None)
            interval = interval_text(figure.lo, figure.hi) if figure else UNDEFINED
            help_text = text("model.interval_help")
            if metric in short:
                help_text = f"{text(f'model.{model_tabs.OTHERS[metric]}')} {help_text}"
            metric_box(short.get(metric, metric), value, interval, help_text)
    if shown is None or shown.rank is None:
        st.caption(text(f"model.{_why_unranked(found.run, shown)}"))
    if shown is not None:
        bucket = bucket_title(text, view.bucket_code)
        st.caption(f"{bucket} · {text('model.n', n=shown.n_samples)}")


def _why_unranked(run: Run, shown: Figure | None) -> str:
    if run["incomplete"] is not None:
        return "unranked_incomplete"
    if run["ceiling"]:
        return "unranked_ceiling"
    if shown is None or shown.value is None:
        return "unranked_undefined"
    return "unranked_metric"


def _links(context: Context, view: View, found: Found, labels: Mapping[str, str]) -> None:
    """Where to go from here: the leader, the neighbours, and a sample that went wrong."""
    text = context.text
    run_id = view.models[0]
    with st.container(horizontal=True):
        for other, key in _others(found.standing).items():
            label = text(f"model.compare_{key}", other=labels[other])
            target = replace(view, models=(run_id, other))
            link("compare", target, label, icon=":material/balance:")
        if not context.site.board(view.board).hidden_gold:
            if found.worst:
                target = replace(view, sample=found.worst[0].sample_id)
                link("samples", target, text("model.see_worst"), icon=":material/forum:")
            else:
                link("samples", view, text("model.see_samples"), icon=":material/forum:")
    model_record.show_raw(context, found.run)


def _others(standing: Standing) -> dict[str, str]:
    """The runs to compare with, each once, and what they are."""
    found: dict[str, str] = {}
    for run_id, key in (
        (standing.leader, "leader"),
        (standing.above, "above"),
        (standing.below, "below"),
    ):
        if run_id is not None:
            found.setdefault(run_id, key)
    if standing.above is None and standing.below == standing.leader and standing.below:
        found[standing.below] = "below"  # it leads itself: the next one is no leader
    return found


@st.cache_resource(max_entries=20, show_spinner=False)
def _labels(_site: Site, key: str, board_id: str) -> Mapping[str, str]:
    """The names of a board's runs, safe in every widget and all different."""
    del key
    return shown_labels(_site, board_id)


def _found(site: Site, view: View) -> Found:
    # Plain texts: to hash a view takes longer than all else here.
    place = view.board, view.protocol, view.metric, view.bucket_code
    return _read(site, site.key, view.models[0], *place)


@st.cache_resource(max_entries=500, show_spinner=False)
def _read(
    _site: Site, key: str, run_id: str, board: str, protocol: str, metric: str, bucket: str
) -> Found:
    del key
    view = View(board, protocol, metric).with_bucket(bucket)
    return queries.found(_site, view, run_id)
