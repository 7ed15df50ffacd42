"""The embedding store: what is written is read again, whoever else is at it, or it is said why."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.embeddings import environment
from ffr_eval.embeddings.environment import is_open
from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import (
    EmbeddingStore,
    Entry,
    Failure,
    FailureReason,
)
from tests.ffr_eval.embeddings.spaces import (
    RECORD,
    fill,
    keys_of,
    other_process,
    vectors_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_in_the_order_asked_for(store: EmbeddingStore) -> None:
    fill(store, 100)
    asked = [*reversed(keys_of(100)), text_key("none"), text_key("3"), text_key("3")]
    with store.open(RECORD) as space:
        vectors, found = space.read(asked)
        assert space.unknown(asked).tolist() == [False] * 100 + [True, False, False]
        assert len(space) == 100
    assert vectors.dtype == np.float32
    assert found.tolist() == [True] * 100 + [False, True, True]
    given_vectors = vectors_of(100).astype(np.float64)
    unit = given_vectors / np.linalg.norm(given_vectors, axis=1, keepdims=True)
    np.testing.assert_array_equal(vectors[:100], unit[::-1].astype(np.float32))
    np.testing.assert_array_equal(vectors[100:], [np.zeros(8), vectors[96], vectors[96]])


def test_an_empty_space(store: EmbeddingStore) -> None:
    with store.open(RECORD, write=True) as space:
        space.write([])
        vectors, found = space.read(keys_of(3))
        assert vectors.shape == (3, 0)
        assert not found.any()
        assert space.unknown([]).shape == (0,)
        assert space.read([])[0].shape == (0, 0)
        assert space.record.dimension is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_vectors_without_direction_are_failures(store: EmbeddingStore, value: float) -> None:
    vector = np.zeros(8) if value == 0 else np.array([1.0, value] + [0.5] * 6)
    with store.open(RECORD, write=True) as space:
        space.write([Entry(text_key("a"), vector, cut_tokens=99), Entry(text_key("b"), np.ones(8))])
        found = space.failures([text_key("a"), text_key("b"), text_key("c")])
        assert {key: f.reason for key, f in found.items()} == {
            text_key("a"): FailureReason.NO_DIRECTION
        }
        assert space.cut([text_key("a"), text_key("b")]) == {text_key("a"): 99}
        assert space.read([text_key("a")])[1].tolist() == [False]
        assert space.unknown([text_key("a")]).tolist() == [False]


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30, 3e38])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_length_is_one_whatever_it_was(store: EmbeddingStore, scale: float, dtype: Any) -> None:
    if dtype is np.float16:
        scale = {1e-44: 6e-8, 3e38: 6e4}.get(scale, 1.0)
    vector = np.array([scale, -scale, scale, 0], dtype=dtype)
    with store.open(RECORD, write=True) as space:
        space.write([Entry(text_key("a"), vector)])
        third = 1 / np.sqrt(3)
        np.testing.assert_allclose(
            space.read([text_key("a")])[0], [[third, -third, third, 0]], rtol=1e-7
        )


def test_an_entry_takes_the_place_of_an_older_one(store: EmbeddingStore) -> None:
    key = text_key("a")
    failure = Failure(FailureReason.UNREADABLE, "no \0 image \ud800")
    with store.open(RECORD, write=True) as space:
        space.write([Entry(key, None, failure, cut_tokens=5)])
        assert (space.failures([key]), space.cut([key])) == ({key: failure}, {key: 5})
        space.write([Entry(key, np.ones(8))])
        assert (space.failures([key]), space.cut([key])) == ({}, {})
        assert space.read([key])[1].all()
        space.write([Entry(key, None, failure)])
        assert not space.read([key])[1].any()
        assert not space.unknown([key]).any()
        assert len(space) == 0


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that have to grow soon."""
    monkeypatch.setattr(environment, "_FIRST_MAP", 1 << 20)


def test_a_map_that_is_too_small_grows(store: EmbeddingStore, small_map: None) -> None:
    n, dimension = 2500, 1024  # 10 MB, in a map of 1 MiB
    vectors = vectors_of(n, dimension)
    with store.open(RECORD, write=True) as writer, store.open(RECORD) as reader:
        for start in range(0, n, 500):
            part = slice(start, start + 500)
            entries = zip(keys_of(n)[part], vectors[part], strict=True)
            writer.write([Entry(key, vector) for key, vector in entries])
        read, found = reader.read(keys_of(n))
    assert found.all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(read, unit, atol=1e-6)


