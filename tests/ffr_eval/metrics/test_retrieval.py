"""Figures from counts against scikit-learn, and the functions on plain collections."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

from ffr_eval import metrics
from ffr_eval.metrics import retrieval

COUNT = st.integers(0, 30)
HUGE = st.integers(0, 2**60)
IDS = st.lists(st.integers(-2, 12), max_size=8)


@given(tp=COUNT, fp=COUNT, fn=COUNT, tn=COUNT)
@settings(deadline=None)
def test_figures_are_those_of_scikit_learn(tp: int, fp: int, fn: int, tn: int) -> None:
    gold = [1] * tp + [0] * fp + [1] * fn + [0] * tn
    predicted = [1] * tp + [1] * fp + [0] * fn + [0] * tn
    if not gold:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about labels that do not occur
        expected = precision_recall_fscore_support(
            gold, predicted, average="binary", zero_division=0
        )[:3]
        expected_mcc = matthews_corrcoef(gold, predicted)
    figures = (
        retrieval.precision(tp, fp),
        retrieval.recall(tp, fn),
        retrieval.f1(tp, fp, fn),
    )
    assert figures == pytest.approx(expected, abs=1e-12)
    assert retrieval.mcc(tp, fp, fn, tn) == pytest.approx(expected_mcc, abs=1e-12)


@given(tp=HUGE, fp=HUGE, fn=HUGE, tn=HUGE)
@settings(deadline=None)
def test_large_counts_do_not_overflow(tp: int, fp: int, fn: int, tn: int) -> None:
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    # Exact integers; the root of a fraction below 1 is all that is rounded.
    above = tp * tn - fp * fn
    square = Fraction(above**2, margins) if margins else Fraction(0)
    expected = math.copysign(math.sqrt(square), above)
    columns = [np.array([number]) for number in (tp, fp, fn, tn)]
    found = retrieval.mcc(*columns)
    assert found == pytest.approx([expected], abs=1e-7)
    assert (np.abs(found) <= 1).all()
    f1 = float(Fraction(2 * tp, 2 * tp + fp + fn)) if tp + fp + fn else 0.0
    assert retrieval.f1(*columns[:3]) == pytest.approx([f1], abs=1e-12)


@given(tp=st.integers(1, 2**40), tn=st.integers(1, 2**40))
def test_mcc_of_a_perfect_answer_is_exactly_one(tp: int, tn: int) -> None:
    assert retrieval.mcc(tp, 0, 0, tn) == 1.0


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (0, 0, 3, 57), (0, 3, 0, 57), (3, 57, 0, 0)])
def test_mcc_without_a_margin_is_zero(cells: tuple[int, int, int, int]) -> None:
    # No epsilon: predicting nothing (3 gold of 60) is 0, not +0.53.
    assert retrieval.mcc(*cells) == 0.0


def test_arrays_keep_their_shape() -> None:
    tp, fp = np.array([[1, 0], [3, 0]]), np.array([[1, 0], [0, 2]])
    assert retrieval.precision(tp, fp).tolist() == [[0.5, 0.0], [1.0, 0.0]]
    assert retrieval.harmonic_mean([0.0, 1.0, 0.5], [0.0, 0.5, 0.5]) == pytest.approx(
        [0.0, 2 / 3, 0.5]
    )


# --- plain collections ---------------------------------------------------------------------------


@given(predicted=IDS, gold=IDS)
@settings(deadline=None)
def test_figures_of_one_sample(predicted: list[int], gold: list[int]) -> None:
    right = len(set(predicted) & set(gold))
    if not predicted and not gold:
        expected = (1.0, 1.0, 1.0)
    else:
        expected = (
            right / len(set(predicted)) if predicted else 0.0,
            right / len(set(gold)) if gold else 0.0,
            2 * right / (len(set(predicted)) + len(set(gold))),
        )
    functions = (metrics.precision, metrics.recall, metrics.f1)
    found = tuple(function(predicted, gold) for function in functions)
    assert found == pytest.approx(expected)
    assert all(type(value) is float for value in found)


@given(predicted=IDS, gold=IDS, universe=st.sets(st.integers(-2, 12)))
@settings(deadline=None)
def test_mcc_of_one_sample(predicted: list[int], gold: list[int], universe: set[int]) -> None:
    everything = sorted(universe | set(predicted) | set(gold))
    labels = [[number in ids for number in everything] for ids in (gold, predicted)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = matthews_corrcoef(*labels) if everything else 0.0
    assert metrics.mcc(predicted, gold, universe) == pytest.approx(expected, abs=1e-12)


@given(predicted=IDS, gold=IDS)
@settings(deadline=None)
def test_micro_figures_of_one_sample_are_its_own(predicted: list[int], gold: list[int]) -> None:
    if not predicted and not gold:
        return
    counts = metrics.set_counts(predicted, gold)
    tp, fp, fn = counts.tp.sum(), counts.fp.sum(), counts.fn.sum()
    assert retrieval.precision(tp, fp) == metrics.precision(predicted, gold)
    assert retrieval.recall(tp, fn) == metrics.recall(predicted, gold)
    assert retrieval.f1(tp, fp, fn) == metrics.f1(predicted, gold)


def test_collections_of_any_kind_and_their_universe() -> None:
    counts = metrics.set_counts({3, 99}, iter([3, 3, 8]), universe=range(10))
    assert (int(counts.tp[0]), int(counts.fp[0]), int(counts.fn[0])) == (1, 1, 1)
    assert int(counts.tn[0]) == 8  # ten ids, of which 3 and 8 are used
    assert int(counts.fp_outside[0]) == 1
    without = metrics.set_counts([3, 99], [3])
    assert int(without.tn[0]) == 0
    assert int(without.fp_outside[0]) == 0
