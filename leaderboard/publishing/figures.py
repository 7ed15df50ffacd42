"""The figures of one run: values, intervals, and what pairs are computed from.

All of them come from the kernel that ``ffr score`` and ``ffr compare`` call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ffr_eval.disagreement import per_sample
from ffr_eval.metrics.groups import group_rows
from ffr_eval.metrics.named import ALL_FIGURES, parse_metric
from ffr_eval.metrics.protocols import Protocol, protocol_named
from ffr_eval.predictions import OUTCOMES
from ffr_eval.scoring import GroupScores, Scores, incomplete_mark, score_table
from ffr_eval.statistics import Clusters
from leaderboard.publishing.parquet import without
from leaderboard.site.schema import ALL, BOARD_METRICS, FIGURES, GROUPINGS, PAIR_METRICS, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray
    from ffr_eval.sources import Source
    from ffr_eval.uncertainty import Resampling

_COLUMNS: Final = without(
    FIGURES.schema, "board_id", "run_id", "rank", "rank_lo", "rank_hi", "tier"
)
PART_SCHEMA: Final = _COLUMNS.append(pa.field("pair_value", pa.float64())).append(
    pa.field("incomplete", pa.bool_())
)
"""Figures of a run without what depends on other runs.

``pair_value`` is the value as comparisons compute it, which sum by dialogue first;
``incomplete`` says whether too many requests of these samples failed.
"""


@lru_cache(maxsize=64)
def single_metric(name: str) -> Metric:
    """The metric of single samples that says on which of them a run is better by another."""
    return per_sample(parse_metric(name))


def protocols() -> tuple[Protocol, ...]:
    """The protocols of a site, in the order of their names in its tables."""
    return tuple(protocol_named(name) for name in PROTOCOLS)


@dataclass(frozen=True, slots=True)
class Unit:
    """The samples that a figure is of.

    Attributes:
        rows: Of the prediction table.
    """

    grouping: str
    bucket: str
    rows: IntArray

    @property
    def key(self) -> tuple[str, str]:
        """Grouping and bucket."""
        return self.grouping, self.bucket


def units_of(table: PredictionTable) -> list[Unit]:
    """All samples, and each bucket that has some."""
    everyone = Unit(ALL, ALL, np.arange(len(table), dtype=np.int64))
    found = [
        Unit(by, name, rows) for by in GROUPINGS for name, rows in group_rows(table, by).items()
    ]
    return sorted([everyone, *found], key=lambda unit: unit.key)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What is computed of a run under all protocols.

    Attributes:
        table: As :data:`PART_SCHEMA` says, in the order of the site's table.
        sums: Summed terms of each dialogue by protocol, grouping, bucket and metric, and the
            metric of each sample by ``("sample", protocol, grouping, bucket, metric)``.
        scores: By the name of the protocol's family.
    """

    table: pa.Table
    sums: dict[tuple[str, ...], FloatArray]
    scores: Mapping[str, Scores]


def run_figures(sources: Sequence[Source], resampling: Resampling) -> RunFigures:
    """The figures of a run.

    Args:
        sources: Its predictions, coded for each protocol.
        resampling: How intervals are computed.
    """
    rows: list[dict[str, Any]] = []
    sums: dict[tuple[str, ...], FloatArray] = {}
    scores: dict[str, Scores] = {}
    for source in sources:
        family = source.protocol.family
        scores[family] = score_table(
            source.table, source.protocol, GROUPINGS, BOARD_METRICS, resampling
        )
        rows += _rows(scores[family], family, sums)
    rows.sort(key=lambda row: (row["protocol"], row["metric"], row["grouping"], row["bucket"]))
    columns = {name: [row[name] for row in rows] for name in PART_SCHEMA.names}
    return RunFigures(pa.table(columns, schema=PART_SCHEMA), sums, scores)


def pair_sums(evaluation: Evaluation, units: Sequence[Unit]) -> dict[tuple[str, ...], FloatArray]:
    """What pairs are computed from, by grouping, bucket and metric."""
    order = sorted(range(len(evaluation)), key=evaluation.table.sample_id.__getitem__)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order), dtype=np.int64)
    found: dict[tuple[str, ...], FloatArray] = {}
    for name in PAIR_METRICS:
        metric = parse_metric(name)
        single = single_metric(name)
        terms = metric.terms(evaluation)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = single.value(single.terms(evaluation))
        for unit in units:
            rows = unit.rows[np.argsort(place[unit.rows], kind="stable")]  # by sample id
            clusters = Clusters.of([evaluation.table.dialogue_id[row] for row in rows.tolist()])
            found[(*unit.key, name)] = clusters.sums(terms[rows])
            found[("sample", *unit.key, single.name)] = values[rows]
    return found


def _rows(
    scores: Scores, family: str, sums: dict[tuple[str, ...], FloatArray]
) -> list[dict[str, Any]]:
    units = units_of(scores.table)
    compared = pair_sums(scores.evaluation, units)
    for key, array in compared.items():
        place = ("sample", family, *key[1:]) if key[0] == "sample" else (family, *key)
        sums[place] = array
    rows = []
    for unit in units:
        found = scores if unit.grouping == ALL else scores.groups[unit.grouping][unit.bucket]
        numbers = np.bincount(scores.table.outcome[unit.rows], minlength=len(OUTCOMES)).tolist()
        mark = incomplete_mark(dict(zip(OUTCOMES, numbers, strict=True)), len(unit.rows))
        for name in BOARD_METRICS:
            interval = found.ci95[name]
            summed = compared.get((*unit.key, name))
            rows.append(
                {
                    "protocol": family,
                    "metric": name,
                    "grouping": unit.grouping,
                    "bucket": unit.bucket,
                    "n_samples": len(unit.rows),
                    "value": value_of(found, name),
                    "lo": None if interval is None else interval.lo,
                    "hi": None if interval is None else interval.hi,
                    "pair_value": None if summed is None else parse_metric(name).of_terms(summed),
                    "incomplete": mark is not None,
                }
            )
    return rows


def value_of(scores: Scores | GroupScores, name: str) -> float | None:
    """A figure as ``ffr score`` shows it: of its table where it stands there."""
    if name not in ALL_FIGURES:
        return scores.metrics[name]
    average, modality, figure = name.split(".")
    found = getattr(getattr(scores, average), modality)
    value: float | None = None if found is None else getattr(found, figure)
    return value
