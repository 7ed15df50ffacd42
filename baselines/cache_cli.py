"""The commands ``ffr cache stats`` and ``ffr cache prune``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ffr_eval.cli.groups import SuggestingGroup

if TYPE_CHECKING:
    from datetime import timedelta

    from baselines.response_cache import CacheStats

_AGE: Final = re.compile(r"(\d+)([hdw])", re.ASCII)
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_NO_ANSWERS: Final = "no answers"

_cache_option = click.option(
    "--cache",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The cache.  [default: $FFR_RESPONSES, or ffr/responses.sqlite in the user's cache]",
)


@click.group(
    cls=SuggestingGroup,
    epilog="""\b
Examples:
  ffr cache stats
  ffr cache prune --older-than 30d --dry-run
""",
)
def cache() -> None:
    """See and remove kept answers of servers.

    `ffr run api` keeps every answer that was paid for, and takes it from here when the same
    request comes again: `ffr run … --no-cache` does neither, `--refresh` asks again.
    """


@cache.command(
    epilog="""\b
Examples:
  ffr cache stats
  ffr cache stats --json
  ffr cache stats --cache answers.sqlite
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_cache_option
def stats(as_json: bool, path: Path | None) -> None:
    """Say what the cache holds: how many answers of which models, and since when."""
    from baselines.response_cache import CacheStats, ResponseCache, default_cache
    from ffr_eval.cli.output import write_report

    path = default_cache() if path is None else path
    if path.exists():
        with ResponseCache(path) as opened:
            found = opened.stats()
    else:
        found = CacheStats(path, 0, 0, None, None, ())
    if as_json:
        write_report(_record(found), Path("-"))
    else:
        _print(found)


@cache.command(
    epilog="""\b
Examples:
  ffr cache prune --older-than 30d
  ffr cache prune --model gpt-4o --dry-run
  ffr cache prune --provider openai --older-than 2w
  ffr cache prune --all
""",
)
@click.option(
    "--older-than", "age", metavar="AGE", help="Answers older than, for example, 12h, 30d, 8w."
)
@click.option("--model", help="Answers of this model, asked for or answering under this name.")
@click.option("--provider", help="Answers of this provider, named as in `ffr cache stats`.")
@click.option("--all", "everything", is_flag=True, help="All answers.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_cache_option
def prune(
    age: str | None,
    model: str | None,
    provider: str | None,
    everything: bool,
    dry_run: bool,
    path: Path | None,
) -> None:
    """Remove answers: those to which all that is given applies."""
    from baselines.response_cache import CachePruned, ResponseCache, default_cache
    from ffr_eval.errors import InputError
    from ffr_eval.fetch.disk import readable_size

    narrowed = (age, model, provider) != (None, None, None)
    if everything and narrowed:
        raise InputError("--all is all", remedy="leave out --all, or the other conditions")
    if not (everything or narrowed):
        remedy = "add --older-than AGE, --model NAME, --provider NAME, or --all"
        raise InputError("nothing says what to remove", remedy=remedy)
    older_than = None if age is None else _age(age)
    path = default_cache() if path is None else path
    found = CachePruned(0, 0)
    if path.exists():
        with ResponseCache(path) as opened:
            found = opened.prune(
                older_than=older_than,
                model=model,
                provider=provider,
                everything=everything,
                dry_run=dry_run,
            )
            if found.n_entries and not dry_run:
                opened.vacuum()
    if not found.n_entries:
        click.echo(f"{path}: nothing to remove")
        return
    what = "would be removed" if dry_run else "removed"
    click.echo(f"{path}: {what}: {_answers(found.n_entries)}, {readable_size(found.n_bytes)}")


def _age(text: str) -> timedelta:
    from contextlib import suppress
    from datetime import UTC, datetime, timedelta

    from ffr_eval.errors import InputError

    found = _AGE.fullmatch(text.strip())
    with suppress(OverflowError):  # before the first year that there is
        if found is not None:
            age = timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})
            _ = datetime.now(UTC) - age
            return age
    remedy = "give hours, days or weeks: 12h, 30d, 8w"
    raise InputError(f"no age: {text!r}", field="--older-than", remedy=remedy)


def _print(found: CacheStats) -> None:
    from rich.console import Console
    from rich.table import Table

    from ffr_eval.fetch.disk import readable_size

    if not found.n_entries:
        click.echo(f"{found.path}: {_NO_ANSWERS}")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("provider", "model"):
        table.add_column(heading, overflow="fold")
    for heading in ("answers", "size", "oldest", "newest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.models:
        table.add_row(
            one.provider,
            one.model,
            f"{one.n_entries:,}",
            readable_size(one.n_bytes),
            one.oldest[:10],
            one.newest[:10],
        )
    size = readable_size(found.n_bytes)
    click.echo(f"{found.path}: {_answers(found.n_entries)}, {size} on the disk")
    Console(highlight=False, markup=False).print(table)


def _answers(count: int) -> str:
    return f"{count:,} answer{'' if count == 1 else 's'}"


def _record(found: CacheStats) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(found) | {"path": str(found.path)}
