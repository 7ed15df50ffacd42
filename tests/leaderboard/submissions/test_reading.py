"""Uploads: what is taken, what is refused, and that neither costs more than it may."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import math
import os
import pickle
import sqlite3
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffr_eval.prediction_file import read_predictions
from ffr_eval.types import Fragment
from leaderboard.submissions import parquet_rows
from leaderboard.submissions.file_kinds import UploadRefused
from leaderboard.submissions.reading import LISTED, Trouble, Upload, read_upload
from leaderboard.submissions.upload_limits import UploadLimits
from tests.leaderboard.submissions.conftest import Published, upload_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def read(published: Published) -> Callable[..., Upload]:
    """Reads an upload for the board."""

    def call(source: Any, name: str = "mine.jsonl", **limits: int) -> Upload:
        wanted = replace(UploadLimits(), **limits)
        return read_upload(source, name, published.benchmark, "test", wanted)

    return call


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def refused(read: Callable[..., Upload], source: Any, reason: str, **limits: int) -> str:
    with pytest.raises(UploadRefused) as caught:
        read(source, **limits)
    assert caught.value.reason == reason, str(caught.value)
    found = caught.value.problem
    assert found.file == "mine.jsonl"
    assert found.remedy
    return found.message


def one(read: Callable[..., Upload], line: str | bytes) -> str:
    """What is said about an upload of one bad line."""
    upload = read(line.encode() if isinstance(line, str) else line)
    assert upload.counts[Trouble.MALFORMED] == 1
    assert not upload.can_be_scored
    problem = upload.problems[0]
    assert (problem.file, problem.line) == ("mine.jsonl", 1)
    assert problem.remedy
    return f"{problem.field}: {problem.message}"


# --- what is taken -------------------------------------------------------------------------------


def test_all_forms_of_the_same_predictions_are_the_same(
    read: Callable[..., Upload], published: Published
) -> None:
    records = published.predictions()
    plain = upload_of(records)
    half = len(records) // 2
    parts = gzip.compress(upload_of(records[:half])) + gzip.compress(upload_of(records[half:]))
    table = pa.Table.from_pylist(records)
    forms = {
        "jsonl": [plain, b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), plain[:-1]],
        "gzip": [gzip.compress(plain), parts, gzip.compress(plain) + b"\0" * 100],
        "parquet": [parquet_of(table), parquet_of(table.select(table.column_names[::-1]))],
    }
    wanted = read(plain)
    assert wanted.can_be_scored
    assert len(wanted.predictions) == wanted.n_samples == len(records)
    for kind, uploads in forms.items():
        for data in uploads:
            found = read(data, "no.name.that.helps")
            assert found.kind == kind
            assert found.predictions == wanted.predictions
            assert found.n_bytes == len(data)


def test_a_stream_is_read_from_its_beginning_and_hashed(
    read: Callable[..., Upload], published: Published
) -> None:
    import hashlib

    data = upload_of(published.predictions())
    stream = io.BytesIO(data)
    stream.read(100)
    assert read(stream).sha256 == hashlib.sha256(data).hexdigest()


def test_normalised_lines_are_a_prediction_file(
    read: Callable[..., Upload], published: Published, tmp_path: Path
) -> None:
    extra = {"response": "<|utt_ids_start|>[1]<|utt_ids_end|>", "latency_s": 0.5, "cost": 0.25}
    records = [published.predictions()[0] | extra | {"meta": {"path": "/home/me"}, "steps": [{}]}]
    upload = read(upload_of(records))
    file = tmp_path / "normal.jsonl"
    file.write_bytes(b"".join(upload.lines()))
    again = [located.record for located in read_predictions(file)]
    assert again == list(upload.predictions.values())
    assert again[0].latency_s == 0.5
    assert b"/home/me" not in file.read_bytes()


def test_outcomes_are_typed(read: Callable[..., Upload], published: Published) -> None:
    first, second, third = published.sample_ids[:3]
    upload = read(
        upload_of(
            [
                {"sample_id": first, "outcome": "refusal"},
                {"sample_id": second, "utt_ids": [], "img_ids": []},
                {"sample_id": third, "response": "I do not know"},
            ]
        )
    )
    assert upload.can_be_scored
    assert [found.outcome.value for found in upload.predictions.values()][:2] == [
        "refusal",
        "empty",
    ]
    assert upload.n_missing == upload.n_samples - 3


# --- what is counted -----------------------------------------------------------------------------


def test_each_trouble_is_counted_and_the_first_ones_listed(
    read: Callable[..., Upload], published: Published
) -> None:
    good = published.predictions()[:5]
    again = good[0] | {"utt_ids": [1], "img_ids": []}
    unknown = [{"sample_id": f"no-{i}", "utt_ids": [], "img_ids": []} for i in range(20)]
    dev = {"sample_id": "d0#dev", "utt_ids": [], "img_ids": []}
    lines = upload_of([*good, again, dev, *unknown]) + b'{"sample_id": 3}\nnot json\n'
    upload = read(lines)
    assert upload.counts == {
        Trouble.MALFORMED: 2,
        Trouble.UNKNOWN: 20,
        Trouble.OTHER_SPLIT: 1,
        Trouble.REPEATED: 1,
    }
    assert len(upload.problems) == LISTED
    assert [problem.line for problem in upload.problems] == list(range(6, 6 + LISTED))
    assert upload.n_errors == 22
    assert not upload.can_be_scored
    assert upload.n_missing == upload.n_samples - 5
    assert upload.predictions[good[0]["sample_id"]].payload.utt_ids == (1,)  # the last one wins


def test_notes_alone_do_not_keep_it_from_being_scored(
    read: Callable[..., Upload], published: Published
) -> None:
    good = published.predictions()[:2]
    assert read(upload_of([*good, good[0]])).can_be_scored
    dev = {"sample_id": "d0#dev", "utt_ids": [], "img_ids": []}
    assert not read(upload_of([dev])).can_be_scored  # nothing is left


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "a/../../b", "\0", "d0#0/../x"]
)
def test_ids_that_look_like_paths_are_only_unknown(
    read: Callable[..., Upload], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    upload = read(upload_of([{"sample_id": name, "utt_ids": [], "img_ids": []}]))
    assert upload.counts[Trouble.UNKNOWN] == 1
    assert not upload.predictions
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"utt_ids": [1], "img_ids": []}', "sample_id: missing"),
        ('{"sample_id": "", "utt_ids": [], "img_ids": []}', "sample_id: Expected"),
        ('{"sample_id": "%s", "utt_ids": [], "img_ids": []}' % ("x" * 300), "sample_id: Expected"),
        ('{"sample_id": "d0#0"}', "response: neither"),
        ('{"sample_id": "d0#0", "utt_ids": [1]}', "img_ids: missing"),
        ('{"sample_id": "d0#0", "utt_ids": "1", "img_ids": []}', "utt_ids: Expected"),
        ('{"sample_id": "d0#0", "utt_ids": [1.5], "img_ids": []}', "utt_ids[0]: Expected"),
        ('{"sample_id": "d0#0", "utt_ids": [true], "img_ids": []}', "utt_ids[0]: Expected"),
        ('{"sample_id": "d0#0", "utt_ids": [1e400], "img_ids": []}', "utt_ids[0]: "),
        ('{"sample_id": "d0#0", "utt_ids": [%s], "img_ids": []}' % ("9" * 19), "utt_ids[0]: "),
        ('{"sample_id": "d0#0", "utt_ids": [%s], "img_ids": []}' % ("9" * 9999), "utt_ids[0]: "),
        ('{"sample_id": "d0#0", "cost": NaN, "utt_ids": [%s]}' % ("9" * 9999), "None: "),
        ('{"sample_id": "d0#0", "utt_ids": [NaN], "img_ids": []}', "utt_ids[0]: Expected"),
        ('{"sample_id": "d0#0", "utt_ids": [], "img_ids": [], "cost": NaN}', "cost: not a finite"),
        (
            '{"sample_id": "d0#0", "utt_ids": [], "img_ids": [], "latency_s": Infinity}',
            "latency_s: not a finite",
        ),
        (
            '{"sample_id": "d0#0", "utt_ids": [], "img_ids": [], "latency_s": -1}',
            "latency_s: not a finite",
        ),
        ('{"sample_id": "d0#0", "outcome": "missing"}', "outcome: 'missing'"),
        ('{"sample_id": "d0#0", "outcome": "great"}', "outcome: "),
        ('{"sample_id": "d0#0", "schema_version": 2, "outcome": "refusal"}', "schema_version: "),
        ('{"sample_id": "d0#0", "utt_ids": [], "img_ids": []', "None: "),
        ('{"x": %s' % ("[" * 100_000), "None: the JSON is nested too deeply"),
        ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "None: the JSON is nested too deeply"),
        ('{"sample_id": "d0#0", "cost": NaN, "x": %s' % ('{"a":' * 100_000), "None: "),
    ],
)
def test_bad_lines_are_named_by_field(read: Callable[..., Upload], line: str, said: str) -> None:
    assert one(read, line).startswith(said)


def test_text_that_is_not_utf8_is_said_to_be(read: Callable[..., Upload]) -> None:
    assert "not UTF-8" in one(read, b'{"sample_id": "d0#0\xff"}')


def test_too_many_ids_and_too_long_answers_are_bad_lines(read: Callable[..., Upload]) -> None:
    many = json.dumps({"sample_id": "d0#0", "utt_ids": [1] * 10_001, "img_ids": []})
    assert one(read, many).startswith("utt_ids: ")
    long = json.dumps({"sample_id": "d0#0", "response": "x" * 200_001})
    assert one(read, long).startswith("response: ")


# --- what is refused -----------------------------------------------------------------------------


def _archive(make: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    make(buffer)
    return buffer.getvalue()


def _zip(buffer: io.BytesIO) -> None:
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("predictions.jsonl", '{"sample_id": "d0#0"}\n')


def _tar(buffer: io.BytesIO) -> None:
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil.jsonl"))


def _image(kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def _database(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (x)")
    return (tmp_path / "x.db").read_bytes()


def _numpy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


MISTYPED: dict[str, Callable[[], bytes]] = {
    "zip": lambda: _archive(_zip),
    "tar": lambda: _archive(_tar),
    "tar.gz": lambda: gzip.compress(_archive(_tar)),
    "bz2": lambda: bz2.compress(b'{"sample_id": "d0#0"}'),
    "xz": lambda: lzma.compress(b'{"sample_id": "d0#0"}'),
    "zstd": lambda: b"\x28\xb5\x2f\xfd" + b"\0" * 20,
    "7z": lambda: b"7z\xbc\xaf\x27\x1c" + b"\0" * 20,
    "rar": lambda: b"Rar!\x1a\x07\x01\0",
    "numpy": _numpy,
    "html": lambda: b"<!DOCTYPE html><script>alert(1)</script>",
    "svg": lambda: b"  <svg xmlns='http://www.w3.org/2000/svg'/>",
    "png": lambda: _image("PNG"),
    "jpeg": lambda: _image("JPEG"),
    "webp": lambda: _image("WEBP"),
    "gif": lambda: _image("GIF"),
    "bmp": lambda: _image("BMP"),
    "tiff": lambda: _image("TIFF"),
    "pdf": lambda: b"%PDF-1.7",
    "elf": lambda: b"\x7fELF\x02",
    "script": lambda: b"#!/bin/sh\nrm -rf /\n",
    "csv": lambda: b"sample_id,utt_ids\nd0#0,1\n",
    "array": lambda: b'[{"sample_id": "d0#0"}]',
    "utf16": lambda: '{"sample_id": "d0#0"}'.encode("utf-16"),
    "arrow": lambda: b"ARROW1\0\0",
    "hdf5": lambda: b"\x89HDF\r\n\x1a\n",
    "encrypted": lambda: b"PARE" + b"\0" * 20,
    "zeros": lambda: bytes(2_000),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(b"{}")),
    "parquet in gzip": lambda: gzip.compress(b"PAR1" + b"\0" * 20),
    "blank": lambda: b" \n" * 2_000,
}


@pytest.mark.parametrize("kind", MISTYPED)
def test_other_kinds_are_refused_whatever_their_name(
    read: Callable[..., Upload], kind: str
) -> None:
    refused(read, MISTYPED[kind](), "kind")


def test_an_sqlite_database_is_refused(read: Callable[..., Upload], tmp_path: Path) -> None:
    assert "SQLite" in refused(read, _database(tmp_path), "kind")


@pytest.mark.parametrize(
    "data", [b"", b"\n \n", gzip.compress(b"", mtime=0), gzip.compress(b"\n\n", mtime=0)]
)
def test_nothing_is_refused_as_empty(read: Callable[..., Upload], data: bytes) -> None:
    refused(read, data, "empty")


class _Bomb:
    """Runs a command if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._path}'",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_is_refused_and_never_loaded(
    read: Callable[..., Upload], tmp_path: Path, protocol: int, packed: bool
) -> None:
    trace = tmp_path / "it-ran"
    data = pickle.dumps(_Bomb(trace), protocol)
    refused(read, gzip.compress(data) if packed else data, "kind")
    assert not trace.exists()
    pickle.loads(data)  # noqa: S301 - it does run where it is loaded
    assert trace.exists()


