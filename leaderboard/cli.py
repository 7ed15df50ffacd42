"""The command ``ffr board``."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.settings import Settings

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 8501

_PORTS_TRIED: Final = 100
_OPEN_WITHIN: Final = 30.0  # seconds


def _url(_: click.Context, __: click.Parameter, value: str | None) -> str:
    parts = urlsplit(value or "")
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
        raise click.BadParameter(f"no address such as https://lab.example/ffr: {value!r}")
    return (value or "").rstrip("/")


def _origins(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parts = urlsplit(value)
        plain = value == f"{parts.scheme}://{parts.netloc}" and value.isascii()
        if parts.scheme != "https" or not parts.hostname or not plain or set(value) & set(" ;,'\""):
            raise click.BadParameter(f"no origin such as https://huggingface.co: {value!r}")
    return values


@click.command(
    epilog="""\b
Examples:
  ffr board runs                          publish the run folders below runs, and show them
  ffr board runs/bm25 runs/clip           only these two
  ffr board site --port 8600 --no-browser a site that `ffr publish` made
  ffr board site --read-only              take no votes and no submissions
  ffr board site --host 0.0.0.0 --public-url https://lab.example/ffr --state /srv/ffr-state
""",
)
@click.argument(
    "places", metavar="SITE_OR_RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
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
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where votes and submissions are kept.  [default: below $XDG_STATE_HOME/ffr/boards]",
)
@click.option("--read-only", is_flag=True, help="Take no votes and no submissions.")
@click.option(
    "--public-url",
    callback=_url,
    metavar="URL",
    help="Where a reverse proxy serves the board; other host names are refused then.",
)
@click.option(
    "--embed-in",
    multiple=True,
    callback=_origins,
    metavar="ORIGIN",
    help="A site whose pages may show the board in a frame, such as https://huggingface.co.",
)
@click.option("--access-log", is_flag=True, help="Write a line a request to standard error.")
def board(
    places: tuple[Path, ...],
    port: int | None,
    no_browser: bool,
    host: str,
    state: Path | None,
    read_only: bool,
    public_url: str,
    embed_in: tuple[str, ...],
    access_log: bool,
) -> None:
    """Show a leaderboard in the browser: of a published site, or of run folders.

    SITE_OR_RUNS is a site that `ffr publish` made, or run folders, or folders that hold run folders
    up to two levels deep. Run folders are published into the cache first; what has not changed
    since the last time is not computed again. Ctrl-C ends the board.
    """
    from leaderboard import server_options
    from leaderboard.local_site import cookie_secret, prepare, state_folder

    _require_installed()
    if read_only and state is not None:
        raise click.UsageError("--read-only keeps no state: leave out --state")
    _free_port(host, port)  # publishing may take long: refuse before it what would fail after it
    folder = None if read_only else state_folder(state, places)
    os.environ[server_options.COOKIE_SECRET] = cookie_secret(folder)
    site, runs = prepare(places)
    port = _free_port(host, port)
    url = f"http://{_in_url(host)}:{port}"
    if host not in server_options.LOCAL_HOSTS:
        may = "" if read_only else " and may vote and submit, unless it is --read-only"
        click.echo(
            f"warning: {host} is not only this machine: everyone who can reach it sees the site"
            f"{may}; there is no password",
            err=True,
        )
    click.echo(f"the board is at {url}{server_options.base_path(public_url)} (Ctrl-C ends it)")
    if access_log:
        _write_access_log()
    if not no_browser:
        _open_when_ready(host, port, url)
    from leaderboard.settings import Settings

    settings = Settings(
        site=str(site),
        state=None if folder is None else str(folder),
        runs=tuple(map(str, runs)),
        places=_places(places, host) if runs else (),
        public_url=public_url,
    )
    with contextlib.suppress(KeyboardInterrupt):
        _serve(settings, host, port, embed_in)


def _places(places: Sequence[Path], host: str) -> tuple[str, ...]:
    """The places of runs that the page may publish anew; not where others could ask for it."""
    from leaderboard import server_options

    here = host in server_options.LOCAL_HOSTS
    return tuple(str(place.resolve()) for place in places) if here else ()


def _serve(settings: Settings, host: str, port: int, embed_in: tuple[str, ...]) -> None:
    """Run the server in this process until it is told to stop."""
    from leaderboard import server_options
    from leaderboard.settings import store

    hosts = server_options.hosts_of(host, settings.public_url)
    store(settings)
    server_options.store(server_options.ServerSettings(hosts, embed_in))
    options = server_options.streamlit_options(host, port, settings.public_url, embed_in)
    atexit.register(_fall_silent)
    with contextlib.ExitStack() as stack:
        # It prints when it is told to stop, and would go on if nobody can read that any more.
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        from leaderboard import server

        # The folder of what was started goes on the search path: this one hides no other module.
        sys.argv = [str(server.SCRIPT)]
        server.app.run(config=options)


def _fall_silent() -> None:
    """Close standard error: DuckDB complains at length about what is open when Python ends."""
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _require_installed() -> None:
    """Check for the packages of the extra.

    Raises:
        MissingExtraError: If one is missing.
    """
    from importlib.util import find_spec

    from ffr_eval.errors import MissingExtraError

    if any(find_spec(name) is None for name in ("streamlit", "duckdb", "pyarrow", "pandas")):
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


def _write_access_log() -> None:
    import logging

    from leaderboard.http_guards import ACCESS

    log = logging.getLogger(ACCESS)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


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
