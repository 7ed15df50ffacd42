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
    from leaderboard.texts import Text
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
        unfinished: Of the runs that are not finished, how many samples are missing.
        n_dialogues: Of the whole board; ``None`` if it is not known.
    """

    runs: pa.Table
    ceilings: pa.Table
    labels: Mapping[str, str]
    leader: Difference | None
    lengths: Mapping[str, Difference]
    floors: Sequence[tuple[str, float]]
    unfinished: Mapping[str, int]
    n_dialogues: int | None


def is_unfinished(n_missing: int, status: str | None) -> bool:
    """Whether a run has not answered all samples yet."""
    return n_missing > 0 or status == "running"


def unfinished_words(text: Text, n_missing: int) -> str:
    """What an unfinished run lacks."""
    if not n_missing:
        return text("board.status_running")
    key = "board.status_missing_one" if n_missing == 1 else "board.status_missing"
    return text(key, n=n_missing)


def contents(context: Context) -> Content:
    """The board of the context's view."""
    return _content(context.site, replace(context.view, models=(), sample=None))


# Not st.cache_resource: finding something there takes a tenth of the time of the whole page.
@lru_cache(maxsize=VIEWS_KEPT)
def _content(site: Site, view: View) -> Content:
    rows = queries.board_table(site, view)
    is_ceiling = pc.equal(rows["role"], "ceiling")
    runs = rows.filter(pc.invert(is_ceiling))
    return Content(
        runs,
        rows.filter(is_ceiling),
        site.shown_labels(view.board),
        queries.leader(site, view),
        queries.by_length(site, view),
        queries.floors(site, view),
        {
            run_id: missing
            for run_id, missing, status in zip(
                *(runs[name].to_pylist() for name in ("run_id", "n_missing", "status")), strict=True
            )
            if is_unfinished(missing, status)
        },
        queries.n_dialogues(site, view.board),
    )
