"""``ffr publish``: run folders become a site."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leaderboard.publishing.check import Checked
    from leaderboard.publishing.publication import Published


@click.command(
    epilog="""\b
Examples:
  ffr publish runs --site site
  ffr publish runs/bm25 teams/*/runs --site site --prune --workers 4
  ffr publish runs --site site --hidden-gold my-benchmark:test
  ffr publish --check --site site --run bm25

\b
Exit codes: 0 published, or all as published; 1 failed, or --check found a
difference; 2 a mistake in what was given (no such folder, no run that can be
scored, a folder that is no site).
""",
)
@click.argument("runs", metavar="[RUNS…]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--site",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The site: a new or empty folder, or one that was published before.",
)
@click.option(
    "--hidden-gold",
    metavar="BENCH[:SPLIT]",
    multiple=True,
    help="Only aggregates become public of runs on this benchmark (name, folder or hash). What was "
    "hidden once stays hidden.",
)
@click.option("--prune", is_flag=True, help="Remove runs that are not among RUNS.")
@click.option(
    "--replicates",
    metavar="B",
    type=int,
    help="Bootstrap replicates.  [default: those of the site, else 10000]",
)
@click.option(
    "--seed",
    type=int,
    help="Of the random numbers; with --check of the row that is drawn.  [default: that of the"
    " site, else 0]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes.",
)
@click.option("--check", is_flag=True, help="Check a site instead of publishing; without RUNS.")
@click.option("--run", "run_id", metavar="RUN_ID", help="Which run to check.  [default: any]")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def publish(
    runs: tuple[Path, ...],
    site: Path,
    hidden_gold: tuple[str, ...],
    prune: bool,
    replicates: int | None,
    seed: int | None,
    workers: int,
    check: bool,
    run_id: str | None,
    as_json: bool,
) -> None:
    """Compute everything that the leaderboard shows of RUNS into a site.

    RUNS are run folders, or folders that hold some, up to two levels deep. A site that is there is
    brought up to date: only new and changed runs are computed, and runs that are not given are
    kept. A run folder may have a card.json: label, team, params_b, weights (open, closed), setting
    (zero-shot, tuned), link (https), provenance (verified, submitted).

    --check, which needs no RUNS, compares all files with their hashes, derives the figures of a run
    again from its raw outputs, and one of its pairs.
    """
    import os

    # Small matrices: more threads than one get into each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if check:
        _refuse_with_check(
            RUNS=runs,
            **{"--hidden-gold": hidden_gold, "--prune": prune, "--replicates": replicates},
        )
        _check(site, run_id, seed, as_json=as_json)
        return
    if run_id is not None:
        raise click.UsageError("--run goes with --check.")
    if not runs:
        raise click.UsageError("Missing argument 'RUNS…': run folders, or folders that hold some.")
    _require_installed()
    from dataclasses import replace

    from leaderboard.publishing.publication import publish_site
    from leaderboard.publishing.store import resampling_of_site

    resampling = resampling_of_site(site)
    if replicates is not None:
        resampling = replace(resampling, replicates=replicates)
    if seed is not None:
        resampling = replace(resampling, seed=seed)
    with _progress() as show:
        done = publish_site(
            runs,
            site,
            hidden_gold=hidden_gold,
            resampling=resampling,
            workers=workers,
            prune=prune,
            progress=show,
        )
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        _print_json(_summary(done, site))
    else:
        _print(done, site)


def _check(site: Path, run_id: str | None, seed: int | None, *, as_json: bool) -> None:
    from ffr_eval.cli.output import progress
    from leaderboard.publishing.check import check_site

    _require_installed()
    with progress("deriving figures again …"):
        checked = check_site(site, run_id, seed)
    if as_json:
        _print_json(checked.to_dict())
    else:
        _print_checked(checked)
    if checked.wrong:
        raise SystemExit(1)


def _print_checked(checked: Checked) -> None:
    files = f"{checked.n_files} files"
    if checked.run_id is None:
        click.echo(f"{files} compared with their hashes")
    else:
        pairs = (
            "" if checked.other is None else f", {checked.n_pairs} of its pair with {checked.other}"
        )
        click.echo(
            f"{files} compared with their hashes; {checked.n_figures} figures of {checked.run_id}"
            f" derived again from its raw outputs{pairs}"
        )
    shown = 20
    for sentence in checked.wrong[:shown]:
        click.echo(f"wrong: {sentence}", err=True)
    if len(checked.wrong) > shown:
        click.echo(f"wrong: and {len(checked.wrong) - shown} more", err=True)
    if checked.wrong:
        click.echo(
            "  → publish it anew from the run folders: ffr publish RUNS… --site DIR", err=True
        )
    else:
        click.echo("all as published")


def _print(done: Published, site: Path) -> None:
    manifest = done.manifest
    names = {record.board_id: record for record in manifest.boards}
    for board_id in names:
        count = sum(run.board_id == board_id for run in manifest.runs)
        hidden = ", gold hidden" if names[board_id].hidden_gold else ""
        click.echo(f"{board_id}: {count} run{'' if count == 1 else 's'}{hidden}")
    parts = [f"{len(done.computed)} computed", f"{len(done.unchanged)} kept"]
    if done.removed:
        parts.append(f"{len(done.removed)} removed ({', '.join(done.removed)})")
    if manifest.unscored:
        parts.append(f"{len(manifest.unscored)} not scored")
    click.echo(f"runs: {', '.join(parts)}; pairs: {done.pairs_computed} computed")
    click.echo(f"next: ffr board {site}")


def _summary(done: Published, site: Path) -> dict[str, Any]:
    manifest = done.manifest
    return {
        "site": str(site),
        "boards": [record.board_id for record in manifest.boards],
        "computed": list(done.computed),
        "kept": list(done.unchanged),
        "removed": list(done.removed),
        "unscored": [
            {"label": r.label, "reason": r.reason, "remedy": r.remedy} for r in manifest.unscored
        ],
        "pairs_computed": done.pairs_computed,
        "warnings": list(done.warnings),
    }


def _print_json(value: object) -> None:
    from ffr_eval.cli.output import write_report

    write_report(value, Path("-"))


def _refuse_with_check(**given: Any) -> None:
    names = [name for name, value in given.items() if value]
    if names:
        raise click.UsageError(f"--check takes no {names[0]}.")


def _require_installed() -> None:
    """Check for the packages of the extra.

    Raises:
        MissingExtraError: If one is missing.
    """
    from importlib.util import find_spec

    from ffr_eval.errors import MissingExtraError

    if any(find_spec(name) is None for name in ("duckdb", "PIL", "pyarrow")):
        raise MissingExtraError("ffr publish", "leaderboard")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error that appear when work takes more than two seconds."""
    import sys
    import time

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}
    began = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)
        if time.monotonic() - began > 2:
            bar.start()

    try:
        yield show
    finally:
        bar.stop()
