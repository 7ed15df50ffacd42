"""The cluster bootstrap and the paired test against loops over replicates.

Loops are fair ones: they sum with NumPy, and the bootstrap's takes its metrics at once at the end.
They are measured on fewer replicates and scaled.
"""

from __future__ import annotations

import sys
import time
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Result, best_of, run_process
from ffr_eval.metrics import retrieval
from ffr_eval.statistics import Clusters, bootstrap, sign_flip

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.statistics import Value

DIALOGUES, SAMPLES, RUNS = 1000, 20_000, 20
REPLICATES = 10_000
LOOPED = 1000  # replicates of the bootstrap's loop
SWAPPED = 100  # replicates of the test's loop, for each of a few pairs
COLUMNS = 4  # tp, fp, fn, tn, of utterances and then of images


def generate(seed: int = 0) -> tuple[list[str], FloatArray]:
    """Dialogue ids, and counts of shape (runs, samples, 8), sized like MLDR."""
    rng = np.random.default_rng(seed)
    code = np.sort(rng.integers(0, DIALOGUES, SAMPLES))
    code[:DIALOGUES] = np.arange(DIALOGUES)  # each has a sample
    code.sort()
    skill = rng.beta(4, 2, DIALOGUES)[code]
    counts = []
    for _ in range(RUNS):
        shift = rng.uniform(0.85, 1)
        for gold_mean, universe in ((6, 60), (1, 8)):
            gold = np.minimum(rng.poisson(gold_mean, SAMPLES), universe)
            tp = rng.binomial(gold, skill * shift)
            fp = np.minimum(rng.poisson(gold_mean / 3, SAMPLES), universe - gold)
            counts += [tp, fp, gold - tp, universe - gold - fp]
    terms = np.stack(counts, axis=1).reshape(SAMPLES, RUNS, 2 * COLUMNS).transpose(1, 0, 2)
    return [f"d{number:04}" for number in code], np.ascontiguousarray(terms, dtype=np.float64)


def precision(s: FloatArray) -> FloatArray:
    """Of one modality's sums, like the next three."""
    return retrieval.precision(s[..., 0], s[..., 1])


def recall(s: FloatArray) -> FloatArray:
    """See above."""
    return retrieval.recall(s[..., 0], s[..., 2])


def f1(s: FloatArray) -> FloatArray:
    """See above."""
    return retrieval.f1(s[..., 0], s[..., 1], s[..., 2])


def mcc(s: FloatArray) -> FloatArray:
    """See above."""
    return retrieval.mcc(s[..., 0], s[..., 1], s[..., 2], s[..., 3])


def joint_f1(s: FloatArray) -> FloatArray:
    """The mean of the modalities' F1."""
    return (f1(s[..., :COLUMNS]) + f1(s[..., COLUMNS:])) / 2


def metrics() -> list[Value]:
    """P, R, F1 and MCC of utterances, of images, and joint: 12."""

    def utterance(one: Value) -> Value:
        return lambda s: one(s[..., :COLUMNS])

    def image(one: Value) -> Value:
        return lambda s: one(s[..., COLUMNS:])

    def harmonic(one: Value) -> Value:
        return lambda s: retrieval.harmonic_mean(one(s[..., :COLUMNS]), one(s[..., COLUMNS:]))

    def mean(one: Value) -> Value:
        return lambda s: (one(s[..., :COLUMNS]) + one(s[..., COLUMNS:])) / 2

    each = (precision, recall, f1, mcc)
    joint = [harmonic(precision), harmonic(recall), mean(f1), mean(mcc)]
    return [*map(utterance, each), *map(image, each), *joint]


def ours(ids: list[str], counts: FloatArray, replicates: int = REPLICATES) -> FloatArray:
    """Replicates of the 12 values, from samples."""
    sums = Clusters.of(ids).sums(counts)
    return bootstrap([(sums, value) for value in metrics()], replicates)


def bootstrap_loop(ids: list[str], counts: FloatArray, replicates: int) -> FloatArray:
    """The same, drawing dialogues and gathering and summing their samples in each replicate."""
    starts = np.flatnonzero([True, *(a != b for a, b in pairwise(ids))])
    members = np.split(np.arange(len(ids)), starts[1:])
    rng = np.random.default_rng(0)
    totals = np.empty((replicates, counts.shape[1]))
    for place in range(replicates):
        drawn = rng.integers(0, len(members), len(members))
        rows = np.concatenate([members[number] for number in drawn.tolist()])
        totals[place] = counts[rows].sum(axis=0)
    return np.stack([value(totals) for value in metrics()], axis=1)


