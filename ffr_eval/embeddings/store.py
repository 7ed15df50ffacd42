"""The embedding store: a folder with a space for each encoder."""

from __future__ import annotations

import os
import string
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.embeddings.entries import Entry, Failure, FailureReason
from ffr_eval.embeddings.environment import CUT, DATA, FAILURES, remove
from ffr_eval.embeddings.keys import Content, content_of
from ffr_eval.embeddings.space import ID_LENGTH, RECORD, SpaceRecord, read_record, short_name
from ffr_eval.embeddings.vectors import Space
from ffr_eval.errors import FfrError, InputError
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

__all__ = [
    "ALIASES",
    "EmbeddingStore",
    "Entry",
    "Failure",
    "FailureReason",
    "FoundSpace",
    "Pruned",
    "Space",
    "SpaceRecord",
    "SpaceStats",
    "default_store",
    "short_name",
]

ALIASES: Final = {"clip": "open_clip", "sentence": "sentence-transformers"}
_VERSION: Final = "version"


def default_store() -> Path:
    """Where embeddings are kept: ``$FFR_EMBEDDINGS``, or ``ffr/embeddings`` in the user's cache."""
    if given := os.environ.get("FFR_EMBEDDINGS"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "ffr" / "embeddings"


@dataclass(frozen=True, slots=True)
class FoundSpace:
    """The folder of a space in a store.

    Attributes:
        folder: Where it is.
        record: What it is; ``None`` if that cannot be read.
        problem: Why it cannot be read.
    """

    folder: Path
    record: SpaceRecord | None
    problem: FfrError | None = None


@dataclass(frozen=True, slots=True)
class SpaceStats:
    """What a space holds.

    Attributes:
        space: The space; where it has a problem, all counts but ``n_bytes`` are 0.
        vectors: How many vectors there are of each kind of content.
        failures: How many elements have no vector, by reason; only reasons that occur.
        n_cut: How many texts were longer than the model's limit.
        n_bytes: What its folder takes up on the disk.
    """

    space: FoundSpace
    vectors: Mapping[Content, int]
    failures: Mapping[FailureReason, int]
    n_cut: int
    n_bytes: int

    @property
    def n_vectors(self) -> int:
        """How many vectors there are."""
        return sum(self.vectors.values())


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed of a space, or would be.

    Attributes:
        record: The space.
        whole: Whether its folder was removed; else vectors inside it were.
        n_vectors: How many vectors.
        n_bytes: What the folder took up on the disk; of vectors inside it, their size, which is
            used again but not given back to the disk.
    """

    record: SpaceRecord
    whole: bool
    n_vectors: int
    n_bytes: int


class EmbeddingStore:
    """A folder in which each space has a folder of its own.

    Attributes:
        root: The folder; it is made when something is written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_store() if root is None else root

    def spaces(self) -> list[FoundSpace]:
        """All spaces, by label and id; those that cannot be read are at the end.

        Raises:
            InputError: If the store is not a folder that can be read.
        """
        try:
            folders = [path for path in self.root.iterdir() if _is_space(path)]
        except FileNotFoundError:
            return []
        except OSError as error:
            remedy = "choose a folder for the store that you may read"
            message = f"cannot be read: {error.strerror}"
            raise InputError(message, file=self.root, remedy=remedy) from None
        return sorted(map(_found, folders), key=_order)

    def matching(self, spec: str) -> list[SpaceRecord]:
        """The spaces that ``NAME`` or ``NAME:MODEL``, either with ``@ID``, may mean."""
        records = [space.record for space in self.spaces() if space.record is not None]
        exact = [record for record in records if _names(record, spec)]
        name, prefix = _split(spec)
        if exact or not prefix:
            return exact
        return [r for r in records if _names(r, name) and r.id.startswith(prefix)]

    def find(self, spec: str) -> SpaceRecord:
        """The one space that ``NAME`` or ``NAME:MODEL``, either with ``@ID``, means.

        Args:
            spec: An encoder's name, perhaps its model as it was named when the first vectors were
                made, and perhaps the first digits of the space's id.

        Raises:
            InputError: If there is none, or more than one.
        """
        found = self.matching(spec)
        if not found:
            raise self._none(spec)
        if len(found) > 1:
            names = ", ".join(f"{short_name(r)} ({self._n_vectors(r)})" for r in found)
            message = f"{spec!r} may mean {len(found)} spaces: {names}"
            remedy = f"name one of them, for example {short_name(found[0])}"
            raise InputError(message, file=self.root, field="encoder", remedy=remedy)
        return found[0]

    def open(self, record: SpaceRecord, *, write: bool = False) -> Space:
        """Open a space; with ``write``, it is made if there is none.

        Raises:
            InputError: If there is none, or it is damaged or may not be used.
            FfrError: If the disk is full.
        """
        folder = self.root / record.id
        if not write and not folder.exists():
            raise self._none(record.label)
        created = record.created or datetime.now(UTC).isoformat(timespec="seconds")
        return Space(folder, msgspec.structs.replace(record, created=created), write)

    def stats(self) -> list[SpaceStats]:
        """What each space holds, in the order of :meth:`spaces`; counting reads all keys."""
        return [self._stats(space) for space in self.spaces()]

    def superseded(self) -> list[SpaceRecord]:
        """Spaces in whose place there is a newer one, which the same command would use today.

        That is one of the same encoder, model (as the user named it), modalities and options, with
        another revision; options whose names end in ``version`` may differ too. Spaces that differ
        in other options are both wanted. The newest, by ``created``, is not superseded, nor is one
        of which it is not known when it was made, nor is anything by a space without vectors.
        """
        newest: dict[str, SpaceRecord] = {}
        dated = [s.record for s in self.spaces() if s.record is not None and s.record.created]
        dated.sort(key=lambda record: (record.created or "", record.id))
        for record in dated:
            if record.dimension is not None:
                newest[_purpose(record)] = record
        return [
            record
            for record in dated
            if (other := newest.get(_purpose(record))) is not None
            and (other.created or "") > (record.created or "")
        ]

    def prune(
        self,
        records: Sequence[SpaceRecord],
        *,
        keep: Container[bytes] | None = None,
        dry_run: bool = False,
    ) -> list[Pruned]:
        """Remove spaces, or vectors inside them.

        A space that is removed frees the disk. Vectors that are removed from a space make room for
        later ones in its file, which does not become smaller.

        Args:
            records: The spaces, from :meth:`matching`, :meth:`find` or :meth:`superseded`.
            keep: Keys whose vectors are kept, all others are removed; whole spaces without.
            dry_run: Only tell what would be removed.

        Raises:
            InputError: If a process uses a space that is to be removed, or it may not be removed.
        """
        done = []
        for record in records:
            if keep is not None:
                with self.open(record, write=not dry_run) as space:
                    n_vectors, n_bytes = space.discard(keep, dry_run=dry_run)
                done.append(Pruned(record, False, n_vectors, n_bytes))
                continue
            folder = self.root / record.id
            n_vectors, n_bytes = self._stats(_found(folder)).n_vectors, _n_bytes(folder)
            if not dry_run:
                remove(folder)
            done.append(Pruned(record, True, n_vectors, n_bytes))
        return done

    def _stats(self, found: FoundSpace) -> SpaceStats:
        n_bytes = _n_bytes(found.folder)
        if found.record is None:
            return SpaceStats(found, {}, {}, 0, n_bytes)
        try:
            with self.open(found.record) as space:
                vectors = Counter(content_of(key) for key, _ in space.keys())  # noqa: SIM118
                failed = [key for key, _ in space.keys(FAILURES)]
                failures = Counter(f.reason for f in space.failures(failed).values())
                n_cut = sum(1 for _ in space.keys(CUT))
        except FfrError as error:
            broken = FoundSpace(found.folder, found.record, error)
            return SpaceStats(broken, {}, {}, 0, n_bytes)
        return SpaceStats(found, vectors, failures, n_cut, n_bytes)

    def _n_vectors(self, record: SpaceRecord) -> str:
        try:
            with self.open(record) as space:
                return f"{len(space):,} vectors"
        except FfrError:
            return "cannot be read"

    def _none(self, spec: str) -> InputError:
        name = _split(spec)[0]
        labels = {s.record.label for s in self.spaces() if s.record is not None}
        encoder, colon, model = name.partition(":")
        full = f"{ALIASES.get(encoder, encoder)}{colon}{model}"
        known = nearest(full, sorted(labels)) if labels else "nothing is there yet"
        message = f"no embeddings of {spec!r}"
        remedy = f"compute them with `ffr embed BENCHMARK --encoder {name}` ({known})"
        return InputError(message, file=self.root, field="encoder", remedy=remedy)


def _split(spec: str) -> tuple[str, str]:
    """A spec without ``@ID``, and the ID; empty if there is none."""
    name, _, prefix = spec.rpartition("@")
    is_id = bool(name and prefix) and set(prefix) <= set(string.hexdigits)
    return (name, prefix.lower()) if is_id else (spec, "")


def _names(record: SpaceRecord, spec: str) -> bool:
    name, colon, model = spec.partition(":")
    return record.encoder == ALIASES.get(name, name) and (not colon or record.model == model)


def _is_space(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    is_id = len(path.name) == ID_LENGTH and set(path.name) <= set(string.hexdigits)
    return is_id or any((path / name).exists() for name in (RECORD, DATA))


def _found(folder: Path) -> FoundSpace:
    try:
        return FoundSpace(folder, read_record(folder))
    except InputError as error:
        return FoundSpace(folder, None, error)


def _order(space: FoundSpace) -> tuple[bool, str, str]:
    label = "" if space.record is None else space.record.label
    return space.record is None, label, space.folder.name


def _n_bytes(folder: Path) -> int:
    """What the files of a folder take up on the disk; they may have holes."""
    total = 0
    for path in folder.glob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        blocks: int | None = getattr(found, "st_blocks", None)
        total += found.st_size if blocks is None else blocks * 512
    return total


def _purpose(record: SpaceRecord) -> str:
    """What a space is made for, whatever version of it."""
    options = {k: v for k, v in record.options.items() if not k.endswith(_VERSION)}
    parts = {"revision": record.model, "options": options}
    return msgspec.structs.replace(record, **parts).id
