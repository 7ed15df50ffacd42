"""The kernel against a loop of Python sets, and against scikit-learn sample by sample."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

from benchmarks.measure import Result, best_of
from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import count
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from ffr_eval.ragged import IntArray

SAMPLES = 200_000
SKLEARN_SAMPLES = 300  # it is slow: measured on these, per sample
Data = tuple[Ragged, Ragged, "IntArray"]


def generate(samples: int, seed: int = 0) -> list[Data]:
    """Both modalities: gold and predicted sets and universes, sized like MLDR and WeChat-MDR.

    One prediction in fifty holds an invented id, one in fifty repeats an id.
    """
    rng = np.random.default_rng(seed)
    return [_modality(rng, samples, 15, 110, 15), _modality(rng, samples, 1, 12, 4)]


def _modality(rng: np.random.Generator, samples: int, low: int, high: int, most: int) -> Data:
    universe = rng.integers(low, high, samples)
    gold, predicted = [], []
    for size in universe.tolist():
        wanted = min(int(rng.integers(0, most)), size)
        start = int(rng.integers(0, size - wanted + 1))
        ids = list(range(start, start + wanted))
        answer = [number for number in ids if rng.random() < 0.7]
        answer += [int(number) for number in rng.integers(0, size, 2) if number not in answer]
        answer = list(dict.fromkeys(answer))
        odd = rng.random()
        if odd < 0.02:
            answer.append(size + 3)
        elif odd < 0.04 and answer:
            answer.append(answer[0])
        gold.append(ids)
        predicted.append(answer)
    return Ragged.from_lists(gold), Ragged.from_lists(predicted), universe


def set_loop(data: list[tuple[list[list[int]], list[list[int]], list[int]]]) -> list[list[int]]:
    """Counts by Python sets, the set of all ids built as the original release does."""
    totals = []
    for gold, predicted, universe in data:
        for gold_ids, predicted_ids, size in zip(gold, predicted, universe, strict=True):
            wanted, answer, everything = set(gold_ids), set(predicted_ids), set(range(size))
            tp = len(wanted & answer)
            fp = len(answer - wanted)
            fn = len(wanted - answer)
            tn = len(everything - (wanted | answer))
            totals.append([tp, fp, fn, tn])
    return totals


def sklearn_loop(data: list[tuple[list[list[int]], list[list[int]], list[int]]]) -> None:
    """P, R, F1 and MCC of each sample by scikit-learn, on 0/1 labels."""
    for gold, predicted, universe in data:
        for gold_ids, predicted_ids, size in zip(gold, predicted, universe, strict=True):
            truth = np.zeros(size, dtype=np.int8)
            guess = np.zeros(size, dtype=np.int8)
            truth[gold_ids] = 1
            guess[[number for number in predicted_ids if number < size]] = 1
            precision_recall_fscore_support(truth, guess, average="binary", zero_division=0)
            matthews_corrcoef(truth, guess)


def ours(data: list[Data]) -> None:
    """Counts and per-sample figures by the kernel."""
    for gold, predicted, universe in data:
        counts = count(gold, predicted, universe)
        retrieval.precision(counts.tp, counts.fp)
        retrieval.recall(counts.tp, counts.fn)
        retrieval.f1(counts.tp, counts.fp, counts.fn)
        retrieval.mcc(counts.tp, counts.fp, counts.fn, counts.tn)


def run() -> list[Result]:
    """Measure."""
    data = generate(SAMPLES)
    lists = [(g.to_lists(), p.to_lists(), u.tolist()) for g, p, u in data]
    counts = [count(*modality) for modality in data]
    tallies = set_loop(lists)
    for place, modality in enumerate(counts):  # the two must agree before they are timed
        theirs = np.array(tallies[place * SAMPLES : (place + 1) * SAMPLES])
        ours_ = np.stack([modality.tp, modality.fp, modality.fn, modality.tn], axis=1)
        assert (theirs == ours_).all()
    kernel = best_of(lambda: [count(*modality) for modality in data], 7)
    loop = best_of(lambda: set_loop(lists), 3)
    figures = best_of(lambda: ours(data), 5) / SAMPLES
    few = [(g[:SKLEARN_SAMPLES], p[:SKLEARN_SAMPLES], u[:SKLEARN_SAMPLES]) for g, p, u in lists]
    warnings.simplefilter("ignore")  # scikit-learn's, on samples of one class
    start = time.perf_counter()
    sklearn_loop(few)
    sklearn = (time.perf_counter() - start) / SKLEARN_SAMPLES
    return [
        Result(
            what=f"kernel, both modalities of {SAMPLES:,} samples",
            ours=f"{kernel * 1000:.0f} ms",
            peer_name="loop of Python sets",
            peer=f"{loop * 1000:.0f} ms",
            ratio=f"{loop / kernel:.1f}",
            wanted="≥ 12 (aim 20)",
        ),
        Result(
            what="counts, P, R, F1 and MCC of each sample, both modalities",
            ours=f"{figures * 1e6:.2f} µs a sample",
            peer_name=f"scikit-learn (on {SKLEARN_SAMPLES} samples)",
            peer=f"{sklearn * 1e6:.0f} µs a sample",
            ratio=f"{sklearn / figures:.0f}",
            wanted="≥ 300",
        ),
    ]
