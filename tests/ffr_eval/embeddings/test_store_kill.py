"""Writers that are killed again and again: what they had written is there, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import EmbeddingStore, FailureReason, SpaceRecord

_ROOT = Path(__file__).parents[3]
_DIMENSION = 96
_RECORD = SpaceRecord("test", "kill", "1", {}, ("text",), roles=False)
_BATCH = 50

# Number i has a vector that follows from i, or every 10th a failure; every 7th text was cut.
_WRITER = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import EmbeddingStore, Entry, Failure, FailureReason, SpaceRecord

root, writer, first, size, batch, pause = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
record = SpaceRecord("test", "kill", "1", {}, ("text",), roles=False)

def entry(name):
    key = text_key(name)
    digest = hashlib.sha256(name.encode()).digest()
    cut = digest[1] + 1 if digest[0] % 7 == 0 else None
    if digest[0] % 10 == 0:
        return Entry(key, None, Failure(FailureReason.UNREADABLE, name), cut)
    vector = np.random.default_rng(list(digest)).normal(size=int(size)).astype(np.float32)
    return Entry(key, vector, None, cut)

print("starts", flush=True)
with EmbeddingStore(Path(root)).open(record, write=True) as space:
    print("opened", flush=True)
    number = int(first)
    while True:
        space.write([entry(f"{writer} {number + i}") for i in range(int(batch))])
        number += int(batch)
        print(number, flush=True)
        time.sleep(pause)
"""


def start(root: Path, writer: str, first: int) -> subprocess.Popen[str]:
    arguments = [str(root), writer, str(first), str(_DIMENSION), str(_BATCH), "0.001"]
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, *arguments],
        env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def expected(name: str) -> tuple[np.ndarray | None, int | None]:
    """The vector of a name, as float64 computes it, and the length of its text if it was cut."""
    digest = hashlib.sha256(name.encode()).digest()
    cut = digest[1] + 1 if digest[0] % 7 == 0 else None
    if digest[0] % 10 == 0:
        return None, cut
    drawn = np.random.default_rng(list(digest)).normal(size=_DIMENSION).astype(np.float32)
    vector = drawn.astype(np.float64) / np.linalg.norm(drawn.astype(np.float64))
    return vector, cut


def check(root: Path, acknowledged: dict[str, int], since: dict[str, int]) -> int:
    """Compare the numbers from ``since`` on; how many there are beyond those acknowledged."""
    n_more = 0
    with EmbeddingStore(root).open(_RECORD) as space:
        for writer, end in acknowledged.items():
            names = [f"{writer} {number}" for number in range(since[writer], end + 4 * _BATCH)]
            keys = [text_key(name) for name in names]
            vectors, found = space.read(keys)
            failures, cuts = space.failures(keys), space.cut(keys)
            unknown = space.unknown(keys)
            for i, (name, key) in enumerate(zip(names, keys, strict=True)):
                is_acknowledged = since[writer] + i < end
                if unknown[i]:
                    assert not is_acknowledged, f"{name} is lost"
                    assert not found[i]
                    assert key not in failures
                    assert key not in cuts
                    continue
                n_more += not is_acknowledged
                vector, cut = expected(name)
                assert cuts.get(key) == cut
                if vector is None:
                    assert not found[i]
                    assert failures[key].message == name
                    assert failures[key].reason is FailureReason.UNREADABLE
                else:
                    assert key not in failures
                    np.testing.assert_allclose(vectors[i], vector, rtol=0, atol=1e-7)
            n_whole_batches, rest = divmod(int((~unknown).sum()), _BATCH)
            assert rest == 0  # a transaction is there as a whole or not at all
            assert n_whole_batches >= (end - since[writer]) // _BATCH
    return n_more


def kill_again_and_again(root: Path, kills: int) -> dict[str, int]:
    """Kill writers at random moments and look at the store each time; some figures."""
    moments = random.Random(11)
    acknowledged = {"a": 0, "b": 0}
    figures = {"kills": 0, "before_open": 0, "unacknowledged": 0, "two_writers": 0}
    while figures["kills"] < kills:
        writers = ["a", "b"] if figures["kills"] % 3 == 2 else ["a"]
        figures["two_writers"] += len(writers) == 2
        before = dict(acknowledged)
        processes = {name: start(root, name, acknowledged[name]) for name in writers}
        if figures["kills"] % 8:  # while it writes
            for process in processes.values():
                assert process.stdout is not None
                for line in process.stdout:
                    if line == "opened\n":
                        break
            time.sleep(moments.uniform(0, 0.15))
        else:  # while it starts and opens the space
            for process in processes.values():
                assert process.stdout is not None
                assert process.stdout.readline() == "starts\n", process.stderr
            time.sleep(moments.uniform(0, 0.06))
        for name, process in processes.items():
            process.kill()
            figures["kills"] += 1
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (-9, "")
            numbers = [int(line) for line in out.splitlines() if line.isdigit()]
            acknowledged[name] = max([acknowledged[name], *numbers])
            figures["before_open"] += not numbers
        if (root / _RECORD.id / "space.json").exists():
            more = check(root, acknowledged, before)
            figures["unacknowledged"] += more
            for name in acknowledged:  # that were written, but not acknowledged any more
                acknowledged[name] += _written_after(root, name, acknowledged[name])
        else:
            assert not any(acknowledged.values())
    check(root, acknowledged, {"a": 0, "b": 0})
    with EmbeddingStore(root).open(_RECORD, write=True) as space:
        assert space.record.dimension == _DIMENSION
        assert not list(space.folder.glob(".*.new"))  # left by killed processes
    assert sorted(path.name for path in root.iterdir()) == [".lock", _RECORD.id]
    figures["vectors"] = EmbeddingStore(root).stats()[0].n_vectors
    figures["elements"] = sum(acknowledged.values())
    return figures


def _written_after(root: Path, writer: str, end: int) -> int:
    with EmbeddingStore(root).open(_RECORD) as space:
        keys = [text_key(f"{writer} {number}") for number in range(end, end + 4 * _BATCH)]
        return int((~space.unknown(keys)).sum())


def test_killed_a_few_times(tmp_path: Path) -> None:
    figures = kill_again_and_again(tmp_path / "store", 8)
    assert figures["vectors"] > 0


@pytest.mark.slow
def test_killed_100_times(tmp_path: Path) -> None:
    figures = kill_again_and_again(tmp_path / "store", 100)
    print(json.dumps(figures))  # noqa: T201 - shown with -s
    assert figures["kills"] >= 100
    assert figures["elements"] > 5000
    assert figures["vectors"] > 0.8 * figures["elements"]
