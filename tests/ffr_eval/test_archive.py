"""Unpacking: what is refused, that the member is named, and that nothing is left behind."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from ffr_eval.fetch.archive import Limits, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"x", **fields: Any) -> Entry:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(path: Path, *entries: Entry, mode: str = "w", **options: Any) -> Path:
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def zipped(path: Path, *names: str | zipfile.ZipInfo, data: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, tmp_path: Path, limits: Limits | None = None) -> InputError:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        unpack(archive, tmp_path / "out", limits or Limits())
    assert sorted(tmp_path.rglob("*")) == before
    assert caught.value.problem.file == str(archive)
    assert caught.value.problem.remedy
    return caught.value


GOOD = {"A/a.json": b"[1]", "A/images/0.png": b"\x89PNG" * 400, "A/empty": b"", "群/图 1.png": b"y"}


def good_tar(path: Path, mode: str = "w", **options: Any) -> Path:
    entries = [entry(name, data) for name, data in GOOD.items()]
    folder = entry("./A/images", b"", type=tarfile.DIRTYPE)
    return tar(path, folder, *entries, folder, mode=mode, **options)


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_archives(tmp_path: Path, mode: str, tar_format: int) -> None:
    # The name says nothing: what an archive is follows from its content.
    archive = good_tar(tmp_path / "data.bin", mode, format=tar_format)
    unpack(archive, tmp_path / "out", Limits())
    assert tree(tmp_path / "out") == GOOD


def test_large_files(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 130 + bytes(512)  # many reads, the last of one block
    archive = tar(tmp_path / "a.tar", entry("large", data), entry("small"))
    unpack(archive, tmp_path / "out", Limits())
    assert tree(tmp_path / "out") == {"large": data, "small": b"x"}


def test_long_names(tmp_path: Path) -> None:
    name = "/".join(["folder" * 8] * 6) + "/file"
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        archive = tar(tmp_path / "a.tar", entry(name), format=tar_format)
        unpack(archive, tmp_path / str(tar_format), Limits())
        assert tree(tmp_path / str(tar_format)) == {name: b"x"}


def test_zip_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A/images/", b"")
        for name, data in GOOD.items():
            archive.writestr(name, data)
    unpack(tmp_path / "a.zip", tmp_path / "out", Limits())
    assert tree(tmp_path / "out") == GOOD


def test_what_is_unpacked_has_ordinary_permissions(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", entry("run", mode=0o6777), entry("locked", mode=0))
    unpack(archive, tmp_path / "out", Limits())
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o7111 for path in (tmp_path / "out").iterdir()}
    assert modes == {0}


BAD_NAMES = [
    "../up",
    "A/../../up",
    "/absolute",
    "C:/windows",
    "a\\..\\b",
    "line\nbreak",
    "escape\x1b[31m",
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, name) for kind in ("tar", "zip") for name in BAD_NAMES), ("zip", "nul\0byte")],
)
def test_names_that_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    if kind == "tar":
        archive = tar(tmp_path / "a.tar", entry("good"), entry(name))
    else:
        info = zipfile.ZipInfo("x")
        info.filename = name  # past the corrections that ZipInfo makes
        archive = zipped(tmp_path / "a.zip", "good", info)
    assert refused(archive, tmp_path).problem.field == f"member {name!r}"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", entry("good"), entry("\udcb2.png"), format=tarfile.GNU_FORMAT)
    error = refused(archive, tmp_path)
    assert "not UTF-8" in str(error)
    assert "'\\udcb2.png'" in str(error)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", entry("good"), entry("x" * 300))
    assert "File name too long" in str(refused(archive, tmp_path))


def test_a_zip_name_of_unknown_encoding_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", "good", "caf!.png")
    archive.write_bytes(archive.read_bytes().replace(b"caf!", b"caf\x82"))
    assert "encoding" in str(refused(archive, tmp_path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "symbolic link to '/etc/passwd'"),
        ({"type": tarfile.SYMTYPE, "linkname": "good"}, "symbolic link to 'good'"),
        ({"type": tarfile.LNKTYPE, "linkname": "good"}, "hard link to 'good'"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "not a plain file"),
        ({"type": tarfile.BLKTYPE}, "not a plain file"),
        ({"type": tarfile.FIFOTYPE}, "not a plain file"),
        ({"type": tarfile.CONTTYPE}, None),
        ({"type": b"Z"}, "not a plain file"),
    ],
)
def test_only_plain_files_and_folders(
    tmp_path: Path, fields: dict[str, Any], message: str | None
) -> None:
    archive = tar(tmp_path / "a.tar", entry("good"), entry("odd", b"", **fields))
    if message is None:
        unpack(archive, tmp_path / "out", Limits())
        assert tree(tmp_path / "out") == {"good": b"x", "odd": b""}
        return
    error = refused(archive, tmp_path)
    assert error.problem.field == "member 'odd'"
    assert message in str(error)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_zip_members_of_other_kinds(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("odd")
    info.external_attr = (kind | 0o777) << 16
    error = refused(zipped(tmp_path / "a.zip", "good", info, data=b"/etc/passwd"), tmp_path)
    assert error.problem.field == "member 'odd'"


def test_an_encrypted_zip(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", "secret")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    assert "encrypted" in str(refused(archive, tmp_path))


@pytest.mark.parametrize("names", [("a", "a"), ("a/b", "./a//b"), ("a", "a/b"), ("a/b", "a")])
@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_members_of_one_path(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    if kind == "tar":
        archive = tar(tmp_path / "a.tar", *map(entry, names))
    else:
        archive = zipped(tmp_path / "a.zip", *names)
    assert refused(archive, tmp_path).problem.field == f"member {names[1]!r}"


class TestLimits:
    @pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
    def test_total_size(self, tmp_path: Path, kind: str) -> None:
        archive = tmp_path / f"a.{kind}"
        if kind == "zip":
            zipped(archive, "one", "two", data=bytes(600))
        else:
            mode = "w:gz" if kind == "tar.gz" else "w"
            tar(archive, entry("one", bytes(600)), entry("two", bytes(600)), mode=mode)
        error = refused(archive, tmp_path, Limits(max_bytes=1000))
        assert error.problem.field == "member 'two'"
        assert "--max-unpacked-gb" in str(error)
        unpack(archive, tmp_path / "out", Limits(max_bytes=1200))

    def test_members(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a.tar", *[entry(f"{i}") for i in range(4)])
        assert refused(archive, tmp_path, Limits(max_members=3)).problem.field == "member '3'"

    @pytest.mark.parametrize("kind", ["tar.gz", "zip"])
    def test_ratio(self, tmp_path: Path, kind: str) -> None:
        zeros = bytes(3_000_000)
        if kind == "zip":
            archive = zipped(tmp_path / "a.zip", "zeros", data=zeros)
        else:
            archive = tar(tmp_path / "a.tgz", entry("zeros", zeros), mode="w:gz")
        error = refused(archive, tmp_path, Limits(ratio_from=1_000_000))
        assert "times its size" in str(error)
        unpack(archive, tmp_path / "free", Limits(ratio_from=1_000_000, max_ratio=None))
        unpack(archive, tmp_path / "small", Limits(ratio_from=4_000_000))

    def test_a_bomb_is_not_read_through(self, tmp_path: Path) -> None:
        # 30 GB are announced; to skip to the next member they would have to be unpacked.
        info, _ = entry("bomb", size=30 * 10**9)
        with gzip.open(tmp_path / "a.tgz", "wb") as stream:
            stream.write(info.tobuf())
            stream.write(bytes(10**6))
        error = refused(tmp_path / "a.tgz", tmp_path, Limits(max_bytes=10**9))
        assert error.problem.field == "member 'bomb'"

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_a_huge_header_is_not_held_in_memory(self, tmp_path: Path, kind: bytes) -> None:
        info, _ = entry("header", type=kind, size=3 * 10**9)
        with gzip.open(tmp_path / "a.tgz", "wb") as stream:
            stream.write(info.tobuf())
            stream.write(bytes(10**6))
        assert "a header of 3.0 GB" in str(refused(tmp_path / "a.tgz", tmp_path))

    def test_zeros_after_the_end(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a.tar", entry("good"))
        data = archive.read_bytes() + bytes(5_000_000)
        (tmp_path / "a.tgz").write_bytes(gzip.compress(data))
        limits = Limits(max_bytes=100_000, max_members=10)
        assert "unpacks to more than" in str(refused(tmp_path / "a.tgz", tmp_path, limits))

    def test_a_sparse_file(self, tmp_path: Path) -> None:
        info, _ = entry("sparse", b"", type=tarfile.GNUTYPE_SPARSE)
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[483:495] = b"%011o\0" % 10**9
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
        (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
        error = refused(tmp_path / "a.tar", tmp_path)
        assert error.problem.field == "member 'sparse'"

    def test_a_chain_of_headers(self, tmp_path: Path) -> None:
        info, _ = entry("header", b"", type=tarfile.GNUTYPE_LONGNAME)
        good = tar(tmp_path / "a.tar", entry("good")).read_bytes()[:1024]
        (tmp_path / "a.tar").write_bytes(good + info.tobuf() * 5000)
        assert "a chain of headers" in str(refused(tmp_path / "a.tar", tmp_path))


class TestDamage:
    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    def test_a_tar_that_is_cut_anywhere(self, tmp_path: Path, mode: str) -> None:
        whole = good_tar(tmp_path / "whole", mode).read_bytes()
        # Uncompressed, the padding after the first block of the end is not missed.
        end = len(whole.rstrip(b"\0")) // 512 * 512 + 512 if mode == "w" else len(whole)
        for size in {*range(1, end, 131), end - 1, *(range(512, end, 512) if mode == "w" else ())}:
            (tmp_path / "cut").write_bytes(whole[:size])
            refused(tmp_path / "cut", tmp_path)

    def test_a_damaged_header_does_not_end_the_archive(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a.tar", entry("one"), entry("two"), entry("three"))
        data = bytearray(archive.read_bytes())
        data[data.index(b"two")] = ord("T")
        archive.write_bytes(bytes(data))
        error = refused(archive, tmp_path)
        assert "damaged after member 'one'" in str(error)

    def test_damaged_compressed_data(self, tmp_path: Path) -> None:
        archive = good_tar(tmp_path / "a.tgz", "w:gz")
        data = bytearray(archive.read_bytes())
        data[-5] ^= 1  # in the checksum
        archive.write_bytes(bytes(data))
        assert "damaged" in str(refused(archive, tmp_path))

    def test_a_zip_that_is_cut_or_damaged(self, tmp_path: Path) -> None:
        whole = zipped(tmp_path / "whole", "a", "b", data=bytes(range(256))).read_bytes()
        for size in range(2, len(whole), 37):
            (tmp_path / "cut").write_bytes(whole[:size])
            refused(tmp_path / "cut", tmp_path)
        damaged = bytearray(whole)
        damaged[60] ^= 1
        (tmp_path / "cut").write_bytes(bytes(damaged))
        refused(tmp_path / "cut", tmp_path)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "not a tar"),
            (b"hello" * 1000, "not a tar"),
            (bytes(10240), "empty archive"),
            (gzip.compress(b"hello", mtime=0), "not a tar"),
            (b"PK\x05\x06" + bytes(18), "empty archive"),
            (b"\n<!DOCTYPE html><html><body>404", "a web page"),
            (b"\xef\xbb\xbf<HTML>" + b" " * 1000, "a web page"),
            (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
        ],
    )
    def test_what_is_no_archive(self, tmp_path: Path, data: bytes, message: str) -> None:
        (tmp_path / "a.tar").write_bytes(data)
        assert message in str(refused(tmp_path / "a.tar", tmp_path))


def test_a_failure_of_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = good_tar(tmp_path / "a.tar")
    opened: Callable[..., Any] = Path.open

    def full(self: Path, mode: str = "r", *args: Any) -> Any:
        if mode == "xb" and self.name == "empty":
            raise OSError(28, "No space left on device", str(self))
        return opened(self, mode, *args)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "out", Limits())
    assert not (tmp_path / "out").exists()


def test_what_is_too_deep_is_refused_and_leaves_nothing(cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deep = tmp_path / "deep.tar"
    with tarfile.open(deep, "w") as archive:
        for depth in (1, 50, 60, 70):
            info = tarfile.TarInfo("a/" * depth)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    error = cli.refused("data", "fetch", "mldr", "--out", out, "--archive", deep)
    assert "70 folders deep" in error
    assert not list(tmp_path.glob("*out*"))


def test_a_tar_that_begins_like_a_zip_is_a_tar(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("PKU/a.txt"))
    error = cli.refused("data", "fetch", "mldr", "--out", tmp_path / "out", "--archive", file)
    assert "no ms-swift file" in error


def test_unusual_zip_compression_is_refused(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.json", "[]" * 100)
    error = cli.refused("data", "fetch", "mldr", "--out", tmp_path / "out", "--archive", file)
    assert "compressed in an unusual way" in error
