"""The tables of a site, out of what was computed of its runs, boards and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from ffr_eval.same_samples import CEILING_MODELS
from leaderboard.publishing.card import setting_of
from leaderboard.publishing.parquet import TableWriter, from_rows, with_columns, write_table
from leaderboard.site import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.runs import RunRecord
    from leaderboard.publishing.benchmarks import BoardPart
    from leaderboard.publishing.pairs import PairFile
    from leaderboard.publishing.run_part import RunPart
    from leaderboard.publishing.store import RunEntry
    from leaderboard.site.manifest import BoardRecord

HIDDEN_EXAMPLES: Final = "its examples are of a split whose gold is hidden"
_MEMORY: Final = "512MB"


@dataclass(frozen=True, slots=True)
class BoardRun:
    """A run of a board: where it came from, and what was computed of it."""

    entry: RunEntry
    part: RunPart

    @property
    def ceiling(self) -> bool:
        """Whether it knows the gold: it is neither ranked nor compared, and shifts nobody."""
        return self.part.record().model in CEILING_MODELS


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
        "ceiling": run.ceiling,
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
