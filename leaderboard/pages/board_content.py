"""What the board shows of a view, computed once and shared by all sessions; never changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from leaderboard.queries import board as queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from leaderboard.context import Context
    from leaderboard.queries.board import Difference
    from leaderboard.site.reader import Site
    from leaderboard.view import View

VIEWS_KEPT: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """The board of a view.

    Attributes:
        runs: All but the ceilings, as :func:`leaderboard.queries.board.board_table` gives them.
        ceilings: The others: models that know the gold.
        labels: The names of the runs, safe and all different.
        leader: The best one.
        lengths: The best of short, medium and long dialogues.
        floors: Names and values.
    """

    runs: pa.Table
    ceilings: pa.Table
    labels: Mapping[str, str]
    leader: Difference | None
    lengths: Mapping[str, Difference]
    floors: Sequence[tuple[str, float]]


def contents(context: Context) -> Content:
    """The board of the context's view."""
    return _content(context.site, replace(context.view, models=(), sample=None))


# Not st.cache_resource: finding something there takes a tenth of the time of the whole page.
@lru_cache(maxsize=VIEWS_KEPT)
def _content(site: Site, view: View) -> Content:
    rows = queries.board_table(site, view)
    is_ceiling = pc.equal(rows["role"], "ceiling")
    return Content(
        rows.filter(pc.invert(is_ceiling)),
        rows.filter(is_ceiling),
        site.shown_labels(view.board),
        queries.leader(site, view),
        queries.by_length(site, view),
        queries.floors(site, view),
    )
