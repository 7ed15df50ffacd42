"""One model: where it stands, all its figures, on what it does well, and where they come from."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from ffr_eval.metrics.named import ADJUSTED, HEADLINE
from ffr_eval.uncertainty import FEW_DIALOGUES
from leaderboard import names
from leaderboard.context import current
from leaderboard.figures import UNDEFINED, interval_text, rank_text, value_text
from leaderboard.pages import model_record, model_tabs
from leaderboard.pages.model_tabs import metric_box
from leaderboard.queries import model as queries
from leaderboard.view_bar import MANY, bucket_title, link, show_view_bar, write_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leaderboard.context import Context
    from leaderboard.queries.model import Figure, Found, Standing
    from leaderboard.site.reader import Site
    from leaderboard.view import View

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
    labels = context.site.shown_labels(context.view.board)
    chosen = context.view.models[:1]
    st.title(labels[chosen[0]] if chosen else context.text("model.title"), anchor=False)
    show_view_bar()
    _choose(context, labels)
    if not chosen:
        _nothing_chosen(context, labels)
        return
    view = replace(context.view, models=chosen, sample=None)
    found = _found(context.site, view)
    _badges(context, found.run)
    _key_figures(context, found)
    _links(context, view, found, labels)
    titles = [context.text(f"model.tab_{name}") for name in TABS]
    tabs = st.tabs(titles, key=f"model.tab.{context.language}", on_change="rerun")
    parts: tuple[Callable[[], None], ...] = (
        lambda: model_tabs.all_figures(context, found),
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
    """A choice of the model; of many in a menu, as so many names take long to send each time."""
    if len(labels) <= MANY or not context.view.models:
        _selectbox(context, labels)
        return
    menu = st.popover(context.text("model.choice"), key="model.menu", on_change="rerun")
    if menu.open:
        with menu:
            _selectbox(context, labels)


def _selectbox(context: Context, labels: Mapping[str, str]) -> None:
    """All models; others that are in the address stay behind the chosen one."""
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
    """What kind of run it is, by its data; one element, as every element takes its time."""
    text = context.text
    badges, helps = [], []
    for name, colours in _BADGES.items():
        value = run[name] if run[name] in colours else "unknown"
        badges.append(f":{colours.get(value, 'gray')}-badge[{text(f'model.{name}_{value}')}]")
        helps.append(text(f"model.{name}_help"))
    if run["ceiling"]:
        badges.append(f":gray-badge[{text('model.ceiling')}]")
        helps.append(text("model.ceiling_help"))
    if run["incomplete"] is not None:
        badges.append(f":red-badge[:material/warning: {text('model.incomplete')}]")
        helps.append(text("model.incomplete_help"))
    st.markdown(" ".join(badges), help="\n\n".join(helps))
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
                below += f" · {text('model.tier_n', tier=shown.tier or UNDEFINED)}"
                help_text = f"{text('model.rank_help')} {text('model.tier_help')}"
                metric_box(text("model.rank"), ranks, below, help_text)
        for metric in dict.fromkeys((view.metric, HEADLINE)):
            _figure_box(found, metric, metric, text("model.interval_help"))
        help_text = f"{text('model.adjusted_help')} {text('model.interval_help')}"
        if view.metric != ADJUSTED:
            _figure_box(found, ADJUSTED, text("model.adjusted"), help_text)
    said = [text(f"model.{_why_unranked(found.run, shown)}")] if not shown or not shown.rank else []
    if shown is not None:
        said += [bucket_title(text, view.bucket_code), text("model.n", n=shown.n_samples)]
    n_dialogues = found.run["n_dialogues"]
    if n_dialogues is not None and n_dialogues < FEW_DIALOGUES:
        said.append(text("model.few_dialogues", n=n_dialogues))
    st.caption(" · ".join(said))


def _figure_box(found: Found, metric: str, label: str, help_text: str) -> None:
    figure = found.figures.get(metric)
    value = value_text(figure.value if figure else None)
    interval = interval_text(figure.lo, figure.hi) if figure else UNDEFINED
    metric_box(label, value, interval, help_text)


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


@lru_cache(maxsize=500)
def _found(site: Site, view: View) -> Found:
    return queries.found(site, view, view.models[0])
