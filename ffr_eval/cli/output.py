"""Writing results where a command was told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def write_report(report: Any, path: Path) -> None:
    """Write a result as indented JSON; ``-`` is standard output.

    Raises:
        InputError: If the file cannot be written.
    """
    import msgspec

    from ffr_eval.benchmark.writer import write_json
    from ffr_eval.errors import InputError

    if path == Path("-"):
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
        return
    try:
        write_json(path, report)
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise InputError(message, file=path, remedy="give a file in an existing folder") from None
