"""What holds of every order: nothing is lost, nothing comes early, the same seed says the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_train.curriculum.levels import EASY, HARD, LEVELS, MEDIUM, UNKNOWN
from ffr_train.curriculum.schedule import UNMEASURED, order

codes = st.lists(st.integers(UNKNOWN, HARD), max_size=80).map(lambda c: np.array(c, dtype=np.int8))
replays = st.sampled_from([0.0, 0.3, 0.5, 1.0])
batches = st.integers(1, 24)


def rank(code: int) -> int:
    """Levels in the order of training."""
    return len(LEVELS) if code == UNKNOWN else code


@given(codes, replays, batches, st.integers(0, 3))
def test_properties(levels: np.ndarray, replay: float, batch: int, seed: int) -> None:
    found = order(levels, replay=replay, multiple_of=batch, seed=seed)
    # every row occurs, and the length is a whole number of batches
    assert set(found.rows.tolist()) == set(range(len(levels)))
    assert len(found) % batch == 0
    assert len(found) == len(found.rows) >= len(levels)
    # stages follow each other, easiest first, and their pools grow to all rows
    ranks = [LEVELS.index(s.level) if s.level in LEVELS else len(LEVELS) for s in found.stages]
    assert ranks == sorted({rank(code) for code in levels.tolist()})
    bounds = [0, *(stage.stop for stage in found.stages)]
    assert [stage.start for stage in found.stages] == bounds[:-1]
    assert bounds[-1] == len(found)
    pools = [stage.pool for stage in found.stages]
    assert pools == sorted(set(pools))
    assert not pools or pools[-1] == len(levels)
    seen = 0
    for place, (stage, top) in enumerate(zip(found.stages, ranks, strict=True)):
        shown = [rank(code) for code in levels[found.rows[stage.start : stage.stop]].tolist()]
        assert max(shown) == top  # nothing harder than the stage
        number = Counter(shown)[top]
        new = sum(rank(code) == top for code in levels.tolist())
        again = round(replay * seen)
        last = place == len(found.stages) - 1
        assert stage.stop - stage.start == new + again + (found.n_filled if last else 0)
        if not last:
            rows = found.rows[stage.start : stage.stop].tolist()
            assert number == new
            assert len(rows) == len(set(rows))  # drawn without repetition
        seen += new
    # the same again
    again_found = order(levels, replay=replay, multiple_of=batch, seed=seed)
    assert again_found.rows.tolist() == found.rows.tolist()
    assert again_found.stages == found.stages


@given(codes, st.integers(0, 3))
def test_without_replay_each_row_once_by_level(levels: np.ndarray, seed: int) -> None:
    found = order(levels, replay=0.0, seed=seed)
    assert sorted(found.rows.tolist()) == list(range(len(levels)))
    assert found.n_filled == 0
    shown = [rank(code) for code in levels[found.rows].tolist()]
    assert shown == sorted(shown)


def test_the_pool_grows() -> None:
    levels = np.repeat([EASY, MEDIUM, HARD, UNKNOWN], [3, 4, 2, 1])
    found = order(levels, multiple_of=8, seed=1)
    assert [tuple(stage) for stage in found.stages] == [
        ("easy", 0, 3, 3),
        ("medium", 3, 10, 7),
        ("hard", 10, 19, 9),
        (UNMEASURED, 19, 32, 10),
    ]
    assert found.n_filled == 3
    assert sorted(found.rows[:3].tolist()) == [0, 1, 2]
    assert sorted(found.rows[3:10].tolist()) == list(range(7))
    assert sorted(found.rows[10:19].tolist()) == list(range(9))
    assert sorted(found.rows[19:29].tolist()) == list(range(10))
    shown = Counter(found.rows.tolist())
    assert shown[0] >= 4  # the easiest are shown in each stage
    assert len(set(found.rows[29:].tolist())) == 3  # filled up with different rows


def test_the_hardest_rows_are_not_lost_to_the_last_batch() -> None:
    levels = np.repeat([EASY, HARD], [61, 1])
    for seed in range(20):
        found = order(levels, replay=0.0, multiple_of=32, seed=seed)
        whole = found.rows[: len(found) // 32 * 32]  # what a trainer that drops the rest shows
        assert 61 in whole.tolist()
        assert set(whole.tolist()) == set(range(62))


def test_seeds_differ_and_rows_are_shuffled() -> None:
    levels = np.zeros(50, dtype=np.int8)
    first, second = (order(levels, seed=seed).rows.tolist() for seed in (0, 1))
    assert first != second
    assert first != sorted(first)


def test_filling_may_take_a_stage_several_times() -> None:
    found = order([EASY], multiple_of=5)
    assert found.rows.tolist() == [0] * 5
    assert found.n_filled == 4
    assert found.stages[0].stop == 5


def test_nothing() -> None:
    found = order([], multiple_of=4)
    assert found.rows.tolist() == []
    assert found.rows.dtype == np.int64
    assert found.stages == ()


@pytest.mark.parametrize(
    ("levels", "more"),
    [
        ([0], {"replay": 1.5}),
        ([0], {"replay": -0.1}),
        ([0], {"multiple_of": 0}),
        ([4], {}),
        ([-2], {}),
        ([0.5], {}),
        ([[0]], {}),
    ],
)
def test_wrong_arguments(levels: list, more: dict) -> None:
    with pytest.raises(ValueError, match=r"replay|multiple_of|levels"):
        order(levels, **more)
