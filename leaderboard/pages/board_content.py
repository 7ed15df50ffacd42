"""What the board shows of a view, computed once and shared by all sessions; never changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc
import streamlit as st

from leaderboard.queries import board as queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from leaderboard.context import Context
    from leaderboard.queries.board import Difference
    from leaderboard.site.reader import Site
    from leaderboard.view import View

VIEWS_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Content:
    """The board of a view.

    Attributes:
        key: Stands for the site and the view.
        runs: All but the ceilings, as :func:`leaderboard.queries.board.board_table` gives them.
        ceilings: The others: models that know the gold.
        labels: The names of the runs, safe and all different.
        leader: The best one.
        lengths: The best of short, medium and long dialogues.
        floors: Names and values.
    """

    key: str
    runs: pa.Table
    ceilings: pa.Table
    labels: Mapping[str, str]
    leader: Difference | None
    lengths: Mapping[str, Difference]
    floors: Sequence[tuple[str, float]]


def contents(context: Context) -> Content:
    """The board of the context's view."""
    view = context.view
    # Hashing one text is cheaper than hashing a view.
    parts = (context.site.key, view.board, view.protocol, view.metric, view.bucket_code)
    return _content(context.site, view, "|".join(parts))


@st.cache_resource(max_entries=VIEWS_KEPT, show_spinner=False)
def _content(_site: Site, _view: View, key: str) -> Content:
    view = replace(_view, models=(), sample=None)
    rows = queries.board_table(_site, view)
    is_ceiling = pc.equal(rows["role"], "ceiling")
    return Content(
        key,
        rows.filter(pc.invert(is_ceiling)),
        rows.filter(is_ceiling),
        _labels(_site, view.board, f"{_site.key}|{view.board}"),
        queries.leader(_site, view),
        queries.by_length(_site, view),
        queries.floors(_site, view),
    )


@st.cache_resource(max_entries=VIEWS_KEPT, show_spinner=False)
def _labels(_site: Site, _board: str, key: str) -> Mapping[str, str]:
    del key
    return queries.shown_labels(_site, _board)
