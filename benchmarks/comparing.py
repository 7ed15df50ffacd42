"""Comparing 20 runs: all pairs at once against loops over the pairs.

The loops over replicates sum with NumPy and take the metric at once at the end; they are measured
on a few pairs and replicates and scaled. The same array code called pair by pair is measured on
more pairs, with all replicates, and scaled.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Result, best_of, run_process
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.comparison import compare_evaluations
from ffr_eval.metrics.named import HEADLINE, parse_metric
from ffr_eval.same_samples import load_runs
from ffr_eval.sources import Request
from ffr_eval.statistics import Clusters
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

DIALOGUES, QUERIES, RUNS = 1000, 20, 20
SAMPLES = DIALOGUES * QUERIES
REPLICATES = 10_000
LOOPED_PAIRS, LOOPED = 5, 100  # of the loop over replicates
SINGLE_PAIRS = 10  # of the same code pair by pair


def generate(folder: Path) -> tuple[Path, list[Path]]:
    """Write a benchmark and prediction files of runs of different skill.

    Returns:
        The benchmark's folder, and the files.
    """
    rng = np.random.default_rng(0)
    gold: list[tuple[str, list[int], list[int], int, int]] = []
    with BenchmarkWriter(folder / "benchmark", InfoRecord(name="synthetic")) as writer:
        for number in range(DIALOGUES):
            turns, images = int(rng.integers(20, 100)), int(rng.integers(1, 10))
            name = f"d{number:04}"
            spoken = tuple(
                TurnRecord(turn, "S", f"turn {turn}", (turn,) if turn < images else ())
                for turn in range(turns)
            )
            shown = tuple(ImageRecord(image) for image in range(images))
            writer.add_dialogue(DialogueRecord(name, spoken, shown))
            for query in range(QUERIES):
                start = int(rng.integers(0, turns - 8))
                utts = list(range(start, start + int(rng.integers(1, 9))))
                imgs = [int(rng.integers(0, images))] if query % 3 == 0 else []
                sample = f"{name}#{query}"
                writer.add_query(QueryRecord(sample, name, "query", tuple(utts), tuple(imgs)))
                gold.append((sample, utts, imgs, turns, images))
    files = []
    for run_ in range(RUNS):
        files.append(folder / f"run{run_:02}.jsonl")
        hit = 0.5 + 0.01 * run_
        with files[-1].open("w", encoding="utf-8") as stream:
            for sample, utts, imgs, turns, images in gold:
                record = {
                    "sample_id": sample,
                    "utt_ids": _guess(rng, utts, turns, hit),
                    "img_ids": _guess(rng, imgs, images, hit),
                }
                stream.write(json.dumps(record) + "\n")
    return folder / "benchmark", files


def _guess(rng: np.random.Generator, gold: list[int], size: int, hit: float) -> list[int]:
    found = [number for number in gold if rng.random() < hit]
    return list(dict.fromkeys([*found, *rng.integers(0, size, 2).tolist()]))


def pair_loop(
    members: list[IntArray] | None,
    code: IntArray,
    terms: FloatArray,
    metric: Metric,
    replicates: int,
) -> tuple[FloatArray, float]:
    """Replicates of the difference, and the p-value, of one pair.

    Args:
        members: The rows of each dialogue; ``None`` if each is one row, summed beforehand.
        code: The dialogue of each row.
        terms: What each sample adds to each of the two, shape ``(2, n, k)``.
        metric: What is compared by.
        replicates: How many resamples, and how many swaps.
    """
    rng = np.random.default_rng(0)
    drawn = np.empty((2, replicates, terms.shape[2]))
    swapped = np.empty_like(drawn)
    count = int(code[-1]) + 1
    for place in range(replicates):
        rows = rng.integers(0, count, count)
        if members is not None:
            rows = np.concatenate([members[number] for number in rows.tolist()])
        drawn[:, place] = terms[:, rows].sum(axis=1)
        swap = (rng.random(count) < 0.5)[code][:, None]
        swapped[0, place] = np.where(swap, terms[1], terms[0]).sum(axis=0)
        swapped[1, place] = np.where(swap, terms[0], terms[1]).sum(axis=0)
    first, second = metric.value(terms.sum(axis=1))
    differences = np.abs(np.subtract(*metric.value(swapped)))
    as_large = np.count_nonzero(differences >= abs(first - second) - 1e-12)
    return np.subtract(*metric.value(drawn)), (1 + as_large) / (1 + replicates)


def _loop(evaluations: Sequence[Evaluation], *, summed: bool) -> float:
    """Seconds of the loop over all pairs and replicates, scaled.

    Args:
        evaluations: Of the runs.
        summed: Whether the terms of each dialogue are summed before the loop.
    """
    metric = parse_metric(HEADLINE)
    start = time.perf_counter()
    clusters = Clusters.of(evaluations[0].table.dialogue_id)
    terms = np.stack([metric.terms(evaluation) for evaluation in evaluations])
    code = clusters.code
    members = None if summed else [np.flatnonzero(code == n) for n in range(clusters.count)]
    if summed:
        terms = np.stack([clusters.sums(of_run) for of_run in terms])
        code = np.arange(clusters.count)
    once = time.perf_counter() - start
    pairs = list(combinations(range(RUNS), 2))
    few = pairs[:: len(pairs) // LOOPED_PAIRS][:LOOPED_PAIRS]
    start = time.perf_counter()
    for a, b in few:
        pair_loop(members, code, terms[[a, b]], metric, LOOPED)
    seconds = time.perf_counter() - start
    return once + seconds / len(few) / LOOPED * len(pairs) * REPLICATES


def _singly(names: Sequence[str], evaluations: Sequence[Evaluation]) -> float:
    """Seconds of the same code called for each pair, scaled."""
    pairs = list(combinations(range(RUNS), 2))
    few = pairs[:: len(pairs) // SINGLE_PAIRS][:SINGLE_PAIRS]
    start = time.perf_counter()
    for a, b in few:
        compare_evaluations((names[a], names[b]), (evaluations[a], evaluations[b]))
    return (time.perf_counter() - start) / len(few) * len(pairs)


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        benchmark, files = generate(folder)
        loaded = load_runs(files, Request(benchmark=benchmark))
        names, evaluations = loaded.names, loaded.evaluations
        resampling = Resampling(REPLICATES)
        ours = best_of(lambda: compare_evaluations(names, evaluations, HEADLINE, resampling), 3)
        singly = _singly(names, evaluations)
        loop = _loop(evaluations, summed=False)
        summed = _loop(evaluations, summed=True)
        command = [sys.executable, "-m", "ffr_eval", "compare", *map(str, files)]
        command += ["--benchmark", str(benchmark), "--json", str(folder / "comparison.json")]
        whole, peak = run_process(command)
    n_pairs = RUNS * (RUNS - 1) // 2
    what = (
        f"{RUNS} runs × {SAMPLES:,} samples in {DIALOGUES:,} dialogues: intervals and tests of all"
        f" {n_pairs} pairs, {REPLICATES:,} replicates"
    )
    return [
        Result(
            what=what,
            ours=f"{ours:.2f} s",
            peer_name=f"NumPy loop over pairs and replicates (on {LOOPED_PAIRS} × {LOOPED})",
            peer=f"{loop:.0f} s",
            ratio=f"{loop / ours:.0f}",
            wanted="≥ 20",
        ),
        Result(
            what="the same",
            ours=f"{ours:.2f} s",
            peer_name="that loop, the samples of each dialogue summed before it",
            peer=f"{summed:.0f} s",
            ratio=f"{summed / ours:.0f}",
            wanted="≥ 20",
        ),
        Result(
            what="the same",
            ours=f"{ours:.2f} s",
            peer_name=f"the same array code pair by pair (on {SINGLE_PAIRS})",
            peer=f"{singly:.0f} s",
            ratio=f"{singly / ours:.0f}",
            wanted="",
        ),
        Result(
            what=f"`ffr compare` of these runs, the whole command, peak {peak:.0f} MB",
            ours=f"{whole:.1f} s",
            peer_name="the faster loop alone, without reading",
            peer=f"{summed:.0f} s",
            ratio=f"{summed / whole:.0f}",
            wanted="",
        ),
    ]
