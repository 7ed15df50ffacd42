from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.statistics import rank_intervals, tiers

MODELS = st.lists(st.integers(0, 20), min_size=1, max_size=8)


def by_distance(values: list[float], least: float) -> np.ndarray:
    array = np.array(values)
    return array[:, None] - array >= least


def test_by_hand() -> None:
    values = [0.9, 0.8, 0.7, 0.1]
    better = by_distance(values, 0.15)
    lo, hi = rank_intervals(values, better)
    assert lo.tolist() == [1, 1, 2, 4]
    assert hi.tolist() == [2, 3, 3, 4]
    assert tiers([0, 1, 2, 3], better) == [1, 1, 2, 3]
    assert tiers([], better) == []
    assert tiers([0, 1, 2, 3, 4], by_distance([0.9, 0.8, 0.7, 0.6, 0.1], 0.15)) == [1, 1, 2, 2, 3]


def test_nothing_and_everything_significant() -> None:
    values = [3, 1, 2]
    none, all_ = by_distance(values, 99), by_distance(values, 1)
    assert [side.tolist() for side in rank_intervals(values, none)] == [[1, 1, 1], [3, 3, 3]]
    assert [side.tolist() for side in rank_intervals(values, all_)] == [[1, 3, 2], [1, 3, 2]]
    assert tiers([0, 2, 1], none) == [1, 1, 1]
    assert tiers([0, 2, 1], all_) == [1, 2, 3]


def test_an_undefined_model_is_not_ranked() -> None:
    better = by_distance([3, 0, 1], 1)
    lo, hi = rank_intervals([3, np.nan, 1], better)
    assert (lo.tolist(), hi.tolist()) == ([1, 0, 2], [1, 0, 2])


@given(MODELS, st.integers(1, 9))
def test_properties(values: list[int], least: int) -> None:
    better = by_distance([float(v) for v in values], least)
    lo, hi = rank_intervals(values, better)
    order = sorted(range(len(values)), key=lambda model: -values[model])
    assert (lo >= 1).all()
    assert (lo <= hi).all()
    assert (hi <= len(values)).all()
    for place, model in enumerate(order, start=1):
        assert lo[model] <= place <= hi[model]
    found = tiers(order, better)
    assert found[0] == 1
    assert all(b - a in (0, 1) for a, b in pairwise(found))
    for tier in set(found):
        members = [model for model, t in zip(order, found, strict=True) if t == tier]
        assert not better[members[0], members].any()


@pytest.mark.parametrize(
    "better",
    [np.ones((2, 2), bool), np.eye(2, dtype=bool), np.zeros((2, 3), bool), np.zeros((1, 1), bool)],
)
def test_unusable(better: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"matrix|better|values"):
        rank_intervals([1, 2], better)
