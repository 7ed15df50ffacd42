"""Stores that are damaged, not allowed or too large: it is said what and where, and what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from ffr_eval.embeddings.environment import is_open
from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import (
    EmbeddingStore,
    Entry,
)
from ffr_eval.errors import FfrError, InputError
from tests.ffr_eval.embeddings.spaces import (
    RECORD,
    ROOT,
    fill,
    keys_of,
    other,
    other_process,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def damaged(store: EmbeddingStore) -> str:
    """The message; a reader, a writer and the list agree that something is wrong."""
    (stats,) = store.stats()
    assert stats.space.problem is not None
    messages = {str(stats.space.problem)}
    for write in (False, True):
        with pytest.raises(FfrError) as refused:
            store.open(RECORD, write=write)
        messages.add(str(refused.value))
    (message,) = messages
    assert str(store.root / RECORD.id) in message
    assert f"remove the folder {store.root / RECORD.id}" in message
    assert not is_open(store.root / RECORD.id)
    return message


@pytest.mark.parametrize("left", [1, 100, 4096, 4097, 8191, 0.3, 0.9, -4096, -1])
def test_a_file_that_was_cut_off(store: EmbeddingStore, left: float) -> None:
    fill(store, 500, dimension=400)
    data = store.root / RECORD.id / "data.mdb"
    size = data.stat().st_size
    to = left if left >= 1 else size * left if left > 0 else size + left
    os.truncate(data, int(to))
    assert "is damaged" in damaged(store)


def test_a_file_of_something_else(store: EmbeddingStore) -> None:
    fill(store, 5)
    (store.root / RECORD.id / "data.mdb").write_bytes(b"something else" * 10_000)
    assert "is damaged" in damaged(store)


def test_an_empty_file_is_filled_again(store: EmbeddingStore) -> None:
    fill(store, 5)
    os.truncate(store.root / RECORD.id / "data.mdb", 0)
    with pytest.raises(InputError, match="is damaged"):
        store.open(RECORD)
    fill(store, 3, dimension=9)
    assert store.find("clip").dimension == 9


def test_zeros_in_the_file_are_not_read_as_vectors(store: EmbeddingStore) -> None:
    fill(store, 500, dimension=400)
    data = store.root / RECORD.id / "data.mdb"
    content = bytearray(data.read_bytes())
    with store.open(RECORD) as space:
        vector = space.read(keys_of(1))[0][0].tobytes()
    at = bytes(content).index(vector)
    content[at : at + len(vector)] = bytes(len(vector))
    data.write_bytes(content)
    with store.open(RECORD) as space, pytest.raises(InputError, match="has not the length 1"):
        space.read(keys_of(500))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"encoder": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(msgspec.to_builtins(other(revision="edited"))).encode(),
        json.dumps({**msgspec.to_builtins(RECORD), "schema_version": 2}).encode(),
    ],
)
def test_a_record_that_is_none(store: EmbeddingStore, text: bytes) -> None:
    fill(store, 5)
    (store.root / RECORD.id / "space.json").write_bytes(text)
    assert "space.json" in damaged(store)
    with pytest.raises(InputError, match="no embeddings"):
        store.find("clip")


def test_a_record_that_was_lost_is_written_again(store: EmbeddingStore) -> None:
    fill(store, 5)
    (store.root / RECORD.id / "space.json").unlink()
    (found,) = store.spaces()
    assert found.record is None
    assert "space.json" in str(found.problem)
    with store.open(RECORD, write=True) as space:
        assert space.read(keys_of(5))[1].all()
    assert store.find("clip").id == RECORD.id


def test_a_folder_that_a_killed_process_just_made(store: EmbeddingStore) -> None:
    (store.root / RECORD.id).mkdir(parents=True)
    (stats,) = store.stats()
    assert stats.space.problem is not None
    fill(store, 5)
    assert store.stats()[0].n_vectors == 5


@pytest.mark.parametrize("place", ["store", "space"])
def test_a_file_in_the_place_of_the_folder(store: EmbeddingStore, place: str) -> None:
    file = store.root if place == "store" else store.root / RECORD.id
    file.parent.mkdir(exist_ok=True)
    file.write_text("a file")
    with pytest.raises(InputError, match="→"):
        store.open(RECORD, write=True)
    if place == "store":
        with pytest.raises(InputError, match="cannot be read: Not a directory"):
            store.spaces()
        with pytest.raises(InputError, match="cannot be read: Not a directory"):
            store.open(RECORD)
    else:
        assert store.spaces()[0].record is None


_AS_NOBODY = """
import fcntl, os, sys
import filelock, lmdb
import numpy as np
from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import EmbeddingStore, Entry
from ffr_eval.errors import InputError
if os.getuid() == 0:  # now that everything is imported, which nobody might not be allowed to
    os.setgid(65534); os.setuid(65534)
