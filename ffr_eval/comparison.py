"""Comparing runs: paired differences, ranks, floors, and where two runs disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.comparison_notes import incomplete_notes, undefined_notes, unusual_notes
from ffr_eval.disagreement import Disagreements, disagreements
from ffr_eval.errors import InputError
from ffr_eval.floors import Floor, floors
from ffr_eval.metrics.metric import Metric
from ffr_eval.metrics.named import HEADLINE, parse_metric
from ffr_eval.pairs import ALPHA, Pair, PairedFigures, RankedRun
from ffr_eval.same_samples import LoadedRuns, aligned_rows, load_runs
from ffr_eval.sources import Request
from ffr_eval.statistics import (
    Clusters,
)
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ffr_eval.metrics.protocols import Evaluation, ProtocolName


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
    found = PairedFigures.of(
        sums, metric, resampling, alpha, [name in incomplete for name in names]
    )
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
