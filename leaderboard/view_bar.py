"""The filters above a page, and links between pages; both go through the address."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from leaderboard import names
from leaderboard.context import current
from leaderboard.site.schema import ALL, BOARD_METRICS, PROTOCOLS
from leaderboard.view import MOST_MODELS, bucket_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leaderboard.texts import Text
    from leaderboard.view import View

LANGUAGE: Final = "lang"
"""The parameter of the address that holds the language."""
MANY: Final = 100
"""With more models than that the choice of them is in a menu."""
_LAST: Final = "_view"


def show_view_bar(
    *, metric: bool = True, protocol: bool = True, bucket: bool = True, models: int = 0
) -> None:
    """Draw the filters of a page; a change is written into the address, and the page drawn anew.

    Args:
        metric: Whether the page is of one metric.
        protocol: Whether the page is of one protocol.
        bucket: Whether the page is of one group of samples.
        models: How many models can be picked.
    """
    context = current()
    site, view, text = context.site, context.view, context.text
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(site.board_ids) > 1:
            titles = board_titles()
            _select(text("app.benchmark"), site.board_ids, view.board, "board", titles.__getitem__)
        if bucket:
            codes = [bucket_code(*found) for found in site.buckets(view.board)]
            _select(
                text("app.bucket"),
                codes,
                view.bucket_code,
                "bucket",
                lambda code: bucket_title(text, code),
                text("app.bucket_help"),
            )
        if metric:
            _select(text("app.metric"), BOARD_METRICS, view.metric, "metric", str)
        if protocol:
            help_text = text("app.protocol_help")
            _select(text("app.protocol"), PROTOCOLS, view.protocol, "protocol", str, help_text)
    if models:
        _select_models(models)


def link(page: str, view: View, label: str, **options: Any) -> None:
    """A link to a page with a view.

    Args:
        page: Its name.
        view: What it is to show.
        label: Our own words, or what went through :func:`leaderboard.names.name`.
        options: As for ``st.page_link``: icon, help, width ….
    """
    context = current()
    st.page_link(context.pages[page], label=label, query_params=address(view), **options)


def address(view: View) -> dict[str, str]:
    """The parameters of a link to a view, the language that is spoken among them."""
    spoken = st.query_params.get(LANGUAGE)
    return view.parameters() | ({LANGUAGE: spoken} if spoken else {})


def write_address(view: View) -> None:
    """Make the address that of a view; the script is not run again."""
    wanted = address(view)
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    remember(view)


def remember(view: View) -> None:
    """Keep the view for pages that are opened without one: from the menu."""
    st.session_state[_LAST] = view.parameters()


def remembered() -> dict[str, str]:
    """The parameters of the view that was shown last in this session."""
    return dict(st.session_state.get(_LAST, {}))


def board_titles() -> dict[str, str]:
    """The boards' names as they are shown, by id."""
    context = current()
    boards = [context.site.board(board_id) for board_id in context.site.board_ids]
    shown = names.unique(
        names.name(f"{board.benchmark[:40]} / {board.split or context.text('app.all_splits')}")
        for board in boards
    )
    return {board.board_id: title for board, title in zip(boards, shown, strict=True)}


def bucket_title(text: Text, code: str) -> str:
    """A bucket in words; safe in every widget."""
    grouping, dot, bucket = code.partition(".")
    if dot:
        return text(f"app.bucket_{grouping}", **{grouping: bucket})
    return text(f"app.bucket_{code}")


def _select(
    label: str,
    options: Sequence[str],
    chosen: str,
    parameter: str,
    shown: Callable[[str], str],
    help_text: str | None = None,
) -> None:
    key = f"view.{parameter}"
    st.session_state[key] = chosen  # the address decides, also after going back in the browser

    def changed() -> None:
        view = current().view
        value = st.session_state[key]
        if parameter == "board":  # another board has other models, samples and buckets
            view = replace(view, board=value, models=(), sample=None, grouping=ALL, bucket=ALL)
        elif parameter == "bucket":
            view = view.with_bucket(value)
        else:
            view = replace(view, **{parameter: value})
        write_address(view)

    st.selectbox(
        label, options, format_func=shown, key=key, help=help_text, on_change=changed, width=260
    )


def _select_models(most: int) -> None:
    context = current()
    labels = context.site.shown_labels(context.view.board)
    if len(labels) > MANY and context.view.models:  # so many names take long to send each time
        menu = st.popover(context.text("app.models"), key="view.models.menu", on_change="rerun")
        if not menu.open:
            return
        with menu:
            _multiselect(labels, most)
    else:
        _multiselect(labels, most)


def _multiselect(labels: Mapping[str, str], most: int) -> None:
    context = current()
    key = "view.models"
    st.session_state[key] = list(context.view.models[:most])

    def changed() -> None:
        models = tuple(st.session_state[key])[:MOST_MODELS]
        write_address(replace(current().view, models=models))

    st.multiselect(
        context.text("app.models"),
        list(labels),
        format_func=labels.__getitem__,
        key=key,
        max_selections=most,
        on_change=changed,
    )