def test_no_module_of_ours_can_load_a_pickle() -> None:
    """A process that reads all kinds of uploads has not even imported the module."""
    code = (
        "import leaderboard.submissions.parquet_worker, sys;"
        "print('pickle' in sys.modules, 'dill' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- what is bounded -----------------------------------------------------------------------------


def test_a_gzip_bomb_is_refused_early_with_little_memory(read: Callable[..., Upload]) -> None:
    bomb = gzip.compress(b'{"sample_id": "' + b"0" * 300_000_000, 1)
    assert len(bomb) < 2_000_000
    tracemalloc.start()
    refused(read, bomb, "too_large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16_000_000


def test_a_bomb_of_many_lines_is_refused_by_its_ratio(read: Callable[..., Upload]) -> None:
    message = refused(read, gzip.compress(b"{}\n" * 10_000_000), "too_large", lines=10**9)
    assert "times its size" in message


def test_nested_members_do_not_get_around_the_limits(read: Callable[..., Upload]) -> None:
    parts = gzip.compress(b"{}\n") * 1_000
    assert "gzip parts" in refused(read, parts, "too_large", gzip_members=999)
    line = b'{"sample_id": "d0#0", "outcome": "refusal"}\n'
    refused(read, gzip.compress(line * 1_000), "too_large", unpacked_bytes=10_000, ratio=10**6)


def test_a_long_header_of_gzip_costs_no_time(read: Callable[..., Upload]) -> None:
    head = b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 20_000_000  # a file name without an end
    began = time.process_time()
    refused(read, head, "damaged")
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b'{"sample_id": "d0#0", "outcome": "refusal"}\n' * 10, mtime=0)[:-4],
        gzip.compress(b'{"sample_id": "d0#0", "outcome": "refusal"}\n', mtime=0) + b"rubbish",
        b"\x1f\x8b\x08" + b"\xff" * 50,
        b"\x1f\x8b",
    ],
)
def test_damaged_gzip_is_said_to_be(read: Callable[..., Upload], data: bytes) -> None:
    assert "gzip" in refused(read, data, "damaged")


