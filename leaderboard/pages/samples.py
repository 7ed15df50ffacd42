"""The samples of a model, beside another one: a list with filters, and one of them opened."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from leaderboard import names
from leaderboard.chat import opened
from leaderboard.chat.filters import Choices, read_choices, write_choices
from leaderboard.context import current
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED
from leaderboard.queries import samples as queries
from leaderboard.queries.samples import PAGE_ROWS, Filters
from leaderboard.site.schema import ALL
from leaderboard.texts import texts
from leaderboard.view import bucket_code
from leaderboard.view_bar import bucket_title, show_view_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leaderboard.context import Context
    from leaderboard.queries.samples import Matching
    from leaderboard.site.reader import Site
    from leaderboard.texts import Text

_ANY: Final = ""
_WIDTH: Final = 172
"""Two of them fit beside each other on a phone."""
_LIST_HEIGHT: Final = 560


def page() -> None:
    """Draw the page."""
    context = current()
    text, view, site = context.text, context.view, context.site
    if view.sample is not None:
        _show_sample(context)
        return
    st.title(text("samples.title"), anchor=False)
    show_view_bar(metric=False, protocol=False, bucket=False)
    if site.board(view.board).hidden_gold:
        st.info(text("samples.hidden"), icon=":material/lock:")
        return
    _pick_models(context)
    if not view.models:
        st.info(text("samples.pick"), icon=":material/person_search:")
        return
    choices = read_choices()
    filters = choices.filters(view)
    _show_filters(context, filters)
    _show_list(context, filters, choices)


def _show_sample(context: Context) -> None:
    """The sample of the view, first of all on the page."""
    text, view, site = context.text, context.view, context.site
    choices = read_choices()
    if site.board(view.board).hidden_gold:
        _close_button(text)
        opened.show(context, (), choices)
        st.info(text("samples.hidden"), icon=":material/lock:")
        return
    if not view.models:
        _close_button(text)
        _pick_models(context)
        opened.show(context, (), choices)
        return
    _steps(context, _matching(site, site.key, choices.filters(view)))
    labels = site.shown_labels(view.board)
    shown = [(name, run, labels[run]) for name, run in zip("AB", view.models, strict=False)]
    opened.show(context, shown, choices)


def _pick_models(context: Context) -> None:
    """The pickers of A and B; they are the first two models of the view."""
    text, view = context.text, context.view
    labels = context.site.shown_labels(view.board)
    a, b = (*view.models, None, None)[:2]

    def changed(place: int) -> None:
        picked = [st.session_state[f"samples.{name}"] for name in ("a", "b")[: 1 + (a is not None)]]
        if place == 0 and picked[0] is None:
            picked = picked[1:]  # B alone takes the place of A
        rest = [run_id for run_id in current().view.models[2:] if run_id not in picked]
        models = tuple(dict.fromkeys(filter(None, (*picked, *rest))))
        write_choices(replace(current().view, models=models), replace(read_choices(), page=1))

    def swap() -> None:
        first, second, *rest = current().view.models
        write_choices(replace(current().view, models=(second, first, *rest)), read_choices())

    with st.container(horizontal=True, vertical_alignment="bottom"):
        for place, (name, chosen, taken) in enumerate((("a", a, None), ("b", b, a))):
            if place and a is None:
                break
            st.session_state[f"samples.{name}"] = chosen
            st.selectbox(
                text(f"samples.model_{name}"),
                [run_id for run_id in labels if run_id != taken],
                index=None,
                format_func=labels.__getitem__,
                key=f"samples.{name}",
                placeholder=text(f"samples.model_{name}_empty"),
                on_change=changed,
                args=(place,),
                width=320,
            )
        if b is not None:
            st.button(text("samples.swap"), icon=":material/swap_horiz:", on_click=swap)


def _show_filters(context: Context, filters: Filters) -> None:
    text, view, site = context.text, context.view, context.site
    two = filters.b is not None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        codes = [bucket_code(*found) for found in site.buckets(view.board)]
        _select("bucket", codes, view.bucket_code, lambda code: bucket_title(text, code))
        if filters.grouping != "kind":
            kinds = {_ANY: text("samples.any")}
            kinds |= {kind: text(f"samples.kind_{kind}") for kind in queries.KINDS}
            _select("kind", list(kinds), filters.kind, kinds.__getitem__)
        counts = _outcomes(site, site.key, view.board, filters.a)
        if filters.outcome is not None:
            counts = {filters.outcome: 0} | counts
        outcomes = {_ANY: text("samples.any")}
        outcomes |= {name: f"{opened.outcome_word(text, name)} ({counts[name]})" for name in counts}
        _select("outcome", list(outcomes), filters.outcome, outcomes.__getitem__)
        answers = {_ANY: text("samples.any")}
        answers |= {name: text(f"samples.answers_{name}") for name in queries.answers_of(two)}
        help_text = text("samples.answers_help")
        _select("answers", list(answers), filters.answers, answers.__getitem__, help_text)
        sorts = {name: text(f"samples.sort_{name}") for name in queries.sorts_of(two)}
        _select("sort", list(sorts), filters.sort, sorts.__getitem__)
        _text_field(context, filters.text)


def _select(
    name: str,
    options: Sequence[str],
    chosen: str | None,
    shown: Callable[[str], str],
    help_text: str | None = None,
) -> None:
    key = f"samples.{name}"
    st.session_state[key] = chosen or _ANY

    def changed() -> None:
        view, choices = current().view, replace(read_choices(), page=1)
        value = st.session_state[key]
        if name == "bucket":
            view = view.with_bucket(value or ALL)
        else:
            picked: dict[str, Any] = {name: value or None}
            choices = replace(choices, **picked)
        write_choices(view, choices)

    label = current().text(f"samples.{name}")
    st.selectbox(
        label,
        options,
        format_func=shown,
        key=key,
        help=help_text,
        on_change=changed,
        width=_WIDTH,
    )


def _text_field(context: Context, chosen: str) -> None:
    key = "samples.find"
    st.session_state[key] = chosen

    def changed() -> None:
        found = (st.session_state[key] or "").strip()
        write_choices(current().view, replace(read_choices(), find=found, page=1))

    st.text_input(
        context.text("samples.find"),
        key=key,
        max_chars=queries.LONGEST_TEXT,
        placeholder=context.text("samples.find_empty"),
        on_change=changed,
        width=_WIDTH,
        type="search",
    )


def _show_list(context: Context, filters: Filters, choices: Choices) -> None:
    text, site = context.text, context.site
    found = _matching(site, site.key, filters)
    if not len(found):
        st.info(text("samples.none"), icon=":material/filter_alt_off:")
        st.button(text("samples.clear"), on_click=_clear, icon=":material/restart_alt:")
        return
    last = (len(found) - 1) // PAGE_ROWS + 1
    number = min(choices.page, last)
    start = (number - 1) * PAGE_ROWS
    some = found.rows[start : start + PAGE_ROWS]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            text("samples.open_first"),
            on_click=_open,
            args=(int(some[0]),),
            shortcut="N",
            type="primary",
            key="samples.open_first",
        )
        st.caption(text("samples.open_hint"), width="stretch")
    table = _shown(site, site.key, filters, number, context.language)
    key = f"samples.list.{abs(hash((site.key, filters, number)))}"

    def picked() -> None:
        selected = st.session_state[key].selection.rows
        if selected:
            _open(int(some[selected[0]]))

    st.dataframe(
        table,
        key=key,
        on_select=picked,
        selection_mode="single-row",
        hide_index=True,
        column_config=_columns(text),
        column_order=[name for name in table.column_names if name != "sample_id"],
        placeholder=UNDEFINED,
        height=min(_LIST_HEIGHT, 37 + 35 * len(some)),
        alt=text("samples.title"),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        _turn(text("samples.page_before"), "before", number - 1, number == 1)
        end = start + len(some)
        st.caption(text("samples.page", first=start + 1, last=end, n=len(found)), width="content")
        _turn(text("samples.page_after"), "after", number + 1, number == last)
        about = {"model_a": filters.a, "model_b": filters.b or ""} | choices.parameters()
        download_menu("ffr-samples", table, about=about)


@lru_cache(maxsize=64)
def _shown(_site: Site, key: str, filters: Filters, number: int, language: str) -> pa.Table:
    """A page of the list as it is shown: every cell one line of visible text."""
    text, two = texts(language), filters.b is not None
    found = queries.listed(_site, filters.board, _matching(_site, key, filters), number)
    kinds = {kind: text(f"samples.kind_{kind}") for kind in queries.KINDS}
    columns: dict[str, Any] = {
        "query": [names.line(query or "") for query in found["query"].to_pylist()],
        "kind": [kinds.get(kind) for kind in found["kind"].to_pylist()],
        "turns": found["turns"],
    }
    for name in ("outcome", "outcome_b") if two else ("outcome",):
        outcomes = found[name].to_pylist()
        columns[name] = [each and opened.outcome_word(text, each) for each in outcomes]
        figure = name.replace("outcome", "f1")
        columns[figure] = found[figure]
    if two:
        columns["delta"] = found["delta"]
    columns["sample_id"] = [names.line(name) for name in found["sample_id"].to_pylist()]
    return pa.table(columns)


def _columns(text: Text) -> dict[str, Any]:
    column = st.column_config
    return {
        "query": column.TextColumn(text("samples.query"), width="large"),
        "kind": column.TextColumn(text("samples.kind"), width=130),
        "turns": column.NumberColumn(text("samples.turns"), width=70),
        "outcome": column.TextColumn(text("samples.outcome_a"), width="small"),
        "f1": column.NumberColumn("F1 A", format="%.3f", width=80),
        "outcome_b": column.TextColumn(text("samples.outcome_b"), width="small"),
        "f1_b": column.NumberColumn("F1 B", format="%.3f", width=80),
        "delta": column.NumberColumn("A − B", format="%+.3f", width=80),
    }


def _turn(label: str, name: str, number: int, disabled: bool) -> None:
    def turned() -> None:
        write_choices(current().view, replace(read_choices(), page=number))

    st.button(label, key=f"samples.page_{name}", on_click=turned, disabled=disabled)


def _steps(context: Context, found: Matching) -> None:
    """Back to the list, and to the samples before and after the opened one."""
    text = context.text
    place, before, after = found.neighbours(_row_of(context))
    with st.container(horizontal=True, vertical_alignment="center"):
        _close_button(text)
        for name, key, to in (("before", "P", before), ("after", "N", after)):
            st.button(
                text(f"samples.sample_{name}"),
                key=f"samples.sample_{name}",
                on_click=_open,
                args=(to,),
                disabled=to is None,
                shortcut=key,
            )
        said = (
            text("samples.elsewhere", n=len(found))
            if place is None
            else text("samples.place", place=place + 1, n=len(found))
        )
        st.caption(said, width="content")
        menu = st.popover(
            text("app.models"), key="samples.models", on_change="rerun", icon=":material/compare:"
        )
        if menu.open:
            with menu:
                _pick_models(context)


def _row_of(context: Context) -> int | None:
    """The row of the opened sample."""
    record = opened.record_of(context)
    return None if record is None else record.row


def _close_button(text: Text) -> None:
    def closed() -> None:
        context = current()
        choices = read_choices()
        if context.view.models:
            found = _matching(context.site, context.site.key, choices.filters(context.view))
            place, *_ = found.neighbours(_row_of(context))
            choices = replace(choices, page=1 if place is None else place // PAGE_ROWS + 1)
        write_choices(replace(context.view, sample=None), replace(choices, show=None))

    label = text("samples.all")
    st.button(label, key="samples.close", on_click=closed, icon=":material/arrow_back:")


def _open(row: int) -> None:
    context = current()
    sample = queries.sample_at(context.site, context.view.board, row)
    write_choices(replace(context.view, sample=sample), read_choices())


def _clear() -> None:
    write_choices(replace(current().view, grouping=ALL, bucket=ALL), Choices())


@lru_cache(maxsize=24)
def _matching(_site: Site, key: str, filters: Filters) -> Matching:
    del key
    return queries.matching(_site, filters)


@lru_cache(maxsize=64)
def _outcomes(_site: Site, key: str, board: str, run: str) -> dict[str, int]:
    del key
    return queries.outcomes_of(_site, board, run)
