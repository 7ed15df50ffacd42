"""``ffr board``: what it refuses, and a real server from start to Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from leaderboard.local_site import SECRET, cookie_secret, prepare, state_folder
from tests.leaderboard.browser.driving import start_board
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("cli") / "site", n_runs=3, n_samples=8)


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


def test_a_broken_site(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    said = cli.refused("board", tmp_path)
    assert "manifest.json" in said
    assert "missing required field" in said


def test_a_damaged_site(cli: Cli, site: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(site, tmp_path / "copy")
    table = copy / "public" / "figures.parquet"
    table.write_bytes(table.read_bytes()[:-8] + bytes(8))
    said = cli.refused("board", copy, "--no-browser", "--read-only")
    assert "figures.parquet: has another content than was published" in said


def test_a_first_publish_that_was_killed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "publish.lock").touch()
    said = cli.refused("board", tmp_path)
    assert "publish it again" in said
    assert "make one" not in said


def test_runs_that_cannot_be_scored_are_told(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder in runs.iterdir():
        if folder.name not in {"none", "random"}:
            shutil.rmtree(folder)
    (runs / "random" / "run.json").write_text("{")
    prepare([runs])
    said = capsys.readouterr().err
    assert "warning: random is not scored: run.json" in said


def test_a_site_and_runs(cli: Cli, runs: Path, site: Path) -> None:
    assert "give one site, or run folders only" in cli.refused("board", runs, site)


def test_a_busy_port(cli: Cli, runs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        said = cli.refused("board", runs, "--port", port, "--no-browser")
    assert f"port {port} is in use" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--host", "192.0.2.1"], "--host"),
        (["--public-url", "lab.example"], "https://lab.example/ffr"),
        (["--public-url", "ftp://lab.example"], "https://lab.example/ffr"),
        (["--embed-in", "https://a.example/path"], "no origin"),
        (["--embed-in", "https://a.example; script-src *"], "no origin"),
        (["--embed-in", "http://a.example"], "no origin"),
        (["--embed-in", "*"], "no origin"),
        (["--read-only", "--state", "somewhere"], "--read-only keeps no state"),
    ],
)
def test_options_that_make_no_sense(
    cli: Cli, site: Path, options: list[str], expected: str
) -> None:
    assert expected in cli.refused("board", site, "--no-browser", *options)


def test_streamlit_is_missing(cli: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "ffr-eval[leaderboard]" in cli.refused("board", runs)


def test_help_has_examples(cli: Cli) -> None:
    said = cli("board", "--help").out
    assert "ffr board site --read-only" in said
    assert "XDG_STATE_HOME" in said


def test_the_state_folder_is_ours_alone(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    folder = state_folder(None, [site])
    assert folder.parent == (tmp_path / "home" / "ffr" / "boards").resolve()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = cookie_secret(folder)
    assert stat.S_IMODE((folder / SECRET).stat().st_mode) == 0o600
    assert cookie_secret(folder) == secret  # a restart ends no session
    assert cookie_secret(None) != cookie_secret(None)
    assert state_folder(tmp_path / "mine", [site]) == (tmp_path / "mine").resolve()


def test_state_that_cannot_be_kept(cli: Cli, site: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = cli.refused("board", site, "--no-browser", "--state", tmp_path / "file")
    assert "--state" in said
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / SECRET).write_text("short")
    said = cli.refused("board", site, "--no-browser", "--state", tmp_path / "state")
    assert "holds no secret" in said


def get(url: str, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.status, answer.headers, answer.read()


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent another way")
def test_a_real_server(runs: Path, tmp_path: Path) -> None:
    """Run folders are published first; a configuration that would open it up changes nothing."""
    for model in ("all", "random"):
        shutil.rmtree(runs / model)
    settings = tmp_path / ".streamlit"
    settings.mkdir()
    lines = (
        "[server]",
        'address = "0.0.0.0"',
        "enableXsrfProtection = false",
        "enableCORS = false",
        "enableStaticServing = true",
        "[client]",
        'showErrorDetails = "full"',
    )
    (settings / "config.toml").write_text("\n".join(lines))
    environment = {
        "STREAMLIT_SERVER_ENABLE_CORS": "false",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    board = start_board(runs, tmp_path, **environment)
    try:
        said = board.said()
        assert said.startswith("2 run folders in ")
        assert re.search(r"http://127\.0\.0\.1:\d+", said)
        assert get(f"{board.url}/_stcore/health")[::2] == (200, b"ok")
        assert b"<title>" in get(board.url)[2]
        headers = get(f"{board.url}/_stcore/health", Origin="http://evil.example")[1]
        assert headers.get("Access-Control-Allow-Origin") != "*"
        assert listens_on(board.url) == ["127.0.0.1"]
        assert get(f"{board.url}/data/runs.parquet")[0] == 200
        assert [path.name for path in (tmp_path / "cache" / "ffr" / "sites").glob("*/*.json")]
    finally:
        code = board.stop()
    assert code == 0, board.said()
    assert "Traceback" not in board.said()
    assert "Streamlit" not in board.said()
    assert (board.state / SECRET).is_file()


def test_below_a_path_for_others(site: Path, tmp_path: Path) -> None:
    """As behind a reverse proxy: below its path, by its name, and without state."""
    options = ("--host", "0.0.0.0", "--public-url", "https://lab.example/ffr", "--read-only")  # noqa: S104
    board = start_board(site, tmp_path, *options)
    try:
        assert "warning: 0.0.0.0 is not only this machine" in board.said()
        assert "may vote" not in board.said()  # it is read-only
        assert urlsplit(board.url).path == "/ffr"
        status, headers, _ = get(f"{board.url}/data/runs.parquet", Host="lab.example")
        assert status == 200
        assert "wss://lab.example" in get(board.url)[1]["Content-Security-Policy"]
        assert "max-age" in headers["Strict-Transport-Security"]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(f"{board.url}/healthz", Host="evil.example")
    finally:
        assert board.stop() == 0
    assert not board.state.exists()


def listens_on(url: str) -> list[str]:
    """The addresses of this machine on which the port of ``url`` answers."""
    port = urlsplit(url).port
    addresses = ["127.0.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]]
    found = []
    for address in dict.fromkeys(addresses):
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((address, port)) == 0:
                found.append(address)
    return found
