"""Bradley-Terry strengths: against independent solutions, and what must not change them."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from leaderboard.arena.ranking import PRIOR, matches_of, rank, strengths
from leaderboard.arena.top_choices import count_top_choices
from leaderboard.arena.votes import BOTH_BAD, TIE
from tests.leaderboard.arena.conftest import make_vote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.arena.votes import Vote

Table = dict[tuple[str, str], float]  # (winner, loser): how often, ties as half


def wins_of(votes: Sequence[Vote]) -> Table:
    wins: Table = Counter()  # type: ignore[assignment]
    for vote in votes:
        a, b = vote.runs
        if vote.choice == TIE:
            wins[a, b] = wins.get((a, b), 0) + 0.5
            wins[b, a] = wins.get((b, a), 0) + 0.5
        elif vote.choice != BOTH_BAD:
            loser = b if vote.choice == a else a
            wins[vote.choice, loser] = wins.get((vote.choice, loser), 0) + 1
    return wins


def by_optimiser(wins: Table) -> dict[str, float]:
    """Maximum of the posterior, by BFGS on the log-likelihood; the imagined run is at 0."""
    runs = sorted({run for pair in wins for run in pair})
    at = {run: place for place, run in enumerate(runs)}

    def loss(theta: np.ndarray) -> float:
        value = sum(
            times * np.logaddexp(0, theta[at[b]] - theta[at[a]]) for (a, b), times in wins.items()
        )
        half = PRIOR / 2
        return float(value + half * (np.logaddexp(0, theta) + np.logaddexp(0, -theta)).sum())

    found = minimize(loss, np.zeros(len(runs)), method="BFGS", options={"gtol": 1e-9})
    return {run: float(found.x[at[run]]) for run in runs}


def by_mm(wins: Table, steps: int = 20_000) -> dict[str, float]:
    """Hunter's MM algorithm (2004), with the imagined run kept at 1."""
    runs = sorted({run for pair in wins for run in pair})
    p = dict.fromkeys(runs, 1.0)
    for _ in range(steps):
        new = {}
        for run in runs:
            won = sum(times for (a, _), times in wins.items() if a == run) + PRIOR / 2
            met = PRIOR / (p[run] + 1.0)
            for other in runs:
                games = wins.get((run, other), 0) + wins.get((other, run), 0)
                if games:
                    met += games / (p[run] + p[other])
            new[run] = won / met
        if max(abs(math.log(new[run] / p[run])) for run in runs) < 1e-13:
            break
        p = new
    return {run: math.log(value) for run, value in p.items()}


def centred(theta: dict[str, float]) -> dict[str, float]:
    mean = sum(theta.values()) / len(theta)
    return {run: value - mean for run, value in theta.items()}


def found_of(votes: Sequence[Vote], **options: int) -> dict[str, float]:
    ranking = rank(votes, **({"minimum": 1, "replicates": 1} | options))
    return {run.run_id: run.strength for run in ranking.runs if run.strength is not None}


def simulated(theta: dict[str, float], number: int, seed: int, ties: float = 0.1) -> list[Vote]:
    rng = random.Random(seed)
    votes = []
    for turn in range(number):
        a, b = rng.sample(sorted(theta), 2)
        chance = 1 / (1 + math.exp(theta[b] - theta[a]))
        choice = a if rng.random() < chance else b
        if rng.random() < ties:
            choice = rng.choice([TIE, BOTH_BAD])
        votes.append(make_vote(runs=(a, b), choice=choice, dialogue_id=f"d{turn % 97}"))
    return votes


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_those_of_two_other_solvers(seed: int) -> None:
    rng = random.Random(seed)
    theta = {f"m{i}": rng.gauss(0, 1.5) for i in range(2 + 2 * seed)}
    votes = simulated(theta, 60 * len(theta), seed)
    found = found_of(votes)
    for solver in (by_optimiser, by_mm):
        assert found == pytest.approx(centred(solver(wins_of(votes))), abs=1e-4), solver


def test_known_strengths_are_found_again() -> None:
    theta = {"a": 1.2, "b": 0.5, "c": 0.0, "d": -0.4, "e": -1.3}
    ranking = rank(simulated(theta, 8000, 3), replicates=100)
    assert [run.run_id for run in ranking.runs] == list("abcde")
    for run in ranking.runs:
        assert run.strength == pytest.approx(theta[run.run_id], abs=0.15)
        assert run.lo is not None
        assert run.hi is not None
        assert run.lo < run.strength < run.hi
        assert run.hi - run.lo < 0.4


def test_intervals_cover_and_shrink() -> None:
    theta = {"a": 0.6, "b": 0.0, "c": -0.6}
    widths, covered = {}, 0
    for number in (150, 600):
        spans = []
        for seed in range(12):
            votes = simulated(theta, number, seed, ties=0.0)
            for run in rank(votes, replicates=200).runs:
                assert run.lo is not None
                assert run.hi is not None
                spans.append(run.hi - run.lo)
                covered += run.lo <= theta[run.run_id] <= run.hi
        widths[number] = np.mean(spans)
    assert covered >= 0.85 * 72
    assert widths[600] == pytest.approx(widths[150] / 2, rel=0.25)


