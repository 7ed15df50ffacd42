"""Ranking: several sets of predictions on the same samples, by one metric, beside its floors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffr_eval.errors import InputError
from ffr_eval.floors import Floor, floors
from ffr_eval.metrics.named import ADJUSTED, HEADLINE, parse_metric
from ffr_eval.metrics.protocols import protocol_named
from ffr_eval.same_samples import (
    require_different,
    require_same_samples,
    short_names,
    with_benchmark,
)
from ffr_eval.scoring import (
    ASK_AGAIN,
    INCOMPLETE_ABOVE,
    incomplete_mark,
    plain_interval,
    score_table,
)
from ffr_eval.sources import Request, Source, load_source
from ffr_eval.statistics.values import ROUNDING
from ffr_eval.threshold_sweep import oracle_value
from ffr_eval.uncertainty import RARE, Resampling, intervals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.metrics.metric import Better, Metric
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.statistics import Interval


@dataclass(frozen=True, slots=True)
class RankRow:
    """One line of a ranking; equal values share a rank, undefined ones come last.

    Attributes:
        rank: ``None`` if it is incomplete: such lines come after all others.
        value: The metric; ``None`` where it is undefined.
        ci95: Its 95% interval; ``None`` where there is none.
        adjusted_f1: The micro joint F1, corrected for chance.
        oracle_threshold: The metric with the best threshold for each modality, of runs that keep
            their scores.
        incomplete: Whether so many requests failed that it has no rank.
    """

    rank: int | None
    run: str
    model: str
    value: float | None
    n_samples: int
    n_scored: int
    outcomes: Mapping[str, int]
    ci95: Interval | None
    adjusted_f1: float | None
    oracle_threshold: float | None
    incomplete: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        return {**asdict(self), "ci95": plain_interval(self.ci95)}


@dataclass(frozen=True, slots=True)
class Ranking:
    """A ranking on one benchmark and split.

    Attributes:
        better: Which values of the metric are better.
        n_dialogues: How many dialogues the samples are on.
        floors: What predictions without a model are worth; they have no rank.
        notes: Sentences that a reader of the ranking should know.
    """

    metric: str
    better: Better
    protocol: str
    benchmark: str
    hash: str
    split: str | None
    rows: tuple[RankRow, ...]
    floors: tuple[Floor, ...]
    n_dialogues: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr rank --json`` writes them; values unrounded."""
        return {
            "metric": self.metric,
            "protocol": self.protocol,
            "benchmark": self.benchmark,
            "hash": self.hash,
            "split": self.split,
            "rows": [row.to_dict() for row in self.rows],
            "floors": [{"name": floor.name, "value": floor.value} for floor in self.floors],
            "n_dialogues": self.n_dialogues,
            "notes": list(self.notes),
        }


def rank_runs(
    runs: Sequence[Path | str],
    *,
    benchmark: str | Path | None = None,
    split: str | None = None,
    metric: str = HEADLINE,
    protocol: ProtocolName = "strict",
    resampling: Resampling | None = None,
    seed: int = 0,
) -> Ranking:
    """Rank run folders or prediction files by a metric.

    Args:
        runs: Run folders or prediction files.
        benchmark: By default the one that a run folder names.
        split: By default that of the runs.
        metric: Its name.
        protocol: The protocol or a version of it.
        resampling: How 95% intervals are computed; without it there are none.
        seed: Of the floors that are drawn at random.

    Raises:
        InputError: If there are none, the metric is unknown or nothing to rank by, or they are not
            all of one benchmark and split.
    """
    wanted = _rankable(metric)
    protocol_named(protocol)
    if not runs:
        raise InputError("nothing to rank", field="RUNS", remedy="give run folders")
    request = Request(benchmark=benchmark, split=split, protocol=protocol, keep_predictions=True)
    paths = [Path(run) for run in runs]
    sources: list[Source] = []
    found: list[tuple[RankRow, list[str]]] = []
    require_different(paths)
    for run in paths:
        known = sources[0].benchmark if sources else None
        source = load_source(run, with_benchmark(run, request, known))
        sources.append(replace(source, predictions=None))  # of one run at a time: they may be large
        require_same_samples(paths[0], sources[0], run, source)
        found.append(_row(source, wanted, resampling))
    names = short_names(paths, sources)
    rows = [replace(row, run=name) for name, (row, _) in zip(names, found, strict=True)]
    ranked = _ranked(rows, wanted.better)
    notes_of = {name: notes for name, (_, notes) in zip(names, found, strict=True)}
    reference = sources[0]
    n_dialogues = len(set(reference.table.dialogue_id))
    return Ranking(
        metric=wanted.name,
        better=wanted.better,
        protocol=reference.protocol.name,
        benchmark=reference.benchmark.name if reference.benchmark is not None else "",
        hash=reference.benchmark.content_hash if reference.benchmark is not None else "",
        split=reference.split,
        rows=ranked,
        floors=floors(reference.table, reference.protocol, wanted, seed, reference.benchmark),
        n_dialogues=n_dialogues,
        notes=(
            *(f"{row.run}: {note}" for row in ranked for note in notes_of[row.run]),
            *_general_notes(rows, wanted, resampling, n_dialogues),
        ),
    )


