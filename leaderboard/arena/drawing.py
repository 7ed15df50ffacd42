"""Which fragments are shown next: those with the fewest votes, on random sides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from ffr_eval.types import Outcome
from leaderboard.arena.fragments import Fragment, fragment
from leaderboard.arena.tokens import Pair
from leaderboard.arena.votes import CRITERIA, FEWEST, RESERVED

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from leaderboard.arena.store import ArenaStore, RunSet
    from leaderboard.arena.votes import Form
    from leaderboard.site.reader import Site

BEST_OF: Final = 4
"""Runs to choose the best of, where there are so many."""
OVERLAP: Final = 0.2
"""Share of draws that go to what one other person has judged, so that agreement can be told."""

_TRIES: Final = 24  # sets of runs, of which nearly always the first will do
_PARTNERS: Final = 8  # of one run, before the next is tried
_SAMPLES: Final = 3  # of a set of runs, if answers differ by ids that the dialogue does not have


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is shown to one person.

    Attributes:
        fragments: In the order of ``pair.runs``.
        said_nothing: Whether each of these runs says that the dialogue has no answer; a fragment
            can be empty without that, if the dialogue has none of the ids.
    """

    pair: Pair
    query: str
    fragments: tuple[Fragment, ...]
    said_nothing: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    sample_id: str
    dialogue_id: str


class Drawing:
    """Draws for one board.

    Args:
        site: The site.
        store: The votes so far.
        rng: Where the random order comes from.
    """

    def __init__(self, site: Site, store: ArenaStore, rng: random.Random) -> None:
        self._site = site
        self._store = store
        self._rng = rng

    def draw(
        self,
        board_id: str,
        session: str,
        form: Form = "pair",
        *,
        size: int = BEST_OF,
        overlap: float = OVERLAP,
        skipped: frozenset[tuple[str, RunSet]] = frozenset(),
    ) -> Drawn | None:
        """What a session judges next; ``None`` if there is nothing for it.

        Args:
            board_id: The board; nothing is drawn where gold is hidden.
            session: Keyed hash of the session; it is not shown what it has judged.
            form: Two runs, or several to choose the best of.
            size: How many runs the best is chosen of, if there are so many.
            overlap: See :data:`OVERLAP`.
            skipped: Samples and runs that the session does not want to judge.
        """
        if self._site.board(board_id).hidden_gold:
            return None
        runs = contestants(self._site, board_id)
        n_runs = 2 if form == "pair" else min(size, len(runs))
        if len(runs) < n_runs or (form == "best_of" and n_runs < FEWEST):
            return None
        ballots = self._store.ballots(board_id, form)
        judged = self._judged(runs, n_runs, ballots) if self._rng.random() < overlap else []
        sets = chain(
            ((chosen, 1) for chosen in judged),
            ((chosen, None) for chosen in self._sets(runs, n_runs, ballots)),
        )
        for chosen, times in islice(sets, _TRIES):
            for sample in self._samples(board_id, form, chosen, session, skipped, times):
                found = self._shown(board_id, form, chosen, sample, session)
                if found is not None:
                    return found
        return None

    def _judged(
        self, runs: Sequence[str], n_runs: int, ballots: Mapping[RunSet, int]
    ) -> list[RunSet]:
        """Some sets of runs that have ballots."""
        known = set(runs)
        found = [chosen for chosen in ballots if len(chosen) == n_runs and known.issuperset(chosen)]
        self._rng.shuffle(found)
        return found[:_PARTNERS]

    def _sets(
        self, runs: Sequence[str], n_runs: int, ballots: Mapping[RunSet, int]
    ) -> Iterator[RunSet]:
        """Sets of runs: the run with the fewest ballots, with those it has met the least."""
        met = dict.fromkeys(runs, 0)
        between: dict[tuple[str, str], int] = {}
        for together, number in ballots.items():
            for run in together:
                met[run] = met.get(run, 0) + number
                for other in together:
                    between[run, other] = between.get((run, other), 0) + number
        order = {run: self._rng.random() for run in runs}
        for first in sorted(runs, key=lambda run: (met[run], order[run])):
            near = {run: between.get((first, run), 0) for run in runs}
            others = sorted(
                (run for run in runs if run != first),
                key=lambda run, near=near: (near[run], met[run], order[run]),  # type: ignore[misc]
            )
            last = min(len(others), n_runs - 1 + _PARTNERS)
            for start in range(last - (n_runs - 1) + 1):
                yield tuple(sorted((first, *others[start : start + n_runs - 1])))

    def _samples(
        self,
        board_id: str,
        form: Form,
        runs: RunSet,
        session: str,
        skipped: frozenset[tuple[str, RunSet]],
        times: int | None,
    ) -> list[_Sample]:
        """Samples to try: the fewest ballots first, or only those with so many."""
        seen = self._store.rated_by(board_id, form, runs, session)
        number = self._store.ballots_on(board_id, form, runs)
        wanted = {name for name, found in number.items() if found == times} - seen
        if times is not None and not wanted:
            return []
        left = [
            sample
            for sample in differing(self._site, board_id, runs)
            if sample.sample_id not in seen and (sample.sample_id, runs) not in skipped
        ]
        self._rng.shuffle(left)
        if times is not None:
            left = [sample for sample in left if sample.sample_id in wanted]
        left.sort(key=lambda sample: number.get(sample.sample_id, 0))
        return left[:_SAMPLES]

    def _shown(
        self, board_id: str, form: Form, runs: RunSet, sample: _Sample, session: str
    ) -> Drawn | None:
        """The fragments, on random sides; ``None`` if two of them look the same."""
        sides = list(runs)
        self._rng.shuffle(sides)
        fragments, said_nothing = self._fragments(board_id, sides, sample)
        if len(set(fragments)) < len(sides):
            return None
        sql = "SELECT query FROM queries WHERE board_id = ? AND sample_id = ?"
        query = self._site.query(sql, [board_id, sample.sample_id])["query"][0].as_py()
        pair = Pair(
            session, board_id, sample.sample_id, sample.dialogue_id, form, tuple(sides), CRITERIA
        )
        return Drawn(pair, query or "", fragments, said_nothing)

    def _fragments(
        self, board_id: str, runs: Sequence[str], sample: _Sample
    ) -> tuple[tuple[Fragment, ...], tuple[bool, ...]]:
        """What each run found, and whether it says that there is no answer."""
        sql = "SELECT turns, images FROM dialogues WHERE hash = ? AND dialogue_id = ?"
        values = [self._site.board(board_id).hash, sample.dialogue_id]
        dialogue = self._site.query(sql, values).to_pylist()[0]
        places = ", ".join("?" * len(runs))
        sql = (
            "SELECT run_id, outcome, utt_ids, img_ids FROM samples"  # noqa: S608 - places for values only
            f" WHERE board_id = ? AND run_id IN ({places}) AND sample_id = ?"
        )
        rows = self._site.query(sql, [board_id, *runs, sample.sample_id]).to_pylist()
        answers = {row["run_id"]: row for row in rows}
        turns, images = dialogue["turns"] or (), dialogue["images"] or ()
        fragments = tuple(
            fragment(turns, images, answers[run]["utt_ids"] or (), answers[run]["img_ids"] or ())
            for run in runs
        )
        return fragments, tuple(answers[run]["outcome"] == Outcome.EMPTY for run in runs)


