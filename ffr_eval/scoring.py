"""Scoring: predictions and a benchmark in, figures with their provenance out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import MissingExtraError
from ffr_eval.metrics.builtin import REACHABLE_RECALL
from ffr_eval.metrics.groups import group_rows
from ffr_eval.metrics.metric import MODALITIES, Metric
from ffr_eval.metrics.named import ALL_FIGURES, FIGURES, HEADLINE, parse_metric
from ffr_eval.metrics.protocols import Evaluation, Macro, Micro, evaluate, protocol_named
from ffr_eval.metrics.retrieval import ratio
from ffr_eval.predictions import OUTCOMES
from ffr_eval.reach import Reach
from ffr_eval.types import Outcome
from ffr_eval.uncertainty import RARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ffr_eval.coherence import CoherenceReport
    from ffr_eval.metrics.counts import Counts
    from ffr_eval.metrics.protocols import Protocol, ProtocolName
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray
    from ffr_eval.statistics import Interval
    from ffr_eval.uncertainty import Resampling

INCOMPLETE_ABOVE: Final = 0.05
"""With a larger share of request errors, figures say more of an outage than of the model."""

ASK_AGAIN: Final = f"ask them again with `ffr run … --retry-outcomes {Outcome.REQUEST_ERROR}`"
"""What the user can do about request errors of a run."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Figures of one group of samples.

    Attributes:
        metrics: The metrics asked for, by the name they were asked for by; ``None`` where
            undefined.
        ci95: 95% intervals by the name of the metric, if they were asked for; ``None`` where there
            is none.
    """

    n_samples: int
    micro: Micro
    macro: Macro
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    ci95: Mapping[str, Interval | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        return {
            "n_samples": self.n_samples,
            "micro": asdict(self.micro),
            "macro": asdict(self.macro),
            "metrics": dict(self.metrics),
            "ci95": {name: plain_interval(found) for name, found in self.ci95.items()},
        }


@dataclass(frozen=True, slots=True)
class Rates:
    """How ids were predicted that should not be, 0-1.

    Attributes:
        invented: Ids that the dialogue does not have, as a share of the distinct predicted ids.
        duplicate: Repetitions, as a share of all predicted items.
    """

    invented: float
    duplicate: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All figures of one set of predictions under one protocol.

    Attributes:
        protocol: Name and version, such as ``strict-1``.
        n_samples: How many samples count.
        n_scored: How many have a usable answer (outcome ok or empty).
        outcomes: How many ended how, ``missing`` among them.
        micro, macro: Over all samples.
        metrics: The metrics asked for, by the name they were asked for by; ``None`` where
            undefined.
        ci95: 95% intervals by the name of the metric, if they were asked for: of all micro and
            macro figures, and of the metrics; ``None`` where there is none.
        resampling: How they were computed; ``None`` without them.
        n_dialogues: How many dialogues the samples are on.
        reach: What of the gold reached the model; ``None`` if nothing says that some did not.
        answered: The same over the samples with a usable answer only.
        rates: Per modality, the rates of invented and repeated ids.
        groups: Grouping, then group, to figures.
        left_out: Records that the protocol does not count.
        notes: Sentences that a reader of the figures should know.
        table: What was counted.
        evaluation: Per-sample counts and figures.
        coherence: Coherence under the encoders asked for; ``None`` if none was.
    """

    protocol: str
    n_samples: int
    n_scored: int
    outcomes: Mapping[str, int]
    micro: Micro
    macro: Macro
    metrics: Mapping[str, float | None]
    ci95: Mapping[str, Interval | None]
    resampling: Resampling | None
    n_dialogues: int
    answered: GroupScores
    rates: Mapping[str, Rates]
    groups: Mapping[str, Mapping[str, GroupScores]]
    left_out: int
    notes: tuple[str, ...]
    table: PredictionTable = field(repr=False)
    evaluation: Evaluation = field(repr=False)
    coherence: CoherenceReport | None = None
    reach: Reach | None = None

    @property
    def incomplete(self) -> bool:
        """Whether so many requests failed that the figures do not rank."""
        return incomplete_mark(self.outcomes, self.n_samples) is not None

    def metric(self, metric: str | Metric) -> float | None:
        """A metric, by name or as a value; ``None`` where it is undefined.

        Raises:
            InputError: If there is none of this name.
        """
        if not isinstance(metric, Metric):
            metric = parse_metric(metric)
        return metric.of(self.evaluation)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr score --json`` writes them; values unrounded."""
        return {
            "protocol": self.protocol,
            "n_samples": self.n_samples,
            "n_scored": self.n_scored,
            "n_dialogues": self.n_dialogues,
            "outcomes": dict(self.outcomes),
            "incomplete": self.incomplete,
            "reach": None if self.reach is None else self.reach.to_dict(),
            "micro": asdict(self.micro),
            "macro": asdict(self.macro),
            "metrics": dict(self.metrics),
            "ci95": {name: plain_interval(found) for name, found in self.ci95.items()},
            "resampling": None if self.resampling is None else asdict(self.resampling),
            "answered": self.answered.to_dict(),
            "rates": {modality: asdict(rates) for modality, rates in self.rates.items()},
            "left_out": self.left_out,
            "notes": list(self.notes),
            "groups": {
                by: {name: scores.to_dict() for name, scores in groups.items()}
                for by, groups in self.groups.items()
            },
            **({} if self.coherence is None else self.coherence.to_dict()),
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a sample: ids, outcome, counts and figures, NaN where a sample does not count.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_frame()", "pandas") from None
        table, evaluation = self.table, self.evaluation
        columns: dict[str, Any] = {
            "sample_id": table.sample_id,
            "dialogue_id": table.dialogue_id,
            "outcome": [OUTCOMES[code].value for code in table.outcome],
            "kind": table.kind,
            "turns": table.turns,
        }
        counts = (("utterance", evaluation.utterance_counts), ("image", evaluation.image_counts))
        for modality, numbers in counts:
            for name in ("tp", "fp", "fn", "tn", "duplicates"):
                columns[f"{modality}.{name}"] = getattr(numbers, name)
            columns[f"{modality}.invented"] = numbers.tp_outside + numbers.fp_outside
        for modality in MODALITIES:
            for name in FIGURES:
                columns[f"{modality}.{name}"] = getattr(getattr(evaluation, modality), name)
        for found in () if self.coherence is None else self.coherence.encoders:
            for name in ("order", "query_sim"):
                columns[f"{found.encoder}.{name}"] = found.values[name]
        return pd.DataFrame(columns).set_index("sample_id")


ALSO: Final = (
    "exact",
    "jaccard",
    "cardinality_ratio",
    "over_retrieval",
    "under_retrieval",
    "abstention_precision",
    "abstention_recall",
    "adjusted_f1",
)
"""Metrics that are reported where none are asked for."""


def incomplete_mark(outcomes: Mapping[str, int], n_samples: int) -> str | None:
    """What is said of predictions of which too many are request errors; ``None`` of others.

    The share is of the samples that were asked: a pilot run in which all requests fail is no better
    for having asked few.

    Args:
        outcomes: How many ended how.
        n_samples: How many there are, those without a prediction included.
    """
    n_asked = n_samples - outcomes.get(Outcome.MISSING, 0)
    share = outcomes.get(Outcome.REQUEST_ERROR, 0) / max(n_asked, 1)
    return f"incomplete: {share:.1%} request errors" if share > INCOMPLETE_ABOVE else None


def named_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Metrics by the names given.

    Raises:
        InputError: If one is unknown.
    """
    return {name: parse_metric(name) for name in names}


