"""Downloading an archive to ``FILE.part``, going on where an earlier run stopped.

What the server said of the file is kept in ``FILE.download.json``; an earlier part is only used if
the server says that it still has the same file.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.fetch.disk import explain_full_disk, require_space
from ffr_eval.fetch.progress import bytes_progress

if TYPE_CHECKING:
    import requests

_CHUNK: Final = 2**18
_TIMEOUT: Final = (10, 60)  # seconds to connect, and between two pieces
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_HTML: Final = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a download; ``sha256`` once it is complete."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None


def public_url(url: str) -> str:
    """An address without what may be secret in it: user, password, and a signature's query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def file_name(url: str) -> str | None:
    """The file name in an address, if it has one that is safe to use."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}", name) else None


def read_record(target: Path) -> Record | None:
    """What is known of an earlier download of ``target``."""
    try:
        return msgspec.json.decode(_beside(target, "download.json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def sha256_with_progress(path: Path) -> str:
    """SHA-256 of a file, which may be many gigabytes.

    Raises:
        InputError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with (
            path.open("rb") as stream,
            bytes_progress(f"checking {path.name}", path.stat().st_size, quiet=True) as advance,
        ):
            while data := stream.read(2**20):
                digest.update(data)
                advance(len(data))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError(message, file=path, remedy="check the path") from None
    return digest.hexdigest()


def refuse_web_page(path: Path) -> None:
    """Refuse what servers send in place of a file that they do not have.

    Raises:
        InputError: If the file is HTML or XML.
    """
    with path.open("rb") as stream:
        start = stream.read(256).removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(start):
        message = f"a web page, not an archive; it begins with {start[:60]!r}"
        raise InputError(message, file=path, remedy="give the address of the archive itself")


def download(url: str, target: Path, sha256: str | None = None) -> str:
    """Download ``url``; ``target`` appears only when it is complete.

    Args:
        url: An http or https address.
        target: Where the file goes.
        sha256: What its checksum has to be, if that is known.

    Returns:
        The SHA-256 of the file.

    Raises:
        InputError: If the address cannot be right, or the checksum is another.
        FfrError: If the download stopped; what came is used by the next run.
    """
    from filelock import FileLock, Timeout

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise _not_an_address(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_beside(target, "lock"))
        lock.acquire(blocking=False)
    except Timeout:
        remedy = "wait for it to end"
        raise InputError("another process downloads it", file=target, remedy=remedy) from None
    except OSError as error:
        remedy = "choose a folder that you may write to, with --downloads DIR"
        message = f"cannot be written: {error.strerror}"
        raise InputError(message, file=target.parent, remedy=remedy) from None
    try:
        with explain_full_disk(target.parent, "what came so far is kept, and the next run goes on"):
            return _download(url, target, sha256)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _download(url: str, target: Path, sha256: str | None) -> str:
    part = _beside(target, "part")
    with _session() as session:
        response = _ask(session, url, target, sha256)
        if response is not None:
            with response:
                _receive(response, url, part)
    try:
        refuse_web_page(part)
    except InputError as error:
        _discard(target, part)
        found = error.problem
        raise InputError(found.message, file=public_url(url), remedy=found.remedy) from None
    found_sha256 = sha256_with_progress(part)
    if sha256 is not None and found_sha256 != sha256:
        bad = _beside(target, "bad")
        part.replace(bad)
        _discard(target, part)
        message = f"its SHA-256 is {found_sha256}, not {sha256}; what was downloaded is kept here"
        remedy = "run it again to download anew; if the sum stays the same, ask who published it"
        raise InputError(message, file=bad, remedy=remedy)
    known = read_record(target) or Record(public_url(url))
    _write_record(target, msgspec.structs.replace(known, sha256=found_sha256))
    part.replace(target)
    _sync_folder(target.parent)
    return found_sha256


