"""Which run is preferred: Bradley-Terry strengths from pairs, with intervals over dialogues.

The chance that run *i* is preferred to run *j* is ``1 / (1 + exp(θj - θi))`` (Bradley & Terry
1952). A tie is half a win for each; a vote that both are bad is no win for either, and is counted
apart.

Each run also has one tie with an imagined run (half a win and half a loss; the logistic prior of
Newman 2023, at half its weight). Without it the strength of a run that always wins is infinite, and
evalica then gives all runs the same strength; with it such a run comes out first, by as much as its
number of votes is worth.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from ffr_eval.statistics.intervals import percentile_interval
from leaderboard.arena.votes import BOTH_BAD, TIE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from leaderboard.arena.votes import Vote

    FloatArray: TypeAlias = npt.NDArray[np.float64]

MINIMUM: Final = 20
"""Votes that a run needs, by criterion, to have a strength."""
REPLICATES: Final = 1000
PRIOR: Final = 1.0
"""Ties of each run with the imagined one."""

_TOLERANCE: Final = 1e-10
_MOST_STEPS: Final = 10_000

Status: TypeAlias = Literal["ranked", "few", "apart"]


class Match(NamedTuple):
    """A comparison of two runs on a dialogue.

    Attributes:
        winner: Which is preferred; ``None``: a tie.
    """

    a: str
    b: str
    winner: str | None
    dialogue: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Strength:
    """How a run did.

    Attributes:
        strength: θ, less the mean of all ranked runs; ``None`` unless ``status`` is ``ranked``.
        lo, hi: Its 95% interval; ``None`` if the votes are on fewer than two dialogues, or nothing
            was resampled.
        n_votes: Votes that say something of it.
        wins, ties, losses: Against other runs; a choice of the best of N is N - 1 wins.
        both_bad: Votes that neither is good.
        status: ``few``: not enough votes. ``apart``: never compared, not even through others, with
            the runs that most votes are on.
    """

    run_id: str
    strength: float | None
    lo: float | None
    hi: float | None
    n_votes: int
    wins: int
    ties: int
    losses: int
    both_bad: int
    status: Status


@dataclass(frozen=True, slots=True)
class Ranking:
    """The runs by strength, best first; then those without one, by votes.

    Attributes:
        n_votes: All votes, those that both are bad included.
    """

    n_votes: int
    n_ties: int
    n_both_bad: int
    n_dialogues: int
    runs: tuple[Strength, ...]


def matches_of(votes: Iterable[Vote]) -> list[Match]:
    """What votes say of who is better, as pairs.

    The choice of a best one is a win over each of the others: not independent of each other, which
    the intervals allow for, as they draw whole dialogues.
    """
    matches = []
    for vote in votes:
        dialogue = (vote.board_id, vote.dialogue_id or vote.sample_id)
        if vote.choice == BOTH_BAD:
            continue
        if vote.choice == TIE:
            a, b = vote.run_set
            matches.append(Match(a, b, None, dialogue))
            continue
        for other in vote.run_set:
            if other != vote.choice:
                a, b = sorted((vote.choice, other))
                matches.append(Match(a, b, vote.choice, dialogue))
    return matches


def rank(
    votes: Sequence[Vote],
    *,
    minimum: int = MINIMUM,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Ranking:
    """Rank the runs by votes of one board, criterion and form.

    Neither the order of the votes nor the sides on which runs were shown make a difference.

    Args:
        votes: The votes.
        minimum: Votes that a run needs.
        replicates: Bootstrap resamples of dialogues; 0: no intervals.
        seed: Of the resamples.
    """
    matches = sorted(matches_of(votes), key=lambda match: (match[:2], match.winner or "", match[3]))
    bad = Counter(run for vote in votes if vote.choice == BOTH_BAD for run in vote.runs)
    wins = Counter(match.winner for match in matches if match.winner is not None)
    ties = Counter(run for match in matches if match.winner is None for run in match[:2])
    games = Counter(run for match in matches for run in match[:2])
    counted = Counter(run for vote in votes if vote.choice != BOTH_BAD for run in vote.runs)
    together = _largest_group(matches)
    runs = sorted({run for vote in votes for run in vote.runs})
    status: dict[str, Status] = {
        run: "few" if counted[run] < minimum else "ranked" if run in together else "apart"
        for run in runs
    }
    ranked = [run for run in runs if status[run] == "ranked"]
    compared = [match for match in matches if match.a in together]
    estimate, low, high = _estimate(compared, ranked, replicates, seed)
    found = [
        Strength(
            run,
            estimate.get(run),
            low.get(run),
            high.get(run),
            counted[run],
            wins[run],
            ties[run],
            games[run] - wins[run] - ties[run],
            bad[run],
            status[run],
        )
        for run in runs
    ]
    found.sort(key=lambda row: (row.strength is None, -(row.strength or 0.0), -row.n_votes))
    return Ranking(
        len(votes),
        sum(vote.choice == TIE for vote in votes),
        sum(vote.choice == BOTH_BAD for vote in votes),
        len({(vote.board_id, vote.dialogue_id or vote.sample_id) for vote in votes}),
        tuple(found),
    )


def strengths(
    a: Sequence[str], b: Sequence[str], outcome: Sequence[float], weight: FloatArray
) -> dict[str, float]:
    """θ of each run; the imagined run is at 0.

    Args:
        a: The first run of each row.
        b: The second.
        outcome: 1 if the first won, 0 if the second, ½ for a tie.
        weight: How often that happened, shape ``(rows,)``.
    """
    from evalica import Winner, bradley_terry

    runs = sorted({*a, *b})
    imagined = ""  # no run has this id
    said = {1.0: Winner.X, 0.0: Winner.Y, 0.5: Winner.Draw}
    fitted = bradley_terry(
        [*a, *runs],
        [*b, *[imagined] * len(runs)],
        [*(said[value] for value in outcome), *[Winner.Draw] * len(runs)],
        weights=[*weight.tolist(), *[PRIOR] * len(runs)],
        tolerance=_TOLERANCE,
        limit=_MOST_STEPS,
    )
    scores = fitted.scores.to_dict()
    zero = math.log(scores[imagined])
    return {run: math.log(scores[run]) - zero for run in runs}


def _estimate(
    matches: Sequence[Match],
    ranked: Sequence[str],
    replicates: int,
    seed: int,
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Strengths of the ranked runs, and the ends of their intervals."""
    if not ranked:
        return {}, {}, {}
    kinds = sorted({match[:3] for match in matches}, key=lambda kind: (kind[:2], kind[2] or ""))
    number = {kind: place for place, kind in enumerate(kinds)}
    kind_of = np.array([number[match[:3]] for match in matches])
    dialogues = {name: place for place, name in enumerate(sorted({match[3] for match in matches}))}
    dialogue_of = np.array([dialogues[match.dialogue] for match in matches])
    a, b = [kind[0] for kind in kinds], [kind[1] for kind in kinds]
    outcome = [0.5 if kind[2] is None else float(kind[2] == kind[0]) for kind in kinds]

    def fit(times: FloatArray) -> FloatArray:
        weight = np.bincount(kind_of, times[dialogue_of], len(kinds)).astype(np.float64)
        found = strengths(a, b, outcome, weight)
        values = np.array([found[run] for run in ranked], dtype=np.float64)
        return np.asarray(values - values.mean(), dtype=np.float64)

    estimate = dict(zip(ranked, fit(np.ones(len(dialogues))).tolist(), strict=True))
    if len(dialogues) < 2 or not replicates:
        return estimate, {}, {}
    rng = np.random.default_rng(seed)
    drawn = np.empty((replicates, len(ranked)))
    for row in range(replicates):
        cells = rng.integers(0, len(dialogues), len(dialogues))
        drawn[row] = fit(np.bincount(cells, minlength=len(dialogues)).astype(np.float64))
    intervals = {run: percentile_interval(drawn[:, at]) for at, run in enumerate(ranked)}
    return (
        estimate,
        {run: found.lo for run, found in intervals.items() if found is not None},
        {run: found.hi for run, found in intervals.items() if found is not None},
    )


def _largest_group(matches: Sequence[Match]) -> set[str]:
    """The runs that are compared with each other, if only through others, in most of the votes."""
    group: dict[str, set[str]] = {}
    for a, b in {match[:2] for match in matches}:
        joined = group.get(a, {a}) | group.get(b, {b})
        group.update(dict.fromkeys(joined, joined))
    votes = Counter(min(group[match.a]) for match in matches)
    if not votes:
        return set()
    most = max(sorted(votes), key=votes.__getitem__)
    return group[most]
