"""The board: who leads, whether that is real, and on what kind of dialogue; then all runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from leaderboard.context import current
from leaderboard.pages.board_content import contents
from leaderboard.pages.board_runs import show_runs
from leaderboard.pages.board_tabs import show_tabs
from leaderboard.site.schema import PAIR_METRICS
from leaderboard.view_bar import bucket_title, link, show_view_bar, write_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leaderboard.context import Context
    from leaderboard.pages.board_content import Content
    from leaderboard.queries.board import Difference

SMALLEST_P: Final = 0.0001


def page() -> None:
    """Draw the page."""
    context = current()
    text = context.text
    content = contents(context)
    st.title(text("board.title"), anchor=False)
    anything = content.runs.num_rows or content.ceilings.num_rows
    if anything:
        _show_leader(context, content)
    else:
        st.info(f"{text('board.no_runs')} {text('board.no_runs_help')}", icon=":material/inbox:")
    show_view_bar()
    _show_quick_metrics(context)
    if not anything:
        return
    _show_lengths(context, content)
    shown = show_runs(context, content)
    show_tabs(context, content, shown)


# --- the leader -----------------------------------------------------------------------------------


def _show_leader(context: Context, content: Content) -> None:
    """Who leads and whether that is real, in a sentence."""
    text, view, first = context.text, context.view, content.leader
    if first is None:
        words = f"**{text('board.nothing_title')}** {text('board.nothing_help')}"
        st.info(words, icon=":material/block:")
        return
    where = bucket_title(text, view.bucket_code)
    on = f":small[{text('board.on', metric=view.metric, protocol=view.protocol)} {where}]"
    second = _second_words(context, first, content.labels)
    lines = [_leader_words(context, first, content.labels), second, on]
    words = "\n\n".join(filter(None, lines))
    if first.n_inseparable == 0:
        st.success(words, icon=":material/check_circle:")
    else:
        st.info(words, icon=":material/help:")


def _leader_words(context: Context, first: Difference, labels: Mapping[str, str]) -> str:
    text, name = context.text, labels[first.a]
    if first.b is None:
        return text("board.only", a=name, value=first.value_a)
    if first.n_level > 1:
        return text("board.shared", a=name, n=first.n_level - 1, value=first.value_a)
    level = first.n_inseparable
    if level is None:
        return text("board.untested", a=name, value=first.value_a)
    if level == 0:
        return text("board.leads", a=name, n=first.n_ranked - 1, value=first.value_a)
    key = "board.highest_one" if level == 1 else "board.highest"
    return text(key, a=name, n=level, value=first.value_a)


def _second_words(context: Context, first: Difference, labels: Mapping[str, str]) -> str:
    """How far the second is behind; nothing if there is none, or it is level."""
    text = context.text
    if first.b is None or not first.delta:
        return ""
    name = labels[first.b]
    if first.p_holm is None or first.lo is None or first.hi is None:
        return text("board.next_plain", b=name, by=first.delta)
    said = text("board.next", b=name, by=first.delta, lo=first.lo, hi=first.hi)
    real = first.significant(context.site.manifest.alpha)
    verdict = text("board.significant" if real else "board.not_significant")
    small = first.p_holm < SMALLEST_P
    p = text("board.p_small") if small else text("board.p_value", p=first.p_holm)
    return f"{said} **{verdict}** {p}"


# --- by length ------------------------------------------------------------------------------------


def _show_lengths(context: Context, content: Content) -> None:
    """The two best of short, medium and long dialogues, with the way to their comparison."""
    text, view = context.text, context.view
    if not content.lengths:
        return
    # One text for all: what an element costs is the same, however long it is.
    lines = [
        _length_words(context, bucket, best, content.labels)
        for bucket, best in content.lengths.items()
    ]
    with st.container(horizontal=True, border=True, key="lengths"):
        st.markdown("\n".join(f"* {line}" for line in lines), width="stretch")
        for bucket, best in content.lengths.items():
            if best.b is None:
                continue
            models = best.a, best.b
            target = replace(view, models=models, grouping="turns", bucket=bucket, sample=None)
            link("compare", target, text(f"board.compare_{bucket}"), icon=":material/balance:")


def _length_words(
    context: Context, bucket: str, best: Difference, labels: Mapping[str, str]
) -> str:
    text, a = context.text, labels[best.a]
    title = f"**{bucket_title(text, bucket)}**"
    if best.b is None:
        return f"{title}: {text('board.card_one', a=a, value_a=best.value_a)}"
    b = labels[best.b]
    values = text("board.card", a=a, value_a=best.value_a, b=b, value_b=best.value_b or 0.0)
    icon, key = ":material/help:", "board.card_not"
    if best.p_holm is None or best.lo is None:
        key = "board.card_untested"
    elif best.significant(context.site.manifest.alpha):
        icon, key = ":material/check_circle:", "board.card_significant"
    verdict = text(key, a=a, by=best.delta or 0.0, lo=best.lo, hi=best.hi)
    return f"{title}: {values}  \n{icon} {verdict}"


# --- the metric -----------------------------------------------------------------------------------


def _show_quick_metrics(context: Context) -> None:
    """The metrics by which runs are compared in pairs, one click each; all are in the filters."""
    text, key = context.text, "board.quick"
    metric = context.view.metric
    st.session_state[key] = metric if metric in PAIR_METRICS else None  # the address decides

    def changed() -> None:
        view = current().view
        write_address(replace(view, metric=st.session_state[key] or view.metric))

    st.segmented_control(
        text("board.quick"),
        PAIR_METRICS,
        format_func=lambda name: text(f"board.quick_{name}"),
        key=key,
        help=text("board.quick_help"),
        on_change=changed,
    )
