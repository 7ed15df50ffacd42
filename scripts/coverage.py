"""Simulates how often the 95 % intervals of ffr_eval.statistics hold the true value.

    python scripts/coverage.py [--repetitions N] [--replicates B] [--dialogues N …] [--out FILE.md]

A population of dialogues is made up whose queries are alike within a dialogue: the dialogue has a
random effect on the hit rate. Benchmarks are drawn from it again and again; each gives an interval
by the percentile and the BCa cluster bootstrap, and by the naive bootstrap of single queries, which
takes queries of one dialogue for independent.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from ffr_eval.metrics import retrieval
from ffr_eval.statistics import bca_interval, bootstrap, jackknife, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

DIALOGUES = (20, 50, 100, 200)
POPULATION = 4_000_000  # dialogues that the truth is taken from, in blocks
BLOCK = 100_000
TASK = 50  # repetitions handed to a process at a time
LEVEL = 0.95
METHODS = ("percentile", "BCa", "query bootstrap")


@dataclass(frozen=True)
class Model:
    """A made-up retrieval model.

    Attributes:
        name: Its name.
        logit: Mean over dialogues of the logit of the hit rate.
        spread: Standard deviation of that logit between dialogues.
        false: Mean number of false positives a query at a hit rate of 0.
    """

    name: str
    logit: float
    spread: float
    false: float


MODELS = (Model("middling", 0.6, 0.7, 3.0), Model("strong", 3.0, 1.2, 4.0))


class Benchmark(NamedTuple):
    """Samples of some dialogues: the dialogue of each, its tp, fp and fn, and (F1, 1)."""

    code: IntArray
    counts: FloatArray
    macro: FloatArray


class Figures(NamedTuple):
    """Of one interval: did it hold the truth, did it lie wholly below it, how wide was it."""

    held: bool
    too_low: bool
    width: float


def draw(model: Model, dialogues: int, rng: np.random.Generator) -> Benchmark:
    """Dialogues of 5 to 10 queries with 1 to about 8 relevant utterances each."""
    logit = rng.normal(model.logit, model.spread, dialogues)
    code = np.repeat(np.arange(dialogues), rng.integers(5, 11, dialogues))
    hit_rate = (1 / (1 + np.exp(-logit)))[code]
    gold = 1 + rng.poisson(3, len(code))
    tp = rng.binomial(gold, hit_rate)
    fp = rng.poisson(model.false * (1 - hit_rate))
    counts = np.stack([tp, fp, gold - tp], axis=1).astype(np.float64)
    macro = np.stack([retrieval.f1(tp, fp, gold - tp), np.ones(len(code))], axis=1)
    return Benchmark(code, counts, macro)


def micro(sums: FloatArray) -> FloatArray:
    """Micro F1."""
    return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def mean(sums: FloatArray) -> FloatArray:
    """The mean over queries."""
    return sums[..., 0] / sums[..., 1]


METRICS = {"micro F1": micro, "mean F1 of queries": mean}


def by_dialogue(terms: FloatArray, code: IntArray) -> FloatArray:
    """Sums of each dialogue; faster here than ``Clusters`` because samples come in order."""
    return np.add.reduceat(terms, np.flatnonzero(np.diff(code, prepend=-1)))


def truth(model: Model, seed: int) -> tuple[list[float], float]:
    """Both metrics of the population, and the intra-dialogue correlation of the queries' F1."""
    totals = [np.zeros(3), np.zeros(2)]
    for block in range(POPULATION // BLOCK):
        found = draw(model, BLOCK, np.random.default_rng([seed, MODELS.index(model), block]))
        totals[0] += found.counts.sum(axis=0)
        totals[1] += found.macro.sum(axis=0)
    sums = by_dialogue(found.macro, found.code)
    size, means = sums[:, 1], sums[:, 0] / sums[:, 1]
    between = (size * (means - means.mean()) ** 2).sum() / (len(size) - 1)
    residual = found.macro[:, 0] - means[found.code]
    within = (residual**2).sum() / (size.sum() - len(size))
    correlation = (between - within) / (between + (size.mean() - 1) * within)
    values = [float(value(total)) for value, total in zip(METRICS.values(), totals, strict=True)]
    return values, float(correlation)


def repeat(
    model: Model,
    dialogues: int,
    true: Sequence[float],
    replicates: int,
    seed: int,
    repetitions: range,
) -> list[list[list[Figures]]]:
    """Draw benchmarks and compute their intervals: for each repetition, metric and method."""
    return [
        _one(model, dialogues, true, replicates, (seed, dialogues, repetition))
        for repetition in repetitions
    ]


def _one(
    model: Model, dialogues: int, true: Sequence[float], replicates: int, key: tuple[int, ...]
) -> list[list[Figures]]:
    # The 1 keeps the benchmarks apart from the blocks of the population.
    rng = np.random.default_rng([*key, MODELS.index(model), 1])
    found = draw(model, dialogues, rng)
    values = list(METRICS.values())
    seed = int(rng.integers(2**31))
    queries = [found.counts, found.macro]
    sums = [by_dialogue(terms, found.code) for terms in queries]
    of_dialogues = bootstrap(list(zip(sums, values, strict=True)), replicates, seed)
    of_queries = bootstrap(list(zip(queries, values, strict=True)), replicates, seed)
    result = []
    for place, (value, target) in enumerate(zip(values, true, strict=True)):
        point = float(value(sums[place].sum(axis=0)))
        column = of_dialogues[:, place]
        intervals = (
            percentile_interval(column, LEVEL),
            bca_interval(point, column, jackknife(sums[place], value), LEVEL),
            percentile_interval(of_queries[:, place], LEVEL),
        )
        result.append(
            [Figures(i.lo <= target <= i.hi, target > i.hi, i.hi - i.lo) for i in intervals if i]
        )
    return result


def simulate(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """All cells of the table."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for the processes started below
    context = multiprocessing.get_context("spawn")
    console = Console(stderr=True)
    tasks = [
        range(start, min(start + TASK, arguments.repetitions))
        for start in range(0, arguments.repetitions, TASK)
    ]
    cells = []
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        known = list(pool.map(partial(truth, seed=arguments.seed), MODELS))
        for model, (true, correlation) in zip(MODELS, known, strict=True):
            for dialogues in arguments.dialogues:
                one = partial(repeat, model, dialogues, true, arguments.replicates, arguments.seed)
                parts = track(
                    pool.map(one, tasks),
                    f"{model.name}, {dialogues} dialogues",
                    total=len(tasks),
                    console=console,
                )
                figures = np.array([row for part in parts for row in part], dtype=np.float64)
                for place, metric in enumerate(METRICS):
                    cells.append(
                        {
                            "model": model.name,
                            "correlation": correlation,
                            "dialogues": dialogues,
                            "metric": metric,
                            "truth": true[place],
                            "coverage": figures[:, place, :, 0].mean(axis=0).tolist(),
                            "too_low": figures[:, place, :, 1].mean(axis=0).tolist(),
                            "width": figures[:, place, :, 2].mean(axis=0).tolist(),
                        }
                    )
    return cells


def markdown(cells: Sequence[dict[str, object]], repetitions: int, replicates: int) -> str:
    """The table, with the Monte-Carlo standard error of each coverage."""
    head = ["model", "dialogues", "metric", "true value", *METHODS]
    intro = (
        f"Coverage of nominal {LEVEL:.0%} intervals: {repetitions:,} simulated benchmarks a line, ",
        f"{replicates:,} replicates each. ± is the Monte-Carlo standard error; in brackets the ",
        "share of intervals wholly below and wholly above the true value (2.5% each wanted), and ",
        "the mean width.",
    )
    lines = [
        "".join(intro),
        "",
        f"| {' | '.join(head)} |",
        "|---|---:|---|" + "---:|" + "---|" * len(METHODS),
    ]
    for cell in cells:
        row = [cell["model"], cell["dialogues"], cell["metric"], f"{cell['truth']:.4f}"]
        for share, low, width in zip(cell["coverage"], cell["too_low"], cell["width"], strict=True):
            error = (share * (1 - share) / repetitions) ** 0.5
            row.append(f"{share:.1%} ± {error:.1%} ({low:.1%}, {1 - share - low:.1%}; {width:.3f})")
        lines.append(f"| {' | '.join(map(str, row))} |")
    lines.append("")
    for model in MODELS:
        icc = next(c["correlation"] for c in cells if c["model"] == model.name)
        lines.append(f"Intra-dialogue correlation of the queries' F1, {model.name}: {icc:.2f}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=4000, help="benchmarks a cell")
    parser.add_argument("--replicates", type=int, default=1000, help="resamples a benchmark")
    parser.add_argument("--dialogues", type=int, nargs="+", default=DIALOGUES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the cells as JSON")
    parser.add_argument("--out", type=Path, help="write the Markdown table to this file")
    arguments = parser.parse_args()
    if min(arguments.dialogues) < 2:
        parser.error("an interval needs at least 2 dialogues")
    cells = simulate(arguments)
    table = markdown(cells, arguments.repetitions, arguments.replicates)
    if arguments.out:
        arguments.out.write_text(table, encoding="utf-8")
    sys.stdout.write(json.dumps(cells) if arguments.json else table)


if __name__ == "__main__":
    main()
