"""What predictions are worth that need no model, on the very samples that are ranked.

``none`` says nothing, ``all`` names every id, ``random`` and ``window`` draw as many ids as the
gold has, scattered or side by side. They are made out of the columns of any prediction table: the
predictions in it do not matter, only its gold and its dialogues.

``random`` and ``window`` know how much gold there is, and so that there is none: they are right on
every negative query. Under ``official`` a dialogue has the ids 0 … M of its universe, also those
that no turn has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.coding import Universe
from ffr_eval.metrics.counts import count
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.predictions import OUTCOME_CODE, ModalityColumns, PredictionTable
from ffr_eval.ragged import Ragged
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ffr_eval.benchmark.tables import Benchmark
    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.places import Places
    from ffr_eval.ragged import IntArray

    BoolArray = NDArray[np.bool_]

FLOORS: Final = {
    "none": "nothing is predicted",
    "all": "every id of the dialogue",
    "random": "as many ids as the gold has, drawn at random from the dialogue (mean over draws)",
    "window": "as many ids as the gold has, side by side at a random place (mean over draws)",
}
"""The floors by name, and what they predict."""

_FEWEST_DRAWS: Final = 5
_MOST_DRAWS: Final = 200
_ROWS: Final = 100_000  # samples that are drawn for at least, over all draws
_ROWS_AT_ONCE: Final = 200_000
_MOST_IDS: Final = 2**25  # of `all`: under `official` one marked id can make universes enormous


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor and its value.

    Attributes:
        value: Of ``random`` and ``window`` the mean over the draws in which the metric is defined.
            ``None`` where it is in none, or where ``all`` would be more ids than memory holds.
        summary: What is predicted.
    """

    name: str
    value: float | None
    summary: str


def floors(
    table: PredictionTable,
    protocol: Protocol,
    metric: Metric,
    seed: int = 0,
    benchmark: Benchmark | None = None,
) -> tuple[Floor, ...]:
    """The value of each floor on the samples of a table.

    Args:
        table: Whose gold and dialogues are taken; coded for the same protocol.
        protocol: Its rules.
        metric: Any metric.
        seed: Of the draws; equal seeds give equal values.
        benchmark: Says in which order the ids of a dialogue come, and where they stand; without it
            they are taken to be numbered in order.
    """
    return tuple(
        Floor(name, _floor_value(table, protocol, metric, name, seed, benchmark), summary)
        for name, summary in FLOORS.items()
    )


