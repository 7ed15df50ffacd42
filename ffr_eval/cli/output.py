"""Writing results where a command was told to, and what several commands print."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.benchmark.summary import Summary

_PROGRESS_AFTER: Final = 2.0  # seconds


def write_report(report: Any, path: Path) -> None:
    """Write a result as indented JSON; ``-`` is standard output.

    Raises:
        InputError: If the file cannot be written.
    """
    import msgspec

    from ffr_eval.benchmark.writer import write_json
    from ffr_eval.errors import InputError
    from ffr_eval.writing import cannot_write

    try:
        data = msgspec.json.encode(report)
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        data = json.dumps(report, ensure_ascii=False).encode(errors="replace")
    indented = msgspec.json.format(data, indent=2) + b"\n"
    if path == Path("-"):
        click.echo(indented, nl=False)  # bytes: JSON is UTF-8 whatever the terminal is
        return
    remedy = "give a file in an existing folder"
    if path.is_dir():
        raise InputError("is a folder", file=path, remedy=remedy)
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):  # /dev/stdout, /dev/null
            path.write_bytes(indented)
        else:
            write_json(path, msgspec.Raw(data))
    except OSError as error:
        raise cannot_write(path, error, remedy) from None


def require_writable(path: Path | None) -> None:
    """Refuse a place that a result cannot be written to before anything is computed.

    Raises:
        InputError: If it is a folder, or in a folder that is not there.
    """
    from ffr_eval.errors import InputError

    if path is None or path == Path("-"):
        return
    remedy = "give a file in an existing folder"
    if path.is_dir():
        raise InputError("is a folder", file=path, remedy=remedy)
    if not path.parent.is_dir():
        raise InputError("cannot be written: no such folder", file=path, remedy=remedy)


def summary_text(name: str, summary: Summary) -> str:
    """What a benchmark of this name holds, as aligned lines."""
    rows = {
        "name": name,
        "dialogues": summary.n_dialogues,
        "queries": summary.n_queries,
        "mean turns": f"{summary.mean_turns:.1f}",
        "images": summary.n_images,
        "gold": f"{summary.mean_gold_utts:.1f} utterances, {summary.mean_gold_imgs:.1f} images"
        " a query on average",
        "splits": _counts(summary.splits),
        "kinds": _counts(summary.kinds),
        "content hash": summary.content_hash,
    }
    return "\n".join(f"{label:<13} {value}" for label, value in rows.items())


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


@contextlib.contextmanager
def progress(message: str) -> Iterator[None]:
    """Show on the terminal that work is going on, once it takes long."""
    import threading

    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(message)
    timer = threading.Timer(_PROGRESS_AFTER, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
