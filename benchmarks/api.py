"""``ffr run api`` against a server that takes half a second, and what its memory and files cost.

The server (:mod:`tests.servers`) runs in a process of its own, on the same machine.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.measure import Result
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.runs import BenchmarkRef, RunRecord, open_run
from ffr_eval.types import Fragment, Outcome, Prediction
from tests.servers import ServerProcess

REQUESTS, CONCURRENCY, LATENCY = 2_000, 64, 0.5
IMAGE_BYTES = 200_000
MEMORY_REQUESTS = 500, 20_000
MEMORY_LATENCY = 0.05
APPENDED = 1_000, 100_000
AT_A_TIME = 1_000
TURNS = 10

_READ = """
import sys
from ffr_eval.benchmark import read_benchmark

kept = read_benchmark(sys.argv[1])
"""


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: From the start of the command to its end.
        asking: Seconds from the first request to the last answer, by the server's clock.
        peak: Of the memory that is the client's own, in MB.
    """

    seconds: float
    asking: float
    peak: float


def generate(folder: Path, samples: int) -> Path:
    """A benchmark with a photograph of its own for each sample."""
    picture = photograph()
    source = folder.with_name(f"{folder.name}.jpg")
    rng = random.Random(0)  # noqa: S311
    with BenchmarkWriter(folder, InfoRecord(name="synthetic")) as writer:
        for number in range(samples):
            name = f"d{number}"
            comment = b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big")  # makes it another file
            source.write_bytes(picture[:2] + comment + picture[2:])
            image = writer.add_image_file(ImageRecord(0), source, f"{number}.jpg")
            turns = tuple(
                TurnRecord(i, "AB"[i % 2], f"turn {i} of {rng.random()}", (0,) if i == 3 else ())
                for i in range(TURNS)
            )
            writer.add_dialogue(DialogueRecord(name, turns, (image,)))
            writer.add_query(QueryRecord(f"{name}#0", name, f"[[{name}]]", (1, 2), ()))
    source.unlink()
    return folder


def photograph() -> bytes:
    """A JPEG of about the size that is wanted."""
    from PIL import Image

    small = np.random.default_rng(0).integers(0, 256, size=(168, 224, 3), dtype=np.uint8)
    large = Image.fromarray(small).resize((896, 672))  # the largest that is sent as it is
    for quality in range(40, 100):
        stream = io.BytesIO()
        large.save(stream, "JPEG", quality=quality)
        if stream.tell() >= IMAGE_BYTES:
            break
    return stream.getvalue()


def measure(benchmark: Path, server: ServerProcess, out: Path) -> Measured:
    """Run the command once, into a new run folder and a new cache."""
    before = len(server.requests())
    command = [sys.executable, "-m", "ffr_eval", "run", "api", str(benchmark)]
    command += ["--out", str(out), "-o", "model=test-model", "-o", f"base_url={server.url}"]
    command += ["--concurrency", str(CONCURRENCY), "--cache", str(out.with_suffix(".sqlite"))]
    start = time.perf_counter()
    peak = own_memory(command)
    seconds = time.perf_counter() - start
    seen = server.requests()[before:]
    last = max(request.answered or 0.0 for request in seen)
    return Measured(seconds, last - min(request.arrived for request in seen), peak)


def own_memory(command: list[str]) -> float:
    """Run a command; the peak of its own memory in MB, without files that are mapped (Linux)."""
    peak = 0.0
    environment = {**os.environ, "OPENAI_API_KEY": "none"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            with suppress(OSError):
                lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
                peak = max([peak, *(int(x.split()[1]) / 1024 for x in lines if "Pss_Anon:" in x)])
            time.sleep(0.02)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return peak


def appending(folder: Path) -> list[float]:
    """Microseconds for a prediction, once so many are in the run folder as ``APPENDED`` says."""
    record = RunRecord(model="m", benchmark=BenchmarkRef("b", "1", "sha256:0", "b"))
    cost, n_done = [], 0
    with open_run(folder, record) as run:
        for after in APPENDED:
            while n_done < after:
                run.append(_prediction(n_done))
                n_done += 1
            times = [time.perf_counter()]
            for _ in range(AT_A_TIME):
                run.append(_prediction(n_done))
                n_done += 1
                times.append(time.perf_counter())
            cost.append(float(np.median([b - a for a, b in pairwise(times)])) * 1e6)
    return cost


def _prediction(number: int) -> Prediction:
    text = f"<|utt_ids_start|>[{number}]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
    usage = {"prompt_tokens": 1_000, "completion_tokens": 20}
    return Prediction(
        f"d{number}#0", Outcome.OK, Fragment((number,)), text, 0.5, usage, 0.001, "stop", "m"
    )


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [_throughput(folder), _memory(folder)]
        few, many = appending(folder / "appended")
    results.append(
        Result(
            what=f"appending a prediction to a run folder that has {APPENDED[1]:,}",
            ours=f"{many:.0f} µs",
            peer_name=f"one that has {APPENDED[0]:,}",
            peer=f"{few:.0f} µs",
            ratio=f"{few / many:.2f}",
            wanted="near 1",
        )
    )
    return results


def _throughput(folder: Path) -> Result:
    benchmark = generate(folder / "throughput", REQUESTS)
    with ServerProcess(folder / "throughput.jsonl", latency=LATENCY) as server:
        measured = measure(benchmark, server, folder / "run")
        at_once = server.stats()["max_in_flight"]
    if at_once != CONCURRENCY:
        raise RuntimeError(f"{at_once} requests at once, not {CONCURRENCY}")
    ideal = -(-REQUESTS // CONCURRENCY) * LATENCY
    return Result(
        what=f"`ffr run api`, {REQUESTS:,} requests with an image of {IMAGE_BYTES // 1000} kB, "
        f"{CONCURRENCY} at once, from the first request to the last answer",
        ours=f"{measured.asking:.1f} s ({measured.seconds:.1f} s with start and end)",
        peer_name=f"a server that takes {LATENCY} s, always busy",
        peer=f"{ideal:.1f} s",
        ratio=f"{ideal / measured.asking:.2f}",
        wanted="≥ 0.9",
    )


def _memory(folder: Path) -> Result:
    beyond = []
    for requests in MEMORY_REQUESTS:
        benchmark = generate(folder / f"memory-{requests}", requests)
        reading = own_memory([sys.executable, "-c", _READ, str(benchmark)])
        log = folder / f"memory-{requests}.jsonl"
        with ServerProcess(log, latency=MEMORY_LATENCY) as server:
            beyond.append(measure(benchmark, server, folder / f"run-{requests}").peak - reading)
    few, many = beyond
    total = MEMORY_REQUESTS[1] * IMAGE_BYTES / 1e6
    return Result(
        what=f"the same with {MEMORY_REQUESTS[1]:,} requests ({total:,.0f} MB of images): peak"
        " memory beyond the benchmark's tables",
        ours=f"{many:.0f} MB",
        peer_name=f"{MEMORY_REQUESTS[0]:,} requests",
        peer=f"{few:.0f} MB",
        ratio=f"{few / many:.2f}",
        wanted="near 1",
    )
