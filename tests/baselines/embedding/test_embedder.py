"""Filling the store: once each, in pieces, resumable, and honest about what has no vector."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.embedding import embedder
from baselines.embedding.elements import Reader, Reading, each_element
from baselines.embedding.embedder import fill
from baselines.embedding.image_files import ImageFiles
from baselines.encoders.encoder import Item
from baselines.encoders.registry import make_encoder
from baselines.machine import Machine
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.embeddings.keys import Role, image_key, text_key
from ffr_eval.embeddings.store import EmbeddingStore
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from tests.baselines.embedding.fake_encoder import FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from baselines.embedding.report import FillReport

ROOT = Path(__file__).parents[3]
PROBE = "probe"


def texts(*contents: str) -> list[tuple[bytes, Item]]:
    return [(text_key(text), Item(text)) for text in contents]


def filled(
    store: EmbeddingStore, elements: Iterable[tuple[bytes, Item]], **options: Any
) -> FillReport:
    return fill(make_encoder("fake", options), elements, store)


def vectors(store: EmbeddingStore, keys: Iterable[bytes]) -> Any:
    record = make_encoder("fake").describe()
    with store.open(record) as space:
        found, known = space.read(list(keys))
    assert known.all()
    return found


def encoded() -> list[str]:
    return [text for text in FakeEncoder.encoded() if text != PROBE]


def test_the_same_text_in_fifty_places_is_encoded_once(
    store: EmbeddingStore,
) -> None:
    elements = texts(*["the same"] * 50, "another", *["the same"] * 50)
    report = filled(store, iter(elements))
    assert sorted(encoded()) == ["another", "the same"]
    assert (report.n_elements, report.n_distinct, report.n_new, report.n_known) == (101, 2, 2, 0)
    again = filled(store, iter(elements))
    assert (again.n_elements, again.n_distinct, again.n_new, again.n_known) == (101, 2, 0, 2)
    assert FakeEncoder.loads == 1  # the second time nothing was missing
    assert sorted(encoded()) == ["another", "the same"]


def test_a_benchmark_with_fifty_queries_a_dialogue_is_encoded_once(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    """The texts of a dialogue, and a query that is asked of every dialogue."""
    with BenchmarkWriter(tmp_path / "many", InfoRecord(name="many")) as writer:
        for number in range(5):
            turns = tuple(TurnRecord(i, "A", f"turn {i} of {number}") for i in range(4))
            writer.add_dialogue(DialogueRecord(f"d{number}", turns))
            for k in range(50):
                writer.add_query(QueryRecord(f"{number}#{k}", f"d{number}", f"query {k}", (0,), ()))
    data = read_benchmark(tmp_path / "many")
    reader = Reader(Reading(True, False), ImageFiles())
    report = filled(store, each_element(data, data.rows(), reader))
    assert (report.n_elements, report.n_distinct) == (5 * 4 + 5 * 50, 5 * 4 + 50)
    assert len(encoded()) == len(set(encoded())) == 5 * 4 + 50


def test_repetitions_far_apart_are_encoded_once(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_LOOKED_UP", 7)
    monkeypatch.setattr(embedder, "_FIRST_CHUNK", 5)
    names = [f"text {i % 30}" for i in range(300)]
    report = filled(store, texts(*names))
    assert sorted(encoded()) == sorted(set(names))
    assert (report.n_distinct, report.n_new) == (30, 30)


def test_vectors_are_those_of_their_own_text(store: EmbeddingStore) -> None:
    names = [f"{'word ' * (i % 9)}number{i}" for i in range(100)]  # sorted by length on the way
    elements = texts(*names)
    filled(store, elements)
    loaded = make_encoder("fake").load()
    expected = loaded.encode_texts(names, Role.PASSAGE).astype(np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(store, [key for key, _ in elements]), expected, atol=1e-6)


def test_out_of_memory_halves_the_batch_and_goes_on(store: EmbeddingStore) -> None:
    names = [f"text {i}" for i in range(50)]
    report = filled(store, texts(*names), largest_batch=3)
    assert sorted(encoded()) == sorted(names)
    assert max(map(len, FakeEncoder.calls)) <= 3
    assert not report.failures


def test_out_of_memory_with_one_item_ends_the_run_and_keeps_what_is_done(
    store: EmbeddingStore,
) -> None:
    with pytest.raises(FfrError, match="out of memory") as caught:
        filled(store, texts("a"), largest_batch=0)
    assert caught.value.exit_code == 1


def test_chunks_are_bounded_however_many_elements_come(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_LOOKED_UP", 64)
    monkeypatch.setattr(embedder, "_LARGEST_CHUNK", 100)
    waiting = []
    encode_items = embedder._Filler._encode_chunk

    def watched(self: Any) -> None:
        waiting.append(len(self._pending))
        encode_items(self)

    monkeypatch.setattr(embedder._Filler, "_encode_chunk", watched)
    report = filled(store, ((text_key(str(i)), Item(str(i))) for i in range(5000)))
    assert report.n_new == 5000
    assert max(waiting) <= 100 + 64


def test_long_texts_make_small_chunks(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_MOST_CHARACTERS", 1000)
    filled(store, texts(*(f"{i} " + "x" * 400 for i in range(20))))
    assert max(map(len, FakeEncoder.calls)) <= 3  # two of them, and the probe
    assert len(encoded()) == 20


def test_cut_texts_are_counted_also_from_the_store(store: EmbeddingStore) -> None:
    elements = texts("one two three", "one", "a b c d", "one two three")
    for _ in range(2):
        report = filled(store, elements, max_tokens=2)
        assert (report.n_cut, report.n_texts, report.max_tokens) == (2, 3, 2)
        assert report.notes() == [
            "2 of 3 texts are longer than the 2 tokens that the model reads: cut"
        ]


def test_elements_without_a_vector_are_told_by_reason_also_from_the_store(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    elements = [*texts("fine", "bad one"), (image_key(b"not a picture"), Item(images=(broken,)))]
    for _ in range(2):
        report = filled(store, elements, refused="bad")
        assert report.failures == {"unreadable": 1, "not_encoded": 1}
        assert any(str(broken) in text for text in report.examples)
        assert "1 image file cannot be read" in report.notes()[0]
    assert FakeEncoder.loads == 1  # failures are remembered


def test_an_element_that_is_refused_alone_is_no_failed_run(store: EmbeddingStore) -> None:
    report = filled(store, texts("bad"), refused="bad")
    assert report.failures == {"not_encoded": 1}


def test_what_was_refused_is_tried_again_on_request_and_once(store: EmbeddingStore) -> None:
    elements = texts("good", "bad", "bad")
    filled(store, elements, refused="bad")
    assert sum(filled(store, elements).failures.values()) == 1  # known to have failed
    assert fill(make_encoder("fake"), elements, store, retry=True).n_new == 1
    assert encoded() == ["good", "bad"]
    assert vectors(store, [text_key("bad")]).any()
    assert fill(make_encoder("fake"), elements, store, retry=True).n_new == 0


def test_an_encoder_that_refuses_everything_fails(store: EmbeddingStore) -> None:
    with pytest.raises(FfrError, match="the encoder fails: ValueError: cannot take ''"):
        filled(store, texts("a", "b"), refused="")
    with store.open(make_encoder("fake").describe()) as space:
        assert len(space) == 0
        assert space.unknown([text_key("a")]).all()


def test_a_vector_without_direction_is_a_failure(store: EmbeddingStore) -> None:
    report = filled(store, texts("", "word"))  # the sum over no words
    assert report.failures == {"no_direction": 1}


def test_another_dimension_than_the_store_is_refused(store: EmbeddingStore) -> None:
    filled(store, texts("a"))
    with pytest.raises(InputError, match=r"dimension 16; these have dimension 8[\s\S]*--prune"):
        filled(store, texts("b"), dimension=8)


def test_a_failed_load_leaves_no_space(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEncoder, "requires", ("no_such_package",))
    monkeypatch.setattr(FakeEncoder, "extra", "clip")
    with pytest.raises(MissingExtraError, match=r"ffr-eval\[clip\]"):
        filled(store, texts("a"))
    assert store.spaces() == []


def test_elements_are_those_that_the_metrics_look_up(colours: Path) -> None:
    data = read_benchmark(colours)
    for roles in (False, True):
        for context in (0, 2):
            reader = Reader(Reading(True, roles, context), ImageFiles())
            expected = {found.key for found in BenchmarkElements(data, roles, context).each()}
            assert {key for key, _ in each_element(data, data.rows(), reader)} == expected


_CHILD = """
import sys
from baselines.embedding.embedder import fill
from baselines.encoders.encoder import Item
from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import EmbeddingStore
from pathlib import Path
from tests.baselines.embedding.fake_encoder import FakeEncoder, FakeOptions