def test_dialogues_are_drawn_and_not_votes() -> None:
    """The same votes, on few dialogues that agree among themselves, say less."""
    apart, together = [], []
    for turn in range(120):
        choice = "a" if (turn // 20) % 2 else "b"
        apart.append(make_vote(choice=choice, dialogue_id=f"d{turn}"))
        together.append(make_vote(choice=choice, dialogue_id=f"d{turn // 20}"))
    one, other = (rank(votes, replicates=300).runs[0] for votes in (apart, together))
    assert one.strength == pytest.approx(other.strength)
    assert one.hi is not None
    assert one.lo is not None
    assert other.hi is not None
    assert other.lo is not None
    assert other.hi - other.lo > 2 * (one.hi - one.lo)


choices = st.sampled_from(["first", "second", TIE, BOTH_BAD])
drawn_votes = st.lists(
    st.tuples(st.permutations(["a", "b", "c", "d"]), choices, st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


def build(drawn: Sequence[tuple[list[str], str, int]]) -> list[Vote]:
    votes = []
    for (a, b, *_), choice, dialogue in drawn:
        chosen = {"first": a, "second": b}.get(choice, choice)
        votes.append(make_vote(runs=(a, b), choice=chosen, dialogue_id=f"d{dialogue}"))
    return votes


@settings(max_examples=40, deadline=None)
@given(drawn=drawn_votes, seed=st.integers(0, 1000))
def test_neither_sides_nor_order_matter(
    drawn: Sequence[tuple[list[str], str, int]], seed: int
) -> None:
    votes = build(drawn)
    rng = random.Random(seed)
    other = [
        make_vote(runs=vote.runs[::-1] if rng.random() < 0.5 else vote.runs, choice=vote.choice,
                  dialogue_id=vote.dialogue_id)
        for vote in votes
    ]  # fmt: skip
    rng.shuffle(other)
    assert rank(votes, minimum=1, replicates=5) == rank(other, minimum=1, replicates=5)


@settings(max_examples=40, deadline=None)
@given(drawn=drawn_votes)
def test_swapping_two_runs_swaps_their_strengths(
    drawn: Sequence[tuple[list[str], str, int]],
) -> None:
    votes = build(drawn)
    swap = {"a": "b", "b": "a"}
    swapped = [
        make_vote(
            runs=tuple(swap.get(run, run) for run in vote.runs),
            choice=swap.get(vote.choice, vote.choice),
            dialogue_id=vote.dialogue_id,
        )
        for vote in votes
    ]
    before, after = found_of(votes), found_of(swapped)
    # Of groups that never met, the one with most votes is ranked; of several such, the first.
    assume(len(before) == len({run for vote in votes for run in vote.runs}))
    assert {swap.get(run, run): value for run, value in before.items()} == pytest.approx(
        after, abs=1e-6
    )


def test_a_tie_is_half_a_win_for_each() -> None:
    ties = [make_vote(choice=TIE, dialogue_id=str(i)) for i in range(10)]
    halves = [make_vote(choice="ab"[i % 2], dialogue_id=str(i)) for i in range(10)]
    won = [make_vote(choice="a", dialogue_id=str(i)) for i in range(10)]
    assert found_of(ties + won) == pytest.approx(found_of(halves + won), abs=1e-7)
    assert found_of(ties) == pytest.approx({"a": 0.0, "b": 0.0}, abs=1e-9)


def test_both_bad_is_a_rate_and_no_win() -> None:
    won = [make_vote(choice="a", dialogue_id=str(i)) for i in range(10)]
    bad = [make_vote(runs=("b", "a"), choice=BOTH_BAD, dialogue_id=str(i)) for i in range(30)]
    ranking = rank(won + bad, minimum=10, replicates=1)
    assert found_of(won + bad) == found_of(won)
    assert (ranking.n_votes, ranking.n_both_bad) == (40, 30)
    assert [(run.n_votes, run.both_bad) for run in ranking.runs] == [(10, 30), (10, 30)]
    assert rank(won + bad, minimum=11).runs[0].status == "few"


def test_a_run_that_always_wins_is_first_and_finite() -> None:
    """Without the imagined run evalica gives all three the same strength."""
    votes = [make_vote(runs=("a", "b"), choice="a", dialogue_id=str(i)) for i in range(20)]
    votes += [make_vote(runs=("b", "c"), choice="b", dialogue_id=str(i)) for i in range(20)]
    found = found_of(votes)
    assert found["a"] > found["b"] + 1 > found["c"] + 2
    assert all(math.isfinite(value) for value in found.values())
    more = [make_vote(runs=("a", "b"), choice="a", dialogue_id=str(i)) for i in range(200)]
    assert found_of(votes + more)["a"] - found_of(votes + more)["b"] > found["a"] - found["b"]


def test_few_votes_have_no_strength() -> None:
    votes = [make_vote(choice="ab"[i % 2], dialogue_id=str(i)) for i in range(30)]
    votes += [make_vote(runs=("a", "c"), choice="c", dialogue_id=str(i)) for i in range(19)]
    ranking = rank(votes, replicates=10)
    by_id = {run.run_id: run for run in ranking.runs}
    assert by_id["c"].status == "few"
    assert (by_id["c"].strength, by_id["c"].lo) == (None, None)
    assert by_id["a"].status == by_id["b"].status == "ranked"
    assert ranking.runs[-1].run_id == "c"
    votes.append(make_vote(runs=("c", "a"), choice="c"))
    assert rank(votes, replicates=10).runs[0].run_id == "c"


def test_runs_that_never_met_are_not_compared() -> None:
    votes = [make_vote(runs=("a", "b"), choice="a", dialogue_id=str(i)) for i in range(40)]
    votes += [make_vote(runs=("c", "d"), choice="c", dialogue_id=str(i)) for i in range(30)]
    status = {run.run_id: run.status for run in rank(votes, replicates=10).runs}
    assert status == {"a": "ranked", "b": "ranked", "c": "apart", "d": "apart"}
    votes.append(make_vote(runs=("b", "c"), choice="b"))
    status = {run.run_id: run.status for run in rank(votes, replicates=10).runs}
    assert set(status.values()) == {"ranked"}


def test_one_dialogue_has_no_interval() -> None:
    ranking = rank([make_vote(choice="ab"[i % 2]) for i in range(40)])
    assert [(run.strength, run.lo, run.hi) for run in ranking.runs] == [
        (pytest.approx(0, abs=1e-9), None, None)
    ] * 2


def test_without_resamples_there_are_strengths_and_no_intervals() -> None:
    votes = simulated({"a": 1.0, "b": 0.0}, 60, 0)
    with_intervals, without = rank(votes, replicates=20), rank(votes, replicates=0)
    assert [run.strength for run in without.runs] == [run.strength for run in with_intervals.runs]
    assert all((run.lo, run.hi) == (None, None) for run in without.runs)


def test_nothing_is_nothing() -> None:
    ranking = rank([])
    assert (ranking.n_votes, ranking.runs) == (0, ())
    assert [run.status for run in rank([make_vote(choice=BOTH_BAD)]).runs] == ["few", "few"]


def test_the_best_of_several_beats_each_of_the_others() -> None:
    vote = make_vote(form="best_of", runs=("c", "a", "b"), choice="b")
    assert [match[:3] for match in matches_of([vote])] == [("a", "b", "b"), ("b", "c", "b")]


def test_strengths_take_weights() -> None:
    kinds = [("a", "b", 1.0), ("a", "b", 0.0), ("b", "c", 0.5)]
    a, b, outcome = zip(*kinds, strict=True)
    wins = {("a", "b"): 7.0, ("b", "a"): 3.0, ("b", "c"): 2.0, ("c", "b"): 2.0}
    found = strengths(a, b, outcome, np.array([7.0, 3.0, 4.0]))
    assert found == pytest.approx(by_optimiser(wins), abs=1e-5)


def test_top_choices_are_counted() -> None:
    shown = [(("a", "b", "c"), "a")] * 24
    shown += [(("c", "b", "a"), "b")] * 12
    shown += [(("a", "b", "d"), "d")] * 4
    votes = [
        make_vote(form="best_of", runs=runs, choice=choice, dialogue_id=f"d{i % 10}")
        for i, (runs, choice) in enumerate(shown)
    ]
    found = count_top_choices(votes, replicates=200)
    assert (found.n_votes, found.n_dialogues) == (40, 10)
    rows = {run.run_id: run for run in found.runs}
    assert [run.run_id for run in found.runs][:3] == ["a", "b", "d"]
    assert (rows["a"].chosen, rows["a"].shown, rows["a"].share) == (24, 40, 0.6)
    assert (rows["b"].chosen, rows["b"].shown, rows["b"].share) == (12, 40, 0.3)
    assert (rows["c"].chosen, rows["c"].shown, rows["c"].share) == (0, 36, 0.0)
    assert (rows["d"].chosen, rows["d"].shown, rows["d"].share) == (4, 4, None)
    assert rows["a"].lo is not None
    assert rows["a"].hi is not None
    assert 0.4 < rows["a"].lo < 0.6 < rows["a"].hi < 0.8
    assert sum(run.chosen for run in found.runs) == found.n_votes


def test_every_pair_of_matches_is_in_order() -> None:
    votes = [make_vote(runs=pair[::-1], choice=pair[1]) for pair in combinations("abc", 2)]
    assert all(match.a < match.b for match in matches_of(votes))
