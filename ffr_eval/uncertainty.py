"""95% intervals of metrics: a cluster bootstrap over dialogues, for any metric and any group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.metrics.metric import Metric, Terms
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_eval.statistics import Interval

Method: TypeAlias = Literal["percentile", "bca"]
METHODS: Final[tuple[Method, ...]] = ("percentile", "bca")
REPLICATES: Final = 10_000
MOST_REPLICATES: Final = 1_000_000
UNASKED_DIALOGUES: Final = 1_000
"""Up to so many dialogues ``ffr score`` computes intervals unasked: in half a second at most."""

RARE: Final = 0.01
"""A larger share of resamples in which a metric is undefined is noted."""

FEW_DIALOGUES: Final = 50
"""Below, intervals come out somewhat too narrow (docs/statistics.md)."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How uncertainty is computed.

    Attributes:
        replicates: Bootstrap replicates, or random swaps of a test.
        seed: Of the random numbers; equal seeds give equal results.
        method: Of the intervals: ``percentile`` or ``bca``.
    """

    replicates: int = REPLICATES
    seed: int = 0
    method: Method = "percentile"

    def __post_init__(self) -> None:
        if not 1 <= self.replicates <= MOST_REPLICATES:
            message = f"{self.replicates} replicates"
            remedy = f"give 1 to {MOST_REPLICATES:,}; {REPLICATES:,} is usual"
            raise InputError(message, field="--replicates", remedy=remedy)
        if self.seed < 0:
            raise InputError("a seed is not negative", field="--seed", remedy="give 0 or more")
        if self.method not in METHODS:
            remedy = "known: " + ", ".join(METHODS)
            raise InputError(f"unknown method {self.method!r}", field="--interval", remedy=remedy)


def intervals(
    evaluation: Evaluation,
    metrics: Mapping[str, Metric],
    rows: IntArray | None = None,
    resampling: Resampling | None = None,
    known: dict[Terms, FloatArray] | None = None,
) -> dict[str, Interval | None]:
    """The 95% interval of each metric over some samples (all without ``rows``).

    Dialogues that have none of the samples are not drawn. Resamples in which the metric is
    undefined are left out, and so are those in which a joint metric would be of one modality where
    it is of two.

    Args:
        evaluation: What the metrics are of.
        metrics: By the name under which they are reported.
        rows: The samples.
        resampling: How intervals are computed.
        known: Terms that were computed before; those that are computed are added.

    Returns:
        By the names given; ``None`` where a metric is undefined, or where there is but one
        dialogue.
    """
    from ffr_eval.statistics import Clusters, bootstrap

    resampling = resampling or Resampling()
    dialogue_ids = evaluation.table.dialogue_id
    if rows is not None:
        dialogue_ids = [dialogue_ids[row] for row in rows.tolist()]
    clusters = Clusters.of(dialogue_ids)
    summed: dict[Terms, FloatArray] = {}
    known = {} if known is None else known
    for metric in metrics.values():
        if metric.terms not in summed:
            if metric.terms not in known:
                known[metric.terms] = metric.terms(evaluation)
            terms = known[metric.terms]
            summed[metric.terms] = clusters.sums(terms if rows is None else terms[rows])
    parts = [
        (sums, metric.resampled(sums))
        for metric in metrics.values()
        for sums in (summed[metric.terms],)
    ]
    replicates = bootstrap(parts, resampling.replicates, resampling.seed)
    return {
        name: interval_of(sums, metric, replicates[:, place], resampling)
        for place, ((name, metric), (sums, _)) in enumerate(
            zip(metrics.items(), parts, strict=True)
        )
    }


def interval_of(
    sums: FloatArray, metric: Metric, replicates: FloatArray, resampling: Resampling
) -> Interval | None:
    """The interval of a metric from its replicates, or ``None`` as :func:`intervals` says.

    Args:
        sums: The summed terms of each dialogue, shape ``(c, k)``.
        metric: The metric.
        replicates: Its value in each resample, shape ``(B,)``.
        resampling: Which kind of interval.
    """
    from ffr_eval.statistics import bca_interval, jackknife, percentile_interval

    value = metric.of_terms(sums)
    if value is None or len(sums) < 2:
        return None
    if resampling.method == "bca":
        return bca_interval(value, replicates, jackknife(sums, metric.resampled(sums)))
    return percentile_interval(replicates)
