"""Checking a site: are its files those that were published, do its rows follow from raw outputs?"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.errors import FfrError, InputError
from ffr_eval.metrics.named import parse_metric
from ffr_eval.plugins import nearest
from ffr_eval.runs import RunRecord
from ffr_eval.statistics import holm
from leaderboard.publishing.benchmarks import Benchmarks
from leaderboard.publishing.figure_tables import ranks_of
from leaderboard.publishing.identities import is_id
from leaderboard.publishing.pairs import PairFile, pair_rows
from leaderboard.publishing.run_part import figures_again, load_raw
from leaderboard.publishing.store import Store, require_folder, resampling_of
from leaderboard.site import schema
from leaderboard.site.manifest import read_manifest, wrong_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from leaderboard.publishing.run_part import Sums
    from leaderboard.site.manifest import Manifest, PublishedRun

NEAR: Final = 1e-9
"""Figures nearer to each other than this are equal: machines round differently."""

_CELL: Final = ("protocol", "metric", "grouping", "bucket")
_PAIR: Final = (
    *("delta", "lo", "hi", "p", "wins", "ties", "losses"),
    *("n_samples", "n_dialogues", "dialogues_needed"),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check compared, and what it found.

    Attributes:
        run_id: The run whose rows were derived again; ``None`` if files are wrong already.
        other: The run that it was paired with; ``None`` if it is in no pair.
        n_files, n_figures, n_pairs: How many were compared.
        wrong: What differs, a sentence each.
    """

    run_id: str | None
    other: str | None
    n_files: int
    n_figures: int
    n_pairs: int
    wrong: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr publish --check --json`` prints them."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def check_site(site: Path, run: str | None = None, seed: int | None = None) -> Checked:
    """Check a site: the hashes of all files, and a run's figures and one of its pairs.

    Args:
        site: The folder.
        run: The id of the run; by default one at random.
        seed: Of what is drawn at random; another one each time without it.

    Raises:
        InputError: If the folder is not there or no site, or has no such run.
    """
    require_folder(site)
    manifest = read_manifest(site)
    by_id = {published.run_id: published for published in manifest.runs}
    if run is not None and run not in by_id:
        raise InputError(f"there is no run {run!r}", field="--run", remedy=nearest(run, by_id))
    if not by_id:
        raise InputError("the site has no runs", file=site)
    wrong = wrong_files(site, manifest)
    if wrong:
        return Checked(None, None, len(manifest.files), 0, 0, tuple(wrong))
    rng = random.Random(seed)  # noqa: S311 - which row is checked is no secret
    published = by_id[run if run is not None else rng.choice(sorted(by_id))]
    return _Check(Store(site.resolve()), manifest, published).all(rng)


