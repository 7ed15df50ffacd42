"""Spaces of a store: what they are, found by name, counted and removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.embeddings.keys import Content, Role, image_key, mixed_key, text_key
from ffr_eval.embeddings.space import read_record, write_record
from ffr_eval.embeddings.store import (
    EmbeddingStore,
    Entry,
    Failure,
    FailureReason,
    SpaceRecord,
    default_store,
)
from ffr_eval.errors import InputError
from tests.ffr_eval.embeddings.spaces import (
    RECORD,
    ROOT,
    fill,
    keys_of,
    other,
)


def test_the_id_is_of_what_changes_a_vector() -> None:
    same = [other(model="m"), other(dtype="float16"), other(device="cuda"), other(dimension=3)]
    assert {record.id for record in same} == {RECORD.id}
    different = [
        other(encoder="e"),
        other(revision="r2"),
        other(options={}),
        other(options={"pool": "mean"}),
        other(options={"pool": "cls", "x": None}),
        other(modalities=("text", "image")),
        other(roles=True),
    ]
    assert len({RECORD.id, *(record.id for record in different)}) == 8
    assert other(options={"a": 1, "b": {"c": 2, "d": [1]}}).id == (
        other(options={"b": {"d": (1,), "c": 2}, "a": 1}).id
    )
    assert RECORD.id == "eb5c488f9d6f1837"  # stores out there have it


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(options=st.dictionaries(st.text(), _JSON, max_size=4), model=st.text())
def test_a_record_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], model: str
) -> None:
    record = other(options=options, model=model)
    folder = tmp_path_factory.mktemp("spaces") / record.id
    folder.mkdir()
    write_record(folder, record)
    assert read_record(folder) == record


def test_the_first_writer_fills_the_record(store: EmbeddingStore) -> None:
    with store.open(other(device="cpu"), write=True) as space:
        assert space.record.created is not None
        space.complete(dtype="float32", device="cuda", max_tokens=77)
        assert space.record.device == "cpu"
        space.write([Entry(text_key("a"), np.ones(8))])
        created = space.record.created
    with store.open(other(device="tpu", dimension=9, model="by/another/name"), write=True) as again:
        again.complete(dtype="float16")
        record = again.record
    assert record == store.find("clip")
    assert (record.dimension, record.dtype, record.device) == (8, "float32", "cpu")
    assert (record.max_tokens, record.created) == (77, created)
    assert record.model == RECORD.model


def test_another_dimension_is_refused(store: EmbeddingStore) -> None:
    fill(store, 3)
    with store.open(RECORD, write=True) as space:
        with pytest.raises(InputError) as refused:
            space.write([Entry(text_key("x"), np.ones(8)), Entry(text_key("y"), np.ones(5))])
        assert space.unknown([text_key("x")]).all()  # nothing of it was written
        space.write([Entry(text_key("z"), None, Failure(FailureReason.TOO_LARGE, ""))])
    message = str(refused.value)
    assert str(store.root / RECORD.id) in message
    assert "dimension 8" in message
    assert "dimension 5" in message
    assert f"ffr embed --prune --encoder open_clip:ViT-B-32/openai@{RECORD.id[:8]}" in message


@pytest.mark.parametrize(
    "entry",
    [
        Entry(text_key("a")),
        Entry(text_key("a"), np.ones(3), Failure(FailureReason.UNREADABLE, "")),
        Entry(text_key("a"), np.ones((1, 3))),
        Entry(text_key("a"), np.ones(0)),
        Entry(b"", np.ones(3)),
        Entry(b"x" * 32, np.ones(3)),
    ],
)
def test_entries_that_make_no_sense(store: EmbeddingStore, entry: Entry) -> None:
    with store.open(RECORD, write=True) as space, pytest.raises(ValueError, match=r"has|starts"):
        space.write([entry])


# Finding


@pytest.fixture
def several(store: EmbeddingStore) -> dict[str, SpaceRecord]:
    records = {
        "clip": RECORD,
        "clip 2": other(revision="r2", model="a:b/c@v1"),
        "clip 3": other(revision="r3"),
        "minilm": other(encoder="sentence-transformers", model="/home/m:odel"),
    }
    for record in records.values():
        fill(store, 2, record)
    return records


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("sentence", "minilm"),
        ("sentence-transformers", "minilm"),
        ("sentence:/home/m:odel", "minilm"),
        ("sentence@{minilm}", "minilm"),
        ("clip@{clip}", "clip"),
        ("clip:ViT-B-32/openai@{clip 3}", "clip 3"),
        ("clip:a:b/c@v1", "clip 2"),
        ("clip:a:b/c@v1@{clip 2}", "clip 2"),
    ],
)
def test_found(
    store: EmbeddingStore, several: dict[str, SpaceRecord], spec: str, name: str
) -> None:
    spec = spec.format(**{n: record.id[:6].upper() for n, record in several.items()})
    assert store.find(spec).id == several[name].id


def test_several_are_listed(store: EmbeddingStore, several: dict[str, SpaceRecord]) -> None:
    with pytest.raises(InputError) as refused:
        store.find("clip:ViT-B-32/openai")
    for name in ("clip", "clip 3"):
        assert f"open_clip:ViT-B-32/openai@{several[name].id[:8]} (2 vectors)" in str(refused.value)
    assert several["clip 2"].id[:8] not in str(refused.value)


@pytest.mark.parametrize("spec", ["blip2", "clip:ViT", "clip@00000", "clip:", "", "@", "sentence@"])
def test_none_is_there(store: EmbeddingStore, several: dict[str, SpaceRecord], spec: str) -> None:
    with pytest.raises(InputError, match="ffr embed BENCHMARK --encoder") as refused:
        store.find(spec)
    assert refused.value.exit_code == 2


def test_no_store_at_all(store: EmbeddingStore) -> None:
    assert (store.spaces(), store.stats(), store.superseded()) == ([], [], [])
    with pytest.raises(InputError, match="ffr embed BENCHMARK --encoder clip:x` "):
        store.find("clip:x@abc")
    with pytest.raises(InputError, match="no embeddings"):
        store.open(RECORD)
    assert not store.root.exists()


def test_the_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFR_EMBEDDINGS", "here")
    assert default_store() == Path("here")
    monkeypatch.delenv("FFR_EMBEDDINGS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert EmbeddingStore().root == Path("/cache/ffr/embeddings")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert default_store() == Path("/home/x/.cache/ffr/embeddings")


# Counting and removing


def test_stats(store: EmbeddingStore) -> None:
    fill(store, 30_000)  # more than are counted at once
    image = image_key(b"png")
    failed = Failure(FailureReason.UNREADABLE, "")
    with store.open(RECORD, write=True) as space:
        space.write(
            [
                Entry(image, np.ones(8)),
                Entry(mixed_key("a", [image], Role.QUERY), np.ones(8), cut_tokens=100),
                Entry(image_key(b"x"), None, failed),
                Entry(image_key(b"y"), None, failed),
                Entry(image_key(b"z"), None, Failure(FailureReason.TOO_LARGE, "")),
                Entry(text_key("zero"), np.zeros(8), cut_tokens=200),
            ]
        )
    (stats,) = store.stats()
    assert stats.space.record == store.find("clip")
    assert stats.vectors == {Content.TEXT: 30_000, Content.IMAGE: 1, Content.MIXED: 1}
    assert stats.n_vectors == 30_002
    assert stats.failures == {
        FailureReason.UNREADABLE: 2,
        FailureReason.TOO_LARGE: 1,
        FailureReason.NO_DIRECTION: 1,
    }
    assert stats.n_cut == 2
    assert stats.n_bytes > 30_000 * 8 * 4


def test_whole_spaces_are_removed(store: EmbeddingStore, several: dict[str, SpaceRecord]) -> None:
    chosen = store.matching("clip:ViT-B-32/openai")
    would = store.prune(chosen, dry_run=True)
    assert len(store.spaces()) == 4
    assert would == store.prune(chosen)
    assert [(p.whole, p.n_vectors) for p in would] == [(True, 2), (True, 2)]
    assert all(p.n_bytes > 0 for p in would)
    left = {s.record.id for s in store.spaces() if s.record is not None}
    assert left == {several["clip 2"].id, several["minilm"].id}
    assert {path.name for path in store.root.iterdir()} == {*left, ".lock"}
    fill(store, 3)  # and made again
    assert store.find("clip:ViT-B-32/openai").id == RECORD.id


def test_a_space_in_use_is_not_removed(store: EmbeddingStore) -> None:
    fill(store, 2)
    with store.open(RECORD), pytest.raises(InputError, match="is in use"):
        store.prune([RECORD])
    program = (
        "import sys\n"
        "from ffr_eval.embeddings.store import EmbeddingStore\n"
        "store = EmbeddingStore()\n"
        "with store.open(store.find('clip')):\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "FFR_EMBEDDINGS": str(store.root)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(InputError, match="is in use"):
            store.prune([RECORD])
        process.kill()
    assert len(store.prune([RECORD])) == 1
    assert store.spaces() == []


def test_vectors_inside_a_space_are_removed(store: EmbeddingStore) -> None:
    fill(store, 25_000)
    failure = Failure(FailureReason.UNREADABLE, "")
    with store.open(RECORD, write=True) as space:
        space.write([Entry(text_key("f"), None, failure, 9), Entry(text_key("g"), None, failure)])
    keep = {*keys_of(100), text_key("g")}
    (would,) = store.prune([RECORD], keep=keep, dry_run=True)
    with store.open(RECORD) as space:
        assert len(space) == 25_000
        assert space.cut([text_key("f")]) == {text_key("f"): 9}
    assert store.prune([RECORD], keep=keep) == [would]
    assert (would.whole, would.n_vectors, would.n_bytes) == (False, 24_900, 24_900 * 8 * 4)
    size = (store.root / RECORD.id / "data.mdb").stat().st_size
    fill(store, 20_000)
    assert (store.root / RECORD.id / "data.mdb").stat().st_size < 1.2 * size  # used again
    with store.open(RECORD) as space:
        assert space.read(keys_of(20_000))[1].all()
        assert space.failures([text_key("f"), text_key("g")]) == {text_key("g"): failure}
        assert space.cut([text_key("f")]) == {}


def test_superseded(store: EmbeddingStore) -> None:
    day = "2026-01-{:02}T00:00:00+00:00".format
    v1, v2 = {"pool": "cls", "image_version": 1}, {"pool": "cls", "image_version": 2}
    old = other(created=day(1), options=v1)
    older_weights = other(created=day(2), options=v2, revision="r0")
    newest = other(created=day(3), options=v2)
    empty = other(created=day(4), options=v2, revision="r9")
    for record in (
        old,
        older_weights,
        newest,
        other(created=day(1), options={"pool": "mean", "image_version": 1}),
        other(created=day(1), options=v1, model="another", revision="x"),
        other(created=day(1), options=v1, modalities=("text", "image")),
    ):
        fill(store, 1, record)
    store.open(empty, write=True).close()
    assert {r.id for r in store.superseded()} == {old.id, older_weights.id}
    store.prune(store.superseded())
    assert store.superseded() == []
    assert len(store.spaces()) == 5
