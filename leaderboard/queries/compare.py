"""Two to four runs beside each other: paired differences, and where they disagree most."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from leaderboard.site.schema import PAIR_METRICS
from leaderboard.view import bucket_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.site.reader import Site
    from leaderboard.view import View

SHOWN: Final = 3
"""So many samples on which two runs disagree are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs on the same samples of one bucket.

    Attributes:
        a, b: Ids of the runs.
        bucket: Its code in addresses.
        value_a, value_b: The metric of each; ``None`` where it is undefined.
        delta: That of ``a`` less that of ``b``.
        lo, hi: The 95% interval of the difference; ``None`` where there is none.
        p: Of this pair alone; ``None`` where it was not tested.
        p_holm: Adjusted for all pairs of the board.
        wins, ties, losses: Samples on which ``a`` is better, equal, worse; ``None`` where the
            pair was not compared.
        dialogues_needed: How many dialogues would show such a difference with a power of 80%.
    """

    a: str
    b: str
    bucket: str
    value_a: float | None
    value_b: float | None
    delta: float | None
    lo: float | None = None
    hi: float | None = None
    p: float | None = None
    p_holm: float | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    n_samples: int = 0
    n_dialogues: int | None = None
    dialogues_needed: int | None = None

    def better(self, alpha: float) -> str | None:
        """The run that is significantly better among all pairs of the board; ``None``: neither."""
        if self.delta is None or self.p_holm is None or self.p_holm > alpha or not self.delta:
            return None
        return self.a if self.delta > 0 else self.b


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A sample that two runs answer differently.

    Attributes:
        f1_a, f1_b: The F1 of each on this sample, both modalities.
        outcome_a, outcome_b: How asking ended.
    """

    sample_id: str
    query: str
    kind: str | None
    turns: int
    f1_a: float
    f1_b: float
    outcome_a: str
    outcome_b: str


def is_tested(metric: str) -> bool:
    """Whether every two runs are compared by this metric."""
    return metric in PAIR_METRICS


def differences(site: Site, view: View) -> list[Difference]:
    """The differences between the picked runs in every bucket: buckets in the board's order.

    Within a bucket, the pairs in the order in which the runs were picked.
    """
    models = list(view.models)
    values = _values(site, view)
    sql = (
        "SELECT grouping, bucket, a, b, delta, lo, hi, p, p_holm, wins, ties, losses, n_samples,"
        " n_dialogues, dialogues_needed FROM pairs WHERE board_id = ? AND protocol = ?"
        " AND metric = ? AND a IN (SELECT unnest(?)) AND b IN (SELECT unnest(?))"
    )
    parameters = (view.board, view.protocol, view.metric, models, models)
    rows = site.query(sql, parameters).to_pylist()
    tested = {(row["grouping"], row["bucket"], row["a"], row["b"]): row for row in rows}
    found = []
    for bucket in site.buckets(view.board):
        for a, b in combinations(view.models, 2):
            value_a, n_samples = values.get((*bucket, a), (None, 0))
            value_b, _ = values.get((*bucket, b), (None, 0))
            there = tested.get((*bucket, a, b))
            turned = there is None and (*bucket, b, a) in tested
            row = tested[*bucket, b, a] if turned else there
            delta = None if value_a is None or value_b is None else value_a - value_b
            figures = _figures(row, turned=turned) if row is not None else {}
            plain: dict[str, Any] = {"delta": delta, "n_samples": n_samples}
            code = bucket_code(*bucket)
            found.append(Difference(a, b, code, value_a, value_b, **(plain | figures)))
    return found


def _values(site: Site, view: View) -> dict[tuple[str, str, str], tuple[Any, int]]:
    sql = (
        "SELECT grouping, bucket, run_id, value, n_samples FROM figures WHERE board_id = ?"
        " AND protocol = ? AND metric = ? AND run_id IN (SELECT unnest(?))"
    )
    found = site.query(sql, (view.board, view.protocol, view.metric, list(view.models)))
    return {
        (row["grouping"], row["bucket"], row["run_id"]): (row["value"], row["n_samples"])
        for row in found.to_pylist()
    }


def _figures(row: dict[str, Any], *, turned: bool) -> dict[str, Any]:
    """The columns of a pair; of one that is stored the other way round, from the other side."""
    kept = ("p", "p_holm", "ties", "n_samples", "n_dialogues", "dialogues_needed")
    figures = {name: row[name] for name in kept}
    if not turned:
        others = ("delta", "lo", "hi", "wins", "losses")
        return figures | {name: row[name] for name in others}
    opposite = {"delta": row["delta"], "lo": row["hi"], "hi": row["lo"]}
    return figures | {
        **{name: None if value is None else -value for name, value in opposite.items()},
        "wins": row["losses"],
        "losses": row["wins"],
    }


def disagreements(site: Site, view: View, a: str, b: str) -> list[Disagreement]:
    """The samples of the view's bucket on which two runs differ most, the largest first."""
    sql = (
        "SELECT x.sample_id, q.query, x.kind, x.turns, x.f1 AS f1_a, y.f1 AS f1_b,"
        " x.outcome AS outcome_a, y.outcome AS outcome_b FROM samples x"
        " JOIN samples y ON x.row = y.row JOIN queries q ON q.row = x.row"
        " WHERE x.board_id = ? AND x.run_id = ? AND y.board_id = ? AND y.run_id = ?"
        " AND q.board_id = ? AND x.f1 <> y.f1 AND ? = CASE ? WHEN 'turns' THEN x.bucket"
        " WHEN 'kind' THEN x.kind WHEN 'language' THEN x.language ELSE 'all' END"
        " ORDER BY abs(x.f1 - y.f1) DESC, x.row LIMIT ?"
    )
    board = view.board
    parameters = (board, a, board, b, board, view.bucket, view.grouping, SHOWN)
    return [Disagreement(**row) for row in site.query(sql, parameters).to_pylist()]


def leaders(site: Site, view: View, most: int = 2) -> list[str]:
    """The best runs of the view, those that know the gold and incomplete ones left out."""
    sql = (
        "SELECT f.run_id FROM figures f JOIN runs r USING (board_id, run_id) WHERE f.board_id = ?"
        " AND f.protocol = ? AND f.metric = ? AND f.grouping = ? AND f.bucket = ?"
        " AND f.rank IS NOT NULL AND NOT r.ceiling AND r.incomplete IS NULL"
        " ORDER BY f.rank, f.run_id LIMIT ?"
    )
    values = (view.board, view.protocol, view.metric, view.grouping, view.bucket, most)
    return [str(name) for name in site.query(sql, values).column("run_id").to_pylist()]


def curve(site: Site, view: View, models: Sequence[str]) -> list[dict[str, Any]]:
    """The metric of some runs by the length of dialogues, with its intervals."""
    sql = (
        "SELECT run_id, bucket, value, lo, hi, n_samples FROM figures WHERE board_id = ?"
        " AND protocol = ? AND metric = ? AND grouping = 'turns'"
        " AND run_id IN (SELECT unnest(?))"
    )
    found = site.query(sql, (view.board, view.protocol, view.metric, list(models)))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows
