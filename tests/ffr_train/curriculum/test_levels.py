"""Equation 4 at every boundary, against a slow reference, and the cascade of the released code."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.errors import InputError
from ffr_train.curriculum.levels import LEVELS, UNKNOWN, assign, thresholds

FIVE = (0.0, 0.25, 0.5, 0.75, 1.0)  # as often as one another, their quartiles are 0.25, 0.5, 0.75


def names(codes: np.ndarray) -> list[str]:
    return [LEVELS[code] for code in codes.tolist()]


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Each F1 with each entropy: 25 samples whose quartiles are members."""
    f1, entropy = np.array(list(product(FIVE, FIVE))).T
    return f1.copy(), entropy.copy()


def at(f1: float, entropy: float) -> int:
    """The place of a sample of the grid."""
    return FIVE.index(f1) * 5 + FIVE.index(entropy)


# rows: F1 0 to 1; columns: entropy 0 to 1
EQ4 = """
    hard    hard    medium  confusing confusing
    hard    hard    medium  confusing confusing
    medium  medium  medium  medium    medium
    easy    easy    medium  medium    medium
    easy    easy    medium  medium    medium
"""
RELEASED = """
    hard    hard    hard    hard      hard
    confusing confusing confusing confusing hard
    medium  medium  medium  confusing hard
    easy    easy    medium  confusing hard
    easy    easy    medium  confusing hard
"""


@pytest.mark.parametrize(("rule", "expected"), [("eq4", EQ4), ("released", RELEASED)])
def test_every_part_of_the_plane(rule: str, expected: str) -> None:
    f1, entropy = grid()
    found = thresholds(f1, entropy)
    assert found.f1 == found.entropy == (0.25, 0.5, 0.75)
    assert names(assign(f1, entropy, rule)) == expected.split()


@pytest.mark.parametrize(
    ("where", "f1_towards", "entropy_towards", "at_it", "beyond"),
    [
        # f ≥ Q.75 and h ≤ Q.25
        ((0.75, 0.25), 0.0, None, "easy", "medium"),
        ((0.75, 0.25), None, 1.0, "easy", "medium"),
        # f ≤ Q.25 and h ≥ Q.75
        ((0.25, 0.75), 1.0, None, "confusing", "medium"),
        ((0.25, 0.75), None, 0.0, "confusing", "medium"),
        # f ≤ Q.25 and h ≤ Q.25
        ((0.25, 0.25), 1.0, None, "hard", "medium"),
        ((0.25, 0.25), None, 1.0, "hard", "medium"),
    ],
)
def test_at_a_threshold_and_just_beyond(
    where: tuple[float, float],
    f1_towards: float | None,
    entropy_towards: float | None,
    at_it: str,
    beyond: str,
) -> None:
    """The thresholds stay: four other samples have the same value."""
    f1, entropy = grid()
    place = at(*where)
    assert names(assign(f1, entropy))[place] == at_it
    if f1_towards is not None:
        f1[place] = math.nextafter(f1[place], f1_towards)
    if entropy_towards is not None:
        entropy[place] = math.nextafter(entropy[place], entropy_towards)
    assert thresholds(f1, entropy) == thresholds(*grid())
    assert names(assign(f1, entropy))[place] == beyond


def test_thresholds_between_two_samples_are_interpolated() -> None:
    found = thresholds([0.0, 1.0], [2.0, 6.0])
    assert found.f1 == (0.25, 0.5, 0.75)
    assert found.entropy == (3.0, 4.0, 5.0)
    assert names(assign([0.0, 1.0], [2.0, 6.0])) == ["hard", "medium"]
    assert names(assign([0.0, 1.0], [6.0, 2.0])) == ["confusing", "easy"]


def test_equal_samples_match_the_first_rule() -> None:
    assert names(assign([0.5] * 4, [0.1] * 4)) == ["easy"] * 4
    assert names(assign([0.0], [9.0])) == ["easy"]
    # all F1 equal: easy before hard, confusing by the entropy alone
    assert names(assign([1.0] * 5, list(FIVE))) == ["easy", "easy", "medium", *["confusing"] * 2]
    # all entropies equal: easy, then confusing before hard
    assert names(assign(list(FIVE), [0.3] * 5)) == [*["confusing"] * 2, "medium", "easy", "easy"]


def test_unmeasured_samples_have_no_level_and_no_say() -> None:
    f1, entropy = grid()
    alone = assign(f1, entropy)
    more_f1 = np.concatenate([[np.nan, 0.0, np.nan], f1])
    more_entropy = np.concatenate([[np.nan, np.nan, 50.0], entropy])
    found = assign(more_f1, more_entropy)
    assert found[:3].tolist() == [UNKNOWN] * 3
    assert found[3:].tolist() == alone.tolist()
    assert found.dtype == np.int8
    assert assign([np.nan], [np.nan]).tolist() == [UNKNOWN]
    assert assign([], []).tolist() == []
    assert math.isnan(thresholds([], []).f1[0])


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="there is no rule 'eq5'") as caught:
        assign([0.0], [0.0], "eq5")
    assert "eq4" in (caught.value.problem.remedy or "")
    with pytest.raises(ValueError, match="shape"):
        assign([0.0], [0.0, 1.0])


def reference(f1: list[float], entropy: list[float]) -> list[str]:
    """Equation 4, sample by sample, in exact arithmetic."""

    def percentile(values: list[float], share: Fraction) -> Fraction:
        ordered = [Fraction(value) for value in sorted(values)]
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    low, high = Fraction(1, 4), Fraction(3, 4)
    levels = []
    for f, h in zip(f1, entropy, strict=True):
        good = f >= percentile(f1, high)
        bad = f <= percentile(f1, low)
        sure = h <= percentile(entropy, low)
        unsure = h >= percentile(entropy, high)
        if good and sure:
            levels.append("easy")
        elif bad and unsure:
            levels.append("confusing")
        elif bad and sure:
            levels.append("hard")
        else:
            levels.append("medium")
    return levels


# Binary fractions: quarters between two of them are exact, so both must agree to the last bit.
few = st.integers(0, 8).map(lambda k: k / 8)
many = st.integers(0, 4096).map(lambda k: k / 1024)


@given(st.lists(st.tuples(few, st.one_of(few, many)), min_size=1, max_size=60))
def test_equals_the_reference(samples: list[tuple[float, float]]) -> None:
    f1, entropy = (list(column) for column in zip(*samples, strict=True))
    assert names(assign(f1, entropy)) == reference(f1, entropy)


@given(st.lists(st.tuples(few, many), min_size=1, max_size=60), st.randoms())
def test_order_of_samples_does_not_matter(samples: list[tuple[float, float]], shuffle) -> None:
    f1, entropy = np.array(samples).T
    places = list(range(len(samples)))
    shuffle.shuffle(places)
    for rule in ("eq4", "released"):
        expected = assign(f1, entropy, rule)[places]
        assert assign(f1[places], entropy[places], rule).tolist() == expected.tolist()
