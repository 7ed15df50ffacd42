"""The kernel: set counts of whole prediction sets at once.

Every figure of FFR starts here: the CLI, the leaderboard and the rewards call :func:`count` on
ragged arrays of *codes*; a single sample is an array of length one. A code is an id translated so
that the ids in the sample's universe are ``0 … universe - 1``; any other integer stands for an id
outside it (equal codes are equal ids).

Sets are compared in a table with one cell for each id of each sample's universe: gold codes mark
their cells, predicted codes look theirs up. Tables are filled block by block, so that they stay in
the processor's cache. What does not fit a table (codes outside the universe, enormous universes)
is compared by sorting.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ffr_eval.ragged import IntArray, Ragged

    BoolArray = NDArray[np.bool_]

_BLOCK_CELLS: Final = 2**18  # about what one block's table and arrays may hold
_LARGE_UNIVERSE: Final = 2**16  # above it, a table would cost more than sorting


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts per sample, each of shape ``(n,)``, int64.

    With gold set G, predicted set P and universe U: ``tp = |G∩P|``, ``fp = |P∖G|``,
    ``fn = |G∖P|``, ``tn = |U∖(G∪P)|``. Ids outside U count in the first three, never in ``tn``, so
    ``tp + fp + fn + tn = |U|`` plus the number of distinct ids outside it.

    Attributes:
        tp, fp, fn, tn: As above.
        tp_outside, fp_outside, fn_outside: The parts of ``tp``, ``fp``, ``fn`` outside U.
        duplicates: Predicted items beyond the first of each id.
    """

    tp: IntArray
    fp: IntArray
    fn: IntArray
    tn: IntArray
    tp_outside: IntArray
    fp_outside: IntArray
    fn_outside: IntArray
    duplicates: IntArray

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, index: IntArray | BoolArray) -> Counts:
        """The counts of some samples."""
        return Counts(*(getattr(self, field.name)[index] for field in fields(self)))