def test_another_process_that_makes_the_map_grow(store: EmbeddingStore, small_map: None) -> None:
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from ffr_eval.embeddings.keys import text_key\n"
        "from ffr_eval.embeddings.store import EmbeddingStore, Entry, default_store\n"
        "store = EmbeddingStore()\n"
        "with store.open(store.find('clip'), write=True) as space:\n"
        "    for part in range(3):\n"
        "        names = [f'far {part} {i}' for i in range(300)]\n"
        "        space.write([Entry(text_key(name), np.arange(1.0, 4097)) for name in names])\n"
    )
    with store.open(RECORD, write=True) as space:
        space.write([Entry(text_key("near"), np.arange(1.0, 4097))])
        other_process(program, store)
        asked = [text_key(f"far {part} 299") for part in range(3)]
        assert space.read(asked)[1].all()  # its map was too small for that
        other_process(program.replace("far", "again"), store)
        space.write([Entry(text_key("near 2"), np.arange(1.0, 4097))])
        assert len(space) == 2 + 2 * 900


def test_opened_twice_and_closed_in_any_order(store: EmbeddingStore) -> None:
    first, second = store.open(RECORD, write=True), store.open(RECORD)
    first.write([Entry(text_key("a"), np.ones(8))])
    first.close()
    first.close()
    assert second.read([text_key("a")])[1].all()
    with pytest.raises(ValueError, match="closed"):
        first.read([text_key("a")])
    with pytest.raises(ValueError, match="for reading only"):
        second.write([Entry(text_key("b"), np.ones(8))])
    assert is_open(second.folder)
    second.close()
    assert not is_open(second.folder)


def _start_writing(root: Path, name: str, barrier: Any) -> None:
    barrier.wait()
    with EmbeddingStore(root).open(RECORD, write=True) as space:
        for part in range(10):
            keys = [text_key(f"{name} {part} {i}") for i in range(20)]
            space.write([Entry(key, np.ones(8)) for key in keys])


def test_processes_that_make_the_same_space_at_once(store: EmbeddingStore) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    arguments = [(store.root, str(number), barrier) for number in range(4)]
    processes = [context.Process(target=_start_writing, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    with store.open(store.find("clip")) as space:
        keys = [text_key(f"{n} {p} {i}") for n in range(4) for p in range(10) for i in range(20)]
        assert space.read(keys)[1].all()
        assert len(space) == 800


def test_threads_that_read_and_write_while_the_map_grows(
    store: EmbeddingStore, small_map: None
) -> None:
    wrong: list[object] = []
    n, dimension = 600, 4096
    vectors = vectors_of(n, dimension)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    done = threading.Event()

    def write(space: Any, thread: int) -> None:
        for start in range(thread * 300, thread * 300 + 300, 50):
            for copy in range(12):  # 120 MB in all
                names = [f"{number} {copy}" for number in range(start, start + 50)]
                parts = zip(map(text_key, names), vectors[start : start + 50], strict=True)
                space.write([Entry(key, vector) for key, vector in parts])

    def read(space: Any) -> None:
        rng = np.random.default_rng(1)
        while not done.is_set():
            picked = rng.integers(0, n, 40)
            got, found = space.read([text_key(f"{number} 3") for number in picked])
            if found.any() and not np.allclose(got[found], unit[picked][found], atol=1e-6):
                wrong.append(picked)

    def guarded(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
            wrong.append(error)

    with store.open(RECORD, write=True) as space:
        writers = [threading.Thread(target=guarded, args=(write, space, i)) for i in range(2)]
        readers = [threading.Thread(target=guarded, args=(read, space)) for _ in range(3)]
        for thread in [*writers, *readers]:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert wrong == []
        assert len(space) == n * 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_opens_the_space_anew(store: EmbeddingStore) -> None:
    with store.open(RECORD, write=True) as space:
        space.write([Entry(text_key("a"), np.ones(8))])
        assert space.read([text_key("a")])[1].all()
        for number in range(3):
            child = os.fork()
            if not child:
                code = 1
                try:
                    assert space.read([text_key("a")])[1].all()
                    space.write([Entry(text_key(f"child {number}"), np.ones(8))])
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            assert space.read([text_key(f"child {number}")])[1].all()
            space.write([Entry(text_key(f"parent {number}"), np.ones(8))])
        assert len(space) == 7


def test_reading_is_fast(store: EmbeddingStore) -> None:
    n = 20_000
    fill(store, n, dimension=384)
    with store.open(RECORD) as space:
        keys = keys_of(n)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            _, found = space.read(keys)
            times.append(time.perf_counter() - start)
        assert found.all()
    assert min(times) < 0.3  # 0.04 s where nothing else runs
