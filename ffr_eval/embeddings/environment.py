"""LMDB environments: one a path in each process, whose map grows as it has to.

LMDB forbids to open an environment twice in a process, to use one after a fork, and to change the
size of its map while a transaction runs; this module sees to all three.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.embeddings.problems import explained, of_system
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")

DATA: Final = "data.mdb"
LOCK: Final = "lock.mdb"
STORE_LOCK: Final = ".lock"
REMOVED: Final = ".removed-"
VECTORS: Final = b"vectors"
FAILURES: Final = b"failures"
CUT: Final = b"cut"
ABOUT: Final = b"about"
_DATABASES: Final = (VECTORS, FAILURES, CUT, ABOUT)
_FIRST_MAP: Final = 64 << 20
_MAX_READERS: Final = 1024


class Environment:
    """An LMDB environment that several threads may use; see :func:`acquire`.

    Attributes:
        databases: LMDB's handle of each database.
        users: How many have acquired it and not released it.
    """

    def __init__(self, folder: Path, create: bool) -> None:
        self.folder = folder
        self.users = 0
        self._idle = threading.Condition()
        self._n_active = 0
        self._halted = False
        self._lost = False
        self._read_only = not create and not _writable(folder)
        with explained(folder):
            self._lmdb = self._open(create)
            try:
                self._require_whole()
                self.databases = self._open_databases(create)
            except BaseException:  # Ctrl-C too: the lock is given back
                self._lmdb.close()
                raise

    def _open(self, create: bool) -> Any:
        import lmdb

        environment = lmdb.open(
            os.fspath(self.folder),
            map_size=_FIRST_MAP,
            max_dbs=len(_DATABASES),
            max_readers=_MAX_READERS,
            max_spare_txns=0,  # a child process would free the places that spare ones hold
            readonly=self._read_only,
            lock=not self._read_only,  # whoever may not write may not write the lock file either
            create=create,
        )
        if not self._read_only:
            environment.reader_check()  # of processes that were killed
        return environment

    def _require_whole(self) -> None:
        """Refuse a file that was cut off: to read past its end would end the process."""
        import lmdb

        expected = (self._lmdb.info()["last_pgno"] + 1) * self._lmdb.stat()["psize"]
        size = (self.folder / DATA).stat().st_size
        if size < expected:
            raise lmdb.CorruptedError(f"{DATA} has {size} bytes, it had {expected}")

    def _open_databases(self, create: bool) -> dict[bytes, Any]:
        """Open the databases; handles outlast only a transaction that commits."""
        if self._read_only:
            return {name: self._lmdb.open_db(name, create=False) for name in _DATABASES}
        return self.write(
            lambda txn: {name: self._lmdb.open_db(name, txn, create=create) for name in _DATABASES}
        )

    def read(self, work: Callable[[Any], Result]) -> Result:
        """Do something in a read transaction; buffers that it gives are valid only within."""
        import lmdb

        while True:
            try:
                with self._active(), self._lmdb.begin(buffers=True) as txn:
                    return work(txn)
            except lmdb.MapResizedError:
                self._resize(0)  # another process has grown it
            except lmdb.ReadersFullError:
                if not self._lmdb.reader_check():
                    raise

    def write(self, work: Callable[[Any], Result], n_bytes: int = 0) -> Result:
        """Do something in a write transaction, durable at return.

        Args:
            work: What to do; it is done again if the map turns out too small.
            n_bytes: How much it is going to write, at least.
        """
        import lmdb

        while True:
            with self._active():
                info = self._lmdb.info()
                used = (info["last_pgno"] + 1) * self._lmdb.stat()["psize"]
            size = info["map_size"]
            if used + 2 * n_bytes > size:
                self._resize(2 * (size + n_bytes))
            try:
                with self._active(), self._lmdb.begin(write=True) as txn:
                    return work(txn)
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.MapFullError:
                self._resize(2 * size)

    def close(self) -> None:
        """Close it; it is not used afterwards."""
        self._lmdb.close()

    def halt(self) -> None:
        """Wait until no transaction runs, and let none begin."""
        with self._idle:
            self._idle.wait_for(lambda: not self._halted)
            self._halted = True
            self._idle.wait_for(lambda: not self._n_active)

    def go_on(self) -> None:
        """Let transactions begin again."""
        with self._idle:
            self._halted = False
            self._idle.notify_all()

    @contextlib.contextmanager
    def _active(self) -> Iterator[None]:
        with self._idle:
            self._idle.wait_for(lambda: not self._halted)
            if self._lost:
                raise MemoryError("the map of its file was lost")
            self._n_active += 1
        try:
            yield
        finally:
            with self._idle:
                self._n_active -= 1
                self._idle.notify_all()

    def _resize(self, size: int) -> None:
        """Change the size of the map; 0 takes over the size that another process gave it."""
        self.halt()
        try:
            if not self._lost and (not size or size > self._lmdb.info()["map_size"]):
                self._lost = True  # LMDB has let go of the old map if this fails
                self._lmdb.set_mapsize(size)
                self._lost = False
        finally:
            self.go_on()


_environments: dict[str, Environment] = {}
_registry = threading.RLock()


def acquire(folder: Path, create: bool) -> Environment:
    """The environment in a folder, opened if it is not; :func:`release` it afterwards.

    Args:
        folder: The folder of a space.
        create: Whether the environment is made if there is none, with its folder.

    Raises:
        InputError: If there is none, or it is damaged or may not be used.
        FfrError: If the disk is full.
    """
    name = os.path.realpath(folder)
    with _registry:
        environment = _environments.get(name)
        if environment is None:
            with _store_lock(folder.parent, create):
                if create:
                    _make_folder(folder)
                environment = _environments[name] = Environment(folder, create)
        environment.users += 1
        return environment


def release(environment: Environment) -> None:
    """Close an environment if nobody else in this process uses it."""
    with _registry:
        environment.users -= 1
        if not environment.users:
            for name, known in list(_environments.items()):
                if known is environment:
                    del _environments[name]
            environment.close()


def is_open(folder: Path) -> bool:
    """Whether this process has the environment in a folder open."""
    with _registry:
        return os.path.realpath(folder) in _environments


def remove(folder: Path) -> None:
    """Remove a space's folder with all that is in it.

    Raises:
        InputError: If a process uses it, or it may not be removed.
    """
    with _registry, explained(folder), _store_lock(folder.parent, True):
        if is_open(folder) or _used_elsewhere(folder):
            remedy = "wait until the process that uses it has ended"
            raise InputError("is in use", file=folder, remedy=remedy)
        if not folder.exists():  # another process was quicker
            return
        away = Path(tempfile.mkdtemp(prefix=REMOVED, dir=folder.parent))
        folder.replace(away)
    remove_left(folder.parent)


def remove_left(root: Path) -> None:
    """Delete what was removed from a store, also by processes that were killed at it."""
    for left in root.glob(f"{REMOVED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _used_elsewhere(folder: Path) -> bool:
    """Whether another process has the environment open, which LMDB's lock on its file shows."""
    try:
        import fcntl
    except ImportError:  # where a file that is open cannot be removed anyway
        return False
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("r+b") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except (BlockingIOError, PermissionError):
            return True
    return False


