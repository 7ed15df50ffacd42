"""What a report on several runs shows: computed once, the same in every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ffr_eval.metrics.groups import CROSS
from ffr_eval.pairs import ALPHA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.statistics import Interval
    from ffr_eval.uncertainty import Resampling

Role: TypeAlias = Literal["run", "trivial", "ceiling"]

TRIVIAL_MODELS: Final = frozenset({"all", "none", "random"})
"""Models that do not look at the query: ranked, but never marked as the best of a column."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval; ``None`` where undefined."""

    value: float | None
    ci: Interval | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run.

    Attributes:
        name: A short name, unique in the report.
        model: The registered model; empty where it is not known.
        role: Whether it is a run like others, a trivial one, or a ceiling.
        headline: The metric of the report.
        figures: More metrics by name; ``None`` where undefined.
        tier, rank_lo, rank_hi: Its place; ``None`` where it is not ranked.
        incomplete: Whether so many requests failed that it is not.
        outcomes: How many samples ended how.
        latency_s, cost: The mean of the samples that carry it; ``None`` where none does.
        cost_total: The sum.
    """

    name: str
    model: str
    role: Role
    headline: Estimate
    figures: Mapping[str, float | None]
    n_samples: int
    n_scored: int
    outcomes: Mapping[str, int]
    latency_s: float | None = None
    cost: float | None = None
    cost_total: float | None = None
    tier: int | None = None
    rank_lo: int | None = None
    rank_hi: int | None = None
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """A value to hold runs against: a floor, which needs no model, or a ceiling.

    Attributes:
        value: Of the metric of the report.
    """

    name: str
    summary: str
    value: float | None


@dataclass(frozen=True, slots=True)
class PairRow:
    """Run ``a`` against run ``b``: the difference of the metric, a minus b."""

    a: str
    b: str
    delta: Estimate
    p: float | None
    p_holm: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is, after Holm's correction."""
        return self.p_holm is not None and self.p_holm <= ALPHA

    def turned(self) -> PairRow:
        """The same with ``b`` first."""
        from ffr_eval.statistics import Interval

        value, ci = self.delta.value, self.delta.ci
        delta = Estimate(
            None if value is None else -value,
            None if ci is None else Interval(-ci.hi, -ci.lo, ci.undefined),
        )
        return PairRow(self.b, self.a, delta, self.p, self.p_holm)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of samples.

    Attributes:
        values: The metric of each run, in the order of :attr:`Report.rows`.
    """

    name: str
    n_samples: int
    n_dialogues: int
    values: Sequence[Estimate]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A way to group samples, such as ``turns``."""

    by: str
    groups: Sequence[Group]

    @property
    def family(self) -> str:
        """Its name without parameters; of a crossing all of it."""
        return self.by if CROSS in self.by else self.by.partition("(")[0]


@dataclass(frozen=True, slots=True)
class Calibration:
    """F1 of one modality over all thresholds on a run's scores.

    Attributes:
        thresholds, f1: The curve; ids with a score of at least the threshold are selected.
        best_threshold, best_f1: Its highest point, chosen on the samples that are scored.
        reached: What the run's own selection reached.
    """

    run: str
    modality: str
    thresholds: NDArray[np.float64]
    f1: NDArray[np.float64]
    best_threshold: float
    best_f1: float
    reached: float | None


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What ``micro.joint.f1`` of a run would rise by without the errors of each class."""

    run: str
    gains: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        rows: The ranked runs, best first; incomplete ones, which have no rank, last.
        ceilings: Runs that see the gold.
        best_cuts: Scoring models at the thresholds that are best on these very samples.
        pairs: Every two of them; incomplete ones are not tested.
        error_classes: What each class of errors holds, by name.
        left_out: By section, why it is not there.
        notes: What a reader should know.
        command: What makes this report again.
    """

    benchmark: str
    hash: str
    split: str | None
    n_samples: int
    n_dialogues: int
    protocol: str
    metric: Metric
    resampling: Resampling
    version: str
    command: str
    rows: Sequence[RunRow]
    ceilings: Sequence[RunRow]
    floors: Sequence[ReferenceRow]
    best_cuts: Sequence[ReferenceRow]
    pairs: Sequence[PairRow]
    groupings: Sequence[Grouping]
    calibrations: Sequence[Calibration]
    errors: Sequence[ErrorRow]
    error_classes: Mapping[str, str]
    left_out: Mapping[str, str]
    notes: Sequence[str]

    @property
    def everyone(self) -> tuple[RunRow, ...]:
        """All runs, ranked ones first."""
        return (*self.rows, *self.ceilings)

    @property
    def incomplete(self) -> tuple[RunRow, ...]:
        """The runs of which too many requests failed."""
        return tuple(row for row in self.everyone if row.incomplete)

    def mark(self, name: str) -> str:
        """What stands behind the name of a run that is incomplete; empty for others."""
        return " (incomplete)" if any(row.name == name for row in self.incomplete) else ""

    @property
    def tiers(self) -> tuple[tuple[RunRow, ...], ...]:
        """The ranked runs by tier, best first."""
        found: dict[int, list[RunRow]] = {}
        for row in self.rows:
            if row.tier is not None:
                found.setdefault(row.tier, []).append(row)
        return tuple(tuple(found[tier]) for tier in sorted(found))

    def pair(self, a: str, b: str) -> PairRow | None:
        """The difference of two runs, a minus b."""
        for pair in self.pairs:
            if (pair.a, pair.b) == (a, b):
                return pair
            if (pair.a, pair.b) == (b, a):
                return pair.turned()
        return None

    def grouping(self, family: str) -> Grouping | None:
        """The first grouping of a family that is shown."""
        return next((found for found in self.groupings if found.family == family), None)


def metric_label(name: str) -> str:
    """A metric's name as a heading: ``micro.joint.f1`` is ``micro joint F1``."""
    parts = name.split(".", 2)
    shown: dict[str, Any] = {"f1": "F1", "mcc": "MCC", "adjusted_f1": "F1 above chance"}
    return " ".join((*parts[:-1], shown.get(parts[-1], parts[-1].replace("_", " "))))
