"""Levels and order of a curriculum against reading the file that they are made from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Result, best_of
from ffr_train.curriculum import difficulty_file
from ffr_train.curriculum.levels import assign
from ffr_train.curriculum.schedule import order

SAMPLES = 1_000_000
GRADES = 41  # F1 has few values, so many samples are tied
BATCH = 64


def generate() -> difficulty_file.Difficulty:
    """Difficulties with ties, and some samples that were not measured."""
    rng = np.random.default_rng(0)
    f1 = rng.integers(0, GRADES, SAMPLES) / (GRADES - 1)
    entropy = rng.gamma(2.0, 0.2, SAMPLES)
    missing = rng.random(SAMPLES) < 0.01
    f1[missing] = entropy[missing] = np.nan
    kinds = [None if there else "full" for there in missing.tolist()]
    names = [f"dialogue-{i // 4:06d}#{i % 4}" for i in range(SAMPLES)]
    return difficulty_file.Difficulty(names, f1, entropy, kinds, assign(f1, entropy))


def run() -> list[Result]:
    """Measure."""
    made = generate()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "difficulty.jsonl"
        difficulty_file.write(made, path)
        found = difficulty_file.read(path)
        np.testing.assert_array_equal(found.level, made.level)  # of the figures as they are written
        reading = best_of(lambda: difficulty_file.read(path), repeat=3)
    ours = best_of(lambda: order(assign(found.f1, found.entropy), multiple_of=BATCH))
    return [
        Result(
            what=f"levels and order of {SAMPLES:,} samples",
            ours=f"{ours:.2f} s",
            peer_name="reading their difficulty file",
            peer=f"{reading:.2f} s",
            ratio=f"{ours / reading:.2f} (ours / reading)",
            wanted="≤ 1",
        )
    ]
