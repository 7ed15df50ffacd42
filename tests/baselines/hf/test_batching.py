"""Batches of nearly the same length."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from baselines.hf.batching import Entry, Limits, batches

LIMITS = Limits(rows=4, tokens=4000, answer=100)


def entries(n: int, seed: int = 0, dialogues: int = 20) -> list[Entry[int]]:
    rng = random.Random(seed)
    return [
        Entry(k, rng.choice((50, 200, 700, 1500)) + rng.randrange(40), f"d{k % dialogues}")
        for k in range(n)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_batches_keep_to_their_limits_and_lose_nothing(seed: int) -> None:
    made = batches(entries(100, seed), LIMITS)
    assert sorted(entry.item for batch in made for entry in batch) == list(range(100))
    for batch in made:
        longest = max(entry.length for entry in batch)
        assert len(batch) <= 4
        assert len(batch) == 1 or len(batch) * (longest + 100) <= 4000
    longest_of = [max(entry.length for entry in batch) for batch in made]
    assert all(after <= before + 64 for before, after in pairwise(longest_of))


def test_the_same_entries_make_the_same_batches() -> None:
    assert batches(entries(100), LIMITS) == batches(entries(100), LIMITS)


def test_little_padding() -> None:
    data = entries(200)
    made = batches(data, Limits(8, 10**6, 100))
    used = sum(entry.length for entry in data)
    padded = sum(len(batch) * max(entry.length for entry in batch) for batch in made)
    unsorted = [data[k : k + 8] for k in range(0, 200, 8)]
    before = sum(len(batch) * max(entry.length for entry in batch) for batch in unsorted)
    assert padded < 1.15 * used
    assert before > 1.5 * used


def test_requests_of_a_dialogue_stay_together() -> None:
    """Those whose lengths differ little, although the dialogues come mixed."""
    data = [Entry(k, 1000 + k % 3, f"d{k % 4}") for k in range(16)]
    made = batches(data, Limits(4, 10**6, 100))
    assert [{entry.group for entry in batch} for batch in made] == [{f"d{k}"} for k in range(4)]


def test_one_that_is_larger_than_a_batch_may_be() -> None:
    assert [len(batch) for batch in batches([Entry(0, 9000, "d")], LIMITS)] == [1]
    assert batches([], LIMITS) == []