def contestants(site: Site, board_id: str) -> list[str]:
    """The runs that take part: with answers, and without knowledge of the gold."""
    found: list[str] = site.kept("contestants", board_id, partial(_contestants, site))
    return found


def _contestants(site: Site, board_id: str) -> list[str]:
    sql = (
        "SELECT run_id FROM runs WHERE board_id = ? AND n_ok + n_empty > 0 AND NOT ceiling"
        " ORDER BY run_id"
    )
    found: list[str] = site.query(sql, [board_id])["run_id"].to_pylist()
    return [run for run in found if run not in RESERVED]


def differing(site: Site, board_id: str, runs: Sequence[str]) -> list[_Sample]:
    """The samples on which all of the runs have an answer, and no two the same."""
    places = ", ".join("?" * len(runs))
    ids = ", ".join(
        f"list_sort(list_distinct(coalesce({name}, [])))" for name in ("utt_ids", "img_ids")
    )
    sql = (
        "SELECT sample_id, any_value(dialogue_id) AS dialogue_id FROM samples"  # noqa: S608
        f" WHERE board_id = ? AND run_id IN ({places}) AND outcome IN ('ok', 'empty')"
        f" GROUP BY sample_id HAVING count(*) = ? AND count(DISTINCT ({ids})) = ?"
        " ORDER BY min(row)"
    )
    found = site.query(sql, [board_id, *runs, len(runs), len(runs)]).to_pydict()
    return list(map(_Sample, found["sample_id"], found["dialogue_id"]))