def test_every_limit_is_held(read: Callable[..., Upload], published: Published) -> None:
    data = upload_of(published.predictions())
    table = parquet_of(pa.Table.from_pylist(published.predictions()), row_group_size=2)
    read(data, upload_bytes=len(data), unpacked_bytes=len(data))
    refused(read, data, "too_large", upload_bytes=len(data) - 1)
    refused(read, data, "too_large", unpacked_bytes=len(data) - 1)
    refused(read, gzip.compress(data), "too_large", unpacked_bytes=len(data) - 1)
    refused(read, data, "too_large", lines=5)
    refused(read, data, "too_large", line_bytes=20)
    for limits in ({"lines": 5}, {"row_groups": 3}, {"values": 5}, {"unpacked_bytes": 500}):
        refused(read, table, "too_large", **limits)


def test_a_line_that_never_ends_is_not_held(read: Callable[..., Upload]) -> None:
    data = gzip.compress(b'{"sample_id": "' + b"x" * 40_000_000)
    tracemalloc.start()
    message = refused(read, data, "too_large", ratio=10**9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "line is longer" in message
    assert peak < 16_000_000


# --- Parquet -------------------------------------------------------------------------------------


def test_columns_of_all_forms_are_taken(read: Callable[..., Upload], published: Published) -> None:
    name = published.sample_ids[0]
    texts = pa.dictionary(pa.int32(), pa.string())
    for ids, lists, text in (
        (pa.int8(), pa.list_, pa.string()),
        (pa.uint64(), pa.large_list, pa.large_string()),
        (pa.int64(), pa.list_, texts),
    ):
        table = pa.table(
            {
                "sample_id": pa.array([name]).cast(text),
                "utt_ids": pa.array([[1, 2]], lists(ids)),
                "img_ids": pa.array([[]], lists(ids)),
                "latency_s": pa.array([0.5], pa.float32()),
                "response": pa.array([None], pa.null()),
                "schema_version": [1],
            }
        )
        found = read(parquet_of(table)).predictions[name]
        assert found.payload == Fragment((1, 2), ())
        assert found.latency_s == 0.5
        assert found.response is None


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ({"more": [1]}, "more"),
        ({"meta": [{"a": 1}]}, "meta"),
        ({"sample_id": [1]}, "sample_id"),
        ({"utt_ids": [["a"]]}, "utt_ids"),
        ({"utt_ids": [[[1]]]}, "utt_ids"),
        ({"utt_ids": [{"a": 1}]}, "utt_ids"),
        ({"utt_ids": [1]}, "utt_ids"),
        ({"response": [b"bytes"]}, "response"),
        ({"cost": ["1"]}, "cost"),
        ({"schema_version": [1.0]}, "schema_version"),
        ({"latency_s": [True]}, "latency_s"),
    ],
)
def test_other_columns_and_types_are_refused(
    read: Callable[..., Upload], column: dict[str, Any], field: str
) -> None:
    good = {"sample_id": ["d0#0"], "utt_ids": [[1]], "img_ids": [[1]]}
    with pytest.raises(UploadRefused) as caught:
        read(parquet_of(pa.table(good | column)))
    assert caught.value.reason == "kind"
    assert caught.value.problem.field == field


