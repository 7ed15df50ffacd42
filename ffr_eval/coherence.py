"""Coherence of predictions, from embeddings in the store: what ``ffr score --coherence`` reports.

Both figures are easily gamed, so each stands beside the gold's own, beside the mean over random
fragments of the same size, and beside its value for centred vectors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.coherence_parts import FIGURES, MEASURES, figures_of
from ffr_eval.coherence_vectors import THERE, SampleFragments
from ffr_eval.embeddings.store import EmbeddingStore
from ffr_eval.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.embeddings.space import SpaceRecord
    from ffr_eval.embeddings.store import Space
    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import PredictionTable

    BoolArray = NDArray[np.bool_]

_FAR: Final = 0.25  # of the way from the gold's order to 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """The elements of the predictions on samples with gold.

    Attributes:
        elements: Distinct predicted ids that the dialogue has, summed over samples.
        with_vector: How many of them have a vector.
        left_out: The others by reason.
        invented: Distinct predicted ids that the dialogue does not have: no elements.
    """

    elements: int
    with_vector: int
    left_out: Mapping[str, int]
    invented: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "elements": self.elements,
            "with_vector": self.with_vector,
            "left_out": dict(self.left_out),
            "invented": self.invented,
        }


@dataclass(frozen=True, slots=True)
class Coherence:
    """Coherence of the predictions of a table under one encoder.

    Attributes:
        encoder: As the user named it.
        space: What the vectors are of.
        values: The figures of each sample by name (:data:`FIGURES`), shape ``(n,)``, in -1 to 1;
            NaN where a sample does not count.
        has_gold: Which samples have gold, shape ``(n,)``; the others count in no figure.
        silent: Which of them have no predicted element and count as 0.
        coverage: Which elements have a vector.
    """

    encoder: str
    space: SpaceRecord
    values: Mapping[str, FloatArray] = field(repr=False)
    has_gold: BoolArray = field(repr=False)
    silent: BoolArray = field(repr=False)
    coverage: Coverage

    def figure(self, name: str) -> float | None:
        """The mean of a figure over the samples that count; ``None`` without any."""
        values = self.values[name]
        counted = values[~np.isnan(values)]
        return float(counted.mean()) if len(counted) else None

    def n(self, name: str = "order") -> int:
        """How many samples count for a figure."""
        return int((~np.isnan(self.values[name])).sum())

    def n_skipped(self, name: str = "order") -> int:
        """How many samples with gold are left out of a figure."""
        return int(self.has_gold.sum()) - self.n(name)

    @property
    def n_empty(self) -> int:
        """How many samples with gold have no predicted element."""
        return int(self.silent.sum())

    @property
    def n_no_gold(self) -> int:
        """How many samples have no gold."""
        return int((~self.has_gold).sum())

    @property
    def suspicious(self) -> bool:
        """Whether predictions are more coherent than their gold by far.

        Over the samples on which both are defined, their order is nearer to 1 than the gold's by
        more than a quarter of the way.
        """
        order, gold = self.values["order"], self.values["gold_order"]
        both = ~np.isnan(order) & ~np.isnan(gold) & ~self.silent
        if not both.any():
            return False
        ours, theirs = float(order[both].mean()), float(gold[both].mean())
        return ours - theirs > _FAR * (1 - theirs)

    def to_dict(self) -> dict[str, Any]:
        """As ``ffr score --json`` writes it; values unrounded, ``None`` where undefined."""
        return {
            **{name: self.figure(name) for name in FIGURES},
            "n": self.n(),
            "n_skipped": self.n_skipped(),
            "n_query_sim": self.n("query_sim"),
            "n_skipped_query_sim": self.n_skipped("query_sim"),
            "n_empty": self.n_empty,
            "n_no_gold": self.n_no_gold,
            "n_order_centered": self.n("order_centered"),
            "n_query_sim_centered": self.n("query_sim_centered"),
            "coverage": self.coverage.to_dict(),
            "space": {
                "id": self.space.id,
                "encoder": self.space.encoder,
                "model": self.space.model,
                "revision": self.space.revision,
            },
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau-b between the samples' figures under two encoders.

    Attributes:
        encoders: As the user named them.
        order, query_sim: -1 to 1, over the samples that count under both; ``None`` where there are
            fewer than two, or all are alike.
        n, n_query_sim: How many samples those are.
    """

    encoders: tuple[str, str]
    order: float | None
    query_sim: float | None
    n: int
    n_query_sim: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "encoders": list(self.encoders),
            "order": self.order,
            "query_sim": self.query_sim,
            "n": self.n,
            "n_query_sim": self.n_query_sim,
        }


