"""Votes in files: out as JSON Lines, CSV or Parquet, in as JSON Lines."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import Located, encode_line, read_bytes, read_records
from ffr_eval.writing import replacing
from leaderboard import names
from leaderboard.allowed_values import with_allowed
from leaderboard.arena.votes import Vote, what_is_wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from leaderboard.site.reader import Site

Format: TypeAlias = Literal["jsonl", "csv", "parquet"]

FORMATS: Final[tuple[Format, ...]] = ("jsonl", "csv", "parquet")
_COLUMNS: Final = Vote.__struct_fields__
_OTHER_SUFFIXES: Final = frozenset({".csv", ".tsv", ".parquet"})
_OTHER_BEGINNINGS: Final = (f"{_COLUMNS[0]},".encode(), b"PAR1")


def write_votes(votes: Sequence[Vote], path: Path, kind: Format) -> None:
    """Write votes to a file, which appears complete or not at all.

    Raises:
        InputError: If it cannot be written.
        FfrError: If the disk is full.
    """
    with replacing(path) as new:
        if kind == "parquet":
            _write_parquet(votes, new)
        elif kind == "csv":
            with new.open("w", encoding="utf-8", newline="") as stream:
                write_csv(votes, stream)
        else:
            new.write_bytes(jsonl_bytes(votes))


def jsonl_bytes(votes: Iterable[Vote]) -> bytes:
    """One JSON object a line."""
    return b"".join(map(encode_line, votes))


def write_csv(votes: Iterable[Vote], stream: IO[str]) -> None:
    """A table that spreadsheets open without running formulas; runs are separated by spaces."""
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for vote in votes:
        values = (getattr(vote, name) for name in _COLUMNS)
        writer.writerow(
            names.csv_cell(" ".join(value) if isinstance(value, tuple) else value)
            for value in values
        )


def _write_parquet(votes: Sequence[Vote], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types: dict[str, Any] = dict.fromkeys(_COLUMNS, pa.string())
    types |= {"runs": pa.list_(pa.string()), "schema_version": pa.int64()}
    rows = [msgspec.to_builtins(vote) for vote in votes]
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema(types)), path, compression="zstd")


def read_votes(path: Path, site: Site) -> list[Located[Vote]]:
    """The votes of a JSON Lines file, which must be on samples and runs of the site.

    A dialogue that is left out is filled in from the site.

    Raises:
        InputError: For the first line that is not a vote, or not on something of the site.
    """
    _require_json_lines(path)
    known = _Known(site)
    return [Located(line, known.checked(vote, path, line)) for line, vote in _lines(path)]


def _require_json_lines(path: Path) -> None:
    """Refuse the other formats that votes are written in.

    Raises:
        InputError: If it is in one of them, empty, or cannot be read.
    """
    beginning = read_bytes(path, max(map(len, _OTHER_BEGINNINGS)))
    if not beginning:
        raise InputError("no votes: it is empty", file=path, remedy="give a file of votes")
    if _OTHER_SUFFIXES.intersection(path.suffixes[-2:]) or beginning.startswith(_OTHER_BEGINNINGS):
        message = "only JSON Lines can be imported"
        remedy = "export the votes anew: ffr arena export --state DIR --out votes.jsonl"
        raise InputError(message, file=path, remedy=remedy)


def _records(path: Path) -> Iterator[Located[Vote]]:
    try:
        yield from read_records(path, Vote)
    except InputError as error:
        raise with_allowed(error, Vote) from None


def _lines(path: Path) -> Iterator[tuple[int, Vote]]:
    for located in _records(path):
        wrong = what_is_wrong(located.record)
        if wrong is not None:
            raise InputError(
                wrong.message,
                file=path,
                line=located.line,
                field=wrong.field,
                remedy=wrong.remedy,
            )
        yield located.line, located.record


class _Known:
    """The boards of a site, with their samples and runs; each is read once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._boards: dict[str, tuple[dict[str, str], frozenset[str]]] = {}

    def checked(self, vote: Vote, path: Path, line: int) -> Vote:
        """The vote with its dialogue, if it is on something that the site has."""

        def wrong(field: str, message: str, remedy: str) -> InputError:
            return InputError(message, file=path, line=line, field=field, remedy=remedy)

        if vote.board_id not in self._site.board_ids:
            remedy = f"give the site that has it, or one of {', '.join(self._site.board_ids)}"
            raise wrong("board_id", f"the site has no board {vote.board_id!r}", remedy)
        dialogues, runs = self._of(vote.board_id)
        if vote.sample_id not in dialogues:
            message = f"the board has no sample {vote.sample_id!r}"
            raise wrong("sample_id", message, "correct it, or give the site that has it")
        unknown = [run for run in vote.runs if run not in runs]
        if unknown:
            message = f"the board has no run {unknown[0]!r}"
            raise wrong("runs", message, "publish the run, or leave out its votes")
        dialogue = dialogues[vote.sample_id]
        if vote.dialogue_id not in ("", dialogue):
            message = f"the sample is on dialogue {dialogue!r}, not {vote.dialogue_id!r}"
            raise wrong("dialogue_id", message, "correct it, or leave it out")
        return msgspec.structs.replace(vote, dialogue_id=dialogue)

    def _of(self, board_id: str) -> tuple[dict[str, str], frozenset[str]]:
        if board_id not in self._boards:
            sql = "SELECT sample_id, dialogue_id FROM queries WHERE board_id = ?"
            found = self._site.query(sql, [board_id]).to_pydict()
            samples = dict(zip(found["sample_id"], found["dialogue_id"], strict=True))
            sql = "SELECT run_id FROM runs WHERE board_id = ?"
            runs = self._site.query(sql, [board_id])["run_id"].to_pylist()
            self._boards[board_id] = (samples, frozenset(runs))
        return self._boards[board_id]
