"""The figures and pairs of a site: what was computed of runs, and what follows from all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ffr_eval.errors import FfrError
from ffr_eval.metrics.named import parse_metric
from ffr_eval.pairs import standings
from ffr_eval.ranking import sort_key
from ffr_eval.statistics import holm
from ffr_eval.statistics.values import ROUNDING
from leaderboard.publishing.parquet import TableWriter, with_columns
from leaderboard.site import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ffr_eval.metrics.metric import Better
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from leaderboard.publishing.tables import Board

_ROWS_AT_ONCE: Final = 200_000
_CELL: Final = ("protocol", "metric", "grouping", "bucket")


def write_figures(boards: Sequence[Board], figures: Path, pairs: Path) -> None:
    """``figures`` and ``pairs``: the first has ranks that follow from the second."""
    with TableWriter(schema.FIGURES, figures) as writer, TableWriter(schema.PAIRS, pairs) as paired:
        for board in boards:
            tested = _pairs(board)
            writer.add(_figures(board, tested))
            at_once = max(1, _ROWS_AT_ONCE // max(1, len(board.runs) * len(tested)))
            for first in range(0, len(board.runs), at_once):
                paired.add(_pair_rows(board, tested, range(first, first + at_once)))


def _pair_rows(board: Board, tested: Mapping[tuple[str, ...], _Tested], of: range) -> pa.Table:
    """The pairs whose first run is one of some, in the order of the table."""
    ids = pa.array([run.entry.run_id for run in board.runs], pa.string())
    tables = [schema.PAIRS.schema.empty_table()]
    for (protocol, metric, grouping, bucket), found in tested.items():
        start, stop = np.searchsorted(found.a, [of.start, of.stop]).tolist()
        rows = found.rows.slice(start, stop - start)
        rows = rows.append_column("a", ids.take(pa.array(found.a[start:stop])))
        rows = rows.append_column("b", ids.take(pa.array(found.b[start:stop])))
        rows = with_columns(
            rows,
            board_id=board.record.board_id,
            protocol=protocol,
            metric=metric,
            grouping=grouping,
            bucket=bucket,
        )
        tables.append(rows.select(schema.PAIRS.schema.names).cast(schema.PAIRS.schema))
    order = [(name, "ascending") for name in schema.PAIRS.order]
    return pa.concat_tables(tables).sort_by(order)


@dataclass(frozen=True, slots=True)
class _Tested:
    """The pairs of a board, a protocol, a metric and a bucket.

    Attributes:
        rows: As in ``pairs``, without what says which ones they are.
        a, b: Places of the two runs of each among the runs of the board, in this order.
        p_holm: Adjusted for all of them.
    """

    rows: pa.Table
    a: IntArray
    b: IntArray
    p_holm: FloatArray


def _pairs(board: Board) -> dict[tuple[str, ...], _Tested]:
    """The pairs of a board by protocol, metric, grouping and bucket."""
    found: dict[tuple[str, ...], _Tested] = {}
    for file in board.pair_files:
        stored = file.read()
        chosen = [
            (number, run.part.key)
            for number, run in enumerate(board.runs)
            if run.entry.run_id in board.paired[file.protocol]
        ]
        couples = [
            (a, b, left, right)
            for n, (a, left) in enumerate(chosen)
            for b, right in chosen[n + 1 :]
        ]
        for metric in schema.PAIR_METRICS:
            of_metric = stored.filter(pc.equal(stored["metric"], metric))
            parts = zip(
                of_metric["a_part"].to_pylist(), of_metric["b_part"].to_pylist(), strict=True
            )
            place = {couple: row for row, couple in enumerate(parts)}
            index = [place[left, right] for _, _, left, right in couples]
            rows = of_metric.take(pa.array(index, pa.int64()))
            p_holm = holm(_numbers(rows["p"]))
            rows = rows.drop_columns(["a_part", "b_part", "metric"])
            rows = rows.append_column("p_holm", pa.array(p_holm, pa.float64(), from_pandas=True))
            found[file.protocol, metric, file.grouping, file.bucket] = _Tested(
                rows,
                np.array([a for a, _, _, _ in couples], dtype=np.int64),
                np.array([b for _, b, _, _ in couples], dtype=np.int64),
                p_holm,
            )
    return found


def _figures(board: Board, tested: Mapping[tuple[str, ...], _Tested]) -> pa.Table:
    """The figures of a board in the order of the table: by cell, then by run."""
    tables = [run.part.table("figures") for run in board.runs]
    cells = _cells(tables[0])
    if any(_cells(table) != cells for table in tables[1:]):
        message = "its runs have figures of different buckets; remove the site's private/parts"
        raise FfrError(f"board {board.record.board_id}: {message}")
    ids = [run.entry.run_id for run in board.runs]
    columns = {
        name: np.stack([_numbers(table[name]) for table in tables])
        for name in ("n_samples", "value", "lo", "hi", "pair_value", "incomplete")
    }
    ceiling = np.array([run.ceiling for run in board.runs])
    n_runs, n_cells = len(ids), len(cells)
    shape = (n_cells, n_runs)
    ranks = {
        name: np.zeros(shape, dtype=np.int64) for name in ("rank", "rank_lo", "rank_hi", "tier")
    }
    for number, cell in enumerate(cells):
        incomplete = columns["incomplete"][:, number] > 0
        better = parse_metric(cell[1]).better
        unranked = incomplete | ceiling
        ranks["rank"][number] = ranks_of(columns["value"][:, number], unranked, better)
        if cell in tested:
            _place(
                board,
                tested[cell],
                columns["pair_value"][:, number],
                incomplete,
                cell,
                {name: ranks[name][number] for name in ("rank_lo", "rank_hi", "tier")},
            )
    texts = {
        name: pa.array([cell[place] for cell in cells], pa.string()).take(
            pa.array(np.repeat(np.arange(n_cells), n_runs))
        )
        for place, name in enumerate(_CELL)
    }
    found: dict[str, pa.Array] = {
        "board_id": pa.repeat(pa.scalar(board.record.board_id, pa.string()), n_cells * n_runs),
        **texts,
        "run_id": pa.array(ids, pa.string()).take(pa.array(np.tile(np.arange(n_runs), n_cells))),
        "n_samples": pa.array(columns["n_samples"].T.ravel().astype(np.int64)),
    }
    for name in ("value", "lo", "hi"):
        found[name] = pa.array(columns[name].T.ravel(), pa.float64(), from_pandas=True)
    for name, values in ranks.items():
        flat = values.ravel()
        found[name] = pa.array(flat, pa.int64(), mask=flat == 0)
    return pa.table({name: found[name] for name in schema.FIGURES.schema.names})


def _place(
    board: Board,
    tested: _Tested,
    values: FloatArray,
    incomplete: np.ndarray[Any, Any],
    cell: tuple[str, ...],
    into: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    """Fill in the rank intervals and tiers of the runs that are compared in pairs."""
    among = [
        number for number, run in enumerate(board.runs) if run.entry.run_id in board.paired[cell[0]]
    ]
    place = {number: new for new, number in enumerate(among)}
    for standing in standings(
        [board.runs[number].entry.run_id for number in among],
        values[among],
        incomplete[among].tolist(),
        [(place[a], place[b]) for a, b in zip(tested.a.tolist(), tested.b.tolist(), strict=True)],
        tested.p_holm,
        parse_metric(cell[1]).better,
    ):
        number = among[standing.place]
        into["rank_lo"][number] = standing.rank_lo or 0
        into["rank_hi"][number] = standing.rank_hi or 0
        into["tier"][number] = standing.tier or 0


def ranks_of(
    values: FloatArray, unranked: np.ndarray[Any, Any], better: Better
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Ranks from 1, as ``ffr rank`` gives them; 0 for runs that have none."""
    ranks = np.zeros(len(values), dtype=np.int64)
    if better == "none":
        return ranks
    known = [n for n, value in enumerate(values) if not math.isnan(value) and not unranked[n]]
    known.sort(key=lambda n: sort_key(float(values[n]), better))
    for number, run in enumerate(known):
        before = known[number - 1]
        same = number > 0 and _equal(float(values[before]), float(values[run]))
        ranks[run] = ranks[before] if same else number + 1
    return ranks


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b))


def _cells(table: pa.Table) -> list[tuple[str, ...]]:
    return list(zip(*(table[name].to_pylist() for name in _CELL), strict=True))


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    numbers: FloatArray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float64)
