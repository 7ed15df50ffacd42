"""``ffr arena``: votes of people and judges, in and out, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.groups import SuggestingGroup
from ffr_eval.cli.options import json_option

if TYPE_CHECKING:
    from leaderboard.arena.results import Raters
    from leaderboard.arena.votes_file import Format

_STATE = click.option(
    "--state",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The state folder of the board, which has the votes.",
)


@click.group(
    cls=SuggestingGroup,
    epilog="""\b
Examples:
  ffr arena results --state state
  ffr arena export --state state --out votes.jsonl
  ffr arena import --state state --site site judged.jsonl
""",
)
def arena() -> None:
    """Export and import votes of the arena, and show its results."""


@arena.command(
    epilog="""\b
Examples:
  ffr arena export --state state --out votes.jsonl
  ffr arena export --state state --out votes.csv --format csv
  ffr arena export --state state --out votes.parquet --format parquet
""",
)
@_STATE
@click.option(
    "--out", required=True, metavar="FILE", type=click.Path(path_type=Path), help="What to write."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Only jsonl can be imported again.",
)
def export(state: Path, out: Path, kind: Format) -> None:
    """Write all votes to a file, one line or row a vote.

    Raters are keyed hashes: they tell votes of the same session, and not whose it was.
    """
    from ffr_eval.cli.output import progress
    from leaderboard.arena.store import ArenaStore
    from leaderboard.arena.votes_file import write_votes

    _require_installed()
    with progress("exporting …"):
        votes = ArenaStore(state).votes()
        write_votes(votes, out, kind)
    click.echo(f"wrote {_votes(len(votes))} to {out}")


@arena.command(
    "import",
    epilog="""\b
Examples:
  ffr arena import --state state --site site judged.jsonl
  ffr arena import --state state --site site votes-of-another-server.jsonl.gz
""",
)
@_STATE
@click.option(
    "--site",
    "site_dir",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The published site that the votes are on.",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def import_(state: Path, site_dir: Path, file: Path) -> None:
    """Add the votes in FILE, JSON Lines, of judge models or from another state folder.

    All of them are added, or none if a line is wrong. Votes that are there already, by their id,
    are left out.
    """
    _require_installed()
    from ffr_eval.cli.output import progress
    from leaderboard.arena.store import ArenaStore
    from leaderboard.arena.votes_file import read_votes
    from leaderboard.publishing.store import require_folder
    from leaderboard.site.reader import Site

    require_folder(site_dir)
    with progress("importing …"):
        votes = read_votes(file, Site(site_dir))
        store = ArenaStore(state)
        store.create()
        n_added = store.add([vote.record for vote in votes], file, [vote.line for vote in votes])
    n_known = len(votes) - n_added
    known = f"; {_votes(n_known)} already there" if n_known else ""
    click.echo(f"added {_votes(n_added)}{known}")


@arena.command(
    epilog="""\b
Examples:
  ffr arena results --state state
  ffr arena results --state state --raters judges --minimum 50
  ffr arena results --state state --json results.json
""",
)
@_STATE
@click.option("--board", metavar="ID", help="Only this board.  [default: all with votes]")
@click.option(
    "--raters",
    type=click.Choice(["people", "judges", "all"]),
    default="people",
    show_default=True,
    help="Whose votes.",
)
@click.option(
    "--minimum",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Votes that a run needs, by criterion, to be ranked.",
)
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Bootstrap resamples of dialogues for the intervals.",
)
@json_option("the results")
def results(
    state: Path,
    board: str | None,
    raters: Raters,
    minimum: int,
    replicates: int,
    json_file: Path | None,
) -> None:
    """Show which runs are preferred, by criterion.

    Strengths are those of Bradley and Terry, on a logarithmic scale around 0: a difference of 1
    means that the better one is preferred in 73 of 100 votes. A tie is half a win for each.
    Choices of the best of several are counted, as in the human study of F2RVLM, apart from pairs.
    """
    from ffr_eval.cli.output import progress, require_writable, write_report
    from ffr_eval.errors import InputError
    from leaderboard.arena.results import board_result
    from leaderboard.arena.store import ArenaStore
    from leaderboard.arena.terminal import print_result

    _require_installed()
    require_writable(json_file)
    store = ArenaStore(state)
    boards = store.boards()
    if board is not None and board not in boards:
        remedy = f"one of {', '.join(boards)}" if boards else "vote first"
        raise InputError(f"no votes on board {board!r}", file=store.path, remedy=remedy)
    chosen = boards if board is None else [board]
    with progress("drawing resamples …"):
        found = [
            board_result(name, store.votes(name), raters, minimum=minimum, replicates=replicates)
            for name in chosen
        ]
    if json_file is not None:
        write_report({"boards": found}, json_file)
    if json_file != Path("-"):
        if not found:
            click.echo("no votes yet")
        for result in found:
            print_result(result)


def _require_installed() -> None:
    """Check for the packages of the extra.

    Raises:
        MissingExtraError: If one is missing.
    """
    from importlib.util import find_spec

    from ffr_eval.errors import MissingExtraError

    needed = ("duckdb", "evalica", "krippendorff", "pyarrow")
    if any(find_spec(name) is None for name in needed):
        raise MissingExtraError("ffr arena", "leaderboard")


def _votes(number: int) -> str:
    return "1 vote" if number == 1 else f"{number} votes"
