"""What the page of one run shows: its record, figures, groups, standing and worst samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.metrics.metric import AVERAGES
from ffr_eval.metrics.named import FIGURES
from ffr_eval.types import Outcome
from leaderboard.figures import UNDEFINED, interval_text, value_text
from leaderboard.site.schema import ALL, BOARD_METRICS
from leaderboard.view import bucket_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from leaderboard.site.reader import Site
    from leaderboard.view import View

WORST: Final = 5
"""So many samples on which a run does worst are shown."""
MOST_ENTRIES: Final = 60
"""So many entries of a JSON object are shown."""
_UNRANKED: Final = (
    "SELECT run_id FROM runs WHERE board_id = ? AND (ceiling OR incomplete IS NOT NULL)"
)
ROWS: Final = tuple(
    (average, modality) for average in AVERAGES for modality in ("joint", "utterance", "image")
)
_COLUMNS: Final = (
    "metric",
    "n_samples",
    "value",
    "lo",
    "hi",
    "rank",
    "rank_lo",
    "rank_hi",
    "tier",
)
_RANKS: Final = ("rank", "rank_lo", "rank_hi", "tier")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a run on a group of samples; ``None`` where something is undefined."""

    metric: str
    bucket: str
    n_samples: int
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    rank: int | None = None
    rank_lo: int | None = None
    rank_hi: int | None = None
    tier: int | None = None
    best: float | None = None
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands by the view's metric.

    Attributes:
        n_ranked: How many runs have a rank.
        leader: The first of the others.
        above, below: Its neighbours; ``None`` at the ends, and for a run without a rank.
    """

    n_ranked: int
    leader: str | None = None
    above: str | None = None
    below: str | None = None


@dataclass(frozen=True, slots=True)
class WorstSample:
    """A sample on which a run does badly."""

    sample_id: str
    query: str
    kind: str | None
    turns: int
    outcome: str
    f1: float
    n_wrong: int
    n_missed: int


@dataclass(frozen=True, slots=True)
class Found:
    """All that the page shows of a run in a view; never to be changed.

    Attributes:
        table: All figures with all their digits, a row a metric.
        matrix: Precision, recall, F1 and MCC with their intervals as text, a row for each of
            :data:`ROWS`.
    """

    run: Mapping[str, Any]
    figures: Mapping[str, Figure]
    table: pa.Table
    matrix: pa.Table
    standing: Standing
    groups: Sequence[Figure]
    worst: Sequence[WorstSample]


def found(site: Site, view: View, run_id: str) -> Found:
    """What a site has of a run."""
    import pyarrow as pa

    known = figures(site, view, run_id)
    table = [
        {name: getattr(known[metric], name) for name in _COLUMNS}
        for metric in BOARD_METRICS
        if metric in known
    ]
    matrix = [
        {name: with_interval(known.get(f"{average}.{modality}.{name}")) for name in FIGURES}
        for average, modality in ROWS
    ]
    return Found(
        record(site, view.board, run_id),
        known,
        pa.Table.from_pylist(table),
        pa.Table.from_pylist(matrix),
        standing(site, view, run_id),
        groups(site, view, run_id),
        worst(site, view, run_id),
    )


def with_interval(figure: Figure | None) -> str:
    """A figure and its interval: ``0.512 [0.478, 0.546]``."""
    if figure is None or figure.value is None:
        return UNDEFINED
    if figure.lo is None or figure.hi is None:
        return value_text(figure.value)
    return f"{value_text(figure.value)} {interval_text(figure.lo, figure.hi)}"


def record(site: Site, board_id: str, run_id: str) -> Mapping[str, Any]:
    """The row of a run.

    Raises:
        KeyError: If the board has no such run.
    """
    sql = "SELECT * FROM runs WHERE board_id = ? AND run_id = ?"
    rows = site.query(sql, (board_id, run_id)).to_pylist()
    if not rows:
        raise KeyError(run_id)
    found: Mapping[str, Any] = rows[0]
    return found


def figures(site: Site, view: View, run_id: str) -> dict[str, Figure]:
    """All figures of a run in the view's group of samples, by metric.

    Neither ceilings nor incomplete runs have ranks, whatever the tables say.
    """
    sql = (
        "SELECT metric, n_samples, value, lo, hi, rank, rank_lo, rank_hi, tier FROM figures"
        " WHERE board_id = ? AND protocol = ? AND grouping = ? AND bucket = ? AND run_id = ?"
    )
    values = (view.board, view.protocol, view.grouping, view.bucket, run_id)
    rows = site.query(sql, values).to_pylist()
    ranks = _no_ranks(site, view.board, run_id)
    return {row["metric"]: Figure(bucket=view.bucket_code, **(row | ranks)) for row in rows}


def _no_ranks(site: Site, board_id: str, run_id: str) -> dict[str, None]:
    """What to put in place of the ranks of a run that is to have none; nothing for others."""
    unranked = site.query(_UNRANKED, (board_id,)).column("run_id").to_pylist()
    return dict.fromkeys(_RANKS) if run_id in unranked else {}


def groups(site: Site, view: View, run_id: str) -> list[Figure]:
    """The view's metric in every group of samples, in the board's order.

    Each with the best value of a run (ceilings and incomplete ones left out), and that of the best
    prediction without a model.
    """
    sql = (
        "SELECT grouping, bucket, n_samples, value, lo, hi, rank, rank_lo, rank_hi, tier"
        " FROM figures WHERE board_id = ? AND protocol = ? AND metric = ? AND run_id = ?"
    )
    where = (view.board, view.protocol, view.metric)
    rows = site.query(sql, (*where, run_id)).to_pylist()
    ranks = _no_ranks(site, view.board, run_id)
    mine = {(row.pop("grouping"), row.pop("bucket")): row | ranks for row in rows}
    best = _by_bucket(
        site,
        "SELECT grouping, bucket, max(value) AS value FROM figures WHERE board_id = ?"  # noqa: S608
        f" AND protocol = ? AND metric = ? AND run_id NOT IN ({_UNRANKED}) GROUP BY ALL",
        (*where, view.board),
    )
    floors = _by_bucket(
        site,
        "SELECT grouping, bucket, max(value) AS value FROM floors WHERE board_id = ?"
        " AND protocol = ? AND metric = ? GROUP BY ALL",
        where,
    )
    return [
        Figure(
            view.metric,
            bucket_code(*bucket),
            best=best.get(bucket),
            floor=floors.get(bucket),
            **mine[bucket],
        )
        for bucket in site.buckets(view.board)
        if bucket in mine
    ]


def _by_bucket(site: Site, sql: str, values: Sequence[Any]) -> dict[tuple[str, str], float | None]:
    rows = site.query(sql, values).to_pylist()
    return {(row["grouping"], row["bucket"]): row["value"] for row in rows}


def standing(site: Site, view: View, run_id: str) -> Standing:
    """The neighbours of a run among those that have a rank by the view's metric."""
    sql = (
        "SELECT run_id FROM figures WHERE board_id = ? AND protocol = ? AND metric = ?"  # noqa: S608
        " AND grouping = ? AND bucket = ? AND rank IS NOT NULL"
        f" AND run_id NOT IN ({_UNRANKED}) ORDER BY rank, run_id"
    )
    values = (view.board, view.protocol, view.metric, view.grouping, view.bucket, view.board)
    order: list[str] = site.query(sql, values).column("run_id").to_pylist()
    leader = next((other for other in order if other != run_id), None)
    if run_id not in order:
        return Standing(len(order), leader)
    at = order.index(run_id)
    above = order[at - 1] if at else None
    below = order[at + 1] if at + 1 < len(order) else None
    return Standing(len(order), leader, above, below)


