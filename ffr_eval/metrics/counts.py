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
    duplicates = predicted.lengths
    rest = []
    for start, stop in _blocks(cells + gold.lengths + predicted.lengths):
        block = slice(start, stop)
        golds = _Items.of_block(gold, start, stop, cells[block])
        answers = _Items.of_block(predicted, start, stop, cells[block])
        marked = golds.marked()
        in_gold = golds.per_sample(golds.one_of_each(marked))
        hit = marked[answers.keys]
        distinct = answers.one_of_each(answers.marked())
        in_predicted = answers.per_sample(distinct)
        both[block] = answers.per_sample(hit & distinct)
        gold_only[block] = in_gold - both[block]
        predicted_only[block] = in_predicted - both[block]
        if golds.misfits or answers.misfits:
            rest.append((golds.rest(start), answers.rest(start)))
    true_negatives = universe - both - gold_only - predicted_only
    outside = np.zeros((3, n), dtype=np.int64)
    if rest:
        inside, outside = _count_by_sorting(rest, universe)
        both, predicted_only, gold_only = (
            np.stack([both, predicted_only, gold_only]) + inside + outside
        )
        true_negatives = true_negatives - inside.sum(axis=0)
    return Counts(
        tp=both,
        fp=predicted_only,
        fn=gold_only,
        tn=true_negatives,
        tp_outside=outside[0],
        fp_outside=outside[1],
        fn_outside=outside[2],
        duplicates=duplicates - both - predicted_only,
    )


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of a block of lists, each with its cell in the block's table.

    Attributes:
        codes: All items.
        ends: Where each list ends among them.
        keys: The cell of each item; the last cell, which stands for no id, if it does not fit.
        fits: Which items have a cell of their own.
        misfits: How many have not.
        cells: The number of cells, the last one included.
    """

    codes: IntArray
    ends: IntArray
    keys: IntArray
    fits: BoolArray
    misfits: int
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
        fits = codes.view(np.uint64) < np.repeat(cells.view(np.uint64), lengths)
        misfits = len(codes) - int(np.count_nonzero(fits))
        if misfits:
            keys[~fits] = total
        return cls(codes, offsets[1:] - offsets[0], keys, fits, misfits, total + 1)

    def marked(self) -> BoolArray:
        """A table with the cells of these items set."""
        table = np.zeros(self.cells, dtype=np.bool_)
        table[self.keys] = True
        table[-1] = False
        return table

    def one_of_each(self, marked: BoolArray) -> BoolArray:
        """Flags one item of each distinct id that fits; ``marked`` is the table of these items."""
        if np.count_nonzero(marked) == len(self.keys) - self.misfits:
            return self.fits
        order = np.arange(len(self.keys), dtype=np.int32)
        last = np.empty(self.cells, dtype=np.int32)
        last[self.keys] = order
        flags: BoolArray = (last[self.keys] == order) & self.fits
        return flags

    def per_sample(self, flags: BoolArray) -> IntArray:
        """How many items of each list are flagged."""
        if flags is self.fits and not self.misfits:
            return np.diff(self.ends, prepend=0)
        running = np.zeros(len(flags) + 1, dtype=np.int32)
        np.cumsum(flags, out=running[1:])
        return np.diff(running[self.ends], prepend=0)

    def rest(self, first_sample: int) -> tuple[IntArray, IntArray]:
        """Sample and code of the items that do not fit."""
        places = np.flatnonzero(~self.fits)
        samples = np.searchsorted(self.ends, places, side="right") + first_sample
        return samples, self.codes[places]


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


def _count_by_sorting(
    rest: list[tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray]]], universe: IntArray
) -> tuple[IntArray, IntArray]:
    """Count what did not fit a table: tp, fp, fn of ids inside the universe, and of ids outside.

    Returns:
        Two arrays of shape ``(3, n)``.
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
    if not len(first):
        return np.zeros((3, len(universe)), np.int64), np.zeros((3, len(universe)), np.int64)
    in_predicted = np.logical_or.reduceat(predicted, first)
    in_gold = np.logical_or.reduceat(~predicted, first)
    samples, codes = samples[first], codes[first]
    is_inside = (codes >= 0) & (codes < universe[samples])
    flags = (in_gold & in_predicted, in_predicted & ~in_gold, in_gold & ~in_predicted)
    n = len(universe)
    inside = [np.bincount(samples[flag & is_inside], minlength=n) for flag in flags]
    outside = [np.bincount(samples[flag & ~is_inside], minlength=n) for flag in flags]
    return np.stack(inside).astype(np.int64), np.stack(outside).astype(np.int64)
