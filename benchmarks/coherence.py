"""Coherence from the embedding store against a loop that loads a file for each element."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Result, best_of
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.coherence import coherence_of
from ffr_eval.embeddings import EmbeddingStore, Entry, SpaceRecord
from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.sources import Request, load_source

if TYPE_CHECKING:
    from ffr_eval.coherence import Coherence
    from ffr_eval.sources import Source

DIALOGUES = 2000
QUERIES = 10
DIMENSION = 512
UTTERANCES, IMAGES = 110, 10
EVERY = UTTERANCES // IMAGES  # turns to an image
IN_FRAGMENT = 45, 5
LOOPED = 200  # dialogues that the loop is measured on: it is slow
NAME = "made-up"
FIGURES = (
    *("order", "query_sim", "gold_order", "gold_query_sim"),
    *("order_centered", "query_sim_centered", "gold_order_centered", "gold_query_sim_centered"),
)

Lists = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Data:
    """A benchmark, its predictions, and the figures' places on disk."""

    folder: Path
    predictions: dict[str, Lists]
    gold: dict[str, Lists]

    @property
    def benchmark(self) -> Path:
        """Its folder."""
        return self.folder / "benchmark"

    @property
    def store(self) -> Path:
        """The embedding store."""
        return self.folder / "store"


def generate(folder: Path, n_dialogues: int) -> Data:
    """Dialogues, predictions and embeddings; of the first dialogues a file for each vector, too."""
    rng = np.random.default_rng(0)
    data = Data(folder, {}, {})
    shown = {place * EVERY: (place,) for place in range(IMAGES)}
    with BenchmarkWriter(data.benchmark, InfoRecord(name=NAME)) as writer:
        for row in range(n_dialogues):
            images = []
            for place in range(IMAGES):
                picture = folder / "picture.png"
                picture.write_bytes(rng.bytes(1000))
                name = f"{row}-{place}.png"
                images.append(writer.add_image_file(ImageRecord(place), picture, name))
            turns = tuple(
                TurnRecord(i, "S", f"turn {i} of {row}", shown.get(i, ()))
                for i in range(UTTERANCES)
            )
            writer.add_dialogue(DialogueRecord(f"{row}", turns, tuple(images)))
        for row in range(n_dialogues):
            for place in range(QUERIES):
                name = f"{row}#{place}"
                data.gold[name], data.predictions[name] = _draw(rng), _draw(rng)
                query = QueryRecord(name, f"{row}", f"query {place} of {row}", *data.gold[name])
                writer.add_query(query)
    _embed(data, rng)
    return data


def _draw(rng: np.random.Generator) -> Lists:
    utts, imgs = (
        sorted(rng.choice(n, size, replace=False).tolist())
        for n, size in zip((UTTERANCES, IMAGES), IN_FRAGMENT, strict=True)
    )
    return utts, imgs


def _embed(data: Data, rng: np.random.Generator) -> None:
    benchmark = read_benchmark(data.benchmark)
    record = SpaceRecord(NAME, NAME, "1", {}, ("text", "image"), roles=False)
    elements = BenchmarkElements(benchmark, roles=False)
    gap = rng.normal(size=(3, DIMENSION)).astype(np.float32)
    with EmbeddingStore(data.store).open(record, write=True) as space:
        for row, found in enumerate(elements.dialogues()):
            queries = [elements.query(row * QUERIES + place)[1] for place in range(QUERIES)]
            keys = [*found.text_keys, *found.image_keys, *queries]
            kind = np.repeat([0, 1, 2], [UTTERANCES, IMAGES, QUERIES])
            vectors = rng.normal(size=(len(keys), DIMENSION)).astype(np.float32) + gap[kind]
            space.write(
                [Entry(key, v) for key, v in zip(keys, vectors, strict=True) if key is not None]
            )
            if row < LOOPED:
                home = data.folder / "files" / str(row)
                home.mkdir(parents=True)
                names = [f"u{i}" for i in range(UTTERANCES)] + [f"i{i}" for i in range(IMAGES)]
                names += [f"q{i}" for i in range(QUERIES)]
                for name, vector in zip(names, vectors, strict=True):
                    np.save(home / f"{name}.npy", vector)


def source_of(data: Data) -> Source:
    """The predictions beside the benchmark."""
    return load_source(data.predictions, Request(benchmark=read_benchmark(data.benchmark)))


def ours(data: Data, source: Source, workers: int = 1) -> Coherence:
    """All figures, those of random fragments among them."""
    assert source.benchmark is not None
    store = EmbeddingStore(data.store)
    with store.open(store.find(NAME)) as space:
        return coherence_of(source.table, source.benchmark, source.protocol, space, workers=workers)


