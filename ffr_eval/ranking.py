"""Ranking: several sets of predictions on the same samples, by one metric."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ffr_eval.errors import InputError
from ffr_eval.scoring import HEADLINE, parse_metric, score_table
from ffr_eval.sources import Request, Source, load_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ffr_eval.metrics.protocols import ProtocolName


@dataclass(frozen=True, slots=True)
class RankRow:
    """One line of a ranking; equal values share a rank, undefined ones come last."""

    rank: int
    run: str
    model: str
    value: float | None
    n_samples: int
    n_scored: int
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A ranking on one benchmark and split."""

    metric: str
    protocol: ProtocolName
    benchmark: str
    hash: str
    split: str | None
    rows: tuple[RankRow, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr rank --json`` writes them; values unrounded."""
        record = asdict(self)
        record["rows"] = [asdict(row) for row in self.rows]
        record["notes"] = list(self.notes)
        return record


def rank_runs(
    runs: Sequence[Path],
    *,
    benchmark: str | Path | None = None,
    split: str | None = None,
    metric: str = HEADLINE,
    protocol: ProtocolName = "strict",
) -> Ranking:
    """Rank run folders or prediction files by a metric.

    Raises:
        InputError: If there are none, the metric is unknown, or they are not all of one benchmark
            and split.
    """
    parse_metric(metric)
    if not runs:
        raise InputError("nothing to rank", field="RUNS", remedy="give run folders")
    sources = [
        load_source(run, Request(benchmark=benchmark, split=split, protocol=protocol))
        for run in runs
    ]
    reference = sources[0]
    for run, source in zip(runs, sources, strict=True):
        _require_same(runs[0], reference, run, source)
    scored = [score_table(source.table, protocol) for source in sources]
    values = [scores.metric(metric) for scores in scored]
    order = sorted(range(len(values)), key=lambda place: _sort_key(values[place]))
    names = _names(runs, sources)
    rows = tuple(
        RankRow(
            rank=1 + sum(_sort_key(value) < _sort_key(values[place]) for value in values),
            run=names[place],
            model=sources[place].model or "",
            value=values[place],
            n_samples=scored[place].n_samples,
            n_scored=scored[place].n_scored,
            outcomes=scored[place].outcomes,
        )
        for place in order
    )
    notes = tuple(f"{names[place]}: {note}" for place in order for note in scored[place].notes)
    found = reference.benchmark
    return Ranking(
        metric=metric,
        protocol=protocol,
        benchmark=found.name if found is not None else "",
        hash=found.content_hash if found is not None else "",
        split=reference.split,
        rows=rows,
        notes=notes,
    )


def _sort_key(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)


def _names(runs: Sequence[Path], sources: Sequence[Source]) -> list[str]:
    """Short names, or whole paths where short ones would be the same."""
    short = [source.name for source in sources]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def _require_same(first: Path, reference: Source, other: Path, source: Source) -> None:
    if reference.benchmark is None or source.benchmark is None:
        remedy = "rank run folders or prediction files; `ffr score` scores inference files"
        raise InputError("an inference file cannot be ranked", file=other, remedy=remedy)
    pairs = (
        ("benchmark", reference.benchmark.name, source.benchmark.name),
        ("hash", reference.benchmark.content_hash, source.benchmark.content_hash),
        ("split", reference.split, source.split),
    )
    for field, a, b in pairs:
        if a != b:
            message = f"{first} is of {field} {a or '(all)'}, this is of {field} {b or '(all)'}"
            remedy = "rank runs of one benchmark and split (--split picks one)"
            raise InputError(message, file=other, field=field, remedy=remedy)
