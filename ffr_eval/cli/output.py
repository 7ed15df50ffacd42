"""Writing results where a command was told to."""

from __future__ import annotations

import json
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
        message = f"cannot be written: {error.strerror}"
        raise InputError(message, file=path, remedy=remedy) from None
