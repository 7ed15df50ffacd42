"""A space that is open: reads and writes vectors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.embeddings.entries import decode_failure, encode_failure, with_directions
from ffr_eval.embeddings.environment import ABOUT, CUT, FAILURES, VECTORS, acquire, release
from ffr_eval.embeddings.keys import require_key
from ffr_eval.embeddings.problems import damaged, explained
from ffr_eval.embeddings.space import RECORD, read_record, short_name, write_record
from ffr_eval.errors import InputError
from ffr_eval.writing import unfinished

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from ffr_eval.embeddings.entries import Entry, Failure, FloatArray
    from ffr_eval.embeddings.environment import Environment
    from ffr_eval.embeddings.space import SpaceRecord

_DIMENSION: Final = b"dimension"
_VALUE: Final = np.dtype("<f4")
_LENGTH_TOLERANCE: Final = 1e-3
_AT_ONCE: Final = 10_000  # keys in a transaction


class Space:
    """The vectors of one encoder; use it as a context manager, or close it.

    Threads may share it, and any number of processes may have the same space open. A child process
    that was forked opens it anew by itself.

    Attributes:
        record: What the space is; its dimension is known once there is a vector.
        folder: Where it is.
    """

    def __init__(self, folder: Path, record: SpaceRecord, write: bool) -> None:
        self.folder = folder
        self.record = record
        self._may_write = write
        self._dimension: int | None = None
        self._process = os.getpid()
        self._environment: Environment | None = acquire(folder, create=write)
        try:
            if write:
                self._see_to_record()
            self.record = read_record(folder)
        except BaseException:  # Ctrl-C too: the lock is given back
            self.close()
            raise

    def __enter__(self) -> Space:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the space; it can be closed twice, but not used afterwards."""
        if self._environment is not None and self._process == os.getpid():
            release(self._environment)
        self._environment = None

    def __len__(self) -> int:
        """How many vectors there are."""
        env = self._env
        with explained(self.folder):
            return env.read(lambda txn: int(txn.stat(env.databases[VECTORS])["entries"]))

    def unknown(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which keys have neither a vector nor a failure, shape ``(n,)``."""
        env = self._env
        vectors, failures = env.databases[VECTORS], env.databases[FAILURES]

        def look(txn: Any) -> list[bool]:
            get = txn.get
            return [get(k, db=vectors) is None and get(k, db=failures) is None for k in keys]

        with explained(self.folder):
            return np.array(env.read(look), dtype=np.bool_)

    def read(self, keys: Sequence[bytes]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """The vectors of keys.

        Returns:
            The vectors, shape ``(n, dimension)``, of length 1, zero where there is none; and
            whether there is one, shape ``(n,)``. While the space has no vector at all, its
            dimension is 0.

        Raises:
            InputError: If the space is damaged.
        """
        env = self._env
        about, database = env.databases[ABOUT], env.databases[VECTORS]
        found = np.zeros(len(keys), dtype=np.bool_)

        def copy(txn: Any) -> FloatArray:
            dimension = self._known_dimension(txn, about) or 0
            size = dimension * _VALUE.itemsize
            values = [value for _, value in txn.cursor(database).getmulti(keys)]
            if len(values) == len(keys) and set(map(len, values)) == {size}:  # as nearly always
                found[:] = True
                together = np.frombuffer(bytearray().join(values), dtype=_VALUE)
                return together.reshape(len(keys), dimension)
            vectors = np.zeros((len(keys), dimension), dtype=_VALUE)
            target = vectors.reshape(-1).view(np.uint8).data
            get = txn.cursor(database).get
            start = 0
            for row, key in enumerate(keys):
                value = get(key)
                if value is not None:
                    target[start : start + size] = value
                    found[row] = True
                start += size
            return vectors

        try:
            with explained(self.folder):
                vectors = env.read(copy)
        except ValueError:
            raise damaged(self.folder, "a vector has not the dimension of the space") from None
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if not bool((np.abs(squares - found) < _LENGTH_TOLERANCE).all()):
            raise damaged(self.folder, "a vector has not the length 1")
        return vectors, found

    def failures(self, keys: Sequence[bytes]) -> dict[bytes, Failure]:
        """Why there is no vector, for those keys for which that is known."""
        try:
            return {k: decode_failure(v) for k, v in self._values(FAILURES, keys).items()}
        except ValueError:
            raise damaged(self.folder, "the reason of a failure cannot be read") from None

    def cut(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The full length in tokens of those texts that were cut."""
        return {k: int.from_bytes(v, "little") for k, v in self._values(CUT, keys).items()}

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep vectors and failures, in one transaction that is durable at return.

        Vectors are scaled to length 1; one without direction becomes a failure. An entry takes the
        place of what was kept under its key.

        Raises:
            InputError: If vectors have another dimension than the space, or it may not be written.
            FfrError: If the disk is full.
        """
        self._require_right()
        ready = with_directions(entries)
        for entry in ready:
            require_key(entry.key)
        if not ready:
            return
        dimensions = {len(entry.vector) for entry in ready if entry.vector is not None}
        env = self._env
        vectors, failures = env.databases[VECTORS], env.databases[FAILURES]
        cut, about = env.databases[CUT], env.databases[ABOUT]

        def put(txn: Any) -> None:
            for dimension in sorted(dimensions):
                self._require(dimension, txn, about)
            for entry in ready:
                if entry.vector is not None:
                    txn.put(entry.key, entry.vector.data, db=vectors)
                    txn.delete(entry.key, db=failures)
                elif entry.failure is not None:
                    txn.put(entry.key, encode_failure(entry.failure), db=failures)
                    txn.delete(entry.key, db=vectors)
                if entry.cut_tokens is None:
                    txn.delete(entry.key, db=cut)
                else:
                    txn.put(entry.key, entry.cut_tokens.to_bytes(8, "little"), db=cut)

        n_bytes = sum(entry.vector.nbytes for entry in ready if entry.vector is not None)
        with explained(self.folder):
            env.write(put, n_bytes)

    def complete(
        self,
        *,
        dtype: str | None = None,
        device: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Add to the record what is known only once the encoder is loaded.

        What the record has already stays as it is.
        """
        self._require_right()
        known = {"dtype": dtype, "device": device, "max_tokens": max_tokens}

        def fill(_: Any) -> None:  # under the write lock, so that no other process does the same
            record = read_record(self.folder)
            new = {k: v for k, v in known.items() if getattr(record, k) is None and v is not None}
            self.record = msgspec.structs.replace(record, **new)
            if new:
                write_record(self.folder, self.record)

        with explained(self.folder):
            self._env.write(fill)

    def keys(self, database: bytes = VECTORS) -> Iterator[tuple[bytes, int]]:
        """All keys of a database (``vectors``, ``failures`` or ``cut``), with their values' size.

        They come in parts, each from a transaction of its own.
        """
        env = self._env
        handle = env.databases[database]
        after: bytes | None = None

        def part(txn: Any) -> list[tuple[bytes, int]]:
            cursor = txn.cursor(handle)
            there = cursor.first() if after is None else cursor.set_range(after)
            if not there:
                return []
            items = zip(range(_AT_ONCE), cursor.iternext(), strict=False)
            return [(bytes(key), len(value)) for _, (key, value) in items]

        while True:
            with explained(self.folder):
                found = env.read(part)
            yield from found
            if not found:
                return
            after = found[-1][0] + b"\0"  # the next possible key

    def discard(self, keep: Container[bytes], *, dry_run: bool = False) -> tuple[int, int]:
        """Delete what is kept under other keys than these; in several transactions.

        The space on disk is used again for later vectors, but not given back.

        Returns:
            How many vectors went, or would go, and how many bytes they have.
        """
        env = self._env
        n_vectors = n_bytes = 0
        for name in (VECTORS, FAILURES, CUT):
            unwanted = []
            for key, size in self.keys(name):
                if key not in keep:
                    unwanted.append(key)
                    if name == VECTORS:
                        n_vectors += 1
                        n_bytes += size
            for start in range(0, 0 if dry_run else len(unwanted), _AT_ONCE):
                self._delete(env, env.databases[name], unwanted[start : start + _AT_ONCE])
        return n_vectors, n_bytes

    @property
    def _env(self) -> Environment:
        if self._environment is None:
            raise ValueError("the space is closed")
        if self._process != os.getpid():  # a fork
            self._environment = acquire(self.folder, create=self._may_write)
            self._process = os.getpid()
        return self._environment

    def _require_right(self) -> None:
        if not self._may_write:
            raise ValueError("the space was opened for reading only")

    def _delete(self, env: Environment, database: Any, keys: list[bytes]) -> None:
        def delete(txn: Any) -> None:
            for key in keys:
                txn.delete(key, db=database)

        with explained(self.folder):
            env.write(delete)

    def _see_to_record(self) -> None:
        """Write the record of a new space; the write lock keeps other processes from doing so."""
        path = self.folder / RECORD

        def make(_: Any) -> None:
            for left in unfinished(path):  # by processes that were killed
                left.unlink(missing_ok=True)
            if not path.exists():
                write_record(self.folder, msgspec.structs.replace(self.record, dimension=None))

        if not path.exists() or unfinished(path):
            with explained(self.folder):
                self._env.write(make)

    def _known_dimension(self, txn: Any, about: Any) -> int | None:
        if self._dimension is None and (kept := txn.get(_DIMENSION, db=about)) is not None:
            self._dimension = int.from_bytes(kept, "little")
        return self._dimension

    def _require(self, dimension: int, txn: Any, about: Any) -> None:
        """Compare a dimension with the space's, or make it so with its first vectors."""
        kept = txn.get(_DIMENSION, db=about)
        known = None if kept is None else int.from_bytes(kept, "little")
        if known is None:
            txn.put(_DIMENSION, dimension.to_bytes(8, "little"), db=about)
            self.record = msgspec.structs.replace(read_record(self.folder), dimension=dimension)
            write_record(self.folder, self.record)
        elif dimension != known:
            message = f"has vectors of dimension {known}; these have dimension {dimension}"
            remedy = (
                "use the model that its vectors were made with, or remove them with"
                f" `ffr embed --prune --encoder {short_name(self.record)}`"
            )
            raise InputError(message, file=self.folder, remedy=remedy)

    def _values(self, name: bytes, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        env = self._env
        database = env.databases[name]

        def look(txn: Any) -> dict[bytes, bytes]:
            if not txn.stat(database)["entries"]:
                return {}
            found = ((key, txn.get(key, db=database)) for key in keys)
            return {key: bytes(value) for key, value in found if value is not None}

        with explained(self.folder):
            return env.read(look)
