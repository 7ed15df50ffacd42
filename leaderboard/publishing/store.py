"""Where things are in a site, and the record of where its runs came from."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from filelock import FileLock, Timeout

from ffr_eval.errors import InputError
from ffr_eval.jsonl import problem
from ffr_eval.uncertainty import Resampling
from ffr_eval.writing import cannot_write
from leaderboard.publishing.card import Card
from leaderboard.site.manifest import MANIFEST, UnscoredRecord, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ffr_eval.uncertainty import Method
    from leaderboard.site.manifest import Manifest

PUBLIC: Final = "public"
PRIVATE: Final = "private"
_LOCK: Final = "publish.lock"
INDEX: Final = "index.json"
_READY: Final = "ready"
_REMEDY: Final = "publish into a new folder"


class RunEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of the site, and where it came from.

    Attributes:
        run_id, board_id, source: As in the manifest.
        label: As it is shown.
        place: Its name before the card had a say: what it is known by if its folder has moved.
        path: The run folder.
        part: The name of what was computed from it.
        benchmark_path: Where its benchmark was.
    """

    run_id: str
    board_id: str
    label: str
    place: str
    path: str
    source: str
    part: str
    benchmark_path: str
    card: Card = Card()


class UnscoredEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run folder without figures, and where it is."""

    path: str
    record: UnscoredRecord


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``private/index.json``.

    Attributes:
        hidden: Benchmarks whose gold is hidden, as they were named; it stays hidden.
    """

    runs: tuple[RunEntry, ...] = ()
    unscored: tuple[UnscoredEntry, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """The folders of a site that is being published.

    Attributes:
        site: The folder of the site.
    """

    site: Path

    @property
    def public(self) -> Path:
        """What is served."""
        return self.site / PUBLIC

    @property
    def private(self) -> Path:
        """What is never served."""
        return self.site / PRIVATE

    @property
    def images(self) -> Path:
        """Images by the hash of their content."""
        return self.public / "images"

    @property
    def pending(self) -> Path:
        """Tables and a manifest that are to take the place of those in the site."""
        return self.private / "pending"

    def raw(self, run_id: str, *, hidden: bool) -> tuple[Path, Path]:
        """The raw outputs of a run and its record."""
        folder = (self.private if hidden else self.public) / "raw"
        return folder / f"{run_id}.jsonl.gz", folder / f"{run_id}.run.json"

    def benchmark(self, content_hash: str) -> Path:
        """The copy of a benchmark, without its images."""
        return self.private / "benchmarks" / content_hash.removeprefix("sha256:")

    def part(self, kind: str, name: str) -> Path:
        """The folder or file of something that was computed."""
        return self.private / "parts" / kind / name

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the site: one publish at a time.

        Raises:
            InputError: If the folder is no site and not empty, cannot be written, or another
                process publishes into it.
        """
        refuse_foreign(self.site)
        lock = FileLock(self.private / _LOCK)
        try:
            self.private.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            remedy = "wait for it to end"
            raise InputError(
                "another process publishes into this site", file=self.site, remedy=remedy
            ) from None
        except OSError as error:
            raise cannot_write(self.site, error) from None
        try:
            yield
        finally:
            lock.release()

    def read_index(self) -> Index:
        """The index; an empty one of a new site.

        Raises:
            InputError: If it is malformed.
        """
        file = self.private / INDEX
        try:
            return msgspec.json.decode(file.read_bytes(), type=Index)
        except FileNotFoundError:
            return Index()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise problem(error, file, None, _REMEDY) from None

    @contextlib.contextmanager
    def making(self, target: Path) -> Iterator[Path]:
        """A folder to fill; at the end it takes the place of ``target`` in one step."""
        work = self.private / "work"
        work.mkdir(exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=work))
        try:
            yield folder
            if target.exists():
                shutil.rmtree(target)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear_work(self) -> None:
        """Remove what killed publishes left, but not what is ready to take its place."""
        shutil.rmtree(self.private / "work", ignore_errors=True)
        if not (self.pending / _READY).exists():
            shutil.rmtree(self.pending, ignore_errors=True)

    def begin(self) -> Path:
        """An empty folder, laid out like the site, for the new files."""
        shutil.rmtree(self.pending, ignore_errors=True)
        (self.pending / PUBLIC / "raw").mkdir(parents=True)
        (self.pending / PRIVATE / "raw").mkdir(parents=True)
        return self.pending

    def commit(self) -> None:
        """Put the new files in their places, the manifest last.

        Every file replaces the old one in one step: who has the old one open goes on reading it.
        What a process that is killed in between has left to do, the next publish does first.
        """
        _sync(self.pending)
        (self.pending / _READY).touch()
        self.finish()

    def finish(self) -> None:
        """Put new files in their places, if some are ready."""
        if not (self.pending / _READY).exists():
            return
        files = sorted(path for path in self.pending.rglob("*") if path.is_file())
        last = self.pending / MANIFEST
        for path in (*(path for path in files if path not in {last, self.pending / _READY}), last):
            if path.exists():
                target = self.site / path.relative_to(self.pending)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        shutil.rmtree(self.pending)


@contextlib.contextmanager
def removed_if_refused(site: Path, *, new: bool) -> Iterator[None]:
    """Leave nothing of a new site behind if nothing can be published."""
    try:
        yield
    except InputError:
        if new and not (site / MANIFEST).exists():
            shutil.rmtree(site, ignore_errors=True)
        raise


def resampling_of(manifest: Manifest | None) -> Resampling:
    """How uncertainty was computed in a site; the default without one."""
    if manifest is None:
        return Resampling()
    method: Method = "bca" if manifest.method == "bca" else "percentile"
    return Resampling(manifest.replicates, manifest.seed, method)


def resampling_of_site(site: Path) -> Resampling:
    """How uncertainty was computed in a site; the default if there is none yet.

    Raises:
        InputError: If it has a manifest that is malformed.
    """
    return resampling_of(_manifest_before(site) if (site / MANIFEST).is_file() else None)


def refuse_foreign(site: Path) -> None:
    """Refuse a folder that is neither a site nor empty.

    Raises:
        InputError: If it is something else.
    """
    if site.exists() and not site.is_dir():
        raise InputError("is a file, not a site", file=site, remedy="choose another --site")
    if (site / MANIFEST).is_file():
        _manifest_before(site)
        return
    if not site.exists() or (site / PRIVATE / _LOCK).exists():
        return
    if any(site.iterdir()):
        remedy = "choose an empty or new folder for --site"
        raise InputError("not empty, and not a site", file=site, remedy=remedy)


def _manifest_before(site: Path) -> Manifest:
    """The manifest of a site that is to be published again.

    Raises:
        InputError: If it is malformed; publishing again would be no remedy.
    """
    try:
        return read_manifest(site)
    except InputError as error:
        found = error.problem
        remedy = f"restore {MANIFEST}, or move the folder away and publish again"
        raise InputError(found.message, file=found.file, field=found.field, remedy=remedy) from None


def was_killed(folder: Path) -> bool:
    """Whether a first publish into a folder was begun and did not end."""
    return (folder / PRIVATE / _LOCK).exists() and not (folder / MANIFEST).exists()


def require_folder(site: Path) -> None:
    """Refuse a site that is not there.

    Raises:
        InputError: If it is no folder.
    """
    if not site.is_dir():
        what = "not a folder" if site.exists() else "no such folder"
        remedy = "give the folder of a site that `ffr publish` made"
        raise InputError(what, file=site, field="--site", remedy=remedy)


def _sync(folder: Path) -> None:
    """Bring files to the disk before they replace others."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