def means_of(data: Data, source: Source) -> np.ndarray:
    """What vectors are centred with; the loop gets it for nothing."""
    benchmark = source.benchmark
    assert benchmark is not None
    store = EmbeddingStore(data.store)
    elements = BenchmarkElements(benchmark, roles=False)
    sums, number = np.zeros((3, DIMENSION)), np.zeros(3)
    with store.open(store.find(NAME)) as space:
        for row, found in enumerate(elements.dialogues()):
            queries = [elements.query(row * QUERIES + place)[1] for place in range(QUERIES)]
            for kind, keys in enumerate((found.text_keys, found.image_keys, queries)):
                sums[kind] += space.read([k for k in keys if k])[0].sum(axis=0, dtype=np.float64)
                number[kind] += len(keys)
    return sums / number[:, None]


def loop(data: Data, means: np.ndarray) -> np.ndarray:
    """The figures but for the random ones, one sample after the other: figures × samples."""
    rows = []
    for row in range(LOOPED):
        home = data.folder / "files" / str(row)
        for place in range(QUERIES):
            name = f"{row}#{place}"
            query = np.load(home / f"q{place}.npy")
            query = query / np.linalg.norm(query)
            figures: list[float] = []
            for ids in (data.predictions[name], data.gold[name]):
                placed = sorted([(i, 0, i) for i in ids[0]] + [(i * EVERY, 1, i) for i in ids[1]])
                stacked = [np.load(home / f"{'ui'[kind]}{i}.npy") for _, kind, i in placed]
                unit = np.stack(stacked)
                unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
                figures += _figures(unit, query)
                moved = unit - means[[kind for _, kind, _ in placed]]
                asked = query - means[2]
                moved /= np.linalg.norm(moved, axis=1, keepdims=True)
                figures += _figures(moved, asked / np.linalg.norm(asked))
            rows.append([figures[i] for i in (0, 1, 4, 5, 2, 3, 6, 7)])
    return np.array(rows).T


def _figures(unit: np.ndarray, query: np.ndarray) -> list[float]:
    return [float((unit[1:] * unit[:-1]).sum(axis=1).mean()), float((unit @ query).mean())]


def _peak(data: Data) -> float:
    """What coherence takes at most beside what was there before, in MB; file pages not counted."""
    source = source_of(data)
    before = _anonymous()
    peak = before
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    ours(data, source)
    done.set()
    thread.join()
    return peak - before


def _anonymous() -> float:
    """Memory of this process that is no page of a file, in MB (Linux; 0 elsewhere)."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    line = next(line for line in text.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small", Path(name) / "large"
        for folder in (small, large):
            folder.mkdir()
        few = generate(small, DIALOGUES // 10)
        peak_few = _peak(few)
        data = generate(large, DIALOGUES)
        peak = _peak(data)
        source = source_of(data)
        found = ours(data, source)
        means = means_of(data, source)
        looked = np.stack([found.values[figure][: LOOPED * QUERIES] for figure in FIGURES])
        # the two must agree before they are timed (the loop's cosines are of single precision)
        np.testing.assert_allclose(looked, loop(data, means), rtol=0, atol=1e-6)
        alone = best_of(lambda: ours(data, source), 3)
        cores = len(os.sched_getaffinity(0))
        batched = best_of(lambda: ours(data, source, cores), 3)
        start = time.perf_counter()
        loop(data, means)
        looped = (time.perf_counter() - start) * DIALOGUES / LOOPED
    n = DIALOGUES * QUERIES
    size = DIALOGUES * (UTTERANCES + IMAGES + QUERIES) * DIMENSION * 4 / 2**20
    elements = f"{sum(IN_FRAGMENT)} of {UTTERANCES + IMAGES} elements"
    return [
        Result(
            what=(
                f"order and query_sim of {n:,} predictions ({elements}) and their gold, centred,"
                " and of random fragments"
            ),
            ours=(
                f"{batched:.1f} s ({n / batched:,.0f} a second) on {cores} cores as `ffr score`"
                f" does, {alone:.1f} s on one"
            ),
            peer_name=(
                "loop over samples, a .npy an element, without random fragments and with the means"
                f" given (on {LOOPED} dialogues, scaled)"
            ),
            peer=f"{looped:.0f} s ({n / looped:,.0f} a second)",
            ratio=f"{looped / batched:.0f} (one core: {looped / alone:.0f})",
            wanted="≥ 30",
        ),
        Result(
            what=f"memory that coherence of {n:,} predictions adds, file pages not counted",
            ours=f"{peak:.0f} MB",
            peer_name=f"of {n // 10:,} predictions",
            peer=f"{peak_few:.0f} MB",
            ratio=f"{peak_few / peak:.2f}" if peak else "",
            wanted=f"flat (the vectors read are {size:.0f} MB)",
        ),
    ]


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()), file=sys.stdout)
