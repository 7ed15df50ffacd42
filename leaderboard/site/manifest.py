"""``manifest.json``: what a site was computed with, and the hash of each of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import problem
from ffr_eval.provenance import GitRecord  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the site."""

    sha256: str
    bytes: int


class BoardRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A board: a benchmark by content, and a split (``None``: all samples)."""

    board_id: str
    benchmark: str
    version: str
    hash: str
    split: str | None
    hidden_gold: bool = False


class PublishedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of the site.

    Attributes:
        source: Hash of its raw outputs, record and card: what its figures were computed from.
    """

    run_id: str
    board_id: str
    source: str


class UnscoredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder without figures, and why."""

    label: str
    reason: str
    remedy: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of a site.

    Attributes:
        protocols: Their full names, such as ``strict-1``.
        replicates, seed, method: Of intervals and tests.
        alpha: The family-wise level of the tests.
        metrics: The figures that were computed.
        encoder: Under which coherence was computed; ``None`` without it.
        code: Versions of the packages that computed it.
        files: By place below the site; all of them, but this one.
    """

    created: str
    protocols: tuple[str, ...]
    replicates: int
    seed: int
    method: str
    alpha: float
    metrics: tuple[str, ...]
    boards: tuple[BoardRecord, ...]
    runs: tuple[PublishedRun, ...]
    unscored: tuple[UnscoredRecord, ...]
    code: dict[str, str]
    files: dict[str, FileRecord]
    encoder: str | None = None
    git: GitRecord | None = None
    format: Literal[1] = FORMAT


def read_manifest(site: Path) -> Manifest:
    """The manifest of a site.

    Raises:
        InputError: If the folder is no site, or its manifest is malformed.
    """
    file = site / MANIFEST
    remedy = "publish it anew: ffr publish RUNS… --site DIR"
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "no published site: it has no manifest", file=file, remedy=remedy
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise problem(error, file, None, remedy) from None
    for name in manifest.files:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name:
            raise InputError("leads out of the site", file=file, field=f"files.{name}")
    return manifest


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def wrong_files(site: Path, manifest: Manifest, names: Iterable[str] | None = None) -> list[str]:
    """What is wrong with the files of a site, a sentence each; nothing if all are as recorded.

    Args:
        site: The folder.
        manifest: Its manifest.
        names: Only these files; by default all.
    """
    found = []
    for name in manifest.files if names is None else names:
        record, path = manifest.files[name], site / name
        if not path.is_file():
            found.append(f"{name}: is missing")
        elif path.stat().st_size != record.bytes:
            found.append(f"{name}: has {path.stat().st_size} bytes, not {record.bytes}")
        elif file_hash(path) != record.sha256:
            found.append(f"{name}: has another content than was published")
    return found