def plain_interval(interval: Interval | None) -> list[float] | None:
    """An interval as it stands in JSON."""
    return None if interval is None else [interval.lo, interval.hi]


def score_table(
    table: PredictionTable,
    protocol: Protocol | ProtocolName,
    group_by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    resampling: Resampling | None = None,
) -> Scores:
    """Score a prediction table; everything that reports figures goes through here.

    Args:
        table: Coded for the same protocol.
        protocol: The protocol or its name.
        group_by: Groupings, as :func:`ffr_eval.metrics.groups.group_rows` takes them.
        metrics: Names of more metrics.
        resampling: How 95% intervals are computed; without it there are none. All micro and macro
            figures get one, and the metrics; in groups the headline and the metrics.

    Raises:
        InputError: If a grouping, a metric or the protocol is unknown.
    """
    if isinstance(protocol, str):
        protocol = protocol_named(protocol)
    evaluation = evaluate(table, protocol)
    wanted = named_metrics(metrics)
    terms = {name: (metric, metric.terms(evaluation)) for name, metric in wanted.items()}
    known = {metric.terms: found for metric, found in terms.values()}
    groups = {by: group_rows(table, by) for by in group_by}

    def scores_of(rows: IntArray, sure: Sequence[str]) -> GroupScores:
        values = {name: metric.of_terms(found, rows) for name, (metric, found) in terms.items()}
        ci95 = {}
        if resampling is not None:
            from ffr_eval.uncertainty import intervals

            asked = {**named_metrics(sure), **wanted}
            ci95 = intervals(evaluation, asked, rows, resampling, known)
        micro, macro = evaluation.micro(rows), evaluation.macro(rows)
        return GroupScores(len(rows), micro, macro, values, ci95)

    everyone = scores_of(np.arange(len(table), dtype=np.int64), ALL_FIGURES)
    return Scores(
        protocol=protocol.name,
        n_samples=len(table),
        n_scored=int(table.answered.sum()),
        outcomes=table.outcome_counts(),
        micro=everyone.micro,
        macro=everyone.macro,
        metrics=everyone.metrics,
        ci95=everyone.ci95,
        resampling=resampling,
        n_dialogues=len(set(table.dialogue_id)),
        answered=scores_of(np.flatnonzero(table.answered), (HEADLINE,)),
        rates={
            "utterance": _rates(evaluation.utterance_counts),
            "image": _rates(evaluation.image_counts),
        },
        groups={
            by: {name: scores_of(rows, (HEADLINE,)) for name, rows in found.items()}
            for by, found in groups.items()
        },
        left_out=table.left_out,
        notes=(*table.notes, *_rarely_defined(everyone.ci95)),
        table=table,
        evaluation=evaluation,
        reach=_reach(evaluation),
    )


