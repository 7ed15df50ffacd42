"""Comparing runs in memory: against hand-made examples and slow computations of the same."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.comparison import Comparison, compare_evaluations
from ffr_eval.errors import InputError
from ffr_eval.metrics.metric import Metric
from ffr_eval.metrics.protocols import Evaluation, evaluate
from ffr_eval.sources import Request, load_source
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

    Answers = Mapping[str, tuple[list[int], list[int]]]

TURNS, IMAGES = 12, 3


@pytest.fixture
def make_benchmark(tmp_path: Path) -> Callable[..., Benchmark]:
    """Makes a benchmark of dialogues with so many queries each, gold by a seeded draw."""

    def make(dialogues: int, queries: int = 1, images: bool = False, seed: int = 0) -> Benchmark:
        rng = random.Random(seed)
        folder = tmp_path / f"b{dialogues}-{queries}-{images}-{seed}"
        if folder.exists():
            return read_benchmark(folder)
        with BenchmarkWriter(folder, InfoRecord(name="made")) as writer:
            for number in range(dialogues):
                name = f"d{number:02}"
                turns = tuple(
                    TurnRecord(i, "S", "text", (i,) if images and i < IMAGES else ())
                    for i in range(TURNS)
                )
                shown = tuple(ImageRecord(i) for i in range(IMAGES if images else 0))
                writer.add_dialogue(DialogueRecord(name, turns, shown))
                for query in range(queries):
                    utts = tuple(sorted(rng.sample(range(TURNS), rng.randint(1, 4))))
                    imgs = (rng.randrange(IMAGES),) if images and query % 2 else ()
                    asked = f"find {number} {query}"
                    writer.add_query(QueryRecord(f"{name}#{query}", name, asked, utts, imgs))
        return read_benchmark(folder)

    return make


def gold_of(benchmark: Benchmark) -> dict[str, tuple[list[int], list[int]]]:
    queries = benchmark.queries
    return {
        name: (queries.gold_utt_ids[row].tolist(), queries.gold_img_ids[row].tolist())
        for row, name in enumerate(queries.sample_id)
    }


def evaluated(benchmark: Benchmark, answers: Answers) -> Evaluation:
    source = load_source(answers, Request(benchmark=benchmark))
    return evaluate(source.table, source.protocol)


def right_in(benchmark: Benchmark, dialogues: int) -> Evaluation:
    """A run that is right in the first dialogues and says nothing in the others."""
    return evaluated(
        benchmark,
        {
            name: gold if int(name[1:3]) < dialogues else ([], [])
            for name, gold in gold_of(benchmark).items()
        },
    )


def guessing(benchmark: Benchmark, hit: float, seed: int) -> dict[str, tuple[list[int], list[int]]]:
    """Answers that hold each gold id with a probability, and some wrong ones."""
    rng = random.Random(seed)
    answers = {}
    for name, (utts, imgs) in gold_of(benchmark).items():
        found = [i for i in utts if rng.random() < hit] + [rng.randrange(TURNS)]
        shown = [i for i in imgs if rng.random() < hit]
        answers[name] = (list(dict.fromkeys(found)), shown)
    return answers


def same(a: Any, b: Any) -> None:
    assert a.to_dict() == b.to_dict()


# By hand ------------------------------------------------------------------------------------------


def test_ranks_and_tiers_of_a_chain(make_benchmark: Callable[..., Benchmark]) -> None:
    """``n`` dialogues that differ, all in one direction: p = 2 / 2**n, by counting the swaps."""
    benchmark = make_benchmark(12)
    names, rights = ("c", "a", "b"), (4, 12, 8)
    runs = [right_in(benchmark, number) for number in rights]
    found = compare_evaluations(names, runs, "macro.utterance.f1", Resampling(20_000))
    assert [(run.model, run.value) for run in found.ranks] == [
        ("a", 1.0),
        ("b", pytest.approx(8 / 12)),
        ("c", pytest.approx(4 / 12)),
    ]
    assert [(run.rank_lo, run.rank_hi, run.tier) for run in found.ranks] == [
        (1, 2, 1),  # better than c
        (1, 3, 1),  # neither is known
        (2, 3, 2),  # worse than a, the first of its tier
    ]
    assert [(pair.a, pair.b) for pair in found.pairs] == [("c", "a"), ("c", "b"), ("a", "b")]
    assert [pair.delta for pair in found.pairs] == pytest.approx([-8 / 12, -4 / 12, 4 / 12])
    for pair, differing in zip(found.pairs, (8, 4, 4), strict=True):
        p = 2 / 2**differing
        assert pair.p == pytest.approx(p, abs=4 * math.sqrt(p / 20_000))
        assert pair.n_dialogues == 12
    first, second, third = (pair.p for pair in found.pairs)
    assert first is not None
    assert second is not None
    assert third is not None
    larger = max(2 * min(second, third), second, third)
    assert found.pairs[0].p_holm == pytest.approx(3 * first)
    assert max(pair.p_holm or 0 for pair in found.pairs) == pytest.approx(larger)
    assert (found.n_samples, found.n_dialogues) == (12, 12)
    assert found.notes == ("12 dialogues: below 50 intervals come out somewhat too narrow",)


def test_the_interval_of_a_share_of_dialogues(make_benchmark: Callable[..., Benchmark]) -> None:
    """The difference of a mean of 0/1 over dialogues is binomial; its quantiles are known."""
    from scipy.stats import binom

    benchmark = make_benchmark(20)
    runs = [right_in(benchmark, number) for number in (15, 8)]
    found = compare_evaluations("ab", runs, "macro.utterance.f1", Resampling(20_000))
    expected = [binom.ppf(q, 20, 7 / 20) / 20 for q in (0.025, 0.975)]
    ci95 = found.pairs[0].ci95
    assert ci95 is not None
    assert [ci95.lo, ci95.hi] == pytest.approx(expected, abs=0.051)  # one dialogue is 0.05
    error = math.sqrt(7 / 20 * 13 / 20 / 20)
    needed = 20 * ((1.959964 + 0.841621) * error / (7 / 20)) ** 2
    assert found.pairs[0].dialogues_needed == pytest.approx(needed, abs=1.5)


def test_equal_runs_are_equal(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(12, 2, images=True)
    answers = guessing(benchmark, 0.5, 1)
    runs = [evaluated(benchmark, answers), right_in(benchmark, 12), evaluated(benchmark, answers)]
    for metric in ("micro.joint.f1", "macro.joint.f1", "macro.joint.mcc"):
        found = compare_evaluations(("x", "best", "y"), runs, metric, Resampling(500))
        pair = found.pair("x", "y")
        assert pair.ci95 is not None
        assert (pair.delta, pair.ci95.lo, pair.ci95.hi, pair.p, pair.p_holm) == (0, 0, 0, 1, 1)
        assert pair.dialogues_needed is None
        assert [(run.model, run.rank_lo, run.rank_hi, run.tier) for run in found.ranks] == [
            ("best", 1, 1, 1),
            ("x", 2, 3, 2),
            ("y", 2, 3, 2),
        ]
        assert "no difference, in whatever dialogues: x and y" in found.notes


def test_a_difference_that_is_always_the_same(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(12)
    runs = [right_in(benchmark, 12), right_in(benchmark, 0)]
    found = compare_evaluations(("all", "none"), runs, resampling=Resampling(500))
    pair = found.pairs[0]
    assert pair.ci95 is not None
    assert (pair.delta, pair.ci95.lo, pair.ci95.hi) == (1, 1, 1)
    assert any("its interval is a point: all and none" in note for note in found.notes)


def test_lower_can_be_better(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(12)
    everything = dict.fromkeys(gold_of(benchmark), (list(range(TURNS)), list[int]()))
    runs = [evaluated(benchmark, everything), right_in(benchmark, 12)]
    found = compare_evaluations(("all", "right"), runs, "over_retrieval", Resampling(2000))
    assert found.better == "lower"
    assert found.pairs[0].delta == 1
    assert [(run.model, run.value, run.tier) for run in found.ranks] == [
        ("right", 0, 1),
        ("all", 1, 2),
    ]


# Against slow computations of the same ------------------------------------------------------------


def joint_f1(counts: list[list[float]]) -> float:
    figures = [
        2 * tp / (2 * tp + fp + fn) for tp, fp, fn in (counts[:3], counts[3:]) if tp + fp + fn
    ]
    return sum(figures) / len(figures) if figures else math.nan


def counts_of(benchmark: Benchmark, answers: Answers) -> list[list[int]]:
    """tp, fp, fn of utterances and then images, summed over each dialogue by sets."""
    totals: dict[str, list[int]] = {}
    for name, gold in gold_of(benchmark).items():
        row = totals.setdefault(name.partition("#")[0], [0] * 6)
        for place in (0, 1):
            wanted, said = set(gold[place]), set(answers[name][place])
            for step, ids in enumerate((wanted & said, said - wanted, wanted - said)):
                row[3 * place + step] += len(ids)
    return [totals[name] for name in sorted(totals)]


def summed(rows: list[list[int]]) -> list[Any]:
    return [sum(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("hit", "other"), [(0.6, 0.5), (0.6, 0.58), (0.7, 0.4)])
def test_intervals_and_p_values_are_those_of_loops(
    make_benchmark: Callable[..., Benchmark], hit: float, other: float
) -> None:
    benchmark = make_benchmark(25, 3, images=True)
    answers = [guessing(benchmark, share, seed) for seed, share in enumerate((hit, other), 1)]
    a, b = (counts_of(benchmark, each) for each in answers)
    rng = random.Random(9)
    observed = joint_f1(summed(a)) - joint_f1(summed(b))
    differences, as_large = [], 0
    replicates = 4000
    for _ in range(replicates):
        drawn = rng.choices(range(len(a)), k=len(a))
        first, second = ([rows[i] for i in drawn] for rows in (a, b))
        differences.append(joint_f1(summed(first)) - joint_f1(summed(second)))
        swaps = [rng.random() < 0.5 for _ in a]
        first = [y if swap else x for x, y, swap in zip(a, b, swaps, strict=True)]
        second = [x if swap else y for x, y, swap in zip(a, b, swaps, strict=True)]
        difference = joint_f1(summed(first)) - joint_f1(summed(second))
        as_large += abs(difference) >= abs(observed) - 1e-12
    runs = [evaluated(benchmark, each) for each in answers]
    pair = compare_evaluations("ab", runs).pairs[0]
    assert pair.delta == pytest.approx(observed, abs=1e-12)
    assert pair.p is not None
    assert pair.ci95 is not None
    p = (1 + as_large) / (1 + replicates)
    assert pair.p == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / replicates) + 1e-3)
    lo, hi = np.quantile(differences, [0.025, 0.975])
    assert [pair.ci95.lo, pair.ci95.hi] == pytest.approx([lo, hi], abs=0.08 * (hi - lo))


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("metric", ["micro.joint.f1", "macro.image.recall", "micro.joint.mcc"])
def test_all_pairs_at_once_are_the_pairs_alone(
    make_benchmark: Callable[..., Benchmark], metric: str, method: Any
) -> None:
    benchmark = make_benchmark(10, 2, images=True)
    runs = [evaluated(benchmark, guessing(benchmark, 0.3 + 0.2 * i, i)) for i in range(4)]
    resampling = Resampling(300, 3, method)
    found = compare_evaluations("abcd", runs, metric, resampling)
    assert len(found.pairs) == 6
    for pair in found.pairs:
        two = ["abcd".index(pair.a), "abcd".index(pair.b)]
        alone = compare_evaluations(
            (pair.a, pair.b), [runs[i] for i in two], metric, resampling
        ).pairs[0]
        assert pair.p == alone.p == alone.p_holm
        assert pair.ci95 is not None
        assert alone.ci95 is not None
        assert [pair.delta, pair.ci95.lo, pair.ci95.hi] == pytest.approx(
            [alone.delta, alone.ci95.lo, alone.ci95.hi], abs=1e-12
        )


def test_methods_differ_and_seeds_matter(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(10, 2)
    runs = [evaluated(benchmark, guessing(benchmark, 0.3 + 0.4 * i, i)) for i in range(2)]

    def intervals(*resampling: Any) -> list[Any]:
        found = compare_evaluations("ab", runs, resampling=Resampling(*resampling)).to_dict()
        return [found["pairs"][0]["ci95"], found["ranks"][0]["ci95"]]

    assert intervals(300, 1) == intervals(300, 1)
    assert intervals(300, 1) != intervals(300, 2)
    percentile, bca = intervals(300, 1), intervals(300, 1, "bca")
    assert all(a != b for a, b in zip(percentile, bca, strict=True))


# What must not matter -----------------------------------------------------------------------------


def test_the_order_of_runs_changes_only_the_order(
    make_benchmark: Callable[..., Benchmark],
) -> None:
    benchmark = make_benchmark(12, 2, images=True)
    runs = [evaluated(benchmark, guessing(benchmark, 0.3 + 0.2 * i, i)) for i in range(3)]
    there = compare_evaluations("abc", runs, resampling=Resampling(500))
    back = compare_evaluations("cba", runs[::-1], resampling=Resampling(500))
    assert there.ranks == back.ranks
    assert there.runs == back.runs[::-1]
    for pair in there.pairs:
        other = back.pair(pair.a, pair.b)
        assert (other.a, other.b) == (pair.b, pair.a)
        assert (other.p, other.p_holm) == (pair.p, pair.p_holm)
        assert other.dialogues_needed == pair.dialogues_needed
        assert pair.delta is not None
        assert other.delta == -pair.delta
        assert pair.ci95 is not None
        assert other.ci95 is not None
        assert [other.ci95.lo, other.ci95.hi] == pytest.approx([-pair.ci95.hi, -pair.ci95.lo])


@pytest.mark.parametrize("metric", ["micro.joint.f1", "macro.joint.mcc"])
def test_the_order_of_samples_changes_nothing(
    make_benchmark: Callable[..., Benchmark], metric: str
) -> None:
    benchmark = make_benchmark(9, 4, images=True)
    runs = [evaluated(benchmark, guessing(benchmark, 0.3 + 0.3 * i, i)) for i in range(2)]
    order = np.random.default_rng(0).permutation(len(benchmark))
    mixed = [evaluate(run.table.take(order), run.protocol) for run in runs]
    expected = compare_evaluations("ab", runs, metric, Resampling(300))
    same(compare_evaluations("ab", mixed, metric, Resampling(300)), expected)
    same(compare_evaluations("ab", [runs[0], mixed[1]], metric, Resampling(300)), expected)


def test_some_samples_are_a_table_of_them(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(9, 4, images=True)
    runs = [evaluated(benchmark, guessing(benchmark, 0.3 + 0.3 * i, i)) for i in range(2)]
    rows = np.arange(3, 30, 2)
    cut = [evaluate(run.table.take(rows), run.protocol) for run in runs]
    expected = compare_evaluations("ab", cut, resampling=Resampling(300))
    ids = [runs[0].table.sample_id[row] for row in rows]
    same(compare_evaluations("ab", runs, resampling=Resampling(300), sample_ids=ids), expected)
    assert expected.n_samples == len(rows)


# What cannot be known -----------------------------------------------------------------------------


def plain_of(found: Comparison) -> dict[str, Any]:
    """As JSON has it, without NaN or infinity anywhere."""
    import msgspec

    record: dict[str, Any] = found.to_dict()

    def check(value: Any) -> None:
        if isinstance(value, dict | list | tuple):
            for part in value.values() if isinstance(value, dict) else value:
                check(part)
        assert not isinstance(value, float) or math.isfinite(value)

    check(record)
    assert msgspec.json.decode(msgspec.json.encode(record)) == msgspec.to_builtins(record)
    return record


def test_one_dialogue_says_nothing(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(1, 5)
    runs = [right_in(benchmark, 1), right_in(benchmark, 0)]
    found = plain_of(compare_evaluations("ab", runs))
    pair = found["pairs"][0]
    assert (pair["delta"], pair["ci95"], pair["p"], pair["p_holm"]) == (1, None, None, None)
    assert pair["dialogues_needed"] is None
    assert [(run["ci95"], run["rank_lo"], run["rank_hi"]) for run in found["ranks"]] == [
        (None, 1, 2)
    ] * 2
    assert any(note.startswith("one dialogue: nothing can be said") for note in found["notes"])


def test_an_undefined_metric_is_last_and_explained(
    make_benchmark: Callable[..., Benchmark],
) -> None:
    benchmark = make_benchmark(8)
    gold = gold_of(benchmark)
    invents = evaluated(benchmark, {name: (utts, [7]) for name, (utts, _) in gold.items()})
    runs = [right_in(benchmark, 8), invents, right_in(benchmark, 4)]
    found = plain_of(compare_evaluations(("x", "bad", "y"), runs, "micro.image.f1"))
    assert [(run["model"], run["value"], run["rank_hi"]) for run in found["ranks"]] == [
        ("bad", 0, 1),
        ("x", None, None),
        ("y", None, None),
    ]
    assert all(pair["delta"] is pair["p"] is pair["p_holm"] is None for pair in found["pairs"])
    assert found["disagreements"] is None
    assert found["notes"][0] == (
        "micro.image.f1 is undefined, and nothing compared with it, for x; y: no image ids in the"
        " gold or its predictions"
    )
    nothing = plain_of(compare_evaluations("xy", [runs[0], runs[2]], "micro.image.f1"))
    assert [run["tier"] for run in nothing["ranks"]] == [None, None]


def test_undefined_resamples_are_noted(make_benchmark: Callable[..., Benchmark]) -> None:
    """An image is predicted in one of eight dialogues: many resamples have none."""
    benchmark = make_benchmark(8)
    name, (utts, _) = next(iter(gold_of(benchmark).items()))
    runs = [
        evaluated(benchmark, {**gold_of(benchmark), name: (utts, [number])}) for number in (7, 8)
    ]
    found = compare_evaluations("ab", runs, "micro.image.f1", Resampling(2000))
    (note,) = (note for note in found.notes if "of the resamples" in note)
    share = (7 / 8) ** 8
    assert float(note.split("up to ")[1].split("%")[0]) == pytest.approx(100 * share, abs=4)
    assert "a; b; a and b" in note


def test_too_few_dialogues_or_replicates_are_noted(
    make_benchmark: Callable[..., Benchmark],
) -> None:
    def note(dialogues: int, replicates: int, runs: int = 2) -> tuple[str, ...]:
        benchmark = make_benchmark(dialogues)
        every = [right_in(benchmark, number) for number in range(runs)]
        names = "abcdefgh"[:runs]
        notes = compare_evaluations(names, every, resampling=Resampling(replicates)).notes
        return tuple(note for note in notes if "no difference can be significant" in note)

    assert note(6, 1000) == ()  # 2 / 2**6 = 0.03
    assert "with 5 dialogues no p-value is below 0.062" in note(5, 1000)[0]
    assert "adjusted for 3 pairs 0.094" in note(6, 1000, 3)[0]
    assert note(12, 1000, 5) == ()
    assert "10 pairs need more replicates (--replicates 400 would do)" in note(12, 150, 5)[0]


# Where they disagree ------------------------------------------------------------------------------


def test_the_samples_on_which_two_disagree_most(
    make_benchmark: Callable[..., Benchmark],
) -> None:
    benchmark = make_benchmark(15)
    gold = gold_of(benchmark)
    half = {name: (utts[:1], imgs) for name, (utts, imgs) in gold.items()}
    half["d03#0"] = ([], [])
    runs = [evaluated(benchmark, gold), evaluated(benchmark, half)]
    queries = dict(zip(benchmark.queries.sample_id, benchmark.queries.query, strict=True))
    found = compare_evaluations("ab", runs, query_of=queries.get).disagreements
    assert found is not None
    assert (found.a, found.b, found.metric) == ("a", "b", "macro.joint.f1")
    expected = {
        name: 1.0 if name == "d03#0" else 1 - 2 / (1 + len(utts))
        for name, (utts, _) in gold.items()
    }
    order = sorted((name for name in expected if expected[name]), key=lambda n: (-expected[n], n))
    assert found.n_samples == len(order)
    assert [sample.sample_id for sample in found.samples] == order[:10]
    assert [sample.delta for sample in found.samples] == pytest.approx(
        [expected[name] for name in order[:10]]
    )
    assert (found.samples[0].sample_id, found.samples[0].query) == ("d03#0", "find 3 0")
    third = [*runs, right_in(benchmark, 0)]
    among = compare_evaluations("abc", third[::-1]).disagreements
    assert among is not None
    assert (among.a, among.b) == ("c", "b")  # the best two, by name the last two


def test_metrics_without_a_sample_form_compare_samples_as_they_are(
    make_benchmark: Callable[..., Benchmark],
) -> None:
    benchmark = make_benchmark(8)
    runs = [right_in(benchmark, 8), right_in(benchmark, 3)]
    for metric, by in (
        ("adjusted_f1", "micro.joint.adjusted_f1"),
        ("exact", "macro.joint.exact"),
        ("micro.utterance.f_beta(2)", "macro.utterance.f_beta(2)"),
    ):
        found = compare_evaluations("ab", runs, metric, Resampling(50)).disagreements
        assert found is not None
        assert (found.metric, found.n_samples) == (by, 5)
        assert [sample.delta for sample in found.samples] == [1] * 5


# What is refused ----------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused(make_benchmark: Callable[..., Benchmark]) -> None:
    benchmark = make_benchmark(6, 2)
    run = right_in(benchmark, 6)
    with pytest.raises(InputError, match="1 run to compare"):
        compare_evaluations("a", [run])
    with pytest.raises(InputError, match="a is given twice"):
        compare_evaluations("aa", [run, run])
    with pytest.raises(InputError, match="no value is better"):
        compare_evaluations("ab", [run, run], "cardinality_ratio")
    fewer = evaluate(run.table.take(np.arange(3, 12)), run.protocol)
    with pytest.raises(InputError, match=r"b: sample_id: lacks sample 'd00#0' \(3 such samples\)"):
        compare_evaluations("ab", [run, fewer])
    with pytest.raises(InputError, match="b: sample_id: has sample 'd00#0', which a lacks"):
        compare_evaluations("ab", [fewer, run])
    other = make_benchmark(6, 2, seed=1)
    with pytest.raises(InputError, match="has other gold"):
        compare_evaluations("ab", [run, right_in(other, 6)])


def test_a_metric_of_ones_own(make_benchmark: Callable[..., Benchmark]) -> None:
    """A value, not a name: what is not registered compares too."""
    benchmark = make_benchmark(8)
    metric = Metric(
        name="micro.of_my_own",
        summary="",
        terms=lambda e: np.stack([e.utterance.f1 == 1, np.ones(len(e))], axis=1).astype(float),
        value=lambda sums: sums[..., 0] / sums[..., 1],
    )
    runs = [right_in(benchmark, 8), right_in(benchmark, 2)]
    assert compare_evaluations("ab", runs, metric).pairs[0].delta == 0.75
