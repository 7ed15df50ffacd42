"""The command ``ffr board``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 8501

_PORTS_TRIED: Final = 100
_OPEN_WITHIN: Final = 30.0  # seconds
_LOCAL_HOSTS: Final = (LOOPBACK, "localhost", "::1")


@click.command(
    epilog="""\b
Examples:
  ffr board runs
  ffr board ffr-demo --port 8600 --no-browser
  ffr board runs/bm25
""",
)
@click.argument("runs_dir", metavar="RUNS_DIR", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help=f"The port to serve on.  [default: {FIRST_PORT}, or the next free one]",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    help="The address to serve on; any but this machine's own lets others look.",
)
def board(runs_dir: Path, port: int | None, no_browser: bool, host: str) -> None:
    """Show the runs in RUNS_DIR in the browser: a table, details, reported results.

    RUNS_DIR holds run folders, up to two levels deep, or is one. New and growing runs appear when
    the page is loaded again. Ctrl-C ends the board.
    """
    from leaderboard.run_folders import require_runs

    _require_installed()
    places = require_runs(runs_dir)
    port = _free_port(host, port)
    url = f"http://{_in_url(host)}:{port}"
    plural = "" if len(places) == 1 else "s"
    click.echo(f"{len(places)} run folder{plural} in {runs_dir}")
    if host not in _LOCAL_HOSTS:
        click.echo(
            f"warning: {host} is not only this machine: everyone who can reach it sees the runs,"
            " their options and paths; there is no password",
            err=True,
        )
    click.echo(f"the board is at {url} (Ctrl-C ends it)")
    if not no_browser:
        _open_when_ready(host, port, url)
    with contextlib.suppress(KeyboardInterrupt):  # before Streamlit listens to it itself
        _serve(runs_dir, host, port)


def server_options(host: str, port: int) -> dict[str, object]:
    """Streamlit's settings; given as flags, so that no configuration file can weaken them."""
    options: dict[str, object] = {
        "server.address": host,
        "server.port": port,
        # We open the browser: Streamlit would first ask for an e-mail address.
        "server.headless": True,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.disableDataExport": True,
        "client.toolbarMode": "viewer",
        "browser.gatherUsageStats": False,
        "logger.level": "warning",
        # Its greeting would ask a third party for our address when the host is 0.0.0.0.
        "logger.hideWelcomeMessage": True,
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#56B4E9",
    }
    if host in _LOCAL_HOSTS:  # a page elsewhere must not reach us by a name that it lets point here
        options["server.allowedHosts"] = _LOCAL_HOSTS
    return options


def _serve(runs_dir: Path, host: str, port: int) -> None:
    """Run Streamlit in this process until it is told to stop.

    Through its documented command line rather than ``bootstrap.run``, which is internal; in this
    process rather than in a child, so that there is one process to stop and one exit code.
    """
    from streamlit.web.cli import main as streamlit

    flags = [
        f"--{name}={_flag(item)}"
        for name, value in server_options(host, port).items()
        for item in (value if isinstance(value, tuple) else (value,))
    ]
    script = str(Path(__file__).with_name("app.py"))
    with contextlib.ExitStack() as stack:
        # It prints when it is told to stop, and would go on if nobody can read that any more.
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        streamlit(["run", script, *flags, "--", str(runs_dir)], standalone_mode=False)


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_installed() -> None:
    """Check for the packages of the extra.

    Raises:
        MissingExtraError: If one is missing.
    """
    from importlib.util import find_spec

    from ffr_eval.errors import MissingExtraError

    if any(find_spec(name) is None for name in ("streamlit", "altair", "pandas")):
        raise MissingExtraError("ffr board", "leaderboard")


def _free_port(host: str, wanted: int | None) -> int:
    """The port to serve on.

    Raises:
        InputError: If the wanted one, or every one tried, is taken, or the host is not ours.
    """
    from ffr_eval.errors import InputError

    if wanted is not None:
        if not _is_free(host, wanted):
            remedy = "give another port, or leave --port out to get a free one"
            raise InputError(f"port {wanted} is in use", field="--port", remedy=remedy)
        return wanted
    tried: Sequence[int] = range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED)
    for port in tried:
        if _is_free(host, port):
            return port
    message = f"no free port from {tried[0]} to {tried[-1]}"
    raise InputError(message, field="--port", remedy="give one with --port")


def _is_free(host: str, port: int) -> bool:
    """Whether we could listen there.

    Raises:
        InputError: If the host is not an address of this machine, or the port not for us.
    """
    import errno
    import socket

    from ffr_eval.errors import InputError

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # a port that was just given up is free; elsewhere it means more
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            return False
        if number == errno.EACCES:
            message, field, remedy = f"port {port} is not allowed", "--port", "give one above 1023"
        else:
            message, field = f"cannot serve on {host!r}: {error}", "--host"
            remedy = f"give an address of this machine, such as {LOOPBACK}"
        raise InputError(message, field=field, remedy=remedy) from None
    return True


def _in_url(host: str) -> str:
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - only compared
    return f"[{host}]" if ":" in host else host


def _open_when_ready(host: str, port: int, url: str) -> None:
    """Open a browser as soon as the board answers."""
    import socket
    import threading
    import time
    import webbrowser

    def wait_and_open() -> None:
        end = time.monotonic() + _OPEN_WITHIN
        while time.monotonic() < end:
            try:
                socket.create_connection((_in_url(host).strip("[]"), port), timeout=1).close()
            except OSError:
                time.sleep(0.2)
            else:
                webbrowser.open(url)
                return

    threading.Thread(target=wait_and_open, daemon=True).start()
