"""The tables of a site, out of what was computed of its runs, boards and benchmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ffr_eval.comparison import standings
from ffr_eval.errors import FfrError
from ffr_eval.metrics.named import parse_metric
from ffr_eval.ranking import sort_key
from ffr_eval.same_samples import CEILING_MODELS
from ffr_eval.statistics import holm
from ffr_eval.statistics.values import ROUNDING
from leaderboard.publishing.card import setting_of
from leaderboard.publishing.parquet import TableWriter, from_rows, with_columns, write_table
from leaderboard.site import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.metrics.metric import Better
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_eval.runs import RunRecord
    from leaderboard.publishing.benchmarks import BoardPart
    from leaderboard.publishing.pairs import PairFile
    from leaderboard.publishing.run_part import RunPart
    from leaderboard.publishing.store import RunEntry
    from leaderboard.site.manifest import BoardRecord

HIDDEN_EXAMPLES: Final = "its examples are of a split whose gold is hidden"
_MEMORY: Final = "512MB"
_ROWS_AT_ONCE: Final = 200_000
_CELL: Final = ("protocol", "metric", "grouping", "bucket")


@dataclass(frozen=True, slots=True)
class BoardRun:
    """A run of a board: where it came from, and what was computed of it."""

    entry: RunEntry
    part: RunPart


@dataclass(frozen=True, slots=True)
class Board:
    """A board with all that its tables are made of.

    Attributes:
        runs: In the order of their ids.
        paired: By protocol, the ids of the runs that are compared in pairs.
        shows_hidden: The ids of the runs whose prompts may have examples of a hidden split.
    """

    record: BoardRecord
    part: BoardPart
    runs: tuple[BoardRun, ...]
    pair_files: tuple[PairFile, ...]
    paired: Mapping[str, frozenset[str]]
    shows_hidden: frozenset[str] = frozenset()


def write_boards(boards: Sequence[Board], path: Path) -> None:
    """``boards``."""
    rows = []
    for board in boards:
        facts = board.part.facts()
        rows.append(
            {
                **msgspec.structs.asdict(board.record),
                "n_samples": facts.n_samples,
                "n_dialogues": facts.n_dialogues,
                "n_runs": len(board.runs),
                "languages": list(facts.languages),
            }
        )
    write_table(schema.BOARDS, path, from_rows(schema.BOARDS.schema, rows))


def write_runs(boards: Sequence[Board], path: Path) -> None:
    """``runs``."""
    rows = [_run_row(run) for board in boards for run in board.runs]
    write_table(schema.RUNS, path, from_rows(schema.RUNS.schema, rows))


def _run_row(run: BoardRun) -> dict[str, Any]:
    entry, record, facts = run.entry, run.part.record(), run.part.facts()
    card = entry.card
    session = record.sessions[-1] if record.sessions else None
    git = None if session is None else session.git
    outcomes = {f"n_{name}": number for name, number in facts.outcomes.items()}
    return {
        "board_id": entry.board_id,
        "run_id": entry.run_id,
        "label": entry.label,
        "model": record.model,
        "model_version": record.model_version,
        "model_revision": record.model_revision,
        "prompt_hash": record.prompt_hash,
        "options": _json(record.options),
        "split": record.split,
        "limit": record.limit,
        "seed": record.seed,
        "tune_on": record.tune_on,
        "selection": None if record.selection is None else _json(record.selection),
        "status": record.status,
        "date": date_of(record),
        "versions": None if session is None else _json(session.versions),
        "git": None if git is None else git.commit + ("-dirty" if git.dirty else ""),
        "params_b": card.params_b,
        "weights": card.weights or "unknown",
        "setting": setting_of(card, record),
        "provenance": card.provenance or "verified",
        "ceiling": record.model in CEILING_MODELS,
        "link": card.link,
        "team": card.team,
        "source_hash": entry.source,
        "n_samples": facts.n_samples,
        "n_dialogues": facts.n_dialogues,
        "n_answered": facts.n_answered,
        **outcomes,
        "incomplete": facts.incomplete,
        "invented_rate": facts.invented_rate,
        "duplicate_rate": facts.duplicate_rate,
        "latency_s": facts.latency_s,
        "cost": facts.cost,
        "notes": list(facts.notes),
    }


def date_of(record: RunRecord) -> str | None:
    """When the last session of a run ended, or began; ISO 8601, UTC."""
    from datetime import UTC, datetime

    if not record.sessions:
        return None
    session = record.sessions[-1]
    try:
        found = datetime.fromisoformat(session.ended or session.started)
    except ValueError:
        return None
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds")


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


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
    n_runs, n_cells = len(ids), len(cells)
    shape = (n_cells, n_runs)
    ranks = {
        name: np.zeros(shape, dtype=np.int64) for name in ("rank", "rank_lo", "rank_hi", "tier")
    }
    for number, cell in enumerate(cells):
        incomplete = columns["incomplete"][:, number] > 0
        better = parse_metric(cell[1]).better
        ranks["rank"][number] = ranks_of(columns["value"][:, number], incomplete, better)
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
    values: FloatArray, incomplete: np.ndarray[Any, Any], better: Better
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Ranks from 1, as ``ffr rank`` gives them; 0 for runs that have none."""
    ranks = np.zeros(len(values), dtype=np.int64)
    if better == "none":
        return ranks
    known = [n for n, value in enumerate(values) if not math.isnan(value) and not incomplete[n]]
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