def count(gold: Ragged, predicted: Ragged, universe: IntArray) -> Counts:
    """Count set agreement for ``n`` samples; the definitions are those of :class:`Counts`.

    Args:
        gold: Gold codes of each sample; repeated codes count once.
        predicted: Predicted codes of each sample; repeated codes count once.
        universe: The number of ids in each sample's universe, shape ``(n,)``.

    Raises:
        ValueError: If the three disagree on ``n``, or a universe is negative.
    """
    n = len(universe)
    if len(gold) != n or len(predicted) != n:
        message = f"{len(gold)} gold lists, {len(predicted)} predicted lists, {n} universes"
        raise ValueError(message)
    universe = np.ascontiguousarray(universe, dtype=np.int64)
    if n and int(universe.min()) < 0:
        raise ValueError("a universe has a negative size")
    cells = np.where(universe > _LARGE_UNIVERSE, 0, universe)  # the size of each sample's table
    both, gold_only, predicted_only = (np.zeros(n, dtype=np.int64) for _ in range(3))
    rest = []
    for start, stop in _blocks(cells + gold.lengths + predicted.lengths):
        block = slice(start, stop)
        golds = _Items.of_block(gold, start, stop, cells[block])
        answers = _Items.of_block(predicted, start, stop, cells[block])
        marked = golds.marked()
        gold_repeats = golds.repeats(marked)
        hit = marked[answers.keys]
        repeats = answers.repeats(answers.marked())
        in_gold = golds.lengths - golds.per_list(golds.misfits, gold_repeats)
        in_predicted = answers.lengths - answers.per_list(answers.misfits, repeats)
        both[block] = answers.flagged(hit) - answers.per_list(repeats[hit[repeats]])
        gold_only[block] = in_gold - both[block]
        predicted_only[block] = in_predicted - both[block]
        if len(golds.misfits) or len(answers.misfits):
            rest.append((golds.rest(start), answers.rest(start)))
    true_negatives = universe - both - gold_only - predicted_only
    outside = np.zeros((3, n), dtype=np.int64)
    if rest:
        samples, kind, is_inside = _compare_by_sorting(rest, universe)
        for number, column in enumerate((both, predicted_only, gold_only)):
            np.add.at(column, samples[kind == number], 1)
        np.add.at(outside, (kind[~is_inside], samples[~is_inside]), 1)
        np.subtract.at(true_negatives, samples[is_inside], 1)
    return Counts(
        tp=both,
        fp=predicted_only,
        fn=gold_only,
        tn=true_negatives,
        tp_outside=outside[0],
        fp_outside=outside[1],
        fn_outside=outside[2],
        duplicates=predicted.lengths - both - predicted_only,
    )


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of a block of lists, each with its cell in the block's table.

    Attributes:
        codes: All items.
        lengths: The number of items of each list.
        ends: Where each list ends among the items.
        keys: The cell of each item; the last cell, which stands for no id, if it does not fit.
        misfits: Places of the items that do not fit.
        cells: The number of cells, the last one included.
    """

    codes: IntArray
    lengths: IntArray
    ends: IntArray
    keys: IntArray
    misfits: IntArray
    cells: int

    @classmethod
    def of_block(cls, lists: Ragged, start: int, stop: int, cells: IntArray) -> _Items:
        offsets = lists.offsets[start : stop + 1]
        codes = lists.values[offsets[0] : offsets[-1]]
        lengths = np.diff(offsets)
        ends_of_tables = np.cumsum(cells)
        total = int(ends_of_tables[-1])
        keys = codes + np.repeat(ends_of_tables - cells, lengths)
        # As unsigned numbers, negative codes are larger than any table.
        too_large = codes.view(np.uint64) >= np.repeat(cells.view(np.uint64), lengths)
        misfits = np.flatnonzero(too_large)
        keys[misfits] = total
        return cls(codes, lengths, offsets[1:] - offsets[0], keys, misfits, total + 1)

    def marked(self) -> BoolArray:
        """A table with the cells of these items set."""
        table = np.zeros(self.cells, dtype=np.bool_)
        table[self.keys] = True
        table[-1] = False
        return table

    def repeats(self, marked: BoolArray) -> IntArray:
        """Places of items that fit, all but one for each id; ``marked`` is these items' table."""
        if np.count_nonzero(marked) == len(self.keys) - len(self.misfits):
            return np.zeros(0, dtype=np.int64)
        order = np.arange(len(self.keys), dtype=np.int32)
        last = np.empty(self.cells, dtype=np.int32)
        last[self.keys] = order
        places = np.flatnonzero(last[self.keys] != order)
        return places[self.keys[places] < self.cells - 1]

    def flagged(self, flags: BoolArray) -> IntArray:
        """How many items of each list are flagged."""
        running = np.zeros(len(flags) + 1, dtype=np.int32)
        np.cumsum(flags, out=running[1:])
        return np.diff(running[self.ends], prepend=0)

    def per_list(self, *places: IntArray) -> IntArray:
        """How many of some few places lie in each list."""
        lists = self._lists_of(np.concatenate(places))
        return np.bincount(lists, minlength=len(self.lengths))

    def rest(self, first_sample: int) -> tuple[IntArray, IntArray]:
        """Sample and code of the items that do not fit."""
        return self._lists_of(self.misfits) + first_sample, self.codes[self.misfits]

    def _lists_of(self, places: IntArray) -> IntArray:
        return np.searchsorted(self.ends, places, side="right")


def _blocks(cost: IntArray) -> Iterator[tuple[int, int]]:
    """Cut samples into runs of about ``_BLOCK_CELLS`` (at least one sample each)."""
    total = np.cumsum(cost)
    start = 0
    while start < len(cost):
        spent = int(total[start - 1]) if start else 0
        stop = int(np.searchsorted(total, spent + _BLOCK_CELLS, side="right"))
        stop = max(stop, start + 1)
        yield start, stop
        start = stop


def _compare_by_sorting(
    rest: list[tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray]]], universe: IntArray
) -> tuple[IntArray, IntArray, BoolArray]:
    """Compare what did not fit a table.

    Returns:
        For each distinct id of a sample: the sample; 0, 1 or 2 for an id of both sets, of the
        predicted one, of the gold one; and whether it is in the universe.
    """
    golds, answers = zip(*rest, strict=True)
    parts = [*golds, *answers]
    samples = np.concatenate([samples for samples, _ in parts])
    codes = np.concatenate([codes for _, codes in parts])
    predicted = np.ones(len(codes), dtype=np.bool_)
    predicted[: sum(len(codes) for _, codes in golds)] = False
    order = np.lexsort((codes, samples))
    samples, codes, predicted = samples[order], codes[order], predicted[order]
    starts = np.ones(len(codes), dtype=np.bool_)
    starts[1:] = (samples[1:] != samples[:-1]) | (codes[1:] != codes[:-1])
    first = np.flatnonzero(starts)
    in_predicted = np.logical_or.reduceat(predicted, first)
    in_gold = np.logical_or.reduceat(~predicted, first)
    samples, codes = samples[first], codes[first]
    kind = np.where(in_gold & in_predicted, 0, np.where(in_predicted, 1, 2))
    return samples, kind, (codes >= 0) & (codes < universe[samples])
