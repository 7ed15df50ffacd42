"""Levels of difficulty by a sample's F1 and entropy under the cold-start model.

With f the mean of the two modalities' F1, h the entropy, and Q_p the percentiles of the measured
samples by linear interpolation, ``eq4`` is Equation 4 of the paper, the first match in this order:

* easy: f ≥ Q.75(f) and h ≤ Q.25(h);
* confusing: f ≤ Q.25(f) and h ≥ Q.75(h);
* hard: f ≤ Q.25(f) and h ≤ Q.25(h);
* medium: otherwise.

``released`` is the cascade of the released code, again the first match:

* easy: f ≥ Q.75(f) and h ≤ Q.25(h);
* medium (there "middle"): f ≥ Q.50(f) and h ≤ Q.50(h);
* confusing: f ≥ Q.25(f) and h ≤ Q.75(h);
* hard: otherwise, so confident but wrong, and right but uncertain as well.

Its entropy is another one as well: see :mod:`ffr_train.curriculum.entropy`. What it does beside the
rule is left out here: it reads answers loosely, gives a sample without log-probabilities the
entropy 10, and drops easy and medium samples whose gold is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    LevelArray: TypeAlias = NDArray[np.int8]

Rule: TypeAlias = Literal["eq4", "released"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)

LEVELS: Final = ("easy", "medium", "confusing", "hard")
"""Levels by code, easiest first."""

EASY, MEDIUM, CONFUSING, HARD = range(4)
UNKNOWN: Final = -1
"""The code of a sample that was not measured."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The percentiles that levels depend on; NaN if nothing was measured.

    Attributes:
        f1: The 25th, 50th and 75th percentile of F1.
        entropy: Those of the entropy.
    """

    f1: tuple[float, float, float]
    entropy: tuple[float, float, float]


def thresholds(f1: ArrayLike, entropy: ArrayLike) -> Thresholds:
    """The percentiles of the measured samples.

    Args:
        f1: Of each sample; NaN where it is not known.
        entropy: Of each sample; NaN where it is not known. Both must be known for a sample to
            count.
    """
    f, h, measured = _columns(f1, entropy)
    return _thresholds(f[measured], h[measured])


def assign(f1: ArrayLike, entropy: ArrayLike, rule: str = "eq4") -> LevelArray:
    """The level of each sample.

    Args:
        f1: Of each sample; NaN where it is not known.
        entropy: Of each sample; NaN where it is not known.
        rule: ``eq4`` or ``released``.

    Returns:
        Codes of :data:`LEVELS`, and :data:`UNKNOWN` where F1 or entropy is not known, shape
        ``(n,)``.

    Raises:
        InputError: If there is no such rule.
    """
    require_rule(rule)
    f, h, measured = _columns(f1, entropy)
    f25, f50, f75, h25, h50, h75 = _six(_thresholds(f[measured], h[measured]))
    if rule == "eq4":
        codes = np.full(len(f), MEDIUM, dtype=np.int8)
        wrong = f <= f25
        codes[wrong & (h <= h25)] = HARD
        codes[wrong & (h >= h75)] = CONFUSING
    else:
        codes = np.full(len(f), HARD, dtype=np.int8)
        codes[(f >= f25) & (h <= h75)] = CONFUSING
        codes[(f >= f50) & (h <= h50)] = MEDIUM
    codes[(f >= f75) & (h <= h25)] = EASY
    codes[~measured] = UNKNOWN
    return codes


def require_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises:
        InputError: If there is no such rule.
    """
    if rule not in RULES:
        message = f"there is no rule {rule!r} for levels"
        raise InputError(message, field="rule", remedy=nearest(rule, RULES))


def _columns(f1: ArrayLike, entropy: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    f, h = (np.asarray(values, dtype=np.float64) for values in (f1, entropy))
    if f.ndim != 1 or f.shape != h.shape:
        raise ValueError(f"F1 has shape {f.shape}, entropy {h.shape}")
    return f, h, np.isfinite(f) & np.isfinite(h)


def _thresholds(f: FloatArray, h: FloatArray) -> Thresholds:
    if not len(f):
        unknown = (np.nan, np.nan, np.nan)
        return Thresholds(unknown, unknown)
    f25, f50, f75 = np.percentile(f, (25, 50, 75)).tolist()
    h25, h50, h75 = np.percentile(h, (25, 50, 75)).tolist()
    return Thresholds((f25, f50, f75), (h25, h50, h75))


def _six(found: Thresholds) -> tuple[float, ...]:
    return (*found.f1, *found.entropy)
