"""Whether raters agree: Krippendorff's alpha, and how often two of them choose the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from leaderboard.arena.votes import Vote

Item: TypeAlias = tuple[str, str, str, tuple[str, ...]]
"""Board, sample, form and runs: what several raters may judge by the same criterion."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far raters agree by one criterion.

    Attributes:
        alpha: Krippendorff's alpha for categories: 1 if all agree, 0 if as by chance; ``None`` if
            nobody disagrees because only one answer was ever given, or no item has two ratings.
        same: Chance that two raters of an item chose the same, averaged over items, 0-1.
        n_items: Items with two or more ratings.
        n_raters: Who rated them.
    """

    alpha: float | None
    same: float | None
    n_items: int
    n_raters: int


def agreement(votes: Iterable[Vote]) -> Agreement:
    """Agreement among raters, on votes by one criterion.

    The answers are *the first run*, *the second run* …, in the order of their ids and not of the
    sides they were shown on, and *tie* and *both bad*. If a rater judged an item twice, the later
    vote counts.
    """
    ratings: dict[Item, dict[tuple[str, str], str]] = defaultdict(dict)
    for vote in votes:
        ratings[_item(vote)][vote.rater_kind, vote.rater] = _answer(vote, vote.choice)
    several = [found for _, found in sorted(ratings.items()) if len(found) > 1]
    raters = {rater for found in several for rater in found}
    return _agreement([list(found.values()) for found in several], len(raters))


def agreement_of_kinds(votes: Iterable[Vote]) -> Agreement:
    """Agreement between people and judge models, on the items that both rated.

    What people say of an item is the answer that most of them gave, and so for judges; items on
    which there is no such answer are left out.
    """
    ratings: dict[Item, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for vote in votes:
        ratings[_item(vote)][vote.rater_kind][vote.rater] = _answer(vote, vote.choice)
    pairs = []
    for _, found in sorted(ratings.items()):
        human, judge = (_most_given(found.get(kind, {})) for kind in ("human", "judge"))
        if human is not None and judge is not None:
            pairs.append([human, judge])
    return _agreement(pairs, 2 if pairs else 0)


def _agreement(items: Sequence[Sequence[str]], n_raters: int) -> Agreement:
    if not items:
        return Agreement(None, None, 0, 0)
    same = [
        np.mean([first == second for first, second in combinations(given, 2)]) for given in items
    ]
    answers = sorted({answer for given in items for answer in given})
    alpha = None
    if len(answers) > 1:
        import krippendorff

        counts = np.array([[given.count(answer) for answer in answers] for given in items])
        alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    return Agreement(alpha, float(np.mean(same)), len(items), n_raters)


def _item(vote: Vote) -> Item:
    return vote.board_id, vote.sample_id, vote.form, vote.run_set


def _answer(vote: Vote, choice: str) -> str:
    runs = vote.run_set
    return f"run {runs.index(choice)}" if choice in runs else choice


def _most_given(answers: Mapping[str, str]) -> str | None:
    counts = Counter(answers.values()).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
