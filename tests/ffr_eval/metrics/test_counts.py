"""The kernel against Python sets, one sample at a time."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.metrics import counts as kernel
from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import Counts, count
from ffr_eval.ragged import Ragged

Sample: TypeAlias = tuple[list[int], list[int], int]  # gold, predicted, universe

UNIVERSES = st.one_of(
    st.integers(0, 12), st.sampled_from([2**16 - 1, 2**16, 2**16 + 1, 10**12, 2**62])
)
SPECIAL = [-1, -(2**62), -(2**63), 2**16 - 1, 2**16, 2**16 + 1, 10**12 - 1, 10**12, 2**63 - 1]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    universe = draw(UNIVERSES)
    code = st.one_of(
        st.integers(-3, 14),
        st.sampled_from([*SPECIAL, universe - 1, universe, universe + 1]),
        st.integers(0, max(universe - 1, 0)),
    )
    lists = st.lists(code, max_size=10)
    gold = draw(lists)
    # Some of the gold again, so that there is agreement also in huge universes.
    kept = st.sampled_from(gold) if gold else code
    return gold, draw(st.lists(st.one_of(code, kept), max_size=10)), universe


def kernel_counts(batch: list[Sample]) -> Counts:
    return count(
        Ragged.from_lists([gold for gold, _, _ in batch]),
        Ragged.from_lists([predicted for _, predicted, _ in batch]),
        np.array([universe for _, _, universe in batch], dtype=np.int64),
    )


def by_sets(sample: Sample) -> dict[str, int]:
    golds, answers, universe = sample
    gold, predicted = set(golds), set(answers)

    def outside(codes: set[int]) -> int:
        return sum(not 0 <= code < universe for code in codes)

    in_universe = sum(0 <= code < universe for code in gold | predicted)
    return {
        "tp": len(gold & predicted),
        "fp": len(predicted - gold),
        "fn": len(gold - predicted),
        "tn": universe - in_universe,
        "tp_outside": outside(gold & predicted),
        "fp_outside": outside(predicted - gold),
        "fn_outside": outside(gold - predicted),
        "duplicates": len(answers) - len(predicted),
    }


def as_rows(counts: Counts) -> list[dict[str, int]]:
    columns = {field.name: getattr(counts, field.name).tolist() for field in fields(counts)}
    return [{name: column[i] for name, column in columns.items()} for i in range(len(counts))]


@pytest.mark.parametrize("cells", [1, 7, 40, 2**18])
@given(batch=st.lists(samples(), max_size=12))
@settings(deadline=None)
def test_counts_are_those_of_sets_whatever_the_block_size(cells: int, batch: list[Sample]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_BLOCK_CELLS", cells)
        assert as_rows(kernel_counts(batch)) == [by_sets(sample) for sample in batch]


@pytest.mark.parametrize("large", [0, 3])
@given(batch=st.lists(samples(), min_size=1, max_size=8))
@settings(deadline=None)
def test_sorting_and_tables_agree(large: int, batch: list[Sample]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_LARGE_UNIVERSE", large)
        assert as_rows(kernel_counts(batch)) == [by_sets(sample) for sample in batch]


@given(batch=st.lists(samples(), min_size=1, max_size=8), random=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_of_ids_and_of_samples_does_not_matter(batch: list[Sample], random: object) -> None:
    shuffled = [(gold[:], predicted[:], universe) for gold, predicted, universe in batch]
    for gold, predicted, _ in shuffled:
        random.shuffle(gold)  # type: ignore[attr-defined]
        random.shuffle(predicted)  # type: ignore[attr-defined]
    rows = as_rows(kernel_counts(batch))
    assert as_rows(kernel_counts(shuffled)) == rows
    assert as_rows(kernel_counts(shuffled[::-1])) == rows[::-1]
    assert [as_rows(kernel_counts([sample]))[0] for sample in batch] == rows


@given(sample=samples())
@settings(deadline=None)
def test_the_cells_cover_the_universe_and_what_is_outside(sample: Sample) -> None:
    (row,) = as_rows(kernel_counts([sample]))
    gold, predicted, universe = sample
    outside = {code for code in (*gold, *predicted) if not 0 <= code < universe}
    assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == universe + len(outside)
    assert min(row.values()) >= 0
    assert row["tp_outside"] + row["fp_outside"] + row["fn_outside"] == len(outside)


@given(sample=samples(), data=st.data())
@settings(deadline=None)
def test_a_further_true_positive_never_lowers_recall(sample: Sample, data: st.DataObject) -> None:
    gold, predicted, universe = sample
    missed = sorted(set(gold) - set(predicted))
    if not missed:
        return
    more = [*predicted, data.draw(st.sampled_from(missed))]
    counts = kernel_counts([sample, (gold, more, universe)])
    before, after = retrieval.recall(counts.tp, counts.fn)
    assert after > before


@given(batch=st.lists(samples(), min_size=1, max_size=6))
@settings(deadline=None)
def test_gold_and_prediction_swap_roles(batch: list[Sample]) -> None:
    swapped = kernel_counts([(predicted, gold, universe) for gold, predicted, universe in batch])
    counts = kernel_counts(batch)
    for name, other in (("tp", "tp"), ("fp", "fn"), ("tn", "tn"), ("fp_outside", "fn_outside")):
        assert getattr(counts, name).tolist() == getattr(swapped, other).tolist()


def test_a_block_boundary_inside_many_samples() -> None:
    rng = np.random.default_rng(0)
    batch = [
        (rng.integers(-2, 70, 9).tolist(), rng.integers(-2, 70, 9).tolist(), int(universe))
        for universe in rng.integers(0, 2**17, 40)  # tables of 2**16 cells at most
    ]
    assert as_rows(kernel_counts(batch)) == [by_sets(sample) for sample in batch]


def test_no_samples() -> None:
    counts = kernel_counts([])
    assert len(counts) == 0
    assert counts.tp.dtype == np.int64


def test_take_keeps_all_columns() -> None:
    counts = kernel_counts([([1], [1, 1, 9], 3), ([], [], 2), ([0], [2], 3)])
    rows = as_rows(counts)
    assert as_rows(counts.take(np.array([2, 0]))) == [rows[2], rows[0]]
    assert as_rows(counts.take(np.array([True, False, False]))) == rows[:1]


@pytest.mark.parametrize(
    ("gold", "predicted", "universe", "message"),
    [
        ([[1]], [[1], [2]], [3], "1 gold lists, 2 predicted lists, 1 universes"),
        ([[1]], [[1]], [3, 3], "2 universes"),
        ([[1], []], [[1], []], [3, -1], "negative"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    gold: list[list[int]], predicted: list[list[int]], universe: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        count(Ragged.from_lists(gold), Ragged.from_lists(predicted), np.array(universe))