def write_floors(boards: Sequence[Board], path: Path) -> None:
    """``floors``."""
    tables = [with_columns(board.part.floors(), board_id=board.record.board_id) for board in boards]
    write_table(schema.FLOORS, path, _concatenated(tables, schema.FLOORS.schema))


def write_queries(boards: Sequence[Board], path: Path) -> None:
    """``queries``; of boards with hidden gold without gold and kind."""
    with TableWriter(schema.QUERIES, path) as writer:
        for board in boards:
            rows = with_columns(board.part.queries(), board_id=board.record.board_id)
            if board.record.hidden_gold:
                for name in ("kind", "gold_utt_ids", "gold_img_ids"):
                    field = schema.QUERIES.schema.field(name)
                    nothing = pa.nulls(len(rows), field.type)
                    rows = rows.set_column(rows.schema.get_field_index(name), field, nothing)
            writer.add(rows)


def write_samples(boards: Sequence[Board], path: Path) -> None:
    """``samples``, one run after the other; none of hidden gold."""
    with TableWriter(schema.SAMPLES, path) as writer:
        for _, run in _open_runs(boards):
            rows = run.part.table("samples")
            writer.add(with_columns(rows, board_id=run.entry.board_id, run_id=run.entry.run_id))


def write_answers(boards: Sequence[Board], path: Path) -> None:
    """``answers``, one run after the other; none of hidden gold."""
    with TableWriter(schema.ANSWERS, path) as writer:
        for board, run in _open_runs(boards):
            rows = run.part.table("answers")
            if run.entry.run_id in board.shows_hidden:
                rows = rows.drop_columns(["prompt_id", "prompt_exact", "prompt_note"])
                rows = rows.append_column("prompt_exact", pa.nulls(len(rows), pa.bool_()))
                rows = with_columns(rows, prompt_id=None, prompt_note=HIDDEN_EXAMPLES)
            writer.add(with_columns(rows, board_id=run.entry.board_id, run_id=run.entry.run_id))


def write_prompts(boards: Sequence[Board], path: Path, work: Path) -> None:
    """``prompts``, each once; sorted on the disk, as all of them may be more than memory holds."""
    import duckdb

    files = sorted(
        {
            str(run.part.path / "prompts.parquet")
            for board, run in _open_runs(boards)
            if run.entry.run_id not in board.shows_hidden
        }
    )
    work.mkdir(exist_ok=True)
    with TableWriter(schema.PROMPTS, path) as writer:
        if not files:
            return
        settings: dict[str, Any] = {
            "memory_limit": _MEMORY,
            "threads": 2,
            "temp_directory": str(work),
        }
        with duckdb.connect(":memory:", config=settings) as database:
            found = database.sql(
                "SELECT prompt_id, any_value(requests) AS requests FROM read_parquet(?)"
                " GROUP BY prompt_id ORDER BY prompt_id",
                params=[files],
            )
            for batch in found.to_arrow_reader(1_024):
                writer.add(pa.Table.from_batches([batch]))


def write_dialogues(tables: Iterable[pa.Table], path: Path) -> None:
    """``dialogues``; the tables come in the order of the benchmarks' hashes."""
    with TableWriter(schema.DIALOGUES, path) as writer:
        for rows in tables:
            writer.add(rows)


def _open_runs(boards: Sequence[Board]) -> Iterator[tuple[Board, BoardRun]]:
    """The runs whose samples may be shown."""
    for board in boards:
        if not board.record.hidden_gold:
            for run in board.runs:
                yield board, run


def _concatenated(tables: Sequence[pa.Table], empty: pa.Schema) -> pa.Table:
    if not tables:
        return empty.empty_table()
    return pa.concat_tables([table.select(empty.names) for table in tables])
