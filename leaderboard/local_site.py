"""What ``ffr board`` needs on disk: the site it was given or made from runs, and its state."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

SECRET: Final = "cookie-secret"  # noqa: S105 - the name of a file
_SECRET_BYTES: Final = 32
_RUNS_A_WORKER: Final = 4


def prepare(places: Sequence[Path]) -> tuple[Path, tuple[Path, ...]]:
    """The site to show, and the run folders that it was published from, if it was now.

    Raises:
        InputError: If the places are neither one site nor run folders, or the site is damaged.
    """
    from leaderboard.publishing.store import was_killed
    from leaderboard.site.manifest import MANIFEST
    from leaderboard.site.reader import Site

    sites = [place for place in places if (place / MANIFEST).is_file()]
    if sites and len(places) > 1:
        remedy = "give one site, or run folders only"
        raise InputError("is a site, and another place was given too", file=sites[0], remedy=remedy)
    if sites:
        manifest = Site(sites[0]).manifest
        n_runs, n_boards = len(manifest.runs), len(manifest.boards)
        click.echo(f"{_counted(n_runs, 'run')} on {_counted(n_boards, 'board')} in {sites[0]}")
        return sites[0].resolve(), ()
    for place in places:
        if was_killed(place):
            message = "no published site: publishing it has not ended"
            remedy = f"publish it again: ffr publish RUNS… --site {place}"
            raise InputError(message, file=place, remedy=remedy)
    runs = _run_folders(places)
    click.echo(f"{_counted(len(runs), 'run folder')} in {', '.join(map(str, places))}")
    site = _cached_site(places)
    _publish(places, runs, site)
    return site, runs


def state_folder(wanted: Path | None, places: Sequence[Path]) -> Path:
    """The folder for votes and submissions on what is shown, made if it is missing, for us alone.

    Raises:
        InputError: If it cannot be made.
    """
    folder = wanted or _below("XDG_STATE_HOME", "~/.local/state", "boards", _key(places))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise InputError(
            f"cannot be made: {error.strerror}", file=folder, field="--state"
        ) from None
    if not writable:
        remedy = "give another folder with --state, or --read-only"
        raise InputError("cannot be written", file=folder, field="--state", remedy=remedy)
    return folder.resolve()


def cookie_secret(state: Path | None) -> str:
    """What cookies are signed with: kept in the state folder, so that a restart ends no session.

    Raises:
        InputError: If it cannot be read or written.
    """
    new = secrets.token_hex(_SECRET_BYTES)
    if state is None:
        return new
    path = state / SECRET
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=path) from None
    else:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(new)
        return new
    try:
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        kept = ""
    if len(kept) < _SECRET_BYTES:
        raise InputError("holds no secret", file=path, remedy="delete it: a new one is made")
    return kept


def _run_folders(places: Sequence[Path]) -> tuple[Path, ...]:
    from leaderboard.run_folders import require_runs

    return tuple(run.path for place in places for run in require_runs(place))


def _publish(places: Sequence[Path], runs: Sequence[Path], site: Path) -> None:
    """Publish run folders into the cache, showing how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from leaderboard.publishing.publication import publish_site

    site.parent.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        rows: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in rows:
                rows[what] = bars.add_task(what, total=total)
            bars.update(rows[what], completed=done, total=total)

        workers = min(len(runs) // _RUNS_A_WORKER + 1, os.cpu_count() or 1)
        done = publish_site(places, site, workers=workers, prune=True, progress=progress)
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)


def _cached_site(places: Sequence[Path]) -> Path:
    return _below("XDG_CACHE_HOME", "~/.cache", "sites", _key(places))


def _key(places: Sequence[Path]) -> str:
    paths = sorted(os.fsencode(place.resolve()) for place in places)
    return hashlib.sha256(b"\0".join(paths)).hexdigest()[:16]


def _below(variable: str, default: str, kind: str, key: str) -> Path:
    home = Path(os.environ.get(variable) or default).expanduser()
    return home / "ffr" / kind / key


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
