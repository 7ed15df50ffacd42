"""Results of the arena in the terminal, rounded for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ffr_eval.report.console import Column, open_console, tables_of
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from leaderboard.arena.agreement import Agreement
    from leaderboard.arena.ranking import Ranking, Strength
    from leaderboard.arena.results import BoardResult
    from leaderboard.arena.top_choices import TopChoices

_NOTHING: Final = "–"


def print_result(result: BoardResult, console: Console | None = None) -> None:
    """Print the results of a board."""
    console = console or open_console()
    console.print(visible(f"{result.board_id}, votes of {result.raters}"))
    votes = "1 vote" if result.n_votes == 1 else f"{result.n_votes} votes"
    raters = "1 rater" if result.n_raters == 1 else f"{result.n_raters} raters"
    console.print(f"{votes} of {raters}; a run needs {result.minimum} a criterion to be ranked")
    for found in result.criteria:
        if not found.pairs.n_votes and not found.best_of.n_votes:
            continue
        console.print(f"\n{found.criterion}: agreement {_agreement(found.agreement)}")
        if found.pairs.n_votes:
            _print_ranking("pairs", found.pairs, console)
        if found.best_of.n_votes:
            _print_top_choices(found.best_of, console)
            _print_ranking("the same choices as pairs", found.best_of_pairs, console)
        both = result.people_and_judges[found.criterion]
        if both.n_items:
            console.print(f"people and judges: {_agreement(both)}")


def _print_ranking(title: str, ranking: Ranking, console: Console) -> None:
    console.print(f"{title}: {ranking.n_votes} votes on {ranking.n_dialogues} dialogues")
    runs = ranking.runs
    columns = [
        Column("run", [visible(run.run_id) for run in runs], "left"),
        Column("strength", [_strength(run) for run in runs]),
        Column("95% CI", [_interval(run.lo, run.hi, "+.2f") for run in runs]),
        Column("wins", [str(run.wins) for run in runs]),
        Column("ties", [str(run.ties) for run in runs]),
        Column("losses", [str(run.losses) for run in runs]),
        Column("both bad", [str(run.both_bad) for run in runs]),
    ]
    for table in tables_of(columns, console.width):
        console.print(table)


def _print_top_choices(choices: TopChoices, console: Console) -> None:
    console.print(f"best of several: {choices.n_votes} votes on {choices.n_dialogues} dialogues")
    runs = choices.runs
    columns = [
        Column("run", [visible(run.run_id) for run in runs], "left"),
        Column("best", [str(run.chosen) for run in runs]),
        Column("shown", [str(run.shown) for run in runs]),
        Column("share", ["not enough" if r.share is None else f"{r.share:.1%}" for r in runs]),
        Column("95% CI", [_interval(run.lo, run.hi, ".1%") for run in runs]),
    ]
    for table in tables_of(columns, console.width):
        console.print(table)


def _strength(run: Strength) -> str:
    if run.status == "few":
        return "not enough"
    return _NOTHING if run.strength is None else f"{run.strength:+.2f}"


def _interval(lo: float | None, hi: float | None, form: str) -> str:
    return _NOTHING if lo is None or hi is None else f"{lo:{form}} … {hi:{form}}"


def _agreement(found: Agreement) -> str:
    if found.same is None:
        return "unknown: nothing was rated twice"
    alpha = "undefined" if found.alpha is None else f"{found.alpha:.2f}"
    return f"α {alpha}, the same answer {found.same:.0%}, {found.n_items} items rated twice or more"
