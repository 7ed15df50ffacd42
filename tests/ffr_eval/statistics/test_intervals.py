from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ffr_eval.statistics import Interval, bca_interval, bootstrap, jackknife, percentile_interval

FIGURES = st.floats(-1, 1, allow_subnormal=False)


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def one_sample_each(values: list[float] | np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(values, dtype=float), np.ones(len(values))], axis=1)


def both(values: list[float] | np.ndarray, level: float = 0.95, replicates: int = 2000) -> list:
    sums = one_sample_each(values)
    found = bootstrap([(sums, mean)], replicates)[:, 0]
    value = float(mean(sums.sum(axis=0)))
    return [
        percentile_interval(found, level),
        bca_interval(value, found, jackknife(sums, mean), level),
    ]


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("values", ["skewed", "counts"])
def test_scipy_gives_the_same_on_the_same_replicates(
    method: str, level: float, values: str
) -> None:
    rng = np.random.default_rng(5)
    data = rng.lognormal(size=40) if values == "skewed" else rng.poisson(0.7, 40).astype(float)
    sums = one_sample_each(data)
    found = bootstrap([(sums, mean)], 3000)[:, 0]
    value = float(mean(sums.sum(axis=0)))
    ours = (
        percentile_interval(found, level)
        if method == "percentile"
        else bca_interval(value, found, jackknife(sums, mean), level)
    )
    # SciPy is given our replicates; where they are counts, it must see the ties we see.
    theirs = stats.bootstrap(
        (data,),
        np.mean,
        confidence_level=level,
        method=method,
        n_resamples=0,
        bootstrap_result=type("Result", (), {"bootstrap_distribution": found})(),
    ).confidence_interval
    assert ours is not None
    assert (ours.lo, ours.hi) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_scipy_gives_nearly_the_same_on_its_own_draws() -> None:
    data = np.random.default_rng(8).lognormal(size=60)
    theirs = stats.bootstrap((data,), np.mean, method="BCa", n_resamples=20_000, rng=1)
    ours = both(data, replicates=20_000)[1]
    se = theirs.standard_error
    assert ours.lo == pytest.approx(theirs.confidence_interval.low, abs=0.06 * se)
    assert ours.hi == pytest.approx(theirs.confidence_interval.high, abs=0.06 * se)


def test_bca_is_moved_towards_the_long_tail() -> None:
    data = np.random.default_rng(1).lognormal(sigma=1.5, size=50)
    percentile, bca = both(data)
    assert bca.lo > percentile.lo
    assert bca.hi > percentile.hi


def test_the_quantile_rule() -> None:
    replicates = np.arange(101, dtype=float)[::-1]
    assert percentile_interval(replicates, 0.9) == Interval(pytest.approx(5), pytest.approx(95), 0)
    assert percentile_interval(np.array([0.0, 1.0]), 0.5) == Interval(0.25, 0.75, 0)


@given(st.lists(FIGURES, min_size=2, max_size=8), st.floats(0.5, 0.99))
def test_what_intervals_contain(values: list[float], level: float) -> None:
    sums = one_sample_each(values)
    found = bootstrap([(sums, mean)], 200)[:, 0]
    median = float(np.median(found))
    for interval in both(values, level, 200):
        assert interval.lo <= interval.hi
        assert found.min() - 1e-9 <= interval.lo
        assert interval.hi <= found.max() + 1e-9
    percentile = percentile_interval(found, level)
    assert percentile is not None
    assert percentile.lo <= median <= percentile.hi


@given(st.lists(FIGURES, min_size=3, max_size=8))
def test_a_higher_level_is_not_narrower(values: list[float]) -> None:
    assume(np.ptp(values) > 1e-6)
    for low, high in zip(both(values, 0.5, 200), both(values, 0.95, 200), strict=True):
        assert high.lo <= low.lo
        assert low.hi <= high.hi


