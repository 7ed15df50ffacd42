"""Runs in pairs: differences with intervals and tests, and the ranks that follow from them.

Everything is drawn once for all runs and pairs: each resample of dialogues, and each swap of
dialogues between two runs, is the same for all of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations, zip_longest
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.scoring import plain_interval
from ffr_eval.statistics import (
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.metric import Better, Metric
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.uncertainty import Resampling

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
    return PairedFigures.of(sums, metric, resampling, alpha, incomplete, couples).pairs(names)


@dataclass(frozen=True, slots=True)
class PairedFigures:
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
    ) -> PairedFigures:
        """Draw the resamples and the swaps of all runs and pairs."""
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
        """Every pair, in the order of the couples."""
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
        """The runs, best first; then those whose value is undefined, then incomplete ones."""
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
