"""What the votes on a board say, by criterion: of people, of judges, or of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from leaderboard.arena.agreement import Agreement, agreement, agreement_of_kinds
from leaderboard.arena.ranking import MINIMUM, REPLICATES, Ranking, rank
from leaderboard.arena.top_choices import TopChoices, count_top_choices
from leaderboard.arena.votes import CRITERIA, Criterion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.arena.votes import Vote

Raters: TypeAlias = Literal["people", "judges", "all"]
RATERS: Final[dict[Raters, tuple[str, ...]]] = {
    "people": ("human",),
    "judges": ("judge",),
    "all": ("human", "judge"),
}
"""Whose votes, by the kinds of raters."""


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """Results by one criterion.

    Attributes:
        pairs: Strengths from pairs.
        best_of: Counts of the choice of the best.
        best_of_pairs: Strengths from the same choices, each a win over the others shown.
        agreement: Among the raters.
    """

    criterion: Criterion
    pairs: Ranking
    best_of: TopChoices
    best_of_pairs: Ranking
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class BoardResult:
    """Results of a board.

    Attributes:
        people_and_judges: Agreement between the two by criterion, whoever's votes are ranked.
    """

    board_id: str
    raters: Raters
    n_votes: int
    n_raters: int
    minimum: int
    replicates: int
    criteria: tuple[CriterionResult, ...]
    people_and_judges: dict[Criterion, Agreement]


def board_result(
    board_id: str,
    votes: Sequence[Vote],
    raters: Raters = "people",
    *,
    minimum: int = MINIMUM,
    replicates: int = REPLICATES,
) -> BoardResult:
    """The results of a board from all votes on it, of whatever kind."""
    counted = [vote for vote in votes if vote.rater_kind in RATERS[raters]]
    criteria = []
    for criterion in CRITERIA:
        chosen = [vote for vote in counted if vote.criterion == criterion]
        pairs = [vote for vote in chosen if vote.form == "pair"]
        best = [vote for vote in chosen if vote.form == "best_of"]
        criteria.append(
            CriterionResult(
                criterion,
                rank(pairs, minimum=minimum, replicates=replicates),
                count_top_choices(best, minimum=minimum, replicates=replicates),
                rank(best, minimum=minimum, replicates=replicates),
                agreement(chosen),
            )
        )
    both = {
        criterion: agreement_of_kinds(vote for vote in votes if vote.criterion == criterion)
        for criterion in CRITERIA
    }
    n_raters = len({(vote.rater_kind, vote.rater) for vote in counted})
    return BoardResult(
        board_id, raters, len(counted), n_raters, minimum, replicates, tuple(criteria), both
    )
