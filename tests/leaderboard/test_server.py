"""The server: which files it gives out, what it refuses, what it tells browsers, what it logs."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from leaderboard import public_files, server_options
from leaderboard.http_guards import ACCESS, AccessLog, guards
from leaderboard.http_headers import SANDBOX, page_policy, security_headers
from leaderboard.private_logs import keep_content_out
from leaderboard.public_files import PublicFiles
from leaderboard.server_options import CLOSED, ServerSettings, streamlit_options
from leaderboard.site.manifest import MANIFEST, FileRecord, read_manifest
from tests.leaderboard.browser.driving import start_board
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from tests.leaderboard.browser.driving import Board

SECRET = b"what is hidden stays hidden"
PICTURE = b"RIFF0000WEBPVP8 "
NAME = hashlib.sha256(PICTURE).hexdigest()
LINK, PIPE, UNLISTED = ("a" * 64, "b" * 64, "c" * 64)
HEADERS = security_headers()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with what must not be served: private files, links, a pipe, and an unlisted image."""
    site = write_site(tmp_path_factory.mktemp("served") / "site", n_runs=3, n_samples=8)
    images, private = site / "public" / "images", site / "private"
    private.mkdir()
    (private / "gold.jsonl").write_bytes(SECRET)
    (private / f"{'d' * 64}.webp").write_bytes(SECRET)
    (images / f"{NAME}.webp").write_bytes(PICTURE)
    (images / f"{UNLISTED}.webp").write_bytes(SECRET)
    (images / f"{LINK}.webp").symlink_to(private / "gold.jsonl")
    os.mkfifo(images / f"{PIPE}.webp")
    (site / "public" / "linked").symlink_to(private)
    (site / "public" / "linked.parquet").symlink_to(private / "gold.jsonl")
    listed = [f"public/images/{name}.webp" for name in (NAME, LINK, PIPE)]
    listed += ["public/linked/gold.jsonl", "public/linked.parquet", "private/gold.jsonl"]
    manifest = read_manifest(site)
    files = {**manifest.files, **{name: FileRecord("0" * 64, 0) for name in listed}}
    changed = msgspec.structs.replace(manifest, files=files)
    (site / MANIFEST).write_bytes(msgspec.json.encode(changed))
    return site


