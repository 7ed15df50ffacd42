"""Confidence intervals from bootstrap replicates: percentile and BCa."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.statistics.values import ROUNDING

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray

_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        lo: Its lower end, in the unit of the metric.
        hi: Its upper end.
        undefined: Share of the replicates in which the metric was undefined, from 0 to below 1;
            they are left out. An interval with more than a few percent of them is conditional on
            resamples in which the metric is defined, and should be shown with that share.
    """

    lo: float
    hi: float
    undefined: float = 0.0


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> Interval | None:
    """The percentile interval (Efron & Tibshirani 1993, chapter 13).

    Its ends are the ``(1 - level) / 2`` and ``(1 + level) / 2`` quantiles of the replicates, by
    linear interpolation between order statistics (Hyndman & Fan 1996, type 7: quantile ``q`` is at
    place ``1 + (B - 1) q``), the default of NumPy and R.

    Args:
        replicates: The metric in each resample, shape ``(B,)``, NaN where undefined.
        level: The share of such intervals that should hold the true value.

    Returns:
        The interval, or None if all replicates are undefined (``bootstrap`` makes them so with
        fewer than two clusters).

    Raises:
        ValueError: If the level is not between 0 and 1.
    """
    tail = _tail(level)
    valid = replicates[~np.isnan(replicates)]
    if not len(valid):
        return None
    return _between(valid, tail, 1 - tail, len(replicates))


def bca_interval(
    value: float, replicates: FloatArray, jackknife: FloatArray, level: float = 0.95
) -> Interval | None:
    """The bias-corrected and accelerated interval (Efron 1987; Efron & Tibshirani 1993, ch. 14).

    The quantiles of ``percentile_interval``, moved for the median bias of the replicates (``z0``)
    and for a standard error that changes with the value (the acceleration, from the jackknife over
    clusters). Replicates equal to the value, up to rounding, count half in ``z0``. If all lie on
    one side of the value, half a replicate is put on the other, so that ``z0`` stays finite. The
    acceleration is 0 where it is 0/0; clusters without which the metric is undefined are left out
    of it. Replicates that do not vary give the value itself.

    Args:
        value: The metric of all clusters.
        replicates: The metric in each resample, shape ``(B,)``, NaN where undefined.
        jackknife: The metric without each cluster, shape ``(c,)``, from ``jackknife``.
        level: The share of such intervals that should hold the true value.

    Returns:
        The interval, or None if there are fewer than two clusters, the value is undefined or all
        replicates are.

    Raises:
        ValueError: If the level is not between 0 and 1.
    """
    tail = _tail(level)
    valid = replicates[~np.isnan(replicates)]
    if len(jackknife) < 2 or np.isnan(value) or not len(valid):
        return None
    rounding = ROUNDING * abs(value)
    if np.abs(valid - value).max() <= rounding:
        return Interval(float(value), float(value), 1 - len(valid) / len(replicates))
    below = np.count_nonzero(valid < value - rounding)
    above = np.count_nonzero(valid > value + rounding)
    share = (below + (len(valid) - below - above) / 2) / len(valid)
    least = 0.5 / len(valid)
    bias = _NORMAL.inv_cdf(min(max(share, least), 1 - least))
    acceleration = _acceleration(jackknife[~np.isnan(jackknife)])
    low, high = (
        _adjusted(bias, acceleration, z) for z in (_NORMAL.inv_cdf(tail), _NORMAL.inv_cdf(1 - tail))
    )
    return _between(valid, low, high, len(replicates))


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, got {level}")
    return (1 - level) / 2


def _between(valid: FloatArray, low: float, high: float, replicates: int) -> Interval:
    lo, hi = np.quantile(valid, [low, high], method="linear").tolist()
    return Interval(lo, hi, 1 - len(valid) / replicates)


def _acceleration(jackknife: FloatArray) -> float:
    if not len(jackknife):
        return 0.0
    deviation = jackknife.mean() - jackknife
    largest = np.abs(deviation).max()
    if largest <= ROUNDING * np.abs(jackknife).max():
        return 0.0
    deviation /= largest  # its cubes must not underflow
    return float((deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5))


def _adjusted(bias: float, acceleration: float, z: float) -> float:
    moved = bias + z
    room = 1 - acceleration * moved
    if room <= 0:  # beyond the pole of the formula; what it tends to there
        return 1.0 if moved > 0 else 0.0
    return _NORMAL.cdf(bias + moved / room)