def test_parquet_needs_sample_ids(read: Callable[..., Upload]) -> None:
    refused(read, parquet_of(pa.table({"utt_ids": [[1]], "img_ids": [[1]]})), "kind")


def test_rows_with_wrong_values_are_named(read: Callable[..., Upload]) -> None:
    rows = [
        {"sample_id": "d0#0", "utt_ids": [1], "img_ids": [], "cost": 1.0},
        {"sample_id": "d0#1", "utt_ids": [2**63 - 1], "img_ids": [], "cost": 1.0},
        {"sample_id": "d0#2", "utt_ids": [], "img_ids": [], "cost": math.inf},
        {"sample_id": None, "utt_ids": [], "img_ids": [], "cost": 1.0},
    ]
    upload = read(parquet_of(pa.Table.from_pylist(rows)))
    assert [problem.line for problem in upload.problems] == [2, 3, 4]
    assert upload.counts[Trouble.MALFORMED] == 3


def test_a_column_in_another_file_is_refused(
    read: Callable[..., Upload], published: Published, tmp_path: Path
) -> None:
    table = pa.Table.from_pylist(published.predictions())
    collected: list[Any] = []
    pq.write_to_dataset(table, tmp_path / "data", metadata_collector=collected)
    pq.write_metadata(table.schema, tmp_path / "_metadata", metadata_collector=collected)
    assert "another file" in refused(read, (tmp_path / "_metadata").read_bytes(), "kind")