"""


def as_nobody(program: str, store: EmbeddingStore) -> list[str]:
    """Run something as a user without rights, even if the tests run as root."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "FFR_EMBEDDINGS": str(store.root)}
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY + program],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def open_to_all() -> Iterator[EmbeddingStore]:
    """A store that other users can get at; pytest's folders are for their owner alone."""
    if not hasattr(os, "getuid"):
        pytest.skip("there are no such rights")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield EmbeddingStore(Path(folder) / "store")


def test_a_store_that_may_only_be_read(open_to_all: EmbeddingStore) -> None:
    fill(open_to_all, 5)
    folder = open_to_all.root / RECORD.id
    for path in (*folder.iterdir(), open_to_all.root / ".lock"):
        path.chmod(0o444)
    folder.chmod(0o555)
    open_to_all.root.chmod(0o555)
    program = (
        "store = EmbeddingStore()\n"
        "record = store.find('clip')\n"
        "with store.open(record) as space:\n"
        "    print(space.read([text_key('1')])[1].all(), store.stats()[0].n_vectors)\n"
        "for action in (lambda: store.open(record, write=True), lambda: store.prune([record])):\n"
        "    try:\n"
        "        action()\n"
        "    except InputError as error:\n"
        "        print(' '.join(str(error).split()))\n"
    )
    try:
        first, *errors = as_nobody(program, open_to_all)
    finally:
        open_to_all.root.chmod(0o755)
        folder.chmod(0o755)
    assert first == "True 5"
    assert len(errors) == 2
    for error in errors:
        assert "may not be used: " in error
        assert "→ make it yours" in error


def test_a_store_that_may_not_be_seen(open_to_all: EmbeddingStore) -> None:
    fill(open_to_all, 5)
    open_to_all.root.chmod(0)
    program = (
        "store = EmbeddingStore()\n"
        "for action in (store.spaces, lambda: store.find('clip')):\n"
        "    try:\n"
        "        action()\n"
        "    except InputError as error:\n"
        "        print(' '.join(str(error).split()))\n"
    )
    try:
        errors = as_nobody(program, open_to_all)
    finally:
        open_to_all.root.chmod(0o755)
    assert len(errors) == 2
    assert all("cannot be read: Permission denied" in error for error in errors)


def test_a_full_disk(store: EmbeddingStore) -> None:
    fill(store, 10, dimension=1000)
    program = (
        "import resource, signal, numpy as np\n"
        "from ffr_eval.embeddings.keys import text_key\n"
        "from ffr_eval.embeddings.store import EmbeddingStore, Entry\n"
        "from ffr_eval.errors import FfrError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "store = EmbeddingStore()\n"
        "space = store.open(store.find('clip'), write=True)\n"
        "n = 0\n"
        "try:\n"
        "    while True:\n"
        "        space.write([Entry(text_key(f'{n} {i}'), np.ones(1000)) for i in range(10)])\n"
        "        n += 1\n"
        "except FfrError as error:\n"
        "    assert error.exit_code == 1, error\n"
        "    assert 'ree some space' in str(error), error\n"
        "assert n > 3\n"
        "assert space.read([text_key(f'{n - 1} 9')])[1].all()\n"
        "print(n)\n"
    )
    if sys.platform == "win32":
        pytest.skip("there are no such limits")
    other_process(program, store)
    with store.open(RECORD, write=True) as space:
        n = len(space)
        assert n > 40
        assert n % 10 == 0
        space.write([Entry(text_key("room again"), np.ones(1000))])
        assert space.read([text_key("0 0"), text_key("room again")])[1].all()


def test_too_little_memory_for_a_larger_map(store: EmbeddingStore) -> None:
    program = (
        "import resource, numpy as np\n"
        "from ffr_eval.embeddings.keys import text_key\n"
        "from ffr_eval.embeddings.store import EmbeddingStore, Entry\n"
        "from ffr_eval.errors import FfrError\n"
        "store = EmbeddingStore()\n"
        "space = store.open(store.find('clip'), write=True)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), resource.RLIM_INFINITY))\n"
        "errors = []\n"
        "for part in range(12):\n"
        "    try:\n"
        "        names = [f'{part} {i}' for i in range(200)]\n"
        "        space.write([Entry(text_key(name), np.ones(8000)) for name in names])\n"
        "    except FfrError as error:\n"
        "        errors.append(str(error))\n"
        "assert errors and all('ulimit -v' in error for error in errors), errors\n"
        "space.close()\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("there is no /proc")
    fill(store, 1, dimension=8000)
    other_process(program, store)
    with store.open(RECORD) as space:
        assert space.read([text_key("0 0")])[1].all()
