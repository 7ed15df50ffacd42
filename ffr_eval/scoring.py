"""Scoring: predictions and a benchmark in, figures with their provenance out."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.metrics.groups import group_rows
from ffr_eval.metrics.protocols import Evaluation, Macro, Micro, ProtocolName, evaluate
from ffr_eval.metrics.retrieval import ratio
from ffr_eval.predictions import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ffr_eval.metrics.counts import Counts
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray

HEADLINE = "micro.joint.f1"
"""The metric that ranks use unless another is named."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Figures of one group of samples."""

    n_samples: int
    micro: Micro
    macro: Macro


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
        protocol: ``official`` or ``strict``.
        n_samples: How many samples count.
        n_scored: How many have a usable answer (outcome ok or empty).
        outcomes: How many ended how, ``missing`` among them.
        micro, macro: Over all samples.
        answered: The same over the samples with a usable answer only.
        rates: Per modality, the rates of invented and repeated ids.
        groups: Grouping, then group, to figures.
        left_out: Records that the protocol does not count.
        notes: Sentences that a reader of the figures should know.
        table: What was counted.
        evaluation: Per-sample counts and figures.
    """

    protocol: ProtocolName
    n_samples: int
    n_scored: int
    outcomes: Mapping[str, int]
    micro: Micro
    macro: Macro
    answered: GroupScores
    rates: Mapping[str, Rates]
    groups: Mapping[str, Mapping[str, GroupScores]]
    left_out: int
    notes: tuple[str, ...]
    table: PredictionTable = field(repr=False)
    evaluation: Evaluation = field(repr=False)

    def metric(self, name: str) -> float | None:
        """A figure by name, ``micro|macro.utterance|image|joint.precision|recall|f1|mcc``.

        Raises:
            InputError: If there is no such metric.
        """
        average, modality, figure = parse_metric(name)
        found = getattr(getattr(self, average), modality)
        value: float | None = None if found is None else getattr(found, figure)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr score --json`` writes them; values unrounded."""
        result: dict[str, Any] = {
            "protocol": self.protocol,
            "n_samples": self.n_samples,
            "n_scored": self.n_scored,
            "outcomes": dict(self.outcomes),
            "micro": asdict(self.micro),
            "macro": asdict(self.macro),
            "answered": asdict(self.answered),
            "rates": {modality: asdict(rates) for modality, rates in self.rates.items()},
            "left_out": self.left_out,
            "notes": list(self.notes),
        }
        result["groups"] = {
            by: {name: asdict(scores) for name, scores in groups.items()}
            for by, groups in self.groups.items()
        }
        return result

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
        return pd.DataFrame(columns).set_index("sample_id")


AVERAGES = ("micro", "macro")
MODALITIES = ("utterance", "image", "joint")
FIGURES = ("precision", "recall", "f1", "mcc")


def parse_metric(name: str) -> tuple[str, str, str]:
    """The three parts of a metric's name.

    Raises:
        InputError: If there is no such metric; suggests the nearest.
    """
    parts = name.split(".")
    known = [f"{a}.{m}.{f}" for a in AVERAGES for m in MODALITIES for f in FIGURES]
    if len(parts) != 3 or name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        remedy = hint + "a metric is " + ".".join(map("|".join, (AVERAGES, MODALITIES, FIGURES)))
        raise InputError(f"unknown metric {name!r}", field="metric", remedy=remedy)
    return parts[0], parts[1], parts[2]


def score_table(
    table: PredictionTable, protocol: ProtocolName, group_by: Sequence[str] = ()
) -> Scores:
    """Score a prediction table; everything that reports figures goes through here.

    Raises:
        InputError: If a grouping is unknown.
    """
    evaluation = evaluate(table, protocol)
    everyone = np.arange(len(table), dtype=np.int64)
    outcomes = table.outcome_counts()
    return Scores(
        protocol=protocol,
        n_samples=len(table),
        n_scored=int(table.answered.sum()),
        outcomes=outcomes,
        micro=evaluation.micro(everyone),
        macro=evaluation.macro(everyone),
        answered=_group(evaluation, np.flatnonzero(table.answered)),
        rates={
            "utterance": _rates(evaluation.utterance_counts),
            "image": _rates(evaluation.image_counts),
        },
        groups={
            by: {name: _group(evaluation, rows) for name, rows in group_rows(table, by).items()}
            for by in group_by
        },
        left_out=table.left_out,
        notes=table.notes,
        table=table,
        evaluation=evaluation,
    )


def _group(evaluation: Evaluation, rows: IntArray) -> GroupScores:
    return GroupScores(len(rows), evaluation.micro(rows), evaluation.macro(rows))


def _rates(counts: Counts) -> Rates:
    distinct = int((counts.tp + counts.fp).sum())
    invented = int((counts.tp_outside + counts.fp_outside).sum())
    duplicates = int(counts.duplicates.sum())
    return Rates(float(ratio(invented, distinct)), float(ratio(duplicates, distinct + duplicates)))