def test_an_extension_type_is_refused_and_its_pickle_not_loaded(
    read: Callable[..., Upload], tmp_path: Path
) -> None:
    trace = tmp_path / "it-ran"
    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(_Bomb(trace)),
    }
    fields = [pa.field("sample_id", pa.string(), metadata=metadata)]
    table = pa.table([pa.array(["d0#0"])], schema=pa.schema(fields))
    with contextlib.suppress(UploadRefused):
        assert not read(parquet_of(table)).can_be_scored
    assert not trace.exists()
    kinds = pa.table({"sample_id": pa.array(["{}"], pa.json_())})
    refused(read, parquet_of(kinds), "kind")


@pytest.mark.parametrize("cut", [4, 8, 60, 200])
def test_damaged_parquet_is_said_to_be(
    read: Callable[..., Upload], published: Published, cut: int
) -> None:
    data = parquet_of(pa.Table.from_pylist(published.predictions()))
    refused(read, data[:-cut], "damaged")
    refused(read, b"PAR1" + b"\xff" * cut + b"PAR1", "damaged")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_change_of_a_byte_of_parquet_gets_further_than_a_refusal(
    data: st.DataObject, read: Callable[..., Upload], published: Published
) -> None:
    whole = bytearray(parquet_of(pa.Table.from_pylist(published.predictions()[:4])))
    for place in data.draw(st.lists(st.integers(4, len(whole) - 5), min_size=1, max_size=8)):
        whole[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(UploadRefused):
        assert read(bytes(whole)).n_lines <= 8


def test_a_repeated_text_is_no_bomb(read: Callable[..., Upload]) -> None:
    """10 kB of Parquet that are 40 GB of text."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), ["x" * 199_000])
    data = parquet_of(pa.table({"sample_id": ["d0#0"] * 200_000, "response": texts}))
    assert len(data) < 100_000
    refused(read, data, "too_large")


def _zeros(n: int) -> bytes:
    """About 1 kB of Parquet with two lists of so many numbers."""
    ids = pa.LargeListArray.from_arrays(pa.array([0, n], pa.int64()), np.zeros(n, np.int32))
    data = parquet_of(pa.table({"sample_id": ["d0#0"], "utt_ids": ids, "img_ids": ids}))
    assert len(data) < 10_000
    return data


def test_a_repeated_number_is_no_bomb(read: Callable[..., Upload]) -> None:
    assert "values" in refused(read, _zeros(9_000_000), "too_large")


def test_what_lies_about_itself_meets_the_limits_of_its_process(
    read: Callable[..., Upload],
) -> None:
    """With the checks of what it says switched off, the memory of the process still ends it."""
    wide = {"values": 10**12, "unpacked_bytes": 10**12, "memory_bytes": 450 * 2**20}
    with pytest.raises(UploadRefused) as caught:
        read(_zeros(12_000_000), **wide)
    assert "memory" in str(caught.value)


def test_a_reader_that_hangs_is_ended(
    read: Callable[..., Upload], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "parquet_worker.py"
    worker.write_text("import time\ntime.sleep(20)\n")
    monkeypatch.setattr(parquet_rows, "__file__", str(tmp_path / "x.py"))
    began = time.monotonic()
    refused(read, b"PAR1xxxxPAR1", "damaged", seconds=1)
    assert time.monotonic() - began < 15


def test_the_reading_process_gets_none_of_our_secrets(
    read: Callable[..., Upload], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "parquet_worker.py"
    worker.write_text(
        "import json, os\n"
        "names = ' '.join(name for name in os.environ if 'PATH' in name or 'SECRET' in name)\n"
        "print(json.dumps({'sample_id': names, 'outcome': 'refusal'}))\n"
    )
    monkeypatch.setenv("STREAMLIT_SERVER_COOKIE_SECRET", "secret")
    monkeypatch.setattr(parquet_rows, "__file__", str(tmp_path / "x.py"))
    upload = read(b"PAR1xxxxPAR1")
    assert "PATH" in upload.problems[0].message
    assert "SECRET" not in upload.problems[0].message


# --- round trips ---------------------------------------------------------------------------------

IDS = st.lists(st.integers(-(10**18) + 1, 10**18 - 1), max_size=5)
LINES = st.fixed_dictionaries(
    {"utt_ids": IDS, "img_ids": IDS},
    optional={
        "response": st.text(max_size=30),
        "latency_s": st.floats(0, 1e9),
        "cost": st.floats(0, 1e9),
        "finish_reason": st.text(max_size=20),
        "reached_utt_ids": IDS,
        "outcome": st.sampled_from(["ok", "empty", "refusal", "truncated", "request_error"]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(records=st.lists(LINES, min_size=1, max_size=10), packed=st.booleans())
def test_what_is_uploaded_is_what_is_kept(
    records: list[dict[str, Any]],
    packed: bool,
    read: Callable[..., Upload],
    published: Published,
    tmp_path: Path,
) -> None:
    named = [
        {"sample_id": name, **record}
        for name, record in zip(published.sample_ids, records, strict=False)
    ]
    data = upload_of(named)
    upload = read(gzip.compress(data) if packed else data)
    assert upload.can_be_scored, upload.problems
    given_file, kept_file = tmp_path / "given.jsonl", tmp_path / "kept.jsonl"
    given_file.write_bytes(data)
    kept_file.write_bytes(b"".join(upload.lines()))
    kept = [located.record for located in read_predictions(kept_file)]
    assert kept == [located.record for located in read_predictions(given_file)]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_no_bytes_get_further_than_a_refusal(data: bytes, read: Callable[..., Upload]) -> None:
    for given_data in (data, b"{" + data, gzip.compress(data), b"\x1f\x8b" + data):
        try:
            upload = read(given_data)
        except UploadRefused:
            continue
        assert not upload.can_be_scored