def sort_key(value: float | None, better: Better) -> tuple[bool, float]:
    """Sorts values from best to worst, undefined ones last."""
    value_or_0 = value or 0.0
    return value is None, value_or_0 if better == "lower" else -value_or_0


def _rankable(name: str) -> Metric:
    metric = parse_metric(name)
    if metric.better == "none":
        message = f"{metric.name} cannot rank: neither higher nor lower values are better"
        remedy = f"`ffr score` reports it; rank by another metric, such as {HEADLINE}"
        raise InputError(message, field="--metric", remedy=remedy)
    return metric


def _row(
    source: Source, metric: Metric, resampling: Resampling | None
) -> tuple[RankRow, list[str]]:
    """The line of a run, without rank and name, and what is to be said of it."""
    scores = score_table(source.table, source.protocol)
    notes = list(scores.notes)
    mark = incomplete_mark(scores.outcomes, scores.n_samples)
    if mark is not None:
        again = "" if source.run is None else f"; {ASK_AGAIN}"
        notes.append(f"{mark}; above {INCOMPLETE_ABOVE:.0%} there is no rank{again}")
    try:
        oracle = oracle_value(source, metric)
    except InputError as error:
        oracle = None
        notes.append(f"no oracle threshold: {error.problem.field}: {error.problem.message}")
    interval = None
    if resampling is not None:
        interval = intervals(scores.evaluation, {"": metric}, resampling=resampling)[""]
    row = RankRow(
        rank=None,
        run="",
        model=source.model or "",
        value=scores.metric(metric),
        n_samples=scores.n_samples,
        n_scored=scores.n_scored,
        outcomes=scores.outcomes,
        ci95=interval,
        adjusted_f1=scores.metric(ADJUSTED),
        oracle_threshold=oracle,
        incomplete=mark is not None,
    )
    return row, notes


def _general_notes(
    rows: Sequence[RankRow], metric: Metric, resampling: Resampling | None, n_dialogues: int
) -> list[str]:
    if all(row.value is None for row in rows):
        return [f"{metric.name} is undefined for all runs: these samples have nothing it counts"]
    if resampling is not None and n_dialogues < 2:
        return ["no intervals: with one dialogue nothing is known of how dialogues differ"]
    shares = {row.run: row.ci95.undefined for row in rows if row.ci95 is not None}
    rare = [name for name, share in shares.items() if share > RARE]
    if not rare:
        return []
    which = f"in up to {max(shares.values()):.0%} of the resamples of dialogues"
    out = f"which the intervals leave out: {', '.join(rare)}"
    return [f"{metric.name} is undefined, or of one modality only, {which}, {out}"]


def _ranked(rows: Sequence[RankRow], better: Better) -> tuple[RankRow, ...]:
    """The rows from best to worst, with ranks; values equal up to rounding share one.

    Incomplete ones come after all others and have none.
    """
    ordered = sorted(rows, key=lambda row: sort_key(row.value, better))
    ranked: list[RankRow] = []
    for place, row in enumerate((row for row in ordered if not row.incomplete), 1):
        shared = bool(ranked) and _equal(ranked[-1].value, row.value)
        ranked.append(replace(row, rank=ranked[-1].rank if shared else place))
    return (*ranked, *(row for row in ordered if row.incomplete))


def _equal(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b))