class _Check:
    """The check of one run."""

    def __init__(self, store: Store, manifest: Manifest, run: PublishedRun) -> None:
        self._store = store
        self._manifest = manifest
        self._run = run
        self._board = next(b for b in manifest.boards if b.board_id == run.board_id)
        self._resampling = resampling_of(manifest)
        self._wrong: list[str] = []

    def all(self, rng: random.Random) -> Checked:
        n_files, n_figures, n_pairs, other = len(self._manifest.files), 0, 0, None
        try:
            figures, sums = self._again(self._run.run_id)
            stored = self._rows(schema.FIGURES)
            n_figures = self._figures(figures, stored)
            self._ranks(stored)
            pairs = self._rows(schema.PAIRS)
            other = self._other(pairs, rng)
            if other is not None:
                n_pairs = self._pairs(other, pairs, figures, sums)
        except (FfrError, OSError, ValueError) as error:
            self._wrong.append(f"{self._run.run_id}: {str(error).splitlines()[0]}")
        wrong = tuple(self._wrong)
        return Checked(self._run.run_id, other, n_files, n_figures, n_pairs, wrong)

    def _again(self, run_id: str) -> tuple[pa.Table, Sums]:
        """The figures of a run, from its raw outputs and the copy of its benchmark."""
        if not is_id(run_id):
            raise InputError(f"{run_id!r} is no id of a run")
        raw, file = self._store.raw(run_id, hidden=self._board.hidden_gold)
        record = msgspec.json.decode(file.read_bytes(), type=RunRecord)
        if (record.benchmark.hash, record.split) != (self._board.hash, self._board.split):
            raise InputError("its record is of another benchmark or split", file=file)
        benchmark = Benchmarks(self._store).copied(self._board.hash)
        return figures_again(load_raw(raw, record, benchmark), self._resampling)

    def _rows(self, table: schema.Table) -> pa.Table:
        """The rows of the board."""
        import pyarrow.parquet as pq

        filters = [("board_id", "=", self._board.board_id)]
        return pq.read_table(self._store.site / table.file, filters=filters)

    def _figures(self, again: pa.Table, stored: pa.Table) -> int:
        of_run = _by_cell(row for row in stored.to_pylist() if row["run_id"] == self._run.run_id)
        expected = _by_cell(again.to_pylist())
        for cell in sorted(of_run.keys() ^ expected.keys()):
            there = "is in the site, but does not follow" if cell in of_run else "is missing"
            self._wrong.append(f"{self._run.run_id}: {', '.join(cell)} {there}")
        for cell in sorted(of_run.keys() & expected.keys()):
            names = ("n_samples", "value", "lo", "hi")
            self._compare(cell, of_run[cell], expected[cell], names, self._run.run_id)
        return len(expected)

    def _ranks(self, stored: pa.Table) -> None:
        """The ranks of the run follow from the values of all."""
        runs: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in stored.to_pylist():
            runs.setdefault(tuple(row[name] for name in _CELL), []).append(row)
        for cell, rows in runs.items():
            values = np.array([_number(row["value"]) for row in rows])
            unranked = np.array([row["rank"] is None for row in rows])
            ranks = ranks_of(values, unranked, parse_metric(cell[1]).better)
            for row, rank in zip(rows, ranks.tolist(), strict=True):
                if row["run_id"] == self._run.run_id and (row["rank"] or 0) != rank:
                    where = f"{self._run.run_id}: {', '.join(cell)}: rank"
                    self._wrong.append(f"{where} {row['rank']} in the site, {rank or None} again")

    def _other(self, pairs: pa.Table, rng: random.Random) -> str | None:
        run_id = self._run.run_id
        others = {
            b if a == run_id else a
            for a, b in zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True)
            if run_id in {a, b}
        }
        return rng.choice(sorted(others)) if others else None

    def _pairs(self, other: str, stored: pa.Table, figures: pa.Table, sums: Sums) -> int:
        other_figures, other_sums = self._again(other)
        a, b = sorted((self._run.run_id, other))
        of = {self._run.run_id: (figures, sums), other: (other_figures, other_sums)}
        rows = stored.to_pylist()
        there = _by_cell(row for row in rows if (row["a"], row["b"]) == (a, b))
        adjusted = _adjusted(rows)
        incomplete = {run: _incomplete(found) for run, (found, _) in of.items()}
        for cell in there:
            protocol, metric, grouping, bucket = cell
            file = PairFile(self._store.site, protocol, grouping, bucket)
            (again,) = pair_rows(
                file,
                metric,
                [(a, b)],
                {run: incomplete[run][protocol, grouping, bucket] for run in of},
                lambda run: of[run][1],
                self._resampling,
            )
            self._compare(cell, there[cell], again, _PAIR, f"{a} and {b}")
            holm_again = {"p_holm": adjusted[cell][a, b]}
            self._compare(cell, there[cell], holm_again, ("p_holm",), f"{a} and {b}")
        return len(there)

    def _compare(
        self,
        cell: tuple[str, ...],
        stored: Mapping[str, Any],
        again: Mapping[str, Any],
        names: Sequence[str],
        what: str,
    ) -> None:
        for name in names:
            first, second = stored[name], again[name]
            if not _same(first, second):
                where = f"{what}: {', '.join(cell)}: {name}"
                self._wrong.append(f"{where} is {first} in the site, {second} again")


def _by_cell(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {tuple(row[name] for name in _CELL): row for row in rows}


def _adjusted(
    rows: Sequence[dict[str, Any]],
) -> dict[tuple[str, ...], dict[tuple[str, str], float | None]]:
    """The adjusted p-values that follow from those of the pairs."""
    cells: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in _CELL), []).append(row)
    found = {}
    for cell, some in cells.items():
        p = holm([_number(row["p"]) for row in some])
        found[cell] = {
            (row["a"], row["b"]): None if math.isnan(value) else float(value)
            for row, value in zip(some, p.tolist(), strict=True)
        }
    return found


def _incomplete(figures: pa.Table) -> dict[tuple[str, str, str], bool]:
    return {
        (row["protocol"], row["grouping"], row["bucket"]): row["incomplete"]
        for row in figures.to_pylist()
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= NEAR
