"""The private report on an upload: the figures that it would have on the board.

Computed by the same kernel and with the same seed as what is published. On boards with hidden gold
a report says little about the gold: figures of all samples, rounded, and of groups that are large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.benchmark.reader import read_benchmark
from ffr_eval.errors import InputError
from ffr_eval.metrics.named import ADJUSTED, ALL_FIGURES, HEADLINE
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.predictions import OUTCOMES
from ffr_eval.scoring import incomplete_mark, score_table
from ffr_eval.sources import Request, load_source
from ffr_eval.uncertainty import METHODS, Resampling
from leaderboard.site.schema import GROUPINGS, PROTOCOLS
from leaderboard.submissions import standing
from leaderboard.submissions.copies import copies_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.scoring import GroupScores, Rates, Scores
    from ffr_eval.sources import Source
    from ffr_eval.statistics import Interval
    from ffr_eval.types import Prediction
    from leaderboard.site.manifest import BoardRecord, Manifest
    from leaderboard.site.reader import Site
    from leaderboard.submissions.standing import Leader

SMALLEST_GROUP: Final = 50
"""On hidden gold a grouping is shown only if each of its groups has so many samples."""
HIDDEN_DECIMALS: Final = 3
"""Figures on hidden gold are rounded to so many decimals of 0-1."""
WORST: Final = 10
"""So many of the samples with the lowest F1 are named, where gold is public."""

_ALSO: Final = (ADJUSTED, "exact", "answered_rate")
_HIDDEN_GROUPINGS: Final = ("turns", "language")
"""Not by kind: the kind of a query is a part of the gold."""
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_PRIVATE: Final = ("private", "benchmarks")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% interval, where it has one; ``None`` where it is undefined."""

    metric: str
    value: float | None
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The headline figure of a group of samples."""

    grouping: str
    name: str
    n_samples: int
    figure: Figure


@dataclass(frozen=True, slots=True)
class Protocolled:
    """All figures under a protocol.

    Attributes:
        protocol: ``strict`` or ``official``.
        figures: All figures of the board, of all samples.
        groups: The headline by group, under ``strict`` only.
    """

    protocol: str
    figures: tuple[Figure, ...]
    groups: tuple[Group, ...]

    def figure(self, metric: str) -> Figure:
        """The figure of a metric of the board."""
        return next(found for found in self.figures if found.metric == metric)


@dataclass(frozen=True, slots=True)
class WorstSample:
    """A sample that counts, of those with the lowest F1 of both modalities."""

    sample_id: str
    outcome: str
    f1: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, slots=True)
class AgainstLeader:
    """The upload beside the leader, by the headline under ``strict``.

    Attributes:
        delta: The upload's value less the leader's.
        lo, hi, p: Of the paired difference; ``None`` where gold is hidden.
    """

    leader: Leader
    delta: float | None
    lo: float | None = None
    hi: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class PrivateReport:
    """What only the submitter sees.

    Attributes:
        hidden: Whether gold is hidden.
        reports: By protocol, ``strict`` first.
        outcomes: How many samples ended how, ``missing`` among them.
        rates: Per modality, the rates of ids that the dialogue does not have, and of repeated ids.
        incomplete: Whether so many requests failed that it would have no rank.
        leader: How it compares with the leader; ``None`` if there is none.
        place: Which place it would take by value, of how many with it.
        floors: What predictions without a model are worth.
        worst: Nothing where gold is hidden.
        identical: Labels of runs of the board with the same answers; nothing where gold is hidden.
        notes: Sentences about the figures.
    """

    board_id: str
    hidden: bool
    n_samples: int
    reports: tuple[Protocolled, ...]
    outcomes: Mapping[str, int]
    rates: Mapping[str, Rates]
    incomplete: bool
    leader: AgainstLeader | None
    place: tuple[int, int] | None
    floors: Mapping[str, float | None]
    worst: tuple[WorstSample, ...]
    identical: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> Figure:
        """The headline figure under ``strict``."""
        return self.reports[0].figure(HEADLINE)


def private_benchmark(site: Path, board: BoardRecord) -> Benchmark:
    """The site's own copy of the benchmark of a board, gold included.

    Raises:
        InputError: If it is not there, or is another one.
    """
    folder = benchmark_folder(site, board.hash)
    benchmark = read_benchmark(folder)
    if benchmark.content_hash != board.hash:
        message = f"has content {benchmark.content_hash}, the board is on {board.hash}"
        raise InputError(message, file=folder, remedy="publish the site anew")
    return benchmark


def benchmark_folder(site: Path, content_hash: str) -> Path:
    """Where a site keeps its copy of a benchmark.

    Raises:
        InputError: If it has none, or the hash is none.
    """
    found = _HASH.fullmatch(content_hash)
    if found is None:
        raise InputError(f"{content_hash[:80]!r} is no content hash", file=site)
    folder = site.joinpath(*_PRIVATE, found[1])
    if not folder.is_dir():
        remedy = "the private folder of the site must lie beside its public one: publish it anew"
        raise InputError("the copy of the benchmark is missing", file=folder, remedy=remedy)
    return folder


def resampling_of(manifest: Manifest) -> Resampling:
    """How the site's intervals were computed, to compute others in the same way."""
    method = next((name for name in METHODS if name == manifest.method), METHODS[0])
    return Resampling(manifest.replicates, manifest.seed, method)