@pytest.fixture(scope="module")
def board(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A real server for it."""
    board = start_board(site, tmp_path_factory.mktemp("board"), "--access-log")
    yield board
    assert board.stop() == 0


def ask(
    board: Board, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """An answer to exactly this path: nothing is tidied up on the way."""
    connection = http.client.HTTPConnection(urlsplit(board.url).netloc, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, b"" if answer.status == 101 else answer.read()
    finally:
        connection.close()


def test_an_image(board: Board) -> None:
    status, headers, body = ask(board, f"/image/{NAME}.webp")
    assert (status, body) == (200, PICTURE)
    assert headers["content-type"] == "image/webp"
    assert headers["content-security-policy"] == SANDBOX
    assert headers["x-content-type-options"] == "nosniff"
    assert "immutable" in headers["cache-control"]


def test_a_download(board: Board, site: Path) -> None:
    status, headers, body = ask(board, "/data/runs.parquet")
    assert (status, body) == (200, (site / "public" / "runs.parquet").read_bytes())
    assert headers["content-disposition"] == 'attachment; filename="runs.parquet"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == SANDBOX
    raw = next((site / "public" / "raw").glob("*.jsonl.gz")).name
    status, headers, body = ask(board, f"/data/raw/{raw}", Accept_Encoding="gzip")
    assert (status, body) == (200, (site / "public" / "raw" / raw).read_bytes())
    assert headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    "path",
    [
        "/image/../../private/gold.jsonl",
        "/image/..%2f..%2fprivate%2fgold.jsonl",
        "/image/%2e%2e/%2e%2e/private/gold.jsonl",
        "/image/..%252f..%252fprivate%252fgold.jsonl",
        "/image/..%5c..%5cprivate%5cgold.jsonl",
        "/image/%c0%ae%c0%ae/%c0%ae%c0%ae/private/gold.jsonl",
        f"/image/../../private/{'d' * 64}.webp",
        f"/image/..%2f..%2fprivate%2f{'d' * 64}.webp",
        f"/image/{UNLISTED}.webp",
        f"/image/{LINK}.webp",
        f"/image/{PIPE}.webp",
        f"/image/{NAME.upper()}.webp",
        f"/image/{NAME}.webp%00",
        f"/image/{NAME}.webp%0a",
        f"/image/{NAME}",
        "/image/%2fetc%2fpasswd",
        "/data/../private/gold.jsonl",
        "/data/..%2fprivate%2fgold.jsonl",
        "/data/%2e%2e%2fprivate/gold.jsonl",
        "/data/..%5cprivate%5cgold.jsonl",
        "/data/raw/../../private/gold.jsonl",
        "/data/private/gold.jsonl",
        "/data/linked/gold.jsonl",
        "/data/linked.parquet",
        "/data//etc/passwd",
        "/data/%2fetc%2fpasswd",
        "/data/%2e%2e/manifest.json",
        "/data/../manifest.json",
        "/data/.",
        "/data/",
        "/data/raw",
        f"/data/images/{NAME}.webp",
        "/data/file:%2f%2f%2fetc%2fpasswd",
        "/data/runs.parquet%00",
    ],
)
def test_nothing_else_is_given_out(board: Board, path: str) -> None:
    _, headers, body = ask(board, path)
    assert SECRET not in body
    assert b"root:" not in body
    assert b"protocols" not in body  # the manifest
    assert not body.startswith(b"RIFF")
    assert "content-disposition" not in headers


@pytest.mark.parametrize("name", [LINK, PIPE, UNLISTED])
def test_what_is_no_listed_file_is_not_found(board: Board, name: str) -> None:
    assert ask(board, f"/image/{name}.webp")[0] == 404


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 200),
        ("/compare", "GET", {}, 200),
        ("/healthz", "GET", {}, 200),
        ("/_stcore/health", "GET", {}, 200),
        ("/_stcore/host-config", "GET", {}, 200),
        ("/_stcore/agent/interact", "POST", {}, 403),
        ("/favicon.png", "GET", {}, 200),
        ("/media/none.png", "GET", {}, 404),
        ("/data/none", "GET", {}, 404),
        ("/healthz", "DELETE", {}, 405),
        ("/", "GET", {"Host": "evil.example"}, 400),
        ("//evil.example/", "GET", {}, 400),
        ("/..%2f..%2fetc%2fpasswd", "GET", {}, 400),
        ("/_stcore/upload_file/a/b", "PUT", {"Content_Length": "99000000"}, 413),
    ],
)
def test_every_answer_has_the_headers(
    board: Board, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    got, found, _ = ask(board, path, method, **headers)
    assert got == status
    assert {name: found.get(name.lower()) for name in HEADERS} == HEADERS


def test_what_the_headers_say() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == policy["default-src"] == "'self'"
    assert "unsafe" not in policy["script-src"]
    assert "'sha256-" in policy["script-src"]
    assert [part for part in HEADERS["Content-Security-Policy"].split() if "//" in part] == []
    assert HEADERS["X-Frame-Options"] == "DENY"
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in HEADERS["Permissions-Policy"]


def test_a_frame_and_a_public_address() -> None:
    policy = page_policy(("https://huggingface.co",), "https://lab.example/ffr")
    assert "frame-ancestors https://huggingface.co" in policy
    assert "connect-src 'self' wss://lab.example;" in policy
    headers = security_headers(("https://huggingface.co",), "https://lab.example/ffr")
    assert "X-Frame-Options" not in headers
    assert "Strict-Transport-Security" in headers
    assert "Strict-Transport-Security" not in security_headers((), "http://lab.example")


def handshake(board: Board, **headers: str) -> int:
    """The status that a WebSocket is answered with."""
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "MDEyMzQ1Njc4OTAxMjM0NQ==",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Protocol": "streamlit",
    }
    return ask(board, "/_stcore/stream", **asked, **headers)[0]


def test_whose_websocket_is_taken(board: Board) -> None:
    host = urlsplit(board.url).netloc
    assert handshake(board, Origin=board.url) == 101
    assert handshake(board, Origin=board.url, Host=host.replace("127.0.0.1", "localhost")) == 101
    assert handshake(board, Origin="http://evil.example") == 403
    assert handshake(board, Origin="http://evil.example", Host="evil.example") in {400, 403}
    assert handshake(board, Host="evil.example") in {400, 403}  # DNS rebinding


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a@127.0.0.1", ""])
def test_other_host_names_are_refused(board: Board, host: str) -> None:
    assert ask(board, "/data/runs.parquet", Host=host)[0] == 400


def test_an_upload_that_is_too_large(board: Board) -> None:
    upload = "/_stcore/upload_file/session/file"
    assert ask(board, upload, "PUT", Content_Length=str(40 * 2**20))[0] == 413
    assert ask(board, upload, "PUT", Content_Length="-1")[0] in {400, 413}
    assert ask(board, upload, "PUT", Content_Length="0")[0] == 403  # XSRF
    assert ask(board, "/", "POST", Content_Length="100000")[0] == 413


def app_with(*endpoints: Any) -> Starlette:
    routes = [Route(f"/{one.__name__}", one, methods=["GET", "PUT"]) for one in endpoints]
    return Starlette(routes=routes, **guards(ServerSettings(), ""))


def call(app: Any, path: str, *chunks: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a body of unstated length in pieces, and give the answer."""
    parts = list(chunks)
    sent: list[bool] = []
    got: list[Any] = []

    async def receive() -> Any:
        if sent and not parts:
            return {"type": "http.disconnect"}
        sent.append(True)
        body = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": body, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        got.append(message)

    scope = {
        "type": "http",
        "method": "PUT" if chunks else "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"token=from-the-query",
        "headers": [],
        "client": ("192.0.2.7", 5),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
    }

    async def run() -> None:
        try:
            await app(scope, receive, send)
        except RuntimeError:
            got.append(None)  # an error goes on to the server after it has been answered

    asyncio.run(run())
    body = b"".join(message.get("body", b"") for message in got[1:] if message)
    headers = {name.decode(): value.decode() for name, value in got[0]["headers"]}
    return got[0]["status"], headers, body


async def takes(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def breaks(_: Request) -> PlainTextResponse:
    raise RuntimeError("SELECT what was asked")


def test_a_body_of_unstated_length_is_not_read_to_its_end() -> None:
    app = app_with(takes)
    assert call(app, "/takes", b"x" * 60_000)[::2] == (200, b"60000")
    status, headers, _ = call(app, "/takes", *[b"x" * 60_000] * 3)
    assert status == 413
    assert "content-security-policy" in {name.lower() for name in headers}


def test_an_error_is_answered_with_a_number_only(caplog: pytest.LogCaptureFixture) -> None:
    status, headers, body = call(app_with(breaks), "/breaks")
    assert status == 500
    assert "content-security-policy" in {name.lower() for name in headers}
    assert b"SELECT" not in body
    number = body.decode().rpartition(" ")[2]
    assert f"{number} builtins.RuntimeError at " in caplog.text
    assert "SELECT" not in caplog.text


def test_the_log_has_no_query_and_no_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS):
        call(AccessLog(app_with(takes)), "/takes")
        call(AccessLog(app_with(takes)), "/line\nbreak")
        call(AccessLog(app_with(takes)), "/_stcore/upload_file/session-name/file-name", b"x")
    assert "GET /takes 200" in caplog.text
    assert "GET /line?break 404" in caplog.text
    for kept_out in ("from-the-query", "192.0.2.7", "session-name", "file-name"):
        assert kept_out not in caplog.text


def test_the_log_of_a_real_server(board: Board) -> None:
    ask(board, "/samples?model=secret-model&q=a-secret-query", Cookie="secret-cookie=1")
    end = time.monotonic() + 10  # a line is written once all is sent
    while "GET /samples 200" not in board.said() and time.monotonic() < end:
        time.sleep(0.02)
    assert "GET /samples 200" in board.said()
    assert "secret" not in board.said()


@pytest.fixture
def factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("factory")
def test_messages_of_errors_stay_out_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    keep_content_out()
    keep_content_out()  # once is enough
    log = logging.getLogger("streamlit.error_util")
    try:
        try:
            raise ValueError("the query of a user")
        except ValueError as error:
            raise KeyError("what a dialogue says") from error
    except KeyError as error:
        log.exception("Uncaught app execution")
        log.error("with exc_info", exc_info=error)
        log.error("as an argument: %s", error)
        log.warning("%s and %d", "text", 3)
    assert "user" not in caplog.text
    assert "dialogue" not in caplog.text
    assert caplog.text.count("builtins.KeyError") == 3
    assert "; after builtins.ValueError at " in caplog.text
    assert "text and 3" in caplog.text


def test_a_site_that_is_published_again(site: Path, tmp_path: Path) -> None:
    copy = write_site(tmp_path / "again", n_runs=3, n_samples=8)
    app = Starlette(routes=PublicFiles(copy).routes("/ffr"))
    assert call(app, "/ffr/data/runs.parquet")[0] == 200
    assert call(app, "/data/runs.parquet")[0] == 404
    assert call(app, "/ffr/healthz")[0] == 200
    manifest = read_manifest(copy)
    fewer = {name: file for name, file in manifest.files.items() if "runs" not in name}
    changed = msgspec.structs.replace(manifest, files=fewer)
    (copy / MANIFEST).write_bytes(msgspec.json.encode(changed))
    assert call(app, "/ffr/data/runs.parquet")[0] == 404
    (copy / MANIFEST).write_text("{")
    assert call(app, "/ffr/healthz")[::2] == (503, b'{"status":"no site"}')
    assert call(app, "/ffr/data/floors.parquet")[0] == 503


def test_health_is_that_of_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = write_site(tmp_path / "damaged", n_runs=3, n_samples=8)
    app = Starlette(routes=PublicFiles(copy).routes())
    assert call(app, "/healthz")[0] == 200
    table = copy / "public" / "figures.parquet"
    data = table.read_bytes()
    table.write_bytes(data[:-8] + bytes(8))
    os.utime(table, ns=(1, 1))
    damaged = (503, b'{"status":"damaged site"}')
    assert call(app, "/healthz")[::2] == damaged
    with monkeypatch.context() as patch:
        patch.setattr(public_files, "Site", None)  # nothing has changed: nothing is read
        assert call(app, "/healthz")[::2] == damaged
    table.write_bytes(data)
    assert call(app, "/healthz")[0] == 200
    with monkeypatch.context() as patch:
        patch.setattr(public_files, "Site", None)
        assert call(app, "/healthz")[0] == 200
    table.unlink()
    assert call(app, "/healthz")[::2] == damaged


def test_options_are_known_and_closed() -> None:
    from streamlit import config

    known = config._config_options_template
    options = streamlit_options("127.0.0.1", 8501, "https://lab.example:444/ffr")
    assert [name for name in options if name not in known] == []
    assert options | CLOSED == options
    assert options["server.baseUrlPath"] == "/ffr"
    assert options["server.allowedHosts"] == ["127.0.0.1", "localhost", "::1", "lab.example"]
    assert options["browser.serverPort"] == 444
    assert streamlit_options("0.0.0.0", 1)["server.allowedHosts"] == []  # noqa: S104
    assert streamlit_options("127.0.0.1", 1)["server.allowedHosts"] != []
    framed = streamlit_options("127.0.0.1", 1, embed_in=("https://a.example",))
    assert framed["server.xsrfCookieSameSite"] == "none"
    assert options["server.xsrfCookieSameSite"] == "strict"


def test_only_ffr_board_starts_it(site: Path, tmp_path: Path) -> None:
    """Streamlit's own command would not close what we close: the server refuses."""
    settings = f'{{"site": "{site}"}}'
    server = Path(server_options.__file__).with_name("server.py")
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", server, "--server.headless=true"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "FFR_BOARD": settings},
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "not started by `ffr board`" in done.stderr
