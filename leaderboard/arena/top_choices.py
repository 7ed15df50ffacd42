"""The paper's own form: how often each run was chosen as the best of those shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffr_eval.statistics.bootstrap import bootstrap
from ffr_eval.statistics.intervals import percentile_interval
from leaderboard.arena.ranking import MINIMUM, REPLICATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.arena.ranking import FloatArray
    from leaderboard.arena.votes import Vote


@dataclass(frozen=True, slots=True)
class TopChoice:
    """How often a run was the best.

    Attributes:
        shown: Votes in which it could be chosen.
        chosen: Votes in which it was.
        share: Their ratio, 0-1; ``None``: not enough votes.
        lo, hi: Its 95% interval over dialogues; ``None`` with fewer than two.
    """

    run_id: str
    shown: int
    chosen: int
    share: float | None
    lo: float | None
    hi: float | None


@dataclass(frozen=True, slots=True)
class TopChoices:
    """The runs, the most often chosen first."""

    n_votes: int
    n_dialogues: int
    runs: tuple[TopChoice, ...]


def count_top_choices(
    votes: Sequence[Vote], *, minimum: int = MINIMUM, replicates: int = REPLICATES, seed: int = 0
) -> TopChoices:
    """Count the choices of the best, of one board and criterion."""
    dialogues = sorted({vote.dialogue_id or vote.sample_id for vote in votes})
    row = {name: place for place, name in enumerate(dialogues)}
    shown = Counter(run for vote in votes for run in vote.runs)
    chosen = Counter(vote.choice for vote in votes)
    runs = sorted(shown)
    sums = {run: np.zeros((len(dialogues), 2)) for run in runs}
    for vote in votes:
        at = row[vote.dialogue_id or vote.sample_id]
        for run in vote.runs:
            sums[run][at] += (run == vote.choice, 1)
    enough = [run for run in runs if shown[run] >= minimum]
    drawn = bootstrap([(sums[run], _share) for run in enough], replicates, seed)
    found = []
    for run in runs:
        interval = percentile_interval(drawn[:, enough.index(run)]) if run in enough else None
        found.append(
            TopChoice(
                run,
                shown[run],
                chosen[run],
                chosen[run] / shown[run] if run in enough else None,
                None if interval is None else interval.lo,
                None if interval is None else interval.hi,
            )
        )
    found.sort(key=lambda choice: (-(choice.share or 0.0), -choice.chosen, choice.run_id))
    return TopChoices(len(votes), len(dialogues), tuple(found))


def _share(sums: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):  # a run that was shown on none of the drawn dialogues
        return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)