encoder = FakeEncoder(FakeOptions(pause=float(sys.argv[2])))
elements = ((text_key(f"text {i}"), Item(f"text {i}")) for i in range(2000))
report = fill(encoder, elements, EmbeddingStore(Path(sys.argv[1])))
print(report.n_known, report.n_new)
"""


def child(store: EmbeddingStore, pause: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _CHILD, str(store.root), str(pause)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def n_vectors(store: EmbeddingStore) -> int:
    try:
        with store.open(make_encoder("fake").describe()) as space:
            return len(space)
    except InputError:
        return 0


def test_killed_it_keeps_what_it_wrote_and_goes_on(store: EmbeddingStore) -> None:
    process = child(store, 0.02)
    deadline = time.monotonic() + 60
    while n_vectors(store) == 0 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    before = n_vectors(store)
    assert 0 < before < 2000
    output, _ = child(store, 0.0).communicate(timeout=60)
    n_known, n_new = map(int, output.split())
    assert (n_known, n_known + n_new) == (before, 2000)
    assert n_vectors(store) == 2000
    names = [f"text {i}" for i in range(2000)]
    expected = make_encoder("fake").load().encode_texts(names[:500], Role.PASSAGE)
    expected = expected.astype(np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(store, map(text_key, names[:500])), expected, atol=1e-6)


def test_two_processes_fill_the_same_store(store: EmbeddingStore) -> None:
    processes = [child(store, 0.005) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(sum(map(int, output.split())) == 2000 for output in outputs)
    assert n_vectors(store) == 2000


def test_a_store_that_may_only_be_read_serves_what_it_has(
    store: EmbeddingStore, make_readonly: Callable[[Path], None]
) -> None:
    elements = texts("a", "b")
    filled(store, elements)
    make_readonly(store.root)
    assert filled(store, elements).n_known == 2
    assert FakeEncoder.loads == 1


@pytest.fixture
def make_readonly() -> Iterable[Callable[[Path], None]]:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    changed: list[Path] = []

    def make(folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
            changed.append(path)

    yield make
    for path in changed:
        path.chmod(path.stat().st_mode | 0o200)


def test_the_worker_of_another_interpreter_fills_the_store(tmp_path: Path) -> None:
    """With the packages of this one, as `--python` has them."""
    pytest.importorskip("wordllama")
    store = EmbeddingStore(tmp_path / "store")
    here = fill(make_encoder("static"), texts("a bridge", "an apple"), store)
    elsewhere = EmbeddingStore(tmp_path / "elsewhere")
    machine = Machine(python=Path(sys.executable))
    report = fill(make_encoder("static", {}, machine), texts("a bridge", "an apple"), elsewhere)
    assert (report.n_new, report.space) == (2, here.space)
    record = make_encoder("static").describe()
    keys = [text_key("a bridge"), text_key("an apple")]
    with store.open(record) as one, elsewhere.open(record) as other:
        np.testing.assert_array_equal(one.read(keys)[0], other.read(keys)[0])
