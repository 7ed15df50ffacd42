"""Unpacking archives of others: plain files and folders only, within limits, or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from ffr_eval.benchmark.validation import escapes
from ffr_eval.errors import InputError
from ffr_eval.fetch.disk import readable_size
from ffr_eval.fetch.download import refuse_web_page
from ffr_eval.fetch.progress import bytes_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK: Final = 2**20
_MAX_HEADER: Final = 4 * _CHUNK
_MAX_READS: Final = 100
_BLOCK: Final = 512
_MAX_DEPTH: Final = 64  # far below where making and removing folders by recursion ends
_DAMAGED: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    ValueError,  # numbers in extended headers
    OverflowError,
    NotImplementedError,  # ways to compress that are not known
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to.

    Attributes:
        max_bytes: All files together.
        max_members: How many files and folders.
        max_ratio: Unpacked bytes per byte of the archive; ``None`` for any.
        ratio_from: Where the ratio begins to count, since small files may compress well.
    """

    max_bytes: int = 100 * 10**9
    max_members: int = 2_000_000
    max_ratio: float | None = 200.0
    ratio_from: int = 100 * 10**6


class _Member(NamedTuple):
    """A file of an archive, or a folder if there is nothing to open."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None


def unpack(archive: Path, folder: Path, limits: Limits) -> None:
    """Unpack a tar, tar.gz or zip archive.

    Args:
        archive: The archive; what it is is seen from its content.
        folder: A folder that only this function writes to; it is made if it does not exist, and
            removed if anything is wrong. Another archive of the same release may be in it.
        limits: What it may unpack to.

    Raises:
        InputError: For the first member that is not a plain file or folder inside the archive, for
            a limit that is passed, and for a damaged archive.
    """
    folder.mkdir(exist_ok=True)
    try:
        _unpack(archive, folder, limits)
    except BaseException:  # Ctrl-C too: nothing of a refused or unfinished archive stays
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack(archive: Path, folder: Path, limits: Limits) -> None:
    refuse_web_page(archive)
    with archive.open("rb") as stream:
        magic = stream.read(4)
    zipped = magic in (b"PK\x03\x04", b"PK\x05\x06")
    packed = archive.stat().st_size
    unpacker = _Unpacker(archive, folder, limits, packed)
    total = None if zipped or magic[:2] == b"\x1f\x8b" else packed
    members = _zip_members(archive) if zipped else _tar_members(archive, folder, limits)
    with bytes_progress(f"unpacking {archive.name}", total, quiet=True) as advance:
        try:
            for member in members:
                unpacker.add(member, advance)
        except _DAMAGED as error:
            raise _damaged(archive, unpacker.last, str(error)) from None
    if not unpacker.last:
        raise InputError("an empty archive", file=archive, remedy="download it again")


class _Unpacker:
    """Writes members below a folder after checking each."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, packed: int) -> None:
        self._archive, self._folder, self._limits, self._packed = archive, folder, limits, packed
        self._bytes = 0
        self._count = 0
        self._files: set[str] = set()
        self.last = ""

    def add(self, member: _Member, advance: Callable[[int], None]) -> None:
        """Write a member.

        Raises:
            InputError: If it is refused.
        """
        self._count += 1
        self._check_limits(member)
        path = _checked_name(self._archive, member.name)
        self.last = member.name
        if path in self._files:
            raise _refused(self._archive, member.name, "there are two members of this name")
        target = self._folder / path
        try:
            if member.open is None:
                target.mkdir(parents=True, exist_ok=True)
                return
            self._files.add(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out, member.open() as stream:
                self._copy(member, stream, out, advance)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            message = "another member has the same path, or one that differs in case only"
            raise _refused(self._archive, member.name, message) from None
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
                raise
            message = f"cannot be unpacked: {error.strerror}"
            raise _refused(self._archive, member.name, message) from None

    def _copy(
        self, member: _Member, stream: IO[bytes], out: IO[bytes], advance: Callable[[int], None]
    ) -> None:
        left = member.size
        while data := stream.read(min(_CHUNK, left + 1)):
            left -= len(data)
            if left < 0:
                message = f"has more than the {member.size:,} bytes that it says it has"
                raise _refused(self._archive, member.name, message)
            out.write(data)
            advance(len(data))
        if left:
            raise _damaged(self._archive, member.name, f"{left:,} bytes of a member are missing")

    def _check_limits(self, member: _Member) -> None:
        limits = self._limits
        self._bytes += member.size
        remedy = "if you trust the archive, allow more with --max-unpacked-gb GB"
        if member.size < 0:
            raise _refused(self._archive, member.name, f"has a size of {member.size} bytes")
        if self._count > limits.max_members:
            message = f"the archive has more than {limits.max_members:,} members"
            raise _refused(self._archive, member.name, message, "unpack it yourself, with care")
        if self._bytes > limits.max_bytes:
            message = f"with it, the archive unpacks to more than {readable_size(limits.max_bytes)}"
            raise _refused(self._archive, member.name, message, remedy)
        ratio = self._bytes / max(self._packed, 1)
        if limits.max_ratio and self._bytes > limits.ratio_from and ratio > limits.max_ratio:
            message = f"with it, the archive unpacks to {ratio:.0f} times its size"
            raise _refused(self._archive, member.name, message, remedy)


def _checked_name(archive: Path, name: str) -> str:
    """The path of a member below the folder, ``.`` for the folder itself."""
    remedy = "pack it again with plain UTF-8 names"
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _refused(archive, name, "its name is not UTF-8", remedy) from None
    if "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name):
        message = "its name has a backslash or a control character"
        raise _refused(archive, name, message, remedy)
    if not name or escapes(name):
        raise _refused(archive, name, "its name leads out of the folder to unpack to")
    path = PurePosixPath(name)
    if len(path.parts) > _MAX_DEPTH:
        message = f"it is {len(path.parts)} folders deep (at most {_MAX_DEPTH})"
        raise _refused(archive, name[:200], message, "do not use this archive")
    return str(path)


class _Bounded(io.RawIOBase):
    """A stream for :mod:`tarfile` that refuses huge headers, which it would hold in memory.

    It also refuses long chains of headers, which tarfile reads by recursion. For that, ``reads``
    counts while a member is looked for, and is ``None`` while a file is read.
    """

    def __init__(self, archive: Path, stream: IO[bytes], max_bytes: int) -> None:
        self._archive, self._stream, self._max_bytes = archive, stream, max_bytes
        self.last = b""
        self.reads: int | None = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            message = f"the archive has a header of {readable_size(abs(size))}"
            raise InputError(message, file=self._archive, remedy="do not use this archive")
        if self.reads is not None:
            self.reads += 1
            if self.reads > _MAX_READS:
                message = "the archive has a chain of headers without a file"
                raise InputError(message, file=self._archive, remedy="do not use this archive")
        self.last = self._stream.read(size)
        self._check(self._stream.tell())
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def _check(self, position: int) -> None:
        if position > self._max_bytes:
            message = f"the archive unpacks to more than {readable_size(self._max_bytes)}"
            remedy = "if you trust the archive, allow more with --max-unpacked-gb GB"
            raise InputError(message, file=self._archive, remedy=remedy)


def _tar_members(archive: Path, folder: Path, limits: Limits) -> Iterator[_Member]:
    """The members of a tar, each to be read before the next is asked for."""
    with archive.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        # Beside the files there are a header and padding to each member.
        most = limits.max_bytes + 4 * _BLOCK * limits.max_members
        bounded = _Bounded(archive, stream, most)
        try:
            tar = tarfile.open(fileobj=bounded, mode="r:", encoding="utf-8")  # noqa: SIM115
        except tarfile.ReadError:
            message = "not a tar, tar.gz or zip archive, or its beginning is damaged"
            raise InputError(message, file=archive, remedy="download it again") from None
        name = ""
        while (info := tar.next()) is not None:
            name = info.name
            bounded.reads = None
            yield _tar_member(archive, folder, tar, info)
            bounded.reads = 0
            tar.members.clear()  # type: ignore[attr-defined]
        # tarfile takes any end for the end of the archive, also a cut or damaged header.
        if bounded.last != bytes(_BLOCK):
            raise _damaged(archive, name, "there is no mark of the end")
        bounded.reads = None
        while bounded.read(_CHUNK):  # compressed data has a checksum at its end
            pass


def _tar_member(
    archive: Path, folder: Path, tar: tarfile.TarFile, info: tarfile.TarInfo
) -> _Member:
    if info.issym() or info.islnk():
        kind = "symbolic" if info.issym() else "hard"
        message = f"a {kind} link to {info.linkname[:200]!r}; links are not unpacked"
        raise _refused(archive, info.name, message)
    if not (info.isreg() or info.isdir()) or info.issparse():
        raise _refused(archive, info.name, "not a plain file or folder (a device, for example)")
    _checked_name(archive, info.name)
    if hasattr(tarfile, "data_filter"):  # Python 3.11.4; checks again what is checked here
        try:
            tarfile.data_filter(info, str(folder))
        except tarfile.TarError as error:
            raise _refused(archive, info.name, str(error)) from None
    if info.isdir():
        return _Member(info.name, 0, None)
    return _Member(info.name, info.size, lambda: _opened(tar, info))


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    if stream is None:
        raise tarfile.ReadError("a file without content")
    return stream


def _zip_members(archive: Path) -> Iterator[_Member]:
    """The members of a zip archive."""
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            yield _zip_member(archive, packed, info)


def _zip_member(archive: Path, packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    name = info.orig_filename  # without zipfile's own corrections
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise _refused(archive, name, "a symbolic link; links are not unpacked")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(archive, name, "not a plain file or folder (a device, for example)")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        remedy = "pack it again with the usual compression (deflate)"
        raise _refused(archive, name, "compressed in an unusual way", remedy)
    if info.flag_bits & 0x1:
        raise _refused(archive, name, "encrypted", "pack it again without a password")
    if not name.isascii() and not info.flag_bits & 0x800:
        remedy = "pack it again with plain UTF-8 names"
        raise _refused(archive, name, "the encoding of its name is not known", remedy)
    if name.endswith("/"):
        return _Member(name, 0, None)
    return _Member(name, info.file_size, lambda: packed.open(info))


def _refused(
    archive: Path, name: str, message: str, remedy: str = "do not use this archive"
) -> InputError:
    return InputError(message, file=archive, field=f"member {name[:200]!r}", remedy=remedy)


def _damaged(archive: Path, name: str, detail: str) -> InputError:
    place = f" after member {name[:200]!r}" if name else ""
    message = f"cut off or damaged{place}: {detail}"
    remedy = "remove the file and download it again"
    return InputError(message, file=archive, remedy=remedy)