def _discard(target: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(target, "download.json").unlink(missing_ok=True)


def _ask(
    session: requests.Session, url: str, target: Path, sha256: str | None
) -> requests.Response | None:
    """Ask for the file, or for the rest of it; ``None`` if nothing is missing.

    When it returns, the part is what the answer's body is to be appended to.
    """
    part = _beside(target, "part")
    have, validator = _usable(url, target, sha256)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and validator is not None:
        headers["If-Range"] = validator
    response = _get(session, url, target, headers)
    if response.status_code == 416 and _total(response) == have:
        response.close()
        return None
    if have and (
        response.status_code == 416 or (response.status_code == 206 and _start(response) != have)
    ):
        response.close()
        response = _get(session, url, target, {})
    if response.status_code not in (200, 206):
        response.close()
        raise _failed(url, target, f"HTTP {response.status_code} {response.reason}")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        response.close()
        remedy = "give the address of the archive itself, not of a page about it"
        raise InputError("a web page, not an archive", file=public_url(url), remedy=remedy)
    if response.status_code == 200:
        part.unlink(missing_ok=True)
    headers_sent = response.headers
    _write_record(
        target,
        Record(public_url(url), headers_sent.get("ETag"), headers_sent.get("Last-Modified")),
    )
    return response


def _usable(url: str, target: Path, sha256: str | None) -> tuple[int, str | None]:
    """How many bytes of an earlier run can be used, and how the server can tell if they fit."""
    part, known = _beside(target, "part"), read_record(target)
    if not part.exists() or known is None or known.url != public_url(url):
        return 0, None
    if known.etag and not known.etag.startswith("W/"):  # If-Range takes strong tags only
        return part.stat().st_size, known.etag
    if known.last_modified or sha256:  # the checksum would tell
        return part.stat().st_size, known.last_modified
    return 0, None


def _get(
    session: requests.Session, url: str, target: Path, headers: dict[str, str]
) -> requests.Response:
    import requests

    headers = {"Accept-Encoding": "identity", **headers}
    try:
        return session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise _not_an_address(url) from None
    except requests.RequestException as error:
        raise _failed(url, target, _reason(error)) from None


def _not_an_address(url: str) -> InputError:
    remedy = "give an address that begins with https:// or http://"
    return InputError(f"not a web address: {public_url(url)!r}", field="--url", remedy=remedy)


def _receive(response: requests.Response, url: str, part: Path) -> None:
    """Append the body to the part."""
    import requests

    done = part.stat().st_size if part.exists() else 0
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else None
    if total is not None:
        require_space(part.parent, total - done, f"to download {part.stem}")
    go_on = f"going on with {part.stem}" if done else f"downloading {public_url(url)}"
    with part.open("ab") as stream:
        try:
            with bytes_progress(go_on, total, done) as advance:
                for data in response.iter_content(_CHUNK):
                    stream.write(data)
                    advance(len(data))
        except requests.RequestException as error:
            stream.flush()
            os.fsync(stream.fileno())
            of = f" of {total:,}" if total is not None else ""
            message = (
                f"{public_url(url)}: the download stopped after {stream.tell():,}{of} bytes:"
                f" {_reason(error)}\n  → run the same command again; it goes on from {part}"
            )
            raise FfrError(message) from None
        stream.flush()
        os.fsync(stream.fileno())


def _session() -> requests.Session:
    try:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
    except ModuleNotFoundError:
        raise MissingExtraError("downloading (not needed with --archive FILE)", "fetch") from None
    retry = Retry(
        total=3,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _failed(url: str, target: Path, reason: str) -> FfrError:
    return FfrError(
        f"{public_url(url)} cannot be downloaded: {reason}"
        f"\n  → put the archive at {target} yourself and run the same command again, or give"
        " another address with --url URL, or a file with --archive FILE"
    )


def _reason(error: BaseException) -> str:
    """The innermost reason, without the addresses that outer ones repeat (they may be signed)."""
    inner: Any = error
    while True:
        causes = [getattr(inner, "reason", None), *inner.args[::-1], inner.__cause__]
        following = next((cause for cause in causes if isinstance(cause, Exception)), None)
        if following is None:
            break
        inner = following
    text = getattr(inner, "strerror", None) or str(inner).rpartition(">: ")[2]
    return str(text) or type(inner).__name__


def _content_range(response: requests.Response) -> re.Match[str] | None:
    return _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))


def _start(response: requests.Response) -> int | None:
    found = _content_range(response)
    return int(found.group(1)) if found and found.group(1) else None


def _total(response: requests.Response) -> int | None:
    found = _content_range(response)
    return int(found.group(2)) if found and found.group(2) != "*" else None


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")


def _write_record(target: Path, record: Record) -> None:
    from ffr_eval.benchmark.writer import write_json

    write_json(_beside(target, "download.json"), record)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