def worst(site: Site, view: View, run_id: str) -> list[WorstSample]:
    """The samples of the view's group on which a run has the lowest F1; protocol strict.

    Of those with the same F1, the ones with most errors first.
    """
    sql = (
        "SELECT s.sample_id, q.query, s.kind, s.turns, s.outcome, s.f1,"
        " s.utt_fp + s.img_fp AS n_wrong, s.utt_fn + s.img_fn AS n_missed FROM samples s"
        " JOIN queries q ON q.board_id = s.board_id AND q.row = s.row"
        " WHERE s.board_id = ? AND s.run_id = ? AND s.f1 < 1 AND ? = CASE ?"
        " WHEN 'turns' THEN s.bucket WHEN 'kind' THEN s.kind WHEN 'language' THEN s.language"
        " ELSE ? END ORDER BY s.f1, n_wrong + n_missed DESC, s.row LIMIT ?"
    )
    values = (view.board, run_id, view.bucket, view.grouping, ALL, WORST)
    return [WorstSample(**row) for row in site.query(sql, values).to_pylist()]


def outcomes(run: Mapping[str, Any]) -> list[tuple[Outcome, int, float | None]]:
    """Every outcome with its number of samples and their share, those that never occurred too."""
    n_samples = run["n_samples"] or 0
    return [
        (outcome, number, number / n_samples if n_samples else None)
        for outcome in Outcome
        for number in [run[f"n_{outcome.value}"] or 0]
    ]


def entries(text: str | None) -> list[tuple[str, str]]:
    """The entries of a JSON object, nested ones by their path; what is no object stays one text."""
    if not text:
        return []
    try:
        flat = _flat(json.loads(text))
    except (ValueError, RecursionError):
        return [("", text)]
    if len(flat) > MOST_ENTRIES:
        left_out = len(flat) - MOST_ENTRIES
        flat = [*flat[:MOST_ENTRIES], ("…", f"+ {left_out}")]
    return flat


def _flat(found: Any) -> list[tuple[str, str]]:
    if not isinstance(found, dict):
        return [("", _plain(found))]
    flat = []
    for name, value in found.items():
        if isinstance(value, dict) and value:
            flat += [(f"{name}.{inner}", _plain(part)) for inner, part in value.items()]
        else:
            flat.append((name, _plain(value)))
    return flat


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