def private_report(
    site: Site,
    board: BoardRecord,
    benchmark: Benchmark,
    predictions: Iterable[Prediction],
    resampling: Resampling | None = None,
) -> PrivateReport:
    """Score predictions for the one who made them.

    Args:
        site: The published site.
        board: The board.
        benchmark: Its benchmark, with gold.
        predictions: On its samples.
        resampling: By default as the site's intervals were computed.
    """
    given = list(predictions)
    resampling = resampling or resampling_of(site.manifest)
    hidden = board.hidden_gold
    found = {name: _loaded(given, benchmark, board, name) for name in ("strict", "official")}
    groupings: dict[str, tuple[str, ...]] = {
        "strict": _HIDDEN_GROUPINGS if hidden else GROUPINGS,
        "official": (),
    }
    scored = {
        name: score_table(source.table, source.protocol, groupings[name], _ALSO, resampling)
        for name, source in found.items()
    }
    strict = scored[PROTOCOLS[0]]
    headline = strict.metric(HEADLINE)
    values = standing.values_of(site, board.board_id)
    if hidden:  # nothing is compared more finely than it is told
        headline = _rounded(headline)
        values = [round(value, HIDDEN_DECIMALS) for value in values]
    incomplete = incomplete_mark(strict.outcomes, strict.n_samples) is not None
    better = sum(value > headline for value in values) if headline is not None else 0
    return PrivateReport(
        board_id=board.board_id,
        hidden=hidden,
        n_samples=strict.n_samples,
        reports=tuple(_protocolled(name, scores, hidden) for name, scores in scored.items()),
        outcomes=strict.outcomes,
        rates=strict.rates,
        incomplete=incomplete,
        leader=_against_leader(site, board, benchmark, strict, resampling),
        place=None if headline is None or incomplete else (better + 1, len(values) + 1),
        floors=standing.floors_of(site, board.board_id),
        worst=() if hidden else _worst(strict),
        identical=copies_of(site, board.board_id, given, found[PROTOCOLS[0]].protocol, strict),
        notes=() if hidden else strict.notes,
    )


def _loaded(
    predictions: list[Prediction], benchmark: Benchmark, board: BoardRecord, name: ProtocolName
) -> Source:
    return load_source(predictions, Request(benchmark=benchmark, split=board.split, protocol=name))


def _protocolled(name: str, scores: Scores, hidden: bool) -> Protocolled:
    figures = tuple(
        _figure(metric, scores.metric(metric), scores.ci95.get(metric), hidden)
        for metric in (*ALL_FIGURES, *_ALSO)
    )
    groups = [
        Group(grouping, group, found.n_samples, _headline(found, hidden))
        for grouping, of_grouping in scores.groups.items()
        if not hidden or _large(of_grouping)
        for group, found in of_grouping.items()
    ]
    return Protocolled(name, figures, tuple(groups))


def _headline(group: GroupScores, hidden: bool) -> Figure:
    joint = group.micro.joint
    value = None if joint is None else joint.f1
    return _figure(HEADLINE, value, group.ci95.get(HEADLINE), hidden)


def _large(groups: Mapping[str, GroupScores]) -> bool:
    """Whether a grouping says nothing of a few samples, also by what its groups leave of all."""
    return len(groups) > 1 and min(found.n_samples for found in groups.values()) >= SMALLEST_GROUP


def _figure(metric: str, value: float | None, ci95: Interval | None, hidden: bool) -> Figure:
    lo, hi = (None, None) if ci95 is None else (ci95.lo, ci95.hi)
    if hidden:
        value, lo, hi = (_rounded(number) for number in (value, lo, hi))
    return Figure(metric, value, lo, hi)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), HIDDEN_DECIMALS)


def _against_leader(
    site: Site, board: BoardRecord, benchmark: Benchmark, strict: Scores, resampling: Resampling
) -> AgainstLeader | None:
    leader = standing.leader_of(site, board.board_id)
    if leader is None:
        return None
    value = strict.metric(HEADLINE)
    if board.hidden_gold:
        value = _rounded(value)
        theirs = round(leader.value, HIDDEN_DECIMALS)
        return AgainstLeader(leader, None if value is None else _rounded(value - theirs))
    delta = None if value is None else value - leader.value
    published = standing.predictions_of(site, board.board_id, leader.run_id)
    if not published:
        return AgainstLeader(leader, delta)
    from ffr_eval.comparison import compare_evaluations

    source = _loaded(published, benchmark, board, "strict")
    evaluations = (strict.evaluation, evaluate(source.table, source.protocol))
    compared = compare_evaluations(("upload", "leader"), evaluations, HEADLINE, resampling)
    pair = compared.pair("upload", "leader")
    ci95 = pair.ci95
    lo, hi = (None, None) if ci95 is None else (ci95.lo, ci95.hi)
    return AgainstLeader(leader, pair.delta, lo, hi, pair.p)


def _worst(scores: Scores) -> tuple[WorstSample, ...]:
    evaluation, table = scores.evaluation, scores.table
    values = evaluation.joint.f1
    order = np.argsort(values, kind="stable")  # NaN, what does not count, comes last
    found = []
    for row in order[:WORST].tolist():
        if np.isnan(values[row]):
            break
        counts = [evaluation.utterance_counts, evaluation.image_counts]
        tp, fp, fn = (
            int(sum(getattr(part, name)[row] for part in counts)) for name in ("tp", "fp", "fn")
        )
        outcome = OUTCOMES[table.outcome[row]].value
        found.append(WorstSample(table.sample_id[row], outcome, float(values[row]), tp, fp, fn))
    return tuple(found)