def test_loop(code: np.ndarray, a: FloatArray, b: FloatArray, replicates: int) -> float:
    """The p-value of one pair, swapping the samples of dialogues in each replicate."""
    rng = np.random.default_rng(0)
    clusters = int(code[-1]) + 1
    size = -(-clusters // 32) * 4
    observed = abs(joint_f1(a.sum(axis=0)) - joint_f1(b.sum(axis=0))) - 1e-12
    as_large = 0
    for _ in range(replicates):
        drawn = np.frombuffer(rng.bytes(size), dtype=np.uint8)
        swap = np.unpackbits(drawn, count=clusters).astype(bool)[code][:, None]
        first = np.where(swap, b, a).sum(axis=0)
        second = np.where(swap, a, b).sum(axis=0)
        as_large += abs(joint_f1(first) - joint_f1(second)) >= observed
    return (1 + as_large) / (1 + replicates)


def ours_alone() -> None:
    """Run both once; what the memory is measured on."""
    ids, counts = generate()
    ours(ids, counts[0])
    clusters = Clusters.of(ids)
    sums = np.stack([clusters.sums(run_) for run_ in counts])
    sign_flip(sums, joint_f1, list(combinations(range(RUNS), 2)), REPLICATES)


def run() -> list[Result]:
    """Measure."""
    ids, counts = generate()
    return [*_bootstrap(ids, counts[0]), *_tests(ids, counts), _memory()]


def _bootstrap(ids: list[str], counts: FloatArray) -> list[Result]:
    start = time.perf_counter()
    looped = bootstrap_loop(ids, counts, LOOPED)
    loop = (time.perf_counter() - start) * REPLICATES / LOOPED
    assert np.array_equal(ours(ids, counts)[:LOOPED], looped)  # the same draws and figures
    seconds = best_of(lambda: ours(ids, counts))
    return [
        Result(
            what=f"{REPLICATES:,} cluster-bootstrap replicates of 12 micro metrics,"
            f" {SAMPLES:,} samples in {DIALOGUES:,} dialogues",
            ours=f"{seconds * 1000:.0f} ms",
            peer_name=f"NumPy loop over replicates (on {LOOPED:,})",
            peer=f"{loop:.1f} s",
            ratio=f"{loop / seconds:.0f}",
            wanted="≥ 50",
        )
    ]


def _tests(ids: list[str], counts: FloatArray) -> list[Result]:
    pairs = list(combinations(range(RUNS), 2))
    clusters = Clusters.of(ids)

    def all_pairs(replicates: int = REPLICATES) -> FloatArray:
        sums = np.stack([clusters.sums(run_) for run_ in counts])
        return sign_flip(sums, joint_f1, pairs, replicates)

    def pair_by_pair() -> list[float]:
        sums = np.stack([clusters.sums(run_) for run_ in counts])
        return [float(sign_flip(sums, joint_f1, [pair])[0]) for pair in pairs]

    few = pairs[:: len(pairs) // 5]
    start = time.perf_counter()
    looped = [test_loop(clusters.code, counts[i], counts[j], SWAPPED) for i, j in few]
    loop = (time.perf_counter() - start) / len(few) / SWAPPED * len(pairs) * REPLICATES
    assert looped == all_pairs(SWAPPED)[:: len(pairs) // 5].tolist()
    seconds = best_of(all_pairs)
    start = time.perf_counter()
    single = pair_by_pair()
    singly = time.perf_counter() - start
    assert single == all_pairs().tolist()
    what = f"paired tests of {RUNS} runs ({len(pairs)} pairs), {REPLICATES:,} replicates, joint F1"
    return [
        Result(
            what=what,
            ours=f"{seconds * 1000:.0f} ms",
            peer_name=f"NumPy loop (on {len(few)} pairs × {SWAPPED})",
            peer=f"{loop:.0f} s",
            ratio=f"{loop / seconds:.0f}",
            wanted="≥ 20",
        ),
        Result(
            what="the same",
            ours=f"{seconds * 1000:.0f} ms",
            peer_name="the same array code pair by pair",
            peer=f"{singly:.1f} s",
            ratio=f"{singly / seconds:.0f}",
            wanted="",
        ),
    ]


def _memory() -> Result:
    command = "from benchmarks.bootstrap import ours_alone; ours_alone()"
    _, peak = run_process([sys.executable, "-c", command])
    terms = RUNS * SAMPLES * 2 * COLUMNS * 8 / 1e6
    return Result(
        what="peak memory of both, the whole process",
        ours=f"{peak:.0f} MB",
        peer_name="the counts of all runs",
        peer=f"{terms:.0f} MB",
        ratio="",
        wanted="< 500 MB",
    )