@contextlib.contextmanager
def _store_lock(root: Path, create: bool) -> Iterator[None]:
    """Keep other processes from opening and removing spaces; not where one may only read."""
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        if create:
            _make_folder(root)
        if os.access(root, os.W_OK):
            with contextlib.nullcontext() if create else contextlib.suppress(PermissionError):
                stack.enter_context(FileLock(root / STORE_LOCK))
        yield


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        remedy = "remove that file, or choose another folder for the store"
        raise InputError("there is a file in its place", file=folder, remedy=remedy) from None
    except OSError as error:
        raise of_system(folder, error) from None


def _writable(folder: Path) -> bool:
    paths = (folder, folder / DATA, folder / LOCK)
    return all(os.access(path, os.W_OK) for path in paths if path != folder / LOCK or path.exists())


def _before_fork() -> None:
    """Let no transaction run: a child would end those of its parent's other threads."""
    _registry.acquire()
    for environment in _environments.values():
        environment.halt()


def _after_fork_in_parent() -> None:
    for environment in _environments.values():
        environment.go_on()
    _registry.release()


def _after_fork_in_child() -> None:
    """Let go of the parent's environments, which a child may not use."""
    global _registry
    _registry = threading.RLock()
    for environment in _environments.values():
        environment.close()
    _environments.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
