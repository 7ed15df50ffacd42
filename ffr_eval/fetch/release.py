"""Fetching a release: archives from the downloads folder or the web, to a benchmark folder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.fetch.disk import explain_full_disk, require_space
from ffr_eval.fetch.download import (
    download,
    file_name,
    public_url,
    read_record,
    refuse_web_page,
    sha256_with_progress,
)
from ffr_eval.writing import work_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from ffr_eval.benchmark.summary import Summary
    from ffr_eval.fetch.archive import Limits
    from ffr_eval.fetch.releases import Release

_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An archive to get; ``file`` is where it is, or goes when it is downloaded.

    ``sha256`` is what its checksum has to be; ``None`` if that is not known.
    ``given_url`` is whether the user gave the address, and wants what is there.
    """

    file: Path
    url: str | None
    sha256: str | None
    user_file: bool = False
    given_url: bool = False


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is here; ``published`` is whether its checksum was known beforehand."""

    file: Path
    sha256: str
    url: str | None
    published: bool


def wanted_archives(
    name: str,
    release: Release,
    downloads: Path,
    *,
    archives: Sequence[Path] = (),
    urls: Sequence[str] = (),
    sums: Sequence[str] = (),
) -> list[Wanted]:
    """What to get, from what is published and what the user gave.

    Raises:
        InputError: If the user's options contradict each other, or an address is not known.
    """
    if archives and urls:
        remedy = "give the files you have, or the addresses to download from"
        raise InputError("--archive and --url together", field="--archive", remedy=remedy)
    if archives:
        wanted = [Wanted(path, None, None, user_file=True) for path in archives]
    elif urls:
        spare = [file.name for file in release.archives]
        names = [
            file_name(url) or (spare[i] if i < len(spare) else "") for i, url in enumerate(urls)
        ]
        if "" in names or len(set(names)) < len(names):
            remedy = "download the files yourself and give them with --archive FILE"
            message = "the addresses do not end in different file names"
            raise InputError(message, field="--url", remedy=remedy)
        known = {file.name: file.sha256 for file in release.archives}
        wanted = [
            Wanted(downloads / file, url, known.get(file), given_url=True)
            for file, url in zip(names, urls, strict=True)
        ]
    else:
        wanted = [Wanted(downloads / file.name, file.url, file.sha256) for file in release.archives]
    if not sums:
        return wanted
    if len(sums) != len(wanted):
        message = f"{len(sums)} checksums for {len(wanted)} archives of {name}"
        remedy = "give one for each archive, in the same order"
        raise InputError(message, field="--sha256", remedy=remedy)
    checked = [_checked_sum(text) for text in sums]
    return [replace(item, sha256=sha256) for item, sha256 in zip(wanted, checked, strict=True)]


def get_archive(wanted: Wanted) -> Archive:
    """The archive, downloaded if it is not here yet; its checksum is checked.

    Raises:
        InputError: If it is not what it should be.
        FfrError: If it cannot be downloaded.
    """
    here = wanted.user_file or wanted.file.exists()
    if not here:
        if wanted.url is None:
            message = "the archive is not here, and no address of it is published"
            remedy = (
                "put the archive there yourself, or give its address with --url URL, or a file"
                " with --archive FILE"
            )
            raise InputError(message, file=wanted.file, remedy=remedy)
        sha256 = download(wanted.url, wanted.file, wanted.sha256)
        return Archive(wanted.file, sha256, public_url(wanted.url), wanted.sha256 is not None)
    if not wanted.file.is_file():
        what = "is a folder, not an archive" if wanted.file.is_dir() else "no such file"
        raise InputError(what, file=wanted.file, remedy="check the path")
    sha256 = sha256_with_progress(wanted.file)
    if wanted.sha256 is not None and sha256 != wanted.sha256:
        message = f"its SHA-256 is {sha256}, not {wanted.sha256}"
        remedy = (
            "it was left as it is: remove it to have it downloaded"
            if wanted.url is not None
            else "it was left as it is: get the archive again, or correct --sha256"
        )
        raise InputError(message, file=wanted.file, remedy=remedy)
    refuse_web_page(wanted.file)
    record = None if wanted.user_file else read_record(wanted.file)
    url = record.url if record is not None and record.sha256 == sha256 else None
    if wanted.given_url and wanted.url is not None and url != public_url(wanted.url):
        origin = f"from {url}" if url else "and not from that address"
        message = f"an archive of this name is here already, {origin}"
        remedy = "leave --url out to use it, or remove it to download it again"
        raise InputError(message, file=wanted.file, remedy=remedy)
    return Archive(wanted.file, sha256, url, wanted.sha256 is not None)


def install(
    release: Release,
    archives: Sequence[Archive],
    out: Path,
    limits: Limits,
    *,
    splits: Collection[str] = (),
    keep_unpacked: Path | None = None,
    announce: Callable[[str], contextlib.AbstractContextManager[None]] | None = None,
) -> tuple[Summary, list[str]]:
    """Unpack archives beside ``out``, import them, and put the benchmark in its place.

    Args:
        release: What the archives are.
        archives: The archives, all of them.
        out: The benchmark folder; must not exist, or be empty.
        limits: What an archive may unpack to.
        splits: The splits to import; all if it is empty.
        keep_unpacked: Where the unpacked files go in the end; ``None`` to remove them.
        announce: Called with what is being done, to show it while it lasts.

    Returns:
        What the benchmark holds, and sentences about what a reader of it should know.

    Raises:
        InputError: If an archive or a record in it is refused; nothing is left behind.
    """
    from ffr_eval.fetch.archive import unpack
    from ffr_eval.fetch.dataset import find_datasets, import_datasets

    show = announce or (lambda _: contextlib.nullcontext())
    meta = {
        "archives": [
            {"name": archive.file.name, "sha256": archive.sha256, "url": archive.url}
            for archive in archives
        ]
    }
    info = msgspec.structs.replace(release.info, meta=meta)
    out = out.resolve()
    kept = "nothing was written, and the archives are kept"
    with explain_full_disk(out.parent, kept), work_folder(out, "fetch") as work:
        require_space(work, sum(item.file.stat().st_size for item in archives), "to unpack")
        unpacked = work / "unpacked"
        for archive in archives:
            unpack(archive.file, unpacked, limits)
        label = ", ".join(str(archive.file) for archive in archives)
        with _in_terms_of(unpacked, label), show("importing …"):
            files, notes = find_datasets(unpacked, release.default_split, splits)
            summary, more = import_datasets(unpacked, files, work / "benchmark", info)
        with contextlib.suppress(FileNotFoundError):
            out.rmdir()
        (work / "benchmark").replace(out)
        if keep_unpacked is not None:
            unpacked.replace(keep_unpacked)
    return summary, notes + more


@contextlib.contextmanager
def _in_terms_of(folder: Path, archives: str) -> Iterator[None]:
    """Name archive and member in errors, in place of the folder, which is removed."""
    try:
        yield
    except InputError as error:
        found = error.problem

        def told(text: str) -> str:
            inside = text.replace(f"{folder}{os.sep}", f"{archives}: ")
            return inside.replace(str(folder), archives)

        raise InputError(
            told(found.message),
            file=None if found.file is None else told(found.file),
            line=found.line,
            field=found.field,
            remedy=found.remedy,
        ) from None


def _checked_sum(text: str) -> str:
    digits = text.strip().lower().removeprefix("sha256:")
    if len(digits) != 64 or not set(digits) <= _HEX:
        remedy = "give the 64 digits that `sha256sum FILE` prints"
        raise InputError(f"not a SHA-256: {text!r}", field="--sha256", remedy=remedy)
    return digits
