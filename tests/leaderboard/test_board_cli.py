"""``ffr board``: what it refuses, and a real server from start to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from leaderboard.cli import server_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

SECONDS = 60


def test_a_folder_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    said = cli.refused("board", tmp_path / "gone")
    assert "no such folder" in said
    assert "ffr run" in said


def test_a_folder_without_runs(cli: Cli, tmp_path: Path) -> None:
    said = cli.refused("board", tmp_path)
    assert "no run folders" in said
    assert f"ffr run bm25 ffr-sample --split test --out {tmp_path}/bm25" in said


def test_a_file(cli: Cli, runs: Path) -> None:
    assert "not a folder" in cli.refused("board", runs / "none" / "run.json")


def test_a_busy_port(cli: Cli, runs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        said = cli.refused("board", runs, "--port", port, "--no-browser")
    assert f"port {port} is in use" in said
    assert "--port" in said


def test_a_host_that_is_not_ours(cli: Cli, runs: Path) -> None:
    assert "--host" in cli.refused("board", runs, "--host", "192.0.2.1", "--no-browser")


def test_streamlit_is_missing(cli: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "ffr-eval[leaderboard]" in cli.refused("board", runs)


def test_settings_are_known_and_closed() -> None:
    from streamlit import config

    options = server_options("127.0.0.1", 8501)
    known = config._config_options_template
    assert [name for name in options if name not in known] == []
    assert options["server.address"] == "127.0.0.1"
    assert options["client.showErrorDetails"] == "none"
    assert options["client.disableDataExport"] is True
    assert options["browser.gatherUsageStats"] is False
    assert "server.allowedHosts" in options
    assert "server.allowedHosts" not in server_options("0.0.0.0", 8501)  # noqa: S104


@pytest.fixture
def server(runs: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The board on the first free port, with a configuration file that would open it up."""
    settings = tmp_path / ".streamlit"
    settings.mkdir()
    lines = (
        "[server]",
        'address = "0.0.0.0"',
        "enableXsrfProtection = false",
        "enableCORS = false",
    )
    (settings / "config.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "ffr_eval", "board", str(runs), "--no-browser"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent another way")
def test_a_real_server(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    assert server.stdout.readline().startswith("4 run folders in ")
    url = re.findall(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]
    assert wait_for(f"{url}/_stcore/health", server) == (200, b"ok")
    assert b"<title>" in wait_for(url, server)[1]
    request = urllib.request.Request(  # noqa: S310
        f"{url}/_stcore/health", headers={"Origin": "http://evil.example"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.headers.get("Access-Control-Allow-Origin") != "*"
    assert listens_on(url) == ["127.0.0.1"]
    server.send_signal(signal.SIGINT)
    rest = server.communicate(timeout=SECONDS)[0]
    assert server.returncode == 0, rest
    assert "Traceback" not in rest


def wait_for(url: str, server: subprocess.Popen[str]) -> tuple[int, bytes]:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.URLError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")


def listens_on(url: str) -> list[str]:
    """The addresses of this machine on which the port of ``url`` answers."""
    port = int(url.rpartition(":")[2])
    addresses = ["127.0.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]]
    found = []
    for address in dict.fromkeys(addresses):
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((address, port)) == 0:
                found.append(address)
    return found