def _reach(evaluation: Evaluation) -> Reach | None:
    """What of the gold reached the model, of all samples and by the length of dialogues."""
    if evaluation.table.reached_gold is None:
        return None
    shares = [REACHABLE_RECALL.metric("micro", modality) for modality in MODALITIES]

    def of(rows: IntArray | None, turns: Mapping[str, Reach]) -> Reach:
        utterance, image, joint = (share.of(evaluation, rows) for share in shares)
        return Reach(utterance, image, joint, turns)

    groups = group_rows(evaluation.table, "turns")
    return of(None, {name: of(rows, {}) for name, rows in groups.items()})


def _rarely_defined(ci95: Mapping[str, Interval | None]) -> list[str]:
    """A note on intervals that are of a part of the resamples."""
    shares = {name: found.undefined for name, found in ci95.items() if found is not None}
    rare = {name: share for name, share in shares.items() if share > RARE}
    if not rare:
        return []
    listed = ", ".join(f"{name} in {share:.0%}" for name, share in list(rare.items())[:4])
    more = f" and {len(rare) - 4} more" if len(rare) > 4 else ""
    where = "in some resamples of dialogues, which the intervals leave out"
    return [f"undefined, or of one modality only, {where}: {listed}{more}"]


def _rates(counts: Counts) -> Rates:
    distinct = int((counts.tp + counts.fp).sum())
    invented = int((counts.tp_outside + counts.fp_outside).sum())
    duplicates = int(counts.duplicates.sum())
    return Rates(float(ratio(invented, distinct)), float(ratio(duplicates, distinct + duplicates)))
