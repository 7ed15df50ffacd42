"""Comparing runs: paired differences with intervals and tests, ranks, and tiers.

Everything is drawn once for all runs and pairs: each resample of dialogues, and each swap of
dialogues between two runs, is the same for all of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import combinations, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.comparison_notes import incomplete_notes, undefined_notes, unusual_notes
from ffr_eval.disagreement import Disagreements, disagreements
from ffr_eval.errors import InputError
from ffr_eval.floors import Floor, floors
from ffr_eval.metrics.metric import Metric
from ffr_eval.metrics.named import HEADLINE, parse_metric
from ffr_eval.same_samples import LoadedRuns, aligned_rows, load_runs
from ffr_eval.scoring import plain_interval
from ffr_eval.sources import Request
from ffr_eval.statistics import (
    Clusters,
    Interval,
    bca_interval,
    bootstrap,
    dialogues_needed,
    holm,
    jackknife,
    percentile_interval,
    rank_intervals,
    sign_flip,
    standard_error,
    tiers,
)
from ffr_eval.statistics.values import ROUNDING
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ffr_eval.metrics.metric import Better
    from ffr_eval.metrics.protocols import Evaluation, ProtocolName
    from ffr_eval.metrics.retrieval import FloatArray

ALPHA: Final = 0.05
"""Family-wise: the probability of calling any difference significant where there is none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs on the same samples.

    Attributes:
        a, b: Their names.
        delta: The metric of ``a`` less that of ``b``; ``None`` where one is undefined.
        ci95: The 95% interval of the difference: paired cluster bootstrap.
        p: Of the paired cluster sign-flip test; ``None`` also where a run is incomplete.
        p_holm: Adjusted for the number of pairs that are tested.
        n_dialogues: On how many dialogues both were compared.
        dialogues_needed: How many dialogues a test of this pair alone would need to find such a
            difference with a power of 80%; ``None`` where no number would do.
    """

    a: str
    b: str
    delta: float | None
    ci95: Interval | None
    p: float | None
    p_holm: float | None
    n_dialogues: int
    dialogues_needed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        return asdict(self) | {"ci95": plain_interval(self.ci95)}


@dataclass(frozen=True, slots=True)
class RankedRun:
    """One run in the ranking; without a value, or if it is incomplete, it is not ranked.

    Attributes:
        model: The name of the run.
        rank_lo: 1 + the number of runs that are significantly better.
        rank_hi: The number of ranked runs less those that are significantly worse.
        tier: From 1; a tier ends where the next run is significantly worse than the tier's first.
        incomplete: Whether so many requests failed that it has no rank.
    """

    model: str
    value: float | None
    ci95: Interval | None
    rank_lo: int | None
    rank_hi: int | None
    tier: int | None
    incomplete: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        return asdict(self) | {"ci95": plain_interval(self.ci95)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs compared by one metric.

    Attributes:
        metric: Its name in full.
        runs: The names of the runs, in the order in which they were given.
        pairs: Every pair, in the order in which the runs were given.
        ranks: Best first; then runs whose value is undefined, then incomplete ones.
        disagreements: Where two runs, or the best two of more, disagree most.
        better: Which values are better: ``higher`` or ``lower``.
        group: Only these samples, such as ``kind=image``.
        common: Whether only samples that no run lacks were compared.
        alpha: The family-wise level of the tests.
        floors: What predictions without a model are worth on the same samples; not ranked.
        notes: Sentences that a reader of the figures should know.
    """

    metric: str
    runs: tuple[str, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[RankedRun, ...]
    disagreements: Disagreements | None
    protocol: str
    better: str
    n_samples: int
    n_dialogues: int
    resampling: Resampling
    benchmark: str = ""
    hash: str = ""
    split: str | None = None
    group: str | None = None
    common: bool = False
    alpha: float = ALPHA
    floors: tuple[Floor, ...] = ()
    notes: tuple[str, ...] = ()

    def pair(self, a: str, b: str) -> Pair:
        """The pair of two runs, in either order; ``delta`` is that of its ``a`` less its ``b``.

        Raises:
            KeyError: If there is none.
        """
        for pair in self.pairs:
            if {pair.a, pair.b} == {a, b}:
                return pair
        raise KeyError((a, b))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr compare --json`` writes them; values unrounded."""
        found = self.disagreements
        return {
            "metric": self.metric,
            "better": self.better,
            "protocol": self.protocol,
            "benchmark": self.benchmark,
            "hash": self.hash,
            "split": self.split,
            "group": self.group,
            "common": self.common,
            "n_samples": self.n_samples,
            "n_dialogues": self.n_dialogues,
            "method": self.resampling.method,
            "replicates": self.resampling.replicates,
            "seed": self.resampling.seed,
            "alpha": self.alpha,
            "pairs": [pair.to_dict() for pair in self.pairs],
            "ranks": [run.to_dict() for run in self.ranks],
            "floors": [{"name": floor.name, "value": floor.value} for floor in self.floors],
            "disagreements": None if found is None else found.to_dict(),
            "notes": list(self.notes),
        }


def compare_evaluations(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    metric: str | Metric = HEADLINE,
    resampling: Resampling | None = None,
    *,
    alpha: float = ALPHA,
    sample_ids: Sequence[str] | None = None,
    query_of: Callable[[str], str | None] | None = None,
    ceilings: Collection[str] = (),
    repeatable: Collection[str] = (),
) -> Comparison:
    """Compare runs that are loaded and counted.

    Args:
        names: Their names, all different.
        evaluations: All under one protocol and on the same samples, in any order.
        metric: The metric, or its name.
        resampling: How uncertainty is computed.
        alpha: The family-wise level of the tests.
        sample_ids: Only these samples; by default all.
        query_of: The query of a sample id, for the samples on which two runs disagree.
        ceilings: Names of runs that know the gold: where others can be shown, how these disagree
            is not.
        repeatable: Names of runs whose samples can be asked again, for the notes.

    Raises:
        InputError: If there are fewer than two, two have one name, they are not on the same
            samples, or the metric is unknown or not one to rank by.
    """
    resampling = resampling or Resampling()
    metric = metric if isinstance(metric, Metric) else parse_metric(metric)
    require_comparable(names, metric)
    rows = aligned_rows(names, [evaluation.table for evaluation in evaluations], sample_ids)
    first = evaluations[0].table
    clusters = Clusters.of([first.dialogue_id[row] for row in rows[0].tolist()])
    sums = np.stack(
        [
            clusters.sums(metric.terms(evaluation)[chosen])
            for evaluation, chosen in zip(evaluations, rows, strict=True)
        ]
    )
    outcomes = [
        evaluation.table.outcome[chosen]
        for evaluation, chosen in zip(evaluations, rows, strict=True)
    ]
    incomplete = incomplete_notes(names, outcomes, repeatable)
    found = _Figures.of(sums, metric, resampling, alpha, [name in incomplete for name in names])
    pairs, ranks = found.pairs(names), found.ranks(names)
    shown = _to_show(names, ranks, ceilings)
    return Comparison(
        metric=metric.name,
        runs=tuple(names),
        pairs=pairs,
        ranks=ranks,
        disagreements=None
        if shown is None
        else disagreements(
            (names[shown[0]], names[shown[1]]),
            (evaluations[shown[0]], evaluations[shown[1]]),
            (rows[shown[0]], rows[shown[1]]),
            metric,
            query_of,
        ),
        protocol=evaluations[0].protocol.name,
        better=metric.better,
        n_samples=len(rows[0]),
        n_dialogues=clusters.count,
        resampling=resampling,
        alpha=alpha,
        notes=(
            *incomplete.values(),
            *undefined_notes(names, metric, evaluations, rows, sums),
            *unusual_notes(pairs, ranks, clusters.count, resampling, alpha),
        ),
    )


def compare_runs(
    runs: Sequence[Path | str],
    *,
    benchmark: str | Path | None = None,
    split: str | None = None,
    metric: str | Metric = HEADLINE,
    protocol: ProtocolName | None = None,
    resampling: Resampling | None = None,
    alpha: float = ALPHA,
    common: bool = False,
    group: str | None = None,
) -> Comparison:
    """Compare run folders or prediction files of one benchmark and split, or inference files.

    Args:
        runs: Two or more.
        benchmark: A folder or the name of a bundled one; by default that of the runs.
        split: Only this split; by default that of the runs.
        metric: The metric, or its name.
        protocol: By default ``official`` for inference files, else ``strict``.
        resampling: How uncertainty is computed.
        alpha: The family-wise level of the tests.
        common: Only samples that no run lacks; otherwise they count as without an answer.
        group: Only samples of one group, such as ``kind=image`` or ``turns=long``.

    Raises:
        InputError: If there are fewer than two, they are not on the same samples, or the metric is
            unknown or not one to rank by.
    """
    metric = metric if isinstance(metric, Metric) else parse_metric(metric)
    paths = [Path(run) for run in runs]
    require_comparable([str(path) for path in paths], metric)
    request = Request(benchmark=benchmark, split=split, protocol=protocol)
    loaded = load_runs(paths, request)
    sample_ids, notes = loaded.chosen(group, common)
    found = compare_evaluations(
        loaded.names,
        loaded.evaluations,
        metric,
        resampling,
        alpha=alpha,
        sample_ids=sample_ids,
        query_of=loaded.query_of,
        ceilings=loaded.ceilings,
        repeatable=loaded.repeatable,
    )
    return replace(
        found,
        benchmark="" if loaded.benchmark is None else loaded.benchmark.name,
        hash="" if loaded.benchmark is None else loaded.benchmark.content_hash,
        split=loaded.split,
        group=group,
        common=common,
        floors=_floors(loaded, sample_ids, metric, found.resampling.seed),
        notes=(*loaded.notes, *notes, *found.notes),
    )


def _floors(
    loaded: LoadedRuns, sample_ids: Sequence[str] | None, metric: Metric, seed: int
) -> tuple[Floor, ...]:
    evaluation = loaded.evaluations[0]
    table = evaluation.table
    if sample_ids is not None:
        wanted = set(sample_ids)
        rows = [row for row, name in enumerate(table.sample_id) if name in wanted]
        table = table.take(np.array(rows, dtype=np.int64))
    return floors(table, evaluation.protocol, metric, seed, loaded.benchmark)


def require_comparable(names: Sequence[str], metric: Metric) -> None:
    """Check what can be checked before anything is read.

    Raises:
        InputError: If there are fewer than two runs, two of one name, or the metric ranks nothing.
    """
    if len(names) < 2:
        message = f"{len(names)} run{'s' if len(names) != 1 else ''} to compare"
        raise InputError(message, field="RUN", remedy="give two or more; `ffr score` scores one")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice", field="RUN", remedy="give different runs")
    if metric.better == "none":
        message = f"{metric.name} says what a run does, not how good it is: no value is better"
        remedy = f"compare by another metric, such as {HEADLINE}; `ffr score` reports this one"
        raise InputError(message, field="metric", remedy=remedy)


def _to_show(
    names: Sequence[str], ranks: Sequence[RankedRun], ceilings: Collection[str]
) -> tuple[int, int] | None:
    """The two runs whose disagreements are shown: the only two as given, or the best two."""
    ranked = [run.model for run in ranks if run.value is not None]
    if len(ranked) < 2:
        return None
    if len(names) == 2:
        return 0, 1
    incomplete = {run.model for run in ranks if run.incomplete}
    honest = [name for name in ranked if name not in ceilings and name not in incomplete]
    first, second, *_ = honest if len(honest) > 1 else ranked
    return names.index(first), names.index(second)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands among others; without ranks if it has no value or is incomplete.

    Attributes:
        place: Of the run among those given.
        rank_lo, rank_hi, tier: As of :class:`RankedRun`.
    """

    place: int
    rank_lo: int | None
    rank_hi: int | None
    tier: int | None


def standings(
    names: Sequence[str],
    values: FloatArray,
    incomplete: Sequence[bool],
    couples: Sequence[tuple[int, int]],
    p_holm: FloatArray,
    better: Better,
    alpha: float = ALPHA,
) -> tuple[Standing, ...]:
    """What tests of pairs say about the order of runs, best first, in the order of ``ranks``.

    Args:
        names: Of the runs; of equal values the first name comes first.
        values: The metric of each run, NaN where undefined.
        incomplete: Whether each run is.
        couples: Places of the two runs of each pair.
        p_holm: Of each pair, adjusted; NaN where it is not tested.
        better: Which values are better.
        alpha: The family-wise level of the tests.
    """
    direction = 1 if better == "higher" else -1
    wins = np.zeros((len(names), len(names)), dtype=bool)
    for (a, b), p in zip(couples, p_holm, strict=True):
        if p <= alpha:
            first_wins = direction * (values[a] - values[b]) > 0
            wins[(a, b) if first_wins else (b, a)] = True
    rankable = np.where(incomplete, math.nan, values)
    order = sorted(
        range(len(names)),
        key=lambda place: (
            incomplete[place],
            math.isnan(values[place]),
            -direction * np.nan_to_num(values[place]),
            names[place],
        ),
    )
    lo, hi = rank_intervals(rankable, wins)
    ranked_first = [place for place in order if not math.isnan(rankable[place])]
    return tuple(
        Standing(place, int(lo[place]) or None, int(hi[place]) or None, tier)  # 0: not ranked
        for place, tier in zip_longest(order, tiers(ranked_first, wins))
    )


def pairs_of(
    names: Sequence[str],
    sums: FloatArray,
    metric: Metric,
    couples: Sequence[tuple[int, int]],
    resampling: Resampling,
    incomplete: Sequence[bool],
    alpha: float = ALPHA,
) -> tuple[Pair, ...]:
    """Some pairs of runs whose summed terms are known; ``p_holm`` is adjusted for these alone.

    Args:
        names: Of the runs.
        sums: The terms of each run and dialogue, shape ``(runs, dialogues, k)``.
        metric: The metric.
        couples: Places of the two runs of each pair.
        resampling: How uncertainty is computed.
        incomplete: Whether each run is; it is not tested then.
        alpha: The level of the tests.
    """
    return _Figures.of(sums, metric, resampling, alpha, incomplete, couples).pairs(names)


@dataclass(frozen=True, slots=True)
class _Figures:
    """Values, resampled values and tests of all runs.

    Attributes:
        sums: The terms of each run and dialogue, shape ``(runs, dialogues, k)``.
        values: The metric of each run, NaN where undefined.
        replicates: The metric of each run in each resample, shape ``(runs, replicates)``.
        couples: Places of the two runs of each pair.
        p, p_holm: Of each pair; NaN where it is not tested.
        incomplete: Whether each run is, which is then neither ranked nor tested.
    """

    sums: FloatArray
    metric: Metric
    resampling: Resampling
    alpha: float
    values: FloatArray
    replicates: FloatArray
    couples: list[tuple[int, int]]
    p: FloatArray
    p_holm: FloatArray
    incomplete: Sequence[bool]

    @classmethod
    def of(
        cls,
        sums: FloatArray,
        metric: Metric,
        resampling: Resampling,
        alpha: float,
        incomplete: Sequence[bool],
        couples: Sequence[tuple[int, int]] | None = None,
    ) -> _Figures:
        found = [metric.of_terms(of_run) for of_run in sums]
        values = np.array([math.nan if value is None else value for value in found])
        couples = list(combinations(range(len(sums)), 2) if couples is None else couples)
        p = np.full(len(couples), math.nan)
        replicates = np.full((len(sums), resampling.replicates), math.nan)
        if sums.shape[1] > 1:  # one dialogue says nothing about how dialogues differ
            parts = [(of_run, metric.resampled(of_run)) for of_run in sums]
            drawn = bootstrap(parts, resampling.replicates, resampling.seed)
            replicates = np.ascontiguousarray(drawn.T)
            p = sign_flip(sums, metric.value, couples, resampling.replicates, resampling.seed)
            p[[incomplete[a] or incomplete[b] for a, b in couples]] = math.nan
        return cls(
            sums, metric, resampling, alpha, values, replicates, couples, p, holm(p), incomplete
        )

    def pairs(self, names: Sequence[str]) -> tuple[Pair, ...]:
        left_out = self._left_out()
        return tuple(
            self._pair(place, names, None if left_out is None else left_out[a] - left_out[b])
            for place, (a, b) in enumerate(self.couples)
        )

    def _pair(self, place: int, names: Sequence[str], left_out: FloatArray | None) -> Pair:
        a, b = self.couples[place]
        clusters = self.sums.shape[1]
        delta = float(_difference(self.values[a], self.values[b]))
        replicates = _difference(self.replicates[a], self.replicates[b])
        return Pair(
            a=names[a],
            b=names[b],
            delta=_or_none(delta),
            ci95=self._interval(delta, replicates, left_out),
            p=_or_none(self.p[place]),
            p_holm=_or_none(self.p_holm[place]),
            n_dialogues=clusters,
            dialogues_needed=None
            if math.isnan(self.p[place])
            else dialogues_needed(delta, standard_error(replicates), clusters, self.alpha),
        )

    def ranks(self, names: Sequence[str]) -> tuple[RankedRun, ...]:
        left_out = self._left_out()
        ranked = []
        for standing in standings(
            names,
            self.values,
            self.incomplete,
            self.couples,
            self.p_holm,
            self.metric.better,
            self.alpha,
        ):
            place = standing.place
            value = float(self.values[place])
            without = None if left_out is None else left_out[place]
            ranked.append(
                RankedRun(
                    model=names[place],
                    value=_or_none(value),
                    ci95=self._interval(value, self.replicates[place], without),
                    rank_lo=standing.rank_lo,
                    rank_hi=standing.rank_hi,
                    tier=standing.tier,
                    incomplete=bool(self.incomplete[place]),
                )
            )
        return tuple(ranked)

    def _left_out(self) -> FloatArray | None:
        """The metric of each run without each dialogue, which only BCa intervals need."""
        if self.resampling.method != "bca":
            return None
        return np.stack([jackknife(of_run, self.metric.resampled(of_run)) for of_run in self.sums])

    def _interval(
        self, value: float, replicates: FloatArray, left_out: FloatArray | None
    ) -> Interval | None:
        if math.isnan(value) or self.sums.shape[1] < 2:
            return None
        if left_out is not None:
            return bca_interval(value, replicates, left_out)
        return percentile_interval(replicates)


def _difference(a: Any, b: Any) -> FloatArray:
    """Differences; those within rounding are 0, so that equal runs are."""
    delta = np.subtract(a, b)
    near = np.abs(delta) <= ROUNDING * np.maximum(np.abs(a), np.abs(b))
    return np.where(near, 0.0, delta)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
