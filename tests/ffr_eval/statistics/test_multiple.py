from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.statistics import holm

P = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12)


def naive(p: list[float]) -> list[float]:
    """By the definition: no hypothesis is rejected before those with smaller p-values."""
    tests = sorted(value for value in p if not np.isnan(value))

    def adjusted(own: float) -> float:
        if np.isnan(own):
            return own
        steps = [(len(tests) - tests.index(value)) * value for value in tests if value <= own]
        return min(1.0, max(steps))

    return [adjusted(value) for value in p]


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, np.nan, 0.01]).tolist() == pytest.approx([0.5, np.nan, 0.02], nan_ok=True)
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).shape == (0,)
    assert np.isnan(holm([np.nan])).all()


@given(P)
def test_properties(p: list[float]) -> None:
    adjusted = holm(p)
    assert adjusted.tolist() == pytest.approx(naive(p), nan_ok=True)
    raw = np.array(p, dtype=float)
    assert np.array_equal(np.isnan(adjusted), np.isnan(raw))
    made = ~np.isnan(raw)
    assert (adjusted[made] >= raw[made]).all()
    assert (adjusted[made] <= 1).all()
    order = np.argsort(raw[made], kind="stable")
    assert (np.diff(adjusted[made][order]) >= 0).all()
    assert np.array_equal(holm(p[::-1])[::-1], adjusted, equal_nan=True)


@pytest.mark.parametrize("p", [[-0.1], [1.1], [[0.5, 0.5]]])
def test_unusable(p: list) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(p)
