"""``ffr``: a group whose subcommands are registered by the packages that own them."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import Any, NoReturn

import click

from ffr_eval.cli.groups import SuggestingGroup
from ffr_eval.errors import FfrError


class _Commands(SuggestingGroup):
    """Subcommands by entry point, imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All registered names."""
        from ffr_eval import plugins

        return list(plugins.registered(plugins.COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; ``None`` if there is none of that name.

        One that cannot be imported is replaced by one that says so; the others go on working.
        """
        from ffr_eval import plugins

        if cmd_name not in plugins.registered(plugins.COMMANDS):
            return None
        try:
            command: click.Command = plugins.load(plugins.COMMANDS, cmd_name)
        except FfrError as error:
            return _broken(cmd_name, error)
        return command


def _broken(name: str, error: FfrError) -> click.Command:
    """A command that only says why the registered one cannot be used."""

    def complain(**_: Any) -> NoReturn:
        raise error

    lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, lenient, callback=complain, short_help="(cannot be loaded)")


def _print_version(ctx: click.Context, _: Any, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"ffr {version('ffr-eval')}")
        ctx.exit()


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  ffr demo
  ffr score predictions.jsonl --benchmark my-benchmark
  ffr COMMAND --help
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def ffr() -> None:
    """Evaluate Fine-grained Fragment Retrieval: data, baselines, scores, ranks."""


def _terminated(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # through every `finally`, so that nothing half-made is left


def main() -> NoReturn:
    """Run the command line: exit code 2 for a mistake in the input, 1 for a failed run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a bar gets a "?"
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        ended = ffr.main(prog_name="ffr", standalone_mode=False)  # what `ctx.exit` was given
        sys.stdout.flush()
    except FfrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # as click does where it notices first
    except OSError as error:  # a full disk, for example; what is not the system's is not caught
        from ffr_eval.writing import FREE_SPACE, FULL

        place = f"{error.filename}: " if error.filename else ""
        remedy = f"\n  → {FREE_SPACE}" if error.errno in FULL else ""
        click.echo(f"error: {place}{error.strerror or error}{remedy}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(ended if isinstance(ended, int) else 0)
