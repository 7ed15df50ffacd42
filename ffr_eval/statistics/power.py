"""How many dialogues it takes to detect a difference."""

from __future__ import annotations

import math
from statistics import NormalDist


def dialogues_needed(
    delta: float,
    standard_error: float,
    n_dialogues: int,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Dialogues needed for a two-sided test at ``alpha`` to find a difference with ``power``.

    ``n ((z_{1 - alpha/2} + z_power) se / |delta|)**2``, rounded up, and at least as many as a
    sign-flip test needs for such a p-value at all (6 at 0.05). It assumes that the
    difference is about normal with a standard error that falls with the root of the number of
    dialogues, that further dialogues are like those at hand (with as many queries each), that
    ``delta`` is the true difference, not one that was picked because it was large, and that one
    test is made. It is a rough plan; from fewer than some 30 dialogues the standard error itself
    is uncertain.

    Args:
        delta: The difference to find, in the unit of the metric.
        standard_error: The standard error of the paired difference over ``n_dialogues``.
        n_dialogues: How many dialogues that standard error is of.
        alpha: The accepted probability of finding a difference where there is none.
        power: The wanted probability of finding the difference.

    Returns:
        The number of dialogues; None where no number would do (``delta`` is 0) or where it is not
        known (``delta`` or the standard error is NaN or infinite).

    Raises:
        ValueError: If ``alpha`` or ``power`` is not between 0 and 1, or the standard error or the
            number of dialogues is negative.
    """
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"alpha and power are between 0 and 1, got {alpha} and {power}")
    if standard_error < 0 or n_dialogues < 0:
        raise ValueError("a standard error or a number of dialogues cannot be negative")
    if delta == 0 or not (math.isfinite(delta) and math.isfinite(standard_error)):
        return None
    normal = NormalDist()
    # A power below alpha/2 is had without any dialogues, hence the 0.
    distance = max(0.0, normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power))
    needed = n_dialogues * (distance * standard_error / abs(delta)) ** 2
    # With c dialogues a two-sided sign-flip p-value is at least 2 / 2**c.
    least = max(2, math.ceil(1 - math.log2(alpha)))
    return max(least, math.ceil(needed)) if math.isfinite(needed) else None
