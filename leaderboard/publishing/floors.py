"""The floors of a board: what predictions without a model are worth in each bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.floors import floors
from ffr_eval.metrics.metric import Metric
from ffr_eval.metrics.named import parse_metric
from leaderboard.publishing.figures import units_of
from leaderboard.publishing.parquet import from_rows, without
from leaderboard.site.schema import FLOORS, PAIR_METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import Evaluation, Protocol
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.sources import Source

FLOOR_SCHEMA: Final = without(FLOORS.schema, "board_id")


def floor_rows(sources: Sequence[Source], benchmark: Benchmark, seed: int) -> pa.Table:
    """The floors of a board, without its id.

    Args:
        sources: Its samples, coded for each protocol; the predictions do not matter.
        benchmark: The benchmark.
        seed: Of the draws.
    """
    rows = []
    for source in sources:
        for unit in units_of(source.table):
            table = source.table.take(unit.rows)
            for metric, found in _floors(table, source.protocol, seed, benchmark).items():
                rows += [
                    {
                        "protocol": source.protocol.family,
                        "metric": metric,
                        "grouping": unit.grouping,
                        "bucket": unit.bucket,
                        "name": name,
                        "value": value,
                    }
                    for name, value in found.items()
                ]
    return from_rows(FLOOR_SCHEMA, rows)


def _floors(
    table: PredictionTable, protocol: Protocol, seed: int, benchmark: Benchmark
) -> dict[str, dict[str, float | None]]:
    """The floors of all metrics, each from the same draws as if it were asked for alone.

    Drawing and counting takes the time, not the metrics: so the floors are asked for by one metric
    that has the terms of all, and notes the sums that it is given.
    """
    metrics = [parse_metric(name) for name in PAIR_METRICS]
    widths: list[int] = []
    noted: list[FloatArray] = []

    def terms(evaluation: Evaluation) -> FloatArray:
        found = [metric.terms(evaluation) for metric in metrics]
        widths[:] = [each.shape[1] for each in found]
        return np.concatenate([each.T for each in found]).T  # columns stay contiguous

    def value(sums: FloatArray) -> FloatArray:
        noted.append(sums)
        return np.zeros(sums.shape[:-1])

    everything = Metric("floors", "the terms of several metrics", terms, value)
    names = []
    for floor in floors(table, protocol, everything, seed, benchmark):
        if floor.value is None:  # too many ids: no sums were made
            noted.append(np.zeros((0, 0)))
        names.append(floor.name)
    found: dict[str, dict[str, float | None]] = {}
    for place, metric in enumerate(metrics):
        start = sum(widths[:place])
        columns = slice(start, start + widths[place])
        found[metric.name] = {
            name: _value(metric, sums[..., columns])
            for name, sums in zip(names, noted, strict=True)
        }
    return found


def _value(metric: Metric, sums: FloatArray) -> float | None:
    """The value of one prediction, or the mean of draws where it is defined."""
    if not sums.shape[-1]:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.atleast_1d(metric.value(sums))
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