@dataclass(frozen=True, slots=True)
class CoherenceReport:
    """Coherence under one encoder or several, and how far two of them agree."""

    encoders: tuple[Coherence, ...]
    agreement: tuple[Agreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """The keys that it adds to the JSON of ``ffr score``."""
        found: dict[str, Any] = {"coherence": {c.encoder: c.to_dict() for c in self.encoders}}
        if self.agreement:
            found["coherence_agreement"] = [each.to_dict() for each in self.agreement]
        return found


class CoherenceRequest:
    """Encoders whose embeddings are in the store.

    Args:
        encoders: ``NAME``, ``NAME:MODEL``, either with ``@ID``.
        store: The folder; by default the usual one.

    Raises:
        InputError: If one is not in the store, or may mean several spaces, or is given twice.
        MissingExtraError: If there are several and SciPy is not installed.
    """

    def __init__(self, encoders: Sequence[str], store: Path | None = None) -> None:
        names = [name.strip() for name in encoders]
        if not names or not all(names):
            remedy = "name an encoder, or several with commas between: --coherence clip,sentence"
            raise InputError("an encoder without a name", field="--coherence", remedy=remedy)
        self._store = EmbeddingStore(store)
        self._given_store = store
        self._spaces = {name: self._store.find(name) for name in names}
        ids = [record.id for record in self._spaces.values()]
        if len(ids) < len(names) or len(set(ids)) < len(ids):
            message = f"the same embeddings twice: {', '.join(names)}"
            remedy = "name each encoder once"
            raise InputError(message, field="--coherence", remedy=remedy)
        if len(names) > 1:
            _kendall()

    def of(
        self,
        table: PredictionTable,
        benchmark: Benchmark | None,
        protocol: Protocol,
        *,
        workers: int = 1,
        progress: Callable[[float], None] | None = None,
    ) -> CoherenceReport:
        """Coherence of the predictions in a table.

        Args:
            table: The predictions.
            benchmark: What they were made on.
            protocol: For which the table is coded.
            workers: Processes to use.
            progress: Called for each encoder with the part that is done, 0 to 1.

        Raises:
            InputError: Without a benchmark, or if embeddings are not in the store yet.
        """
        if benchmark is None:
            message = "an ms-swift inference file has neither texts nor images to compare"
            remedy = (
                "make a benchmark of it with `ffr data import mswift`, and score predictions on"
                " that: a run folder, or a prediction file with --benchmark"
            )
            raise InputError(message, field="--coherence", remedy=remedy)
        found = []
        for name, record in self._spaces.items():
            with self._store.open(record) as space:
                found.append(
                    coherence_of(
                        table,
                        benchmark,
                        protocol,
                        space,
                        name=name,
                        store=self._given_store,
                        workers=workers,
                        progress=progress,
                    )
                )
        pairs = tuple(agreement(a, b) for a, b in combinations(found, 2))
        return CoherenceReport(tuple(found), pairs)


def coherence_of(
    table: PredictionTable,
    benchmark: Benchmark,
    protocol: Protocol,
    space: Space,
    *,
    name: str | None = None,
    store: Path | None = None,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Coherence:
    """Coherence of the predictions in a table, from the embeddings of one encoder.

    Dialogues are gone through twice, for the means of the modalities and for the figures, and one
    is held at a time.

    Args:
        table: The predictions.
        benchmark: What they were made on.
        protocol: For which the table is coded.
        space: The embeddings, open for reading.
        name: How the encoder was named; by default its label.
        store: The folder of the store, if it is not the usual one, to be named in messages.
        workers: Processes to use, where there are many dialogues and a process can be forked: on
            Linux, from a process of a single thread.
        progress: Called with the part that is done, 0 to 1.

    Raises:
        InputError: If embeddings are not in the store yet; says how many, and how to get them.
    """
    samples = SampleFragments(table, benchmark, protocol)
    values = {figure: np.full(len(table), np.nan) for figure in FIGURES}
    elements = np.zeros(len(table), dtype=np.int64)
    has_query = np.zeros(len(table), dtype=np.bool_)
    states: Counter[str] = Counter()
    for part in figures_of(samples, benchmark, space, workers, progress, store):
        elements[part.index] = part.elements
        has_query[part.index] = part.has_query
        for figure, found in zip(FIGURES, part.values, strict=True):
            values[figure][part.index] = found
        states += part.states
    silent = samples.has_gold & (elements == 0)
    for figure in FIGURES:
        if not figure.startswith("gold_"):
            asked = "query_sim" not in figure or has_query
            values[figure][silent & asked] = 0.0
    covered = states.pop(THERE, 0)
    return Coherence(
        encoder=space.record.label if name is None else name,
        space=space.record,
        values=values,
        has_gold=samples.has_gold,
        silent=silent,
        coverage=Coverage(int(elements.sum()), covered, dict(states), samples.invented()),
    )


def agreement(one: Coherence, other: Coherence) -> Agreement:
    """How far two encoders agree on which predictions are more coherent.

    Raises:
        MissingExtraError: If SciPy is not installed.
    """
    kendalltau = _kendall()
    found: dict[str, float | None] = {}
    number: dict[str, int] = {}
    for measure in MEASURES:
        a, b = one.values[measure], other.values[measure]
        both = ~np.isnan(a) & ~np.isnan(b)
        number[measure] = int(both.sum())
        tau = float(kendalltau(a[both], b[both]).statistic) if both.any() else np.nan
        found[measure] = None if np.isnan(tau) else tau
    names = one.encoder, other.encoder
    return Agreement(names, found["order"], found["query_sim"], *number.values())


def _kendall() -> Any:
    try:
        from scipy.stats import kendalltau
    except ImportError:
        raise MissingExtraError("the agreement of two encoders", "coherence") from None
    return kendalltau