def draws_of(n_samples: int) -> int:
    """How many draws ``random`` and ``window`` are averaged over: more where samples are few."""
    return int(np.clip(_ROWS // max(n_samples, 1), _FEWEST_DRAWS, _MOST_DRAWS))


def floor_table(
    table: PredictionTable,
    protocol: Protocol,
    name: str,
    generator: np.random.Generator,
    benchmark: Benchmark | None = None,
) -> PredictionTable:
    """A table with the predictions of a floor, ``random`` and ``window`` drawn once.

    Args:
        table: As in :func:`floors`.
        protocol: Its rules.
        name: One of :data:`FLOORS`.
        generator: Of random numbers.
        benchmark: As in :func:`floors`.
    """
    order = DialogueOrder(table, protocol, benchmark)
    utterance, image = (
        _positions(columns, name, generator) for columns in (table.utterance, table.image)
    )
    return order.predicting(utterance, image)


def _floor_value(
    table: PredictionTable,
    protocol: Protocol,
    metric: Metric,
    name: str,
    seed: int,
    benchmark: Benchmark | None,
) -> float | None:
    generator = np.random.default_rng([seed, list(FLOORS).index(name)])
    if name == "all" and _n_ids(table) > _MOST_IDS:
        return None
    if name in {"none", "all"}:
        return metric.of(
            evaluate(floor_table(table, protocol, name, generator, benchmark), protocol)
        )
    sums = [
        _draws(table, protocol, metric, name, n_draws, generator, benchmark)
        for n_draws in _batches(len(table))
    ]
    values = metric.value(np.concatenate(sums))
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _n_ids(table: PredictionTable) -> float:
    return sum(
        float(part.universe.sum(dtype=np.float64)) for part in (table.utterance, table.image)
    )


def _batches(n_samples: int) -> Iterator[int]:
    """How many draws are made at a time."""
    left = draws_of(n_samples)
    at_once = max(_ROWS_AT_ONCE // max(n_samples, 1), 1)
    while left > 0:
        yield min(left, at_once)
        left -= at_once


def _draws(
    table: PredictionTable,
    protocol: Protocol,
    metric: Metric,
    name: str,
    n_draws: int,
    generator: np.random.Generator,
    benchmark: Benchmark | None,
) -> FloatArray:
    """The summed terms of each of some draws, shape ``(n_draws, k)``."""
    n = len(table)
    repeated = table.take(np.tile(np.arange(n, dtype=np.int64), n_draws))
    drawn = floor_table(repeated, protocol, name, generator, benchmark)
    terms = metric.terms(evaluate(drawn, protocol))
    sums: FloatArray = terms.reshape(n_draws, n, terms.shape[1]).sum(axis=1)
    return sums


def _positions(columns: ModalityColumns, name: str, generator: np.random.Generator) -> Ragged:
    """What a floor predicts of a modality, as positions in the dialogue."""
    universe = columns.universe
    if name == "none":
        return Ragged.from_lengths(np.zeros(0, dtype=np.int64), np.zeros_like(universe))
    if name == "all":
        return _ranges(np.zeros_like(universe), universe)
    sizes = np.minimum(_gold_sizes(columns), universe)
    if name == "random":
        return draw_without_replacement(sizes, universe, generator)
    starts = generator.integers(0, universe - sizes + 1)
    return _ranges(starts, sizes)


def _gold_sizes(columns: ModalityColumns) -> IntArray:
    """|G| of each sample: distinct ids, those that the dialogue does not have included."""
    nothing = Ragged.from_lengths(np.zeros(0, dtype=np.int64), np.zeros_like(columns.universe))
    return count(columns.gold, nothing, columns.universe).fn


def _ranges(starts: IntArray, sizes: IntArray) -> Ragged:
    """The integers ``starts … starts + sizes - 1``, one list a sample."""
    ends = np.cumsum(sizes)
    within = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    return Ragged.from_lengths(within + np.repeat(starts - (ends - sizes), sizes), sizes)


def draw_without_replacement(
    sizes: IntArray, universe: IntArray, generator: np.random.Generator
) -> Ragged:
    """For each sample a random set of ``sizes`` of the integers ``0 … universe - 1``, sorted.

    Numbers are drawn until enough of them differ; of more than half of a universe, those that are
    left out are drawn. All sets of a size are equally likely: no step looks at what a number is.
    """
    few = sizes <= universe // 2
    wanted = np.where(few, sizes, universe - sizes)
    rows = np.zeros(0, dtype=np.int64)
    values = np.zeros(0, dtype=np.int64)
    lacking = wanted
    while lacking.any():
        new_rows = np.repeat(np.arange(len(sizes), dtype=np.int64), lacking)
        new_values = generator.integers(0, universe[new_rows])
        rows, values = _distinct(
            np.concatenate([rows, new_rows]), np.concatenate([values, new_values])
        )
        lacking = wanted - np.bincount(rows, minlength=len(sizes))
    drawn = Ragged.from_lengths(values, np.bincount(rows, minlength=len(sizes)))
    return drawn if few.all() else _complemented(drawn, ~few, universe)


def _distinct(rows: IntArray, values: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs without repetition, sorted."""
    order = np.lexsort((values, rows))
    rows, values = rows[order], values[order]
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
    return rows[first], values[first]


def _complemented(lists: Ragged, which: BoolArray, universe: IntArray) -> Ragged:
    """Some lists replaced by what they leave of their universe."""
    cells = np.where(which, universe, 0)
    starts = np.cumsum(cells) - cells
    left = np.ones(int(cells.sum()), dtype=np.bool_)
    replaced = which[lists.rows]
    left[starts[lists.rows[replaced]] + lists.values[replaced]] = False
    everything = _ranges(np.zeros_like(cells), cells)
    rows = np.concatenate([lists.rows[~replaced], everything.rows[left]])
    values = np.concatenate([lists.values[~replaced], everything.values[left]])
    rows, values = _distinct(rows, values)
    return Ragged.from_lengths(values, np.bincount(rows, minlength=len(lists)))


class DialogueOrder:
    """The order of the ids of each sample's dialogue, to predict ids by their position in it.

    Args:
        table: The samples.
        protocol: For which the table is coded.
        benchmark: The benchmark of the table. Without it, positions are codes.
        real: Count positions among the ids that the dialogue has, whatever the protocol's universe
            is; this takes a benchmark.
    """

    def __init__(
        self,
        table: PredictionTable,
        protocol: Protocol,
        benchmark: Benchmark | None,
        *,
        real: bool = False,
    ) -> None:
        self._table = table
        self._benchmark = benchmark
        self._dialogue = np.zeros(0, dtype=np.int64)
        self._codes: dict[str, Ragged] | None = None
        if benchmark is None:
            return
        dialogues = benchmark.dialogues
        row_of = {name: row for row, name in enumerate(dialogues.dialogue_id)}
        rows = [row_of[name] for name in table.dialogue_id]
        self._dialogue = np.array(rows, dtype=np.int64)
        self._ids = {"utterance": dialogues.utt_ids, "image": dialogues.img_ids}
        if protocol.real_ids:
            self._codes = {name: Universe(ids).encode(ids) for name, ids in self._ids.items()}
        elif real:
            self._codes = self._ids

    def codes(self, modality: str) -> Ragged:
        """The codes of each sample's dialogue in its order; only where ids are real."""
        if self._codes is None:
            raise ValueError("the order of ids is known from a benchmark")
        return self._codes[modality].take(self._dialogue)

    def predicting(self, utterance: Ragged, image: Ragged) -> PredictionTable:
        """The table with other predictions, given as positions; answers are ``ok`` or ``empty``."""
        table = self._table
        something = (utterance.lengths > 0) | (image.lengths > 0)
        ok, empty = OUTCOME_CODE[Outcome.OK], OUTCOME_CODE[Outcome.EMPTY]
        return replace(
            table,
            outcome=np.where(something, ok, empty).astype(np.int8),
            utterance=replace(table.utterance, predicted=self._coded(utterance, "utterance")),
            image=replace(table.image, predicted=self._coded(image, "image")),
            places=self._places(utterance, image),
            latency_s=None,
            cost=None,
            reached_gold=None,
        )

    def _coded(self, positions: Ragged, modality: str) -> Ragged:
        return self._look_up(None if self._codes is None else self._codes[modality], positions)

    def _look_up(self, lists: Ragged | None, positions: Ragged) -> Ragged:
        """The items at some positions of each sample's dialogue; the positions without lists."""
        if lists is None:
            return positions
        starts = np.repeat(lists.offsets[self._dialogue], positions.lengths)
        return Ragged(lists.values[starts + positions.values], positions.offsets)

    def _places(self, utterance: Ragged, image: Ragged) -> Places | None:
        if self._benchmark is None or self._table.places is None:
            return None
        turns, dialogue = self._benchmark.turn_index, self._dialogue
        ids = self._ids if self._codes is not None else {"utterance": None, "image": None}
        return replace(
            self._table.places,
            predicted_utterance=turns.utterances(
                self._look_up(ids["utterance"], utterance), dialogue
            ),
            predicted_image=turns.images(self._look_up(ids["image"], image), dialogue),
        )
