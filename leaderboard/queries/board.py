"""What the board shows: ranks with their uncertainty, the leader, buckets, floors, trade-offs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from leaderboard.site.schema import ALL, PAIR_METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.site.reader import Site
    from leaderboard.view import View

LENGTHS: Final = ("short", "medium", "long")
TRADEOFFS: Final = ("cost", "latency_s", "params_b")
"""What a score can be held against; less of it is better."""

_FIGURES_OF: Final = "board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND bucket = ?"
_RANKED: Final = "NOT coalesce(ceiling, false) AND incomplete IS NULL AND value IS NOT NULL"
_UNVERIFIED: Final = (
    "coalesce(provenance <> 'verified', true)"  # among equals verified runs come first
)
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """How the best of a group of samples is ahead of the second.

    Attributes:
        a, b: The ids of the best and the second; ``b`` is ``None`` if there is no second.
        value_a, value_b: Their values.
        delta, lo, hi: ``a`` less ``b`` and its interval; without one where it was not tested.
        p_holm: Adjusted for all pairs; ``None`` where the pair was not tested.
        n_level: So many runs have the value of ``a``, itself included.
        n_inseparable: So many others are not significantly worse than ``a``; ``None`` where the
            metric is not compared in pairs.
        n_ranked: So many runs are compared.
        n_pairs: So many pairs of them are tested.
        n_dialogues: Of the test of the two; ``None`` where there is none.
    """

    a: str
    b: str | None
    value_a: float
    value_b: float | None
    delta: float | None
    lo: float | None
    hi: float | None
    p_holm: float | None
    n_level: int
    n_inseparable: int | None
    n_ranked: int
    n_pairs: int = 0
    n_dialogues: int | None = None

    @property
    def flat(self) -> bool:
        """Whether all runs have a zero, so that there is no best one."""
        return abs(self.value_a) <= _ROUNDING and self.n_level == self.n_ranked

    @property
    def equal(self) -> bool:
        """Whether the two have the same value."""
        return self.delta is not None and abs(self.delta) <= _ROUNDING

    def too_few(self, alpha: float) -> bool:
        """Whether the dialogues are too few for any pair to be significant.

        The least p of a test that swaps the signs of n dialogues is 2 in 2 to the n.
        """
        if self.n_dialogues is None:
            return False
        return 2.0 ** (1 - self.n_dialogues) * max(self.n_pairs, 1) > alpha

    def significant(self, alpha: float) -> bool:
        """Whether the best is significantly ahead of the second."""
        return self.p_holm is not None and self.p_holm <= alpha and (self.delta or 0) > 0


def board_table(site: Site, view: View) -> pa.Table:
    """All runs of a view, in the order in which they are shown: by rank, then those without.

    Columns: those of the table, with ``role`` ``run``, ``incomplete`` or ``ceiling``; ceilings
    last, and neither they nor incomplete runs have a rank, whatever the tables say. Nobody has one
    where all values are zero.
    """
    sql = f"""
        SELECT
            run_id,
            CASE WHEN coalesce(ceiling, false) THEN 'ceiling'
                 WHEN incomplete IS NOT NULL THEN 'incomplete' ELSE 'run' END AS role,
            value, lo, hi,
            CASE WHEN {_RANKED} THEN rank END AS rank,
            CASE WHEN {_RANKED} THEN rank_lo END AS rank_lo,
            CASE WHEN {_RANKED} THEN rank_hi END AS rank_hi,
            CASE WHEN {_RANKED} THEN tier END AS tier,
            params_b, weights, setting, provenance,
            left(date, 10) AS date,
            n_answered / nullif(runs.n_samples, 0) AS answered,
            cost, latency_s,
            coalesce(n_missing, 0) AS n_missing,
            status,
            incomplete
        FROM runs LEFT JOIN (SELECT * FROM figures WHERE {_FIGURES_OF}) USING (board_id, run_id)
        WHERE board_id = ?
        ORDER BY role = 'ceiling', rank IS NULL, rank, value IS NULL, value DESC,
            {_UNVERIFIED}, run_id
    """  # noqa: S608  # constants of this module only
    return _without_empty_ranks(site.query(sql, (*_of(view), view.board)))


def _without_empty_ranks(rows: pa.Table) -> pa.Table:
    """The rows without ranks and tiers if all ranked runs have a zero."""
    values = rows.filter(pc.is_valid(rows["rank"]))["value"].to_pylist()
    if not values or any(value is not None and abs(value) > _ROUNDING for value in values):
        return rows
    for name in ("rank", "rank_lo", "rank_hi", "tier"):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.nulls(rows.num_rows, rows[name].type))
    return rows


def leader(site: Site, view: View) -> Difference | None:
    """The best run of a view and how far it is ahead; ``None`` if no run has a value."""
    return _ahead(site, view, view.grouping, (view.bucket,)).get(view.bucket)


def by_length(site: Site, view: View) -> dict[str, Difference]:
    """The two best of short, medium and long dialogues, where there are such."""
    found = _ahead(site, view, "turns", LENGTHS)
    return {bucket: found[bucket] for bucket in LENGTHS if bucket in found}


def _ahead(site: Site, view: View, grouping: str, buckets: Sequence[str]) -> dict[str, Difference]:
    places = ", ".join("?" * len(buckets))
    sql = f"""
        SELECT bucket, run_id, value, rank, rank_hi,
               count(*) OVER (PARTITION BY bucket) AS n_ranked,
               count(rank_lo) OVER (PARTITION BY bucket) AS n_tested,
               count(*) OVER (PARTITION BY bucket, value) AS n_level
        FROM figures JOIN runs USING (board_id, run_id)
        WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ?
              AND bucket IN ({places}) AND {_RANKED}
        QUALIFY row_number() OVER (
            PARTITION BY bucket ORDER BY value DESC, {_UNVERIFIED}, run_id
        ) <= 2
        ORDER BY bucket, value DESC, {_UNVERIFIED}, run_id
    """  # noqa: S608  # question marks and constants
    key = (view.board, view.protocol, view.metric, grouping)
    best: dict[str, list[dict[str, Any]]] = {}
    for row in site.query(sql, (*key, *buckets)).to_pylist():
        best.setdefault(row["bucket"], []).append(row)
    tests = _tests(site, key, best) if view.metric in PAIR_METRICS else {}
    return {bucket: _difference(rows, tests.get(bucket)) for bucket, rows in best.items()}


def _tests(
    site: Site, key: tuple[str, str, str, str], best: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Mapping[str, Any]]:
    """The tests of the two best of each bucket, by bucket."""
    pairs = {
        bucket: sorted(row["run_id"] for row in rows)
        for bucket, rows in best.items()
        if len(rows) > 1
    }
    if not pairs:
        return {}
    wanted = " OR ".join(["(a = ? AND b = ? AND bucket = ?)"] * len(pairs))
    sql = f"""
        SELECT a, b, bucket, delta, lo, hi, p_holm, n_dialogues FROM pairs
        WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND ({wanted})
    """  # noqa: S608  # question marks only
    values = [value for bucket, (a, b) in pairs.items() for value in (a, b, bucket)]
    return {row["bucket"]: row for row in site.query(sql, (*key, *values)).to_pylist()}


def _difference(rows: Sequence[Mapping[str, Any]], test: Mapping[str, Any] | None) -> Difference:
    first = rows[0]
    second = rows[1] if len(rows) > 1 else None
    delta = None if second is None else first["value"] - second["value"]
    lo = hi = p_holm = None
    if test is not None:
        p_holm = test["p_holm"]
        lo, hi = test["lo"], test["hi"]
        if test["a"] != first["run_id"] and lo is not None and hi is not None:
            lo, hi = -hi, -lo
    rank, worst = first["rank"], first["rank_hi"]
    return Difference(
        first["run_id"],
        None if second is None else second["run_id"],
        first["value"],
        None if second is None else second["value"],
        delta,
        lo,
        hi,
        p_holm,
        first["n_level"],
        # Only ceilings can be ahead of it, if the ranks count them.
        None if rank is None or worst is None else worst - rank,
        first["n_ranked"],
        first["n_tested"] * (first["n_tested"] - 1) // 2,
        None if test is None else test["n_dialogues"],
    )


def floors(site: Site, view: View) -> list[tuple[str, float]]:
    """What predictions without a model are worth, by value; none where it was not computed."""
    sql = f"""
        SELECT name, value FROM floors WHERE {_FIGURES_OF} AND value IS NOT NULL
        ORDER BY value, name
    """  # noqa: S608  # a constant of this module
    return [(row["name"], row["value"]) for row in site.query(sql, _of(view)).to_pylist()]


def n_dialogues(site: Site, board: str) -> int | None:
    """The dialogues of a board; ``None`` if there is no such board."""
    sql = "SELECT n_dialogues FROM boards WHERE board_id = ?"
    rows: list[dict[str, Any]] = site.query(sql, (board,)).to_pylist()
    return rows[0]["n_dialogues"] if rows else None


def bucket_values(site: Site, view: View, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """``run_id``, ``grouping``, ``bucket``, ``value``, ``lo``, ``hi`` of some runs, all buckets."""
    if not run_ids:
        return []
    places = ", ".join("?" * len(run_ids))
    sql = f"""
        SELECT run_id, grouping, bucket, value, lo, hi FROM figures
        WHERE board_id = ? AND protocol = ? AND metric = ? AND run_id IN ({places})
    """  # noqa: S608  # question marks only
    found = site.query(sql, (view.board, view.protocol, view.metric, *run_ids)).to_pylist()
    rows: list[dict[str, Any]] = found
    runs = {run_id: place for place, run_id in enumerate(run_ids)}
    buckets = {bucket: place for place, bucket in enumerate(site.buckets(view.board))}
    last = len(buckets)
    rows.sort(
        key=lambda row: (
            runs[row["run_id"]],
            buckets.get((row["grouping"], row["bucket"]), last),
        )
    )
    return rows


def frontier(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which points no other one beats: less of the first, more of the second.

    A point that lacks a number is not on it; of equal points all are.
    """
    order = sorted(
        (point for point in set(points) if point[0] is not None and point[1] is not None),
        key=lambda point: (point[0], -(point[1] or 0)),
    )
    best: set[tuple[float | None, float | None]] = set()
    highest = float("-inf")
    for point in order:
        value = point[1]
        if value is not None and value > highest:
            best.add(point)
            highest = value
    return [point in best for point in points]


def _of(view: View) -> tuple[str, str, str, str, str]:
    grouping = view.grouping or ALL
    return view.board, view.protocol, view.metric, grouping, view.bucket
