"""Batches by length against batches in the order of the benchmark, with a tiny model.

Both generate the same number of tokens for the same prompts, with the same code: only the order of
requests differs. On a processor the work is that of the padded prompts; the model is small, so that
its fixed costs count for more than those of a real one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from baselines.generative.chat import ChatRequest, Completion
    from baselines.hf.batching import Entry, Limits
    from baselines.hf.engine import HfEngine

BENCHMARK = "ffr-sample"
BATCH = 8
ANSWER = 16
MAX_PIXELS = 16 * 28 * 28
EVERY = 2  # of the samples, every second one: the whole takes minutes


def requests_of(folder: Path) -> tuple[HfEngine, list[ChatRequest]]:
    """The engine, and a request for each sample of the benchmark."""
    from baselines.hf.engine import HfEngine
    from baselines.hf.model import HfModel
    from baselines.hf.options import HfOptions
    from baselines.machine import Machine
    from baselines.model import hidden
    from ffr_eval.benchmark import read_benchmark

    options = HfOptions(model=str(folder), max_tokens=ANSWER, max_pixels=MAX_PIXELS, context=30_000)
    model = HfModel(options)
    model.use(Machine("cpu", BATCH))
    data = read_benchmark(BENCHMARK)
    found = []
    for row in range(0, len(data), EVERY):
        parts = model.requests_of(hidden(data.sample(row)))
        assert parts is not None
        found += [request for _, request in parts]
    assert isinstance(model.engine, HfEngine)
    return model.engine, found


def in_order(
    entries: Sequence[Entry[ChatRequest]], limits: Limits
) -> list[list[Entry[ChatRequest]]]:
    """Batches as requests come."""
    return [list(entries[k : k + limits.rows]) for k in range(0, len(entries), limits.rows)]


def seconds(
    engine: HfEngine, requests: Sequence[ChatRequest]
) -> tuple[float, dict[str, Completion]]:
    """The time of the processor that the requests take, and their completions.

    There is one thread; what else runs on the machine is not counted.
    """
    from baselines.session import Session

    start = time.process_time()
    done = {each.sample_id: made for each, made in engine.complete(iter(requests), Session())}
    return time.process_time() - start, done


def padded(
    engine: HfEngine,
    requests: Sequence[ChatRequest],
    make: Callable[..., list[list[Entry[ChatRequest]]]],
) -> tuple[int, int]:
    """Tokens of the prompts, and of the batches with their padding."""
    from baselines.hf.batching import CHUNK, Entry

    entries = [Entry(each, engine.count_tokens(each).tokens, each.dialogue_id) for each in requests]
    made = [
        batch
        for k in range(0, len(entries), CHUNK)
        for batch in make(entries[k : k + CHUNK], engine._limits)
    ]
    return (
        sum(entry.length for entry in entries),
        sum(len(batch) * max(entry.length for entry in batch) for batch in made),
    )


def measure(folder: Path) -> list[Result]:
    """Time both orders, in turns; the answers must be the same."""
    from baselines.hf import batching
    from baselines.hf import engine as engine_module

    engine, requests = requests_of(folder)
    shuffled = list(requests)
    random.Random(0).shuffle(shuffled)  # noqa: S311 - an order
    seconds(engine, requests[:BATCH])
    results = []
    for order, drawn in (("in the benchmark's order", requests), ("in random order", shuffled)):
        times: dict[str, float] = {}
        answers: list[dict[str, str | None]] = []
        for name, make in (("sorted", batching.batches), ("as drawn", in_order)):
            engine_module.batches = make  # type: ignore[attr-defined]
            times[name], done = seconds(engine, drawn)
            answers.append({key: made.text for key, made in done.items()})
        engine_module.batches = batching.batches  # type: ignore[attr-defined]
        same = sum(all(each[key] == text for each in answers) for key, text in answers[0].items())
        used, ours = padded(engine, drawn, batching.batches)
        _, theirs = padded(engine, drawn, in_order)
        results.append(
            Result(
                what=f"`ffr run hf`, tiny Qwen2.5-VL, `{BENCHMARK}` ({len(drawn)} samples drawn "
                f"{order}), {BATCH} at once: batches by length ({ours:,} padded tokens of "
                f"{used:,}; {same} of {len(drawn)} answers the same)",
                ours=f"{times['sorted']:.1f} s",
                peer_name=f"batches as drawn ({theirs:,} padded tokens)",
                peer=f"{times['as drawn']:.1f} s",
                ratio=f"{times['as drawn'] / times['sorted']:.2f}",
                wanted="≥ 1.5",
            )
        )
    return results


def run() -> list[Result]:
    """Measure."""
    from tests.checkpoints import qwen2_5_vl

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        folder.mkdir()
        return measure(qwen2_5_vl.build(folder))
