"""Agreement: against another implementation, and by hand."""

from __future__ import annotations

import random
from collections import defaultdict

import evalica
import numpy as np
import pandas as pd
import pytest

from leaderboard.arena.agreement import agreement, agreement_of_kinds
from leaderboard.arena.votes import BOTH_BAD, TIE
from tests.leaderboard.arena.conftest import make_vote


def test_all_agree() -> None:
    votes = [
        make_vote(sample_id=f"d#{i}", rater=rater, choice="ab"[i % 2], runs=runs)
        for i in range(6)
        for rater, runs in (("r1", ("a", "b")), ("r2", ("b", "a")))
    ]
    found = agreement(votes)
    assert (found.alpha, found.same, found.n_items, found.n_raters) == (1.0, 1.0, 6, 2)


def test_by_hand() -> None:
    """Three items of two raters: two agree on a, one is a against b.

    Of the six answers five are "run 0" and one is "run 1". Observed disagreement 2/6; expected
    2·5·1/(6·5) = 1/3. So alpha is 1 - (1/3)/(1/3) = 0.
    """
    votes = [
        make_vote(sample_id=f"d#{i}", rater=rater, choice=choice)
        for i, chosen in enumerate(["aa", "aa", "ab"])
        for rater, choice in zip(("r1", "r2"), chosen, strict=True)
    ]
    found = agreement(votes)
    assert found.alpha == pytest.approx(0.0, abs=1e-12)
    assert found.same == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_that_of_another_implementation(seed: int) -> None:
    rng = random.Random(seed)
    codes = {"a": 0.0, "b": 1.0, TIE: 2.0, BOTH_BAD: 3.0}
    votes, table = [], defaultdict(dict)
    for item in range(60):
        truth = rng.choice(list(codes))
        for rater in rng.sample(["r1", "r2", "r3", "r4"], rng.randint(1, 4)):
            choice = truth if rng.random() < 0.6 else rng.choice(list(codes))
            runs = rng.choice([("a", "b"), ("b", "a")])
            votes.append(make_vote(sample_id=str(item), rater=rater, choice=choice, runs=runs))
            table[rater][item] = codes[choice]
    data = pd.DataFrame(table).T.astype(float)
    rng.shuffle(votes)
    assert agreement(votes).alpha == pytest.approx(evalica.alpha(data, "nominal").alpha)
    columns = [data[item].dropna().tolist() for item in data]
    by_item = [
        np.mean([x == y for at, x in enumerate(given) for y in given[at + 1 :]])
        for given in columns
        if len(given) > 1
    ]
    assert agreement(votes).same == pytest.approx(np.mean(by_item))
    assert agreement(votes).n_items == len(by_item)


def test_one_answer_alone_has_no_alpha() -> None:
    votes = [make_vote(sample_id=f"d#{i}", rater=r) for i in range(5) for r in ("r1", "r2")]
    found = agreement(votes)
    assert (found.alpha, found.same) == (None, 1.0)


def test_what_is_rated_once_does_not_count() -> None:
    votes = [make_vote(), make_vote(choice="b"), make_vote(runs=("a", "c"), rater="r2")]
    found = agreement(votes)  # the same rater twice; another pair
    assert (found.alpha, found.same, found.n_items, found.n_raters) == (None, None, 0, 0)


def test_the_later_vote_of_a_rater_counts() -> None:
    votes = [make_vote(choice="b"), make_vote(rater="r2"), make_vote(choice="a")]
    assert agreement(votes).same == 1.0


def test_judges_against_people() -> None:
    """The answer of most; items without one, or of one kind alone, are left out."""

    def rated(item: int, human: str, judge: str) -> list[object]:
        return [
            make_vote(sample_id=f"d#{item}", rater=f"{kind}{i}", rater_kind=kind, choice=choice)
            for kind, chosen in (("human", human), ("judge", judge))
            for i, choice in enumerate(chosen)
        ]

    items = [("aab", "a"), ("b", "bb"), ("ab", "a"), ("a", ""), ("bba", "aab")]
    votes = [vote for i, (human, judge) in enumerate(items) for vote in rated(i, human, judge)]
    found = agreement_of_kinds(votes)  # type: ignore[arg-type]
    assert found.n_items == 3
    assert found.same == pytest.approx(2 / 3)
    assert found.alpha is not None
    assert agreement_of_kinds([make_vote()]).n_items == 0
