"""The board: who leads, whether that is real, and on what kind of dialogue; then all runs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import streamlit as st

from ffr_eval.floors import FLOORS
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.uncertainty import FEW_DIALOGUES
from leaderboard import names
from leaderboard.context import current
from leaderboard.figures import value_text
from leaderboard.pages.board_content import contents, unfinished_words
from leaderboard.pages.board_runs import show_runs
from leaderboard.pages.board_tabs import show_tabs
from leaderboard.site.schema import ALL, BOARD_METRICS, PAIR_METRICS
from leaderboard.texts import LANGUAGES, Words
from leaderboard.view_bar import bucket_title, link, show_view_bar, write_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leaderboard.context import Context
    from leaderboard.pages.board_content import Content
    from leaderboard.queries.board import Difference
    from leaderboard.texts import Text

SMALLEST_P: Final = 0.0001
METRICS: Final = (*PAIR_METRICS, *BOARD_METRICS)
TELLING: Final = ("exact", "macro.joint.f1")
"""What tells runs apart where the gold has nothing."""


def page() -> None:
    """Draw the page."""
    context = current()
    text = context.text
    content = contents(context)
    anything = content.runs.num_rows or content.ceilings.num_rows
    if anything:
        _show_answer(context, content)
        _show_links(context, content)
    else:
        words = f"{text('board.no_runs')} {text('board.no_runs_help')}"
        st.info(f"{_title(context)}\n\n{words}", icon=":material/inbox:")
    show_view_bar(metric=False)
    _show_metrics(context)
    if anything:
        shown = show_runs(context, content)
        show_tabs(context, content, shown)


def _title(context: Context) -> str:
    return f"### {context.text('board.title')}"


# --- the answer -----------------------------------------------------------------------------------


def _show_answer(context: Context, content: Content) -> None:
    """Who leads, whether that is real, and on which dialogues.

    All in one element: each costs time of its own, however long it is.
    """
    text, view, first = context.text, context.view, content.leader
    references = _references(context, content)
    if first is None:
        why = f"**{text('board.nothing_title')}** {text('board.nothing_help')}"
        st.info(f"{_title(context)}\n\n{why}\n\n{references}", icon=":material/block:")
        return
    where = bucket_title(text, view.bucket_code)
    on = text("board.on", metric=view.metric, protocol=view.protocol, where=where)
    parts = [
        _title(context),
        f"{_leader_words(context, first, content.labels)} :small[{on}]",
        _second_words(context, first, content.labels),
        _unfinished_words(context, content),
        "\n".join(
            f"* {_length_words(context, bucket, best, content.labels)}"
            for bucket, best in content.lengths.items()
        ),
        references,
        _few_words(context, content),
    ]
    words = "\n\n".join(filter(None, parts))
    if first.n_inseparable == 0 and not first.flat:
        st.success(words, icon=":material/check_circle:")
    else:
        st.info(words, icon=":material/help:")


def _references(context: Context, content: Content) -> str:
    """Floors and ceilings, which have no ranks, in a line."""
    text = context.text
    found = [
        (content.labels[row["run_id"]], "ceiling", row["value"])
        for row in content.ceilings.to_pylist()
    ]
    found += [
        (text(f"board.floor_{name}") if name in FLOORS else names.name(name), "floor", value)
        for name, value in reversed(content.floors)
    ]
    said = " · ".join(
        text("board.reference", name=name, kind=text(f"board.{kind}"), value=value_text(value))
        for name, kind, value in found
    )
    title = f"**{text('board.references')}**{text('board.colon')}"
    return f":small[{title}{said}]" if found else ""


def _unfinished_words(context: Context, content: Content) -> str:
    """Which of the runs that are named above are not finished."""
    text, missing = context.text, content.unfinished
    if content.leader is None or content.leader.flat:
        return ""
    bests = (content.leader, *content.lengths.values())
    named = dict.fromkeys(run_id for best in bests for run_id in (best.a, best.b) if run_id)
    return "  \n".join(
        text(
            "board.unfinished",
            a=content.labels[run_id],
            why=unfinished_words(text, missing[run_id]),
        )
        for run_id in named
        if run_id in missing
    )


def _few_words(context: Context, content: Content) -> str:
    """That intervals are too narrow, where the dialogues are few."""
    n = content.leader.n_dialogues if content.leader else None
    if n is None and context.view.bucket == ALL:
        n = content.n_dialogues
    if n is None or n >= FEW_DIALOGUES:
        return ""
    return f":small[{context.text('board.few', n=n)}]"


def _leader_words(context: Context, first: Difference, labels: Mapping[str, str]) -> str:
    text, name = context.text, labels[first.a]
    if first.flat:
        said = text("board.flat", metric=context.view.metric)
        return said if context.view.metric in TELLING else f"{said} {text('board.flat_see')}"
    if first.b is None:
        return text("board.only", a=name, value=first.value_a)
    if first.n_level > 1:
        return text("board.shared", a=name, n=first.n_level - 1, value=first.value_a)
    level = first.n_inseparable
    if level is None:
        return text("board.untested", a=name, value=first.value_a)
    if level == 0:
        key = {1: "board.leads_one", 2: "board.leads_two"}.get(first.n_ranked - 1, "board.leads")
        return text(key, a=name, n=first.n_ranked - 1, value=first.value_a)
    if first.too_few(context.site.manifest.alpha):
        few = "board.too_few" if first.n_pairs > 1 else "board.too_few_one"
        said = text(few, n=first.n_dialogues, k=first.n_pairs)
        return f"{text('board.highest_of', a=name, value=first.value_a)} {said}"
    key = "board.highest_one" if level == 1 else "board.highest"
    return text(key, a=name, n=level, value=first.value_a)


def _second_words(context: Context, first: Difference, labels: Mapping[str, str]) -> str:
    """How far the second is behind; nothing if there is none, or it is level."""
    text = context.text
    if first.b is None or first.delta is None or first.n_level > 1:
        return ""
    name = labels[first.b]
    if first.equal:
        return text("board.next_equal", b=name)
    by = _by(first.delta)
    if first.p_holm is None or first.lo is None or first.hi is None:
        return text("board.next_plain", b=name, by=by)
    said = text("board.next", b=name, by=by, lo=first.lo, hi=first.hi)
    real = first.significant(context.site.manifest.alpha)
    verdict = text("board.significant" if real else "board.not_significant")
    small = first.p_holm < SMALLEST_P
    p = text("board.p_small") if small else text("board.p_value", p=first.p_holm)
    return f"{said} **{verdict}** {p}"


def _by(delta: float) -> str:
    """How far ahead; a small lead is not shown as none."""
    written = value_text(delta)
    return Words("< 0.001") if written == "0.000" else written


# --- by length ------------------------------------------------------------------------------------


def _show_links(context: Context, content: Content) -> None:
    """The ways to the comparison of the two best of short, medium and long dialogues."""
    pairs = {
        bucket: (best.a, best.b)
        for bucket, best in content.lengths.items()
        if best.b and not best.flat
    }
    if not pairs:
        return
    with st.container(horizontal=True):
        for bucket, (a, b) in pairs.items():
            target = replace(
                context.view, models=(a, b or a), grouping="turns", bucket=bucket, sample=None
            )
            label = context.text(f"board.compare_{bucket}")
            link("compare", target, label, icon=":material/balance:")


def _length_words(
    context: Context, bucket: str, best: Difference, labels: Mapping[str, str]
) -> str:
    text, a = context.text, labels[best.a]
    title = f"**{bucket_title(text, bucket)}**{text('board.colon')}"
    if best.flat:
        return f"{title}{text('board.card_flat')}"
    if best.b is None:
        return f"{title}{text('board.card_one', a=a, value_a=best.value_a)}"
    b = labels[best.b]
    values = text("board.card", a=a, value_a=best.value_a, b=b, value_b=best.value_b or 0.0)
    icon, key = ":material/help:", "board.card_not"
    if best.equal:
        said = (
            text("board.card_equal")
            if best.n_level < 3
            else text("board.card_level", n=best.n_level)
        )
        return f"{title}{values}  \n:material/drag_handle: {said}"
    if best.p_holm is None or best.lo is None:
        key = "board.card_untested"
    elif best.too_few(context.site.manifest.alpha):
        key = "board.card_few"
    elif best.significant(context.site.manifest.alpha):
        icon, key = ":material/check_circle:", "board.card_significant"
    by = _by(best.delta or 0.0)
    verdict = text(key, a=a, by=by, lo=best.lo, hi=best.hi, n=best.n_dialogues)
    return f"{title}{values}  \n{icon} {verdict}"


# --- the metric -----------------------------------------------------------------------------------


def _show_metrics(context: Context) -> None:
    """The choice of the metric, in words; a change is written into the address."""
    text, key = context.text, "board.metric"
    titles = _metric_titles(text)
    st.session_state[key] = context.view.metric  # the address decides

    def changed() -> None:
        write_address(replace(current().view, metric=st.session_state[key]))

    st.selectbox(
        text("app.metric"),
        list(titles),
        format_func=titles.__getitem__,
        key=key,
        help=text("board.metric_help"),
        on_change=changed,
        width=520,
    )


@lru_cache(maxsize=len(LANGUAGES))
def _metric_titles(text: Text) -> Mapping[str, str]:
    """All metrics in words; those that are compared in pairs first."""
    return {metric: _metric_title(text, metric) for metric in dict.fromkeys(METRICS)}


def _metric_title(text: Text, metric: str) -> str:
    average, _, rest = metric.partition(".")
    if not rest:
        return text(f"board.{metric}")
    modality, _, figure = rest.partition(".")
    words = text(
        "board.metric_title",
        what=text(f"board.{modality}"),
        figure=text(f"board.{figure}"),
        average=average,
    )
    if metric not in PAIR_METRICS:
        return words
    note = text("board.headline" if metric == HEADLINE else "board.tested")
    return text("board.metric_note", metric=words, note=note)
