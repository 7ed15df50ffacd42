"""What is known of a board that a submission is held against: the leader, the floors, the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffr_eval.metrics.named import HEADLINE
from ffr_eval.types import Fragment, Outcome, Prediction
from leaderboard.site.schema import ALL, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leaderboard.site.reader import Site


@dataclass(frozen=True, slots=True)
class Leader:
    """The run with the best headline figure under ``strict``; ceilings are left out.

    Attributes:
        label: Its name; untrusted.
        lo, hi: The 95% interval of the value, where there is one.
    """

    run_id: str
    label: str
    value: float
    lo: float | None
    hi: float | None


def leader_of(site: Site, board_id: str) -> Leader | None:
    """The leader of a board; ``None`` if nothing is ranked there."""
    sql = (
        "SELECT run_id, label, value, lo, hi FROM figures JOIN runs USING (board_id, run_id)"
        " WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND bucket = ?"
        " AND rank IS NOT NULL AND value IS NOT NULL AND NOT coalesce(ceiling, false)"
        " ORDER BY rank, run_id LIMIT 1"
    )
    rows = site.query(sql, (board_id, PROTOCOLS[0], HEADLINE, ALL, ALL)).to_pylist()
    return Leader(**rows[0]) if rows else None


def values_of(site: Site, board_id: str) -> list[float]:
    """The headline figures of all ranked runs of a board that do not know the gold."""
    sql = (
        "SELECT value FROM figures JOIN runs USING (board_id, run_id)"
        " WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND bucket = ?"
        " AND rank IS NOT NULL AND value IS NOT NULL AND NOT coalesce(ceiling, false)"
    )
    found = site.query(sql, (board_id, PROTOCOLS[0], HEADLINE, ALL, ALL))
    values: list[float] = found.column("value").to_pylist()
    return values


def floors_of(site: Site, board_id: str) -> Mapping[str, float | None]:
    """The headline figure of what needs no model, by name."""
    sql = (
        "SELECT name, value FROM floors"
        " WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND bucket = ?"
        " ORDER BY name"
    )
    rows = site.query(sql, (board_id, PROTOCOLS[0], HEADLINE, ALL, ALL)).to_pylist()
    return {row["name"]: row["value"] for row in rows}


def predictions_of(site: Site, board_id: str, run_id: str) -> list[Prediction]:
    """What a published run predicted, as it was read under ``strict``.

    Nothing on boards with hidden gold: their samples are not in the site's public tables.
    """
    sql = (
        "SELECT sample_id, outcome, utt_ids, img_ids FROM samples"
        " WHERE board_id = ? AND run_id = ? ORDER BY row"
    )
    rows = site.query(sql, (board_id, run_id)).to_pylist()
    return [
        Prediction(
            row["sample_id"],
            Outcome(row["outcome"]),
            Fragment(tuple(row["utt_ids"] or ()), tuple(row["img_ids"] or ())),
        )
        for row in rows
        if row["outcome"] != Outcome.MISSING
    ]
