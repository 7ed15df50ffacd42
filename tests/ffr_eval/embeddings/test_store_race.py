"""Spaces that are removed while others make them, and forks while threads read and write."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import EmbeddingStore, Entry
from ffr_eval.errors import InputError
from tests.ffr_eval.embeddings.spaces import RECORD, fill, keys_of

if TYPE_CHECKING:
    from pathlib import Path


def make_and_use(root: Path, name: str, seconds: float, results: Any) -> None:
    """Write to the space and read what was written, again and again."""
    store, end, n = EmbeddingStore(root), time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            with store.open(RECORD, write=True) as space:
                keys = [text_key(f"{name} {n} {i}") for i in range(5)]
                space.write([Entry(key, np.ones(8)) for key in keys])
                if not space.read(keys)[1].all():
                    raise AssertionError("removed while it was open")
            n += 1
        results.put(n)
    except BaseException as error:
        results.put(repr(error))
        raise


@pytest.mark.slow
def test_a_space_that_is_removed_and_made_again(store: EmbeddingStore) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = [(store.root, name, 8.0, results) for name in ("a", "b")]
    processes = [context.Process(target=make_and_use, args=args) for args in arguments]
    for process in processes:
        process.start()
    n_removed = n_in_use = 0
    while any(process.is_alive() for process in processes):
        try:
            n_removed += len(store.prune(store.matching("clip")))
        except InputError as error:
            assert "is in use" in str(error)  # noqa: PT017 - any other is a failure
            n_in_use += 1
        time.sleep(0.002)
    found = [results.get(timeout=10) for _ in processes]
    assert [process.exitcode for process in processes] == [0, 0], found
    assert min(found) > 10
    assert n_removed > 5
    assert n_in_use > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_while_threads_read_and_write(store: EmbeddingStore) -> None:
    n = 1000
    fill(store, n)
    keys = keys_of(n)
    wrong: list[str] = []
    done = threading.Event()
    with store.open(RECORD, write=True) as space:
        expected, _ = space.read(keys)

        def read() -> None:
            while not done.is_set():
                if not np.array_equal(space.read(keys)[0], expected):
                    wrong.append("read")

        def write() -> None:
            number = 0
            while not done.is_set():
                names = [f"thread {number} {i}" for i in range(20)]
                space.write([Entry(text_key(name), np.ones(8)) for name in names])
                number += 1

        threads = [threading.Thread(target=work) for work in (read, read, write)]
        for thread in threads:
            thread.start()
        try:
            codes = [_fork(space, keys, expected, number) for number in range(25)]
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert codes == [0] * 25
        assert wrong == []
        assert space.read([text_key(f"child {number}") for number in range(25)])[1].all()


def _fork(space: Any, keys: list[bytes], expected: Any, number: int) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            space.write([Entry(text_key(f"child {number}"), np.ones(8))])
            code = 0 if np.array_equal(space.read(keys)[0], expected) else 2
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]
