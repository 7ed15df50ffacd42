from __future__ import annotations

import math

import numpy as np
import pytest

from ffr_eval.statistics import dialogues_needed


def test_the_textbook_figure() -> None:
    # 80 % power at 5 %: 2.8 standard errors, so (1.960 + 0.842)**2 = 7.849 times the variance.
    assert dialogues_needed(1.0, 1.0, 100) == 785
    assert dialogues_needed(-1.0, 1.0, 100) == 785
    assert dialogues_needed(0.5, 1.0, 100) == math.ceil(4 * 784.888)
    assert dialogues_needed(1.0, 1.0, 100, power=0.9) == 1051
    assert dialogues_needed(1.0, 1.0, 100, alpha=0.01) == 1168


def test_the_power_is_reached_by_simulation() -> None:
    rng = np.random.default_rng(0)
    needed = dialogues_needed(0.1, 0.5 / 50**0.5, 50)
    assert needed == 197
    found = rng.normal(0.1, 0.5, (20_000, needed)).mean(axis=1)
    assert np.mean(np.abs(found) > 1.96 * 0.5 / needed**0.5) == pytest.approx(0.8, abs=0.01)


def test_edges() -> None:
    nan = float("nan")
    assert dialogues_needed(0.0, 0.1, 100) is None
    assert dialogues_needed(0.1, nan, 100) is None
    assert dialogues_needed(nan, 0.1, 100) is None
    assert dialogues_needed(0.1, math.inf, 100) is None
    assert dialogues_needed(0.1, 0.0, 100) == 6  # five dialogues cannot give p <= 0.05
    assert dialogues_needed(100.0, 0.1, 100) == 6
    assert dialogues_needed(5e-324, 1e300, 100) is None
    assert dialogues_needed(0.1, 0.1, 100, power=0.001) == 6
    assert dialogues_needed(0.1, 0.1, 100, power=0.0001) == 6


@pytest.mark.parametrize(
    "more", [{"alpha": 0}, {"alpha": 1}, {"power": 1}, {"power": 0}, {"n_dialogues": -1}]
)
def test_unusable(more: dict) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|negative"):
        dialogues_needed(**{"delta": 0.1, "standard_error": 0.1, "n_dialogues": 9, **more})
