"""People judge fragments without knowing whose they are, and what their votes say."""

from __future__ import annotations

import streamlit as st

from leaderboard.arena.results_tab import show_results_tab
from leaderboard.arena.vote_tab import show_vote_tab
from leaderboard.context import current
from leaderboard.view_bar import show_view_bar


def page() -> None:
    """Draw the page."""
    context = current()
    text = context.text
    st.title(text("arena.title"), anchor=False)
    st.markdown(text("arena.intro"))
    show_view_bar(metric=False, protocol=False, bucket=False)
    vote, results = st.tabs(
        [text("arena.vote"), text("arena.results")], key="arena.tab", on_change="rerun"
    )
    with vote:
        if vote.open:
            show_vote_tab(context)
    with results:
        if results.open:
            show_results_tab(context)
