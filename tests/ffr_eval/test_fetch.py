"""``ffr data fetch``: downloads from a local server, kills, damage, and what comes out."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import check_benchmark, read_benchmark
from ffr_eval.fetch import download, releases
from ffr_eval.fetch.releases import Release, ReleasedFile
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark
from ffr_eval.writing import work_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Cli

# A release that the tests make, in the layout of the original ------------------------------------


def record(
    dialogue_id: str,
    query: str = "q",
    gold: tuple[list[int], list[int]] = ([1], []),
    *,
    images: list[str] | None = None,
    n_turns: int = 4,
) -> dict[str, Any]:
    images = images or []
    turns = [f"{mark(UTT_ID, i)} User{i % 2 + 1}: text {dialogue_id} {i}" for i in range(n_turns)]
    shown = [
        f"{mark(UTT_ID, n_turns + i)} User1: {mark(IMG_ID, i)}<image>" for i in range(len(images))
    ]
    content = "\n".join([f"Find {mark(QUERY, query)}", *turns, *shown])
    return {
        "messages": [
            {"role": "system", "content": "You find things."},
            {"role": "user", "content": content},
            {"role": "assistant", "content": answer_text(*gold)},
        ],
        "images": images,
        "solution": answer_text(*gold),
        "dialogue_id": dialogue_id,
    }


def array(*records: dict[str, Any]) -> bytes:
    return json.dumps(records, ensure_ascii=False, indent=1).encode()


PNG = b"\x89PNG\r\n\x1a\n"
T1 = ["MLDR/images/t1/0.png"]  # from the folder that was unpacked to
V1 = ["images/v1/0.jpg"]  # from the folder of the file
MLDR: dict[str, bytes] = {
    "MLDR/MLDR_train_cold_start.json": array(
        record("t1", "first", images=T1), record("t2"), record("t1", "second", images=T1)
    ),
    "MLDR/MLDR_train_GRPO.json": array(record("t2", "third"), record("t1", "first", images=T1)),
    "MLDR/MLDR_val.json": array(record("v1", "shown", ([], [0]), images=V1)),
    "MLDR/images/t1/0.png": PNG + b"train",
    "MLDR/images/v1/0.jpg": b"\xff\xd8val",
    "MLDR/README.md": b"about",
    "MLDR/statistics.json": b'{"turns": 25.45}',
}


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# A server that can do what servers do ------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Serves ``body``; the attributes say how."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = b""
        self.etag: str | None = '"v1"'
        self.last_modified: str | None = None
        self.ranges = True
        self.cut_after: int | None = None  # bytes of a body, then the connection is closed
        self.pause = 0.0  # seconds between pieces
        self.status = 200
        self.content_type = "application/x-tar"
        self.chunked = False
        self.requests: list[dict[str, str]] = []

    def handle_error(self, *_: object) -> None: ...  # clients that are killed, or close early

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data/MLDR.tar"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        if server.status != 200:
            self.send_error(server.status)
            return
        body, start = server.body, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition is None or condition in (server.etag, server.last_modified)
        if asked and server.ranges and same:
            start = int(asked.group(1))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", server.content_type)
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.last_modified:
            self.send_header("Last-Modified", server.last_modified)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self._send(body[start:])

    def _send(self, body: bytes) -> None:
        server, step = self.server, 2**16
        end = len(body) if server.cut_after is None else server.cut_after
        try:
            for at in range(0, end, step):
                piece = body[at : min(at + step, end)]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if server.chunked else piece)
                time.sleep(server.pause)
            if server.chunked and server.cut_after is None:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client was killed
            pass
        self.close_connection = self.close_connection or server.cut_after is not None

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FFR_DATA", str(tmp_path / "downloads"))
    return tmp_path / "downloads"


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """MLDR.tar with a megabyte of images."""
    files = MLDR | {"MLDR/images/large.png": os.urandom(2**20)}
    data = tar(tmp_path / "made.tar", files).read_bytes()
    (tmp_path / "made.tar").unlink()
    return data


def fetch(*options: object, out: Path, name: str = "mldr") -> list[object]:
    return ["data", "fetch", name, "--out", out, *options]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What comes out ----------------------------------------------------------------------------------


def test_a_release_becomes_a_benchmark(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes
) -> None:
    server.body = archive
    done = cli(*fetch("--url", f"{server.url}?sign=secret", out=tmp_path / "mldr"))
    assert check_benchmark(tmp_path / "mldr")[0] == []
    benchmark = read_benchmark(tmp_path / "mldr")
    assert list(zip(benchmark.queries.sample_id, benchmark.queries.split, strict=True)) == [
        ("t1#0", "train"),
        ("t2#0", "train"),
        ("t1#1", "train"),
        ("t2#1", "train"),
        ("v1#0", "val"),
    ]
    assert benchmark.splits == ("train", "val")
    files = {s.dialogue.dialogue_id: s.dialogue.images for s in benchmark.samples()}
    read = {name: [i.file.read_bytes() for i in found if i.file] for name, found in files.items()}
    assert read == {"t1": [PNG + b"train"], "t2": [], "v1": [b"\xff\xd8val"]}
    info = json.loads((tmp_path / "mldr" / "benchmark.json").read_text())
    assert info["meta"]["archives"] == [
        {"name": "MLDR.tar", "sha256": sha256(archive), "url": server.url}
    ]
    assert "2508.17714" in info["citation"]
    assert "LICENSE.md" in info["licence"]
    assert sha256(archive) in done.out
    assert "no published checksum" in done.out
    assert "note: left out 1 queries that another file has as well" in done.out
    assert "note: left out MLDR/statistics.json: not a dataset" in done.out
    assert done.err == f"downloading {server.url} ({len(archive) / 1e6:.1f} MB) …\n"
    assert entries(downloads) == ["MLDR.tar", "MLDR.tar.download.json"]
    assert entries(tmp_path) == ["downloads", "mldr"]
    assert "secret" not in "".join(path.read_text() for path in downloads.glob("*.json"))

    # What is there is not downloaded again, and where it came from is still known.
    cli(*fetch("--url", server.url, out=tmp_path / "again"))
    cli(*fetch("--split", "val", out=tmp_path / "val"))
    assert len(server.requests) == 1
    assert read_benchmark(tmp_path / "again").content_hash == benchmark.content_hash
    assert read_benchmark(tmp_path / "val").queries.sample_id == ["v1#0"]
    info = json.loads((tmp_path / "val" / "benchmark.json").read_text())
    assert info["meta"]["archives"][0]["url"] == server.url


def test_an_archive_at_hand(cli: Cli, tmp_path: Path, downloads: Path) -> None:
    chats = array(record("w", "q", ([1], [])), record("w", "r", ([], [])))
    file = tar(tmp_path / "x.tgz", {"WeChat_test_set/data.json": chats}, "w:gz")
    sums = ["--sha256", sha256(file.read_bytes()).upper()]
    out = tmp_path / "new" / "wechat"
    done = cli(*fetch("--archive", file, *sums, "--keep-unpacked", out=out, name="wechat-mdr"))
    benchmark = read_benchmark(out)
    assert (benchmark.name, benchmark.splits) == ("wechat-mdr", ("test",))
    assert benchmark.queries.sample_id == ["w#0", "w#1"]
    assert benchmark.info.meta == {
        "archives": [{"name": "x.tgz", "sha256": sha256(file.read_bytes()), "url": None}]
    }
    assert "(as expected)" in done.out
    kept = out.with_name("wechat-unpacked")
    assert [path.read_bytes() for path in kept.rglob("data.json")] == [chats]
    assert entries(out.parent) == ["wechat", "wechat-unpacked"]
    assert not downloads.exists()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a/MLDR_valid.jsonl", "val"),
        ("a/mldr-dev-v2.json", "dev"),
        ("train/data.json", "train"),
        ("test/MLDR_val.json", "val"),
        ("a/TEST.json", "test"),
    ],
)
def test_the_split_is_in_the_name(cli: Cli, tmp_path: Path, name: str, split: str) -> None:
    records = [record("a"), record("b")]
    data = array(*records)
    if name.endswith("l"):
        data = b"".join(json.dumps(item).encode() + b"\n" for item in records)
    cli(*fetch("--archive", tar(tmp_path / "a.tar", {name: data}), out=tmp_path / "out"))
    assert read_benchmark(tmp_path / "out").queries.split == [split, split]


def test_absolute_image_paths_are_found_by_their_ends(cli: Cli, tmp_path: Path) -> None:
    paths = ["/home/them/data/R/images/0.png", "/elsewhere/images/1.png", "/0.png", "/x/y/0.png"]
    members = {
        "R/val.json": array(record("d", images=paths)),
        "R/images/0.png": PNG + b"0",
        "R/images/1.png": PNG + b"1",
        "0.png": PNG,
    }
    file = tar(tmp_path / "a.tar", members)
    done = cli("data", "fetch", "mldr", "--out", tmp_path / "out", "--archive", file)
    images = read_benchmark(tmp_path / "out").sample(0).dialogue.images
    found = [image.file and image.file.read_bytes()[-1:] for image in images]
    assert found == [b"0", b"1", None, None]
    assert "note: 2 images have no file" in done.out


def test_images_are_only_taken_from_the_archive(cli: Cli, tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    private.write_bytes(PNG)
    paths = [str(private), "../../../../private.png", "../pictures/a.png", "none.png"]
    files = {
        "R/notes/val.json": array(record("d", images=paths)),
        "R/pictures/a.png": PNG + b"a",
    }
    done = cli(*fetch("--archive", tar(tmp_path / "a.tar", files), out=tmp_path / "out"))
    images = read_benchmark(tmp_path / "out").sample(0).dialogue.images
    assert [image.file is not None for image in images] == [False, False, True, False]
    assert "note: 3 images have no file" in done.out


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        (
            {"M/train.json": array(record("d")), "M/val.json": array(record("e"), record("d"))},
            "a.tar: M/val.json:",
            "dialogue 'd' is in split 'train' in {archive}: M/train.json:2",
        ),
        (
            {"M/val.json": array(record("d") | {"images": ["a.png"]})},
            "a.tar: M/val.json:2: [0].images:",
            "1 images, but 0 image markers",
        ),
        (
            {"M/val.json": array(record("e", images=["a.png"]), record("d", gold=([], [0])))},
            "a.tar: M/val.json:",
            "the dialogue has no image 0",
        ),
        ({"M/val.json": array(record("d"))[:-20]}, "a.tar: M/val.json:", ""),
        ({"M/data.json": array(record("d"))}, "a.tar: M/data.json:", "of which split"),
        ({"M/train_test.json": array(record("d"))}, "a.tar: M/train_test.json:", "of which split"),
        ({"M/a.json": b"[]", "M/b.png": PNG}, "a.tar:", "no ms-swift file"),
        (
            {"M/val.json": array(record("d") | {"response": "…"})},
            "a.tar:",
            "no ms-swift file",
        ),
    ],
)
def test_what_the_archive_holds_is_checked(
    cli: Cli, tmp_path: Path, files: dict[str, bytes], place: str, message: str
) -> None:
    archive = tar(tmp_path / "a.tar", files)
    said = cli.refused(*fetch("--archive", archive, out=tmp_path / "out"))
    assert f"{tmp_path}/{place}" in said
    assert message.format(archive=archive) in said
    assert ".fetch-" not in said
    assert entries(tmp_path) == ["a.tar"]


def test_unsafe_archives_leave_nothing(cli: Cli, tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", MLDR | {"../escaped": b"x"})
    said = cli.refused(*fetch("--archive", archive, out=tmp_path / "deep" / "out"))
    assert "member '../escaped'" in said
    archive = tar(tmp_path / "a.tar", MLDR | {"MLDR/last.png": bytes(20_000)})
    options = ("--archive", archive, "--max-unpacked-gb", "0.00002")
    said = cli.refused(*fetch(*options, out=tmp_path / "out"))
    assert "member 'MLDR/last.png'" in said
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert "cut off" in cli.refused(*fetch("--archive", archive, out=tmp_path / "out"))
    assert entries(tmp_path) == ["a.tar"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--archive", "none.tar"], "no such file"),
        (["--archive", "."], "is a folder"),
        (["--archive", "a.tar", "--url", "http://x/a.tar"], "--archive and --url together"),
        (["--url", "file:///etc/passwd"], "not a web address"),
        (["--url", "http://x/a.tar", "--url", "http://y/a.tar"], "different file names"),
        (["--sha256", "abc"], "not a SHA-256"),
        (["--sha256", "0" * 64, "--sha256", "0" * 64], "2 checksums for 1 archives"),
        (["--archive", "a.tar", "--split", "dev"], "no split 'dev'\n  → it has train, val"),
    ],
)
def test_options_that_are_wrong(
    cli: Cli,
    tmp_path: Path,
    downloads: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    tar(tmp_path / "a.tar", MLDR)
    assert message in cli.refused(*fetch(*options, out=tmp_path / "out"))
    assert entries(tmp_path) == ["a.tar"]


def test_an_unknown_release_and_a_folder_in_use(cli: Cli, tmp_path: Path, downloads: Path) -> None:
    assert "did you mean 'mldr'" in cli.refused(*fetch(out=tmp_path / "out", name="mlrd"))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    assert "not empty" in cli.refused(*fetch(out=tmp_path / "used"))
    (tmp_path / "out-unpacked").mkdir()
    assert "already exists" in cli.refused(*fetch("--keep-unpacked", out=tmp_path / "out"))
    assert not downloads.exists()


# Downloads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_download_goes_on(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes, chunked: bool
) -> None:
    server.body, server.cut_after, server.chunked = archive, 600_000, chunked
    command = fetch("--url", server.url, out=tmp_path / "out")
    result = cli.run(*command)
    assert (result.code, result.out) == (1, "")
    assert "the download stopped after" in result.err
    assert f"goes on from {downloads / 'MLDR.tar.part'}" in result.err
    part = (downloads / "MLDR.tar.part").read_bytes()
    assert 0 < len(part) <= 600_000
    assert archive.startswith(part)
    assert entries(tmp_path) == ["downloads"]
    server.cut_after = None
    result = cli(*command)
    assert server.requests[-1]["Range"] == f"bytes={len(part)}-"
    assert server.requests[-1]["If-Range"] == '"v1"'
    assert (downloads / "MLDR.tar").read_bytes() == archive
    assert entries(downloads) == ["MLDR.tar", "MLDR.tar.download.json"]
    assert "going on with MLDR.tar" in result.err


def cut_download(cli: Cli, server: Server, out: Path, *options: object) -> None:
    server.cut_after = 600_000
    assert cli.run(*fetch("--url", server.url, *options, out=out)).code == 1
    server.cut_after = None


@pytest.mark.parametrize(
    "change", ["another file", "no ranges", "no validators", "weak tag", "another address"]
)
def test_a_part_that_may_not_fit_is_not_used(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes, change: str
) -> None:
    server.body = archive
    url = server.url
    if change == "no validators":
        server.etag = None
    if change == "weak tag":
        server.etag = 'W/"v1"'
    cut_download(cli, server, tmp_path / "out")
    if change == "another file":
        other = {"MLDR/MLDR_test.json": MLDR["MLDR/MLDR_val.json"]}
        server.body, server.etag = tar(tmp_path / "b.tar", other).read_bytes(), '"v2"'
    elif change == "no ranges":
        server.ranges = False
    elif change == "another address":
        url = url.replace("/data/", "/other/")
    cli(*fetch("--url", url, out=tmp_path / "out"))
    asks = "Range" in server.requests[-1]
    assert asks == (change in ("another file", "no ranges"))
    assert (downloads / "MLDR.tar").read_bytes() == server.body


@pytest.mark.parametrize("by", ["date", "checksum"])
def test_other_ways_to_tell_that_a_part_fits(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes, by: str
) -> None:
    server.body, server.etag = archive, None
    server.last_modified = "Mon, 10 Nov 2025 08:00:00 GMT" if by == "date" else None
    options = ["--sha256", sha256(archive)] if by == "checksum" else []
    cut_download(cli, server, tmp_path / "out", *options)
    cli(*fetch("--url", server.url, *options, out=tmp_path / "out"))
    assert server.requests[-1].get("If-Range") == server.last_modified
    assert "Range" in server.requests[-1]
    assert (downloads / "MLDR.tar").read_bytes() == archive


def test_a_part_that_was_complete(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes
) -> None:
    server.body = archive
    cut_download(cli, server, tmp_path / "out")
    (downloads / "MLDR.tar.part").write_bytes(archive)  # killed before it was renamed
    cli(*fetch("--url", server.url, out=tmp_path / "out"))
    assert (downloads / "MLDR.tar").read_bytes() == archive
    (downloads / "MLDR.tar").rename(downloads / "MLDR.tar.part")
    with (downloads / "MLDR.tar.part").open("ab") as stream:
        stream.write(b"more than there is")
    cli(*fetch("--url", server.url, out=tmp_path / "again"))
    assert (downloads / "MLDR.tar").read_bytes() == archive


def test_a_wrong_checksum(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes
) -> None:
    server.body = archive
    command = fetch("--url", server.url, "--sha256", "0" * 64, out=tmp_path / "out")
    said = cli.refused(*command)
    assert f"{downloads / 'MLDR.tar.bad'}: its SHA-256 is {sha256(archive)}, not 000" in said
    assert entries(downloads) == ["MLDR.tar.bad"]
    assert entries(tmp_path) == ["downloads"]
    # A file that the user put there is left alone.
    (downloads / "MLDR.tar").write_bytes(archive)
    assert "left as it is" in cli.refused(*command)
    assert (downloads / "MLDR.tar").read_bytes() == archive


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/x-tar"])
def test_a_web_page_in_place_of_the_archive(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, content_type: str
) -> None:
    server.body = b"<!doctype html><title>Sign in</title>"
    server.content_type = content_type
    result = cli.run(*fetch("--url", server.url, out=tmp_path / "out"))
    assert result.code == 2
    assert f"{server.url}: a web page, not an archive" in result.err
    assert entries(downloads) == []


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses(
    cli: Cli,
    tmp_path: Path,
    downloads: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setattr("urllib3.util.Retry.DEFAULT_BACKOFF_MAX", 0.01)
    server.status = status
    released = ReleasedFile("MLDR.tar", f"{server.url}?token=secret")
    release = Release((released,), releases.RELEASES["mldr"].info)
    monkeypatch.setitem(releases.RELEASES, "mldr", release)
    result = cli.run(*fetch(out=tmp_path / "out"))
    assert result.code == 1
    assert f"{server.url} cannot be downloaded: HTTP {status}" in result.err
    assert f"put the archive at {downloads / 'MLDR.tar'} yourself" in result.err
    assert "secret" not in result.err
    assert len(server.requests) == (4 if status == 503 else 1)


def test_no_server(cli: Cli, tmp_path: Path, downloads: Path, server: Server) -> None:
    url = server.url.replace(str(server.server_address[1]), "1")
    result = cli.run(*fetch("--url", f"{url}?token=secret", out=tmp_path / "out"))
    assert result.code == 1
    assert f"{url} cannot be downloaded: Connection refused" in result.err
    assert "secret" not in result.err
    assert entries(downloads) == []


def test_no_known_address(
    cli: Cli, tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release((ReleasedFile("MLDR.tar"),), releases.RELEASES["mldr"].info)
    monkeypatch.setitem(releases.RELEASES, "mldr", release)
    said = cli.refused(*fetch(out=tmp_path / "out"))
    assert f"{downloads / 'MLDR.tar'}: the archive is not here, and no address" in said
    assert "--url URL" in said
    assert "--archive FILE" in said


def test_the_published_checksum_is_checked(
    cli: Cli, tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release((ReleasedFile("MLDR.tar", None, "1" * 64),), releases.RELEASES["mldr"].info)
    monkeypatch.setitem(releases.RELEASES, "mldr", release)
    downloads.mkdir()
    tar(downloads / "MLDR.tar", MLDR)
    assert "not 111" in cli.refused(*fetch(out=tmp_path / "out"))


def test_without_the_extra(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    assert "ffr-eval[fetch]" in cli.refused(*fetch("--url", server.url, out=tmp_path / "out"))
    file = tar(tmp_path / "a.tar", MLDR)
    cli(*fetch("--archive", file, out=tmp_path / "out"))


def test_a_full_disk(
    cli: Cli,
    tmp_path: Path,
    downloads: Path,
    server: Server,
    archive: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.body = archive
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr("ffr_eval.fetch.disk.shutil.disk_usage", lambda _: free)
        result = cli.run(*fetch("--url", server.url, out=tmp_path / "out"))
        assert result.code == 1
        assert "1.1 MB are needed to download MLDR.tar, but 1.0 kB are free" in result.err
    cli(*fetch("--url", server.url, out=tmp_path / "out"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ffr_eval.benchmark.writer.shutil.copyfile", full)
        result = cli.run(*fetch(out=tmp_path / "second"))
    assert result.code == 1
    assert "No space left on device; nothing was written, and the archives are kept" in result.err
    assert entries(tmp_path) == ["downloads", "out"]


@pytest.mark.parametrize("url", ["https://u:p@h.org/a/b.tar?x=1#y", "https://h.org/a/b.tar"])
def test_recorded_addresses_hold_no_secrets(url: str) -> None:
    assert download.public_url(url) == "https://h.org/a/b.tar"
    assert download.file_name(url) == "b.tar"


@pytest.mark.parametrize(
    "url", ["https://h.org/", "https://h.org/a/..", "https://h.org/%2e%2e%2fx"]
)
def test_file_names_of_addresses_are_safe(url: str) -> None:
    assert download.file_name(url) is None


# Kills -------------------------------------------------------------------------------------------


def start(*args: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ffr_eval", *map(str, args)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_downloads_go_on(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes
) -> None:
    server.body, server.pause = archive, 0.1
    command = fetch("--url", server.url, out=tmp_path / "out")
    part = downloads / "MLDR.tar.part"

    def size() -> int:
        return part.stat().st_size if part.exists() else 0

    last = 0
    for _ in range(2):
        kill_when(start(*command), lambda: size() > last)  # noqa: B023
        assert archive.startswith(part.read_bytes())
        last = size()
    server.pause = 0
    cli(*command)
    assert int(server.requests[-1]["Range"][6:-1]) == last > 0
    assert (downloads / "MLDR.tar").read_bytes() == archive
    assert entries(tmp_path) == ["downloads", "out"]
    assert entries(downloads) == ["MLDR.tar", "MLDR.tar.download.json"]


@pytest.mark.parametrize("stage", ["unpacked", "benchmark"])
def test_killed_imports_leave_no_folder(cli: Cli, tmp_path: Path, stage: str) -> None:
    images = {f"MLDR/images/{i}.png": PNG for i in range(3000)}
    records = [record(f"d{i}", images=[f"images/{i}.png"]) for i in range(3000)]
    file = tar(tmp_path / "a.tar", {"MLDR/val.json": array(*records)} | images)
    command = fetch("--archive", file, out=tmp_path / "out")
    if stage == "unpacked":
        pattern = ".out.fetch-*/unpacked/MLDR/images"
    else:
        pattern = ".out.fetch-*/.benchmark.import-*/benchmark/images"
    kill_when(start(*command), lambda: any(tmp_path.glob(pattern)))
    assert not (tmp_path / "out").exists()
    left = next(tmp_path.glob(".out.fetch-*"))
    cli(*command)
    assert not left.exists()
    assert entries(tmp_path) == ["a.tar", "out"]
    assert len(read_benchmark(tmp_path / "out").queries.sample_id) == 3000


def test_the_work_of_another_process_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    file = tar(tmp_path / "a.tar", MLDR)
    with work_folder(tmp_path / "out", "fetch") as other:
        (other / "file").touch()
        cli(*fetch("--archive", file, out=tmp_path / "out"))
        assert (other / "file").exists()
    assert entries(tmp_path) == ["a.tar", "out"]


def test_two_downloads_of_one_file(
    cli: Cli, tmp_path: Path, downloads: Path, server: Server, archive: bytes
) -> None:
    server.body, server.pause = archive, 0.3
    process = start(*fetch("--url", server.url, out=tmp_path / "one"))
    until = time.monotonic() + 30
    while not (downloads / "MLDR.tar.part").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    said = cli.refused(*fetch("--url", server.url, out=tmp_path / "two"))
    assert "another process downloads it" in said
    server.pause = 0
    assert process.wait(60) == 0
    assert entries(downloads) == ["MLDR.tar", "MLDR.tar.download.json"]