def test_no_variance_gives_the_point() -> None:
    percentile, bca = both([0.1] * 7)  # sums of 0.1 differ by rounding
    assert bca == Interval(pytest.approx(0.1), pytest.approx(0.1), 0)
    assert bca.lo == bca.hi
    assert (percentile.lo, percentile.hi) == pytest.approx((0.1, 0.1), rel=1e-12)
    assert both([1.0] * 5) == [Interval(1.0, 1.0, 0.0)] * 2
    assert both([0.0] * 5) == [Interval(0.0, 0.0, 0.0)] * 2


def test_one_cluster_has_no_interval() -> None:
    assert both([0.3]) == [None, None]
    assert bca_interval(0.3, np.array([0.3, 0.3]), np.array([np.nan])) is None


def test_undefined_replicates_are_left_out_and_counted() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    replicates = np.array([0.3, np.nan, 0.2, 0.4, np.nan])
    defined = replicates[~np.isnan(replicates)]
    for found, of_defined in (
        (percentile_interval(replicates), percentile_interval(defined)),
        (bca_interval(0.3, replicates, values), bca_interval(0.3, defined, values)),
    ):
        assert found is not None
        assert of_defined is not None
        assert (found.lo, found.hi) == (of_defined.lo, of_defined.hi)
        assert found.undefined == pytest.approx(0.4)
        assert of_defined.undefined == 0
    constant = bca_interval(0.3, np.array([0.3, np.nan]), values)
    assert constant == Interval(0.3, 0.3, 0.5)


def test_nothing_defined() -> None:
    nothing = np.full(9, np.nan)
    assert percentile_interval(nothing) is None
    assert bca_interval(0.5, nothing, np.array([0.4, 0.5])) is None
    assert bca_interval(np.nan, np.array([0.1, 0.2]), np.array([0.4, 0.5])) is None
    some = np.array([0.1, 0.2, 0.3])
    assert bca_interval(0.2, some, np.array([np.nan, np.nan])) == bca_interval(
        0.2, some, np.array([0.4, 0.4])
    )


def test_ties_count_half() -> None:
    # As many replicates below the value as above it, and some equal to it but for rounding: no
    # bias, so the plain quantiles.
    tied = np.repeat([0.5 * (1 - 1e-15), 0.5 * (1 + 1e-15)], [40, 20])
    replicates = np.concatenate([np.linspace(0.1, 0.9, 100), tied])
    flat = np.array([0.5, 0.5])
    bca, percentile = bca_interval(0.5, replicates, flat), percentile_interval(replicates)
    assert bca is not None
    assert percentile is not None
    assert (bca.lo, bca.hi) == pytest.approx((percentile.lo, percentile.hi))


def test_beyond_the_pole_the_end_is_the_extreme_replicate() -> None:
    # All replicates above the value, and one cluster that decides everything: z0 + z = -7.8 and
    # a = -1/6, beyond -6 where the formula has its pole; and the same from the other side.
    replicates = np.linspace(0.6, 0.7, 10_000)
    one = np.append(np.zeros(5000), 1.0)
    for value, jack, z in ((0.1, one, -1), (0.9, -one, 1)):
        interval = bca_interval(value, replicates, jack, 0.9999)
        assert interval is not None
        end = 0.6 if z < 0 else 0.7
        assert (interval.lo, interval.hi) == pytest.approx((end, end), abs=1e-3)


def test_replicates_on_one_side_stay_finite() -> None:
    replicates = np.linspace(0.6, 0.7, 50)
    for value in (0.1, 0.9):
        for jack in ([0.1, 0.1, 0.9], [0.9, 0.9, 0.1]):
            interval = bca_interval(value, replicates, np.array(jack), 0.999)
            assert interval is not None
            assert 0.6 <= interval.lo <= interval.hi <= 0.7


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_levels(level: float) -> None:
    some = np.array([0.1, 0.2])
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile_interval(some, level)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bca_interval(0.1, some, some, level)
