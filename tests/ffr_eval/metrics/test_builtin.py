"""The metrics beside P, R, F1 and MCC against slow ones, written from docs/metrics.md alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ffr_eval
from ffr_eval.metrics.metric import MetricFamily, mean_of
from ffr_eval.metrics.named import ALL_FIGURES, metric_families, parse_metric, parse_metrics
from ffr_eval.metrics.tolerance import count_matches
from ffr_eval.ragged import Ragged
from ffr_eval.scoring import score_table
from tests.ffr_eval.metrics.tasks import Task, make_benchmark, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.scoring import Scores
    from tests.reference import Judged


def value(made: Any, benchmark: Benchmark, name: str, protocol: str = "strict") -> float | None:
    return ffr_eval.score(made, benchmark, protocol=protocol).metric(name)


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def f_beta(tp: float, fp: float, fn: float, beta: float) -> float:
    below = (1 + beta**2) * tp + beta**2 * fn + fp
    return (1 + beta**2) * tp / below if below else 0.0


def of_modalities(samples: Sequence[Judged], figure: Callable[[Any, Any, Any], Any]) -> Any:
    """``figure(gold, predicted, universe)`` of each modality's samples, averaged where not null."""
    found = []
    for place in (0, 1):
        rows = [(s.gold[place], set(s.predicted[place]), s.universe[place]) for s in samples]
        if any(gold | predicted for gold, predicted, _ in rows):
            found.append(figure(*zip(*rows, strict=True)))
    found = [value for value in found if value is not None]
    return mean(found)


# --- against slow ones ---------------------------------------------------------------------------


@given(task=tasks())
@settings(deadline=None, max_examples=100)
def test_the_named_figures_are_those_of_the_table(task: Task) -> None:
    """One kernel: what ``--metrics`` says and what the table says is the same to the last bit."""
    benchmark, made, _ = task
    for protocol in ("strict", "official"):
        scores = ffr_eval.score(made, benchmark, protocol=protocol)
        for name in ALL_FIGURES:
            average, modality, figure = name.split(".")
            table = getattr(getattr(scores, average), modality)
            wanted = None if table is None else getattr(table, figure)
            found = scores.metric(name)
            assert found == (wanted if wanted is None else pytest.approx(wanted, abs=1e-13)), name


@given(task=tasks(), beta=st.sampled_from([0.5, 1.0, 2.0]))
@settings(deadline=None, max_examples=60)
def test_figures_of_counts(task: Task, beta: float) -> None:
    benchmark, made, samples = task

    def counts(gold: Any, predicted: Any) -> tuple[int, int, int]:
        pairs = list(zip(gold, predicted, strict=True))
        return (
            sum(len(g & p) for g, p in pairs),
            sum(len(p - g) for g, p in pairs),
            sum(len(g - p) for g, p in pairs),
        )

    def chance(gold: Any, predicted: Any, universe: Any) -> float:
        rows = zip(gold, predicted, universe, strict=True)
        hits = sum(len(g & u) * len(p & u) / len(u) if u else 0.0 for g, p, u in rows)
        return 2 * hits / (sum(map(len, gold)) + sum(map(len, predicted)))

    def adjusted(gold: Any, predicted: Any, universe: Any) -> float | None:
        raw, level = f_beta(*counts(gold, predicted), 1.0), chance(gold, predicted, universe)
        return None if level > 1 - 1e-12 else (raw - level) / (1 - level)

    def jaccard(gold: Any, predicted: Any, _: Any) -> float:
        tp, fp, fn = counts(gold, predicted)
        return tp / (tp + fp + fn)

    expected = {
        f"f_beta({beta:g})": of_modalities(samples, lambda g, p, _: f_beta(*counts(g, p), beta)),
        "jaccard": of_modalities(samples, jaccard),
        "chance_f1": of_modalities(samples, chance),
        "adjusted_f1": of_modalities(samples, adjusted),
    }
    for name, wanted in expected.items():
        assert value(made, benchmark, name) == approx(wanted), name


@given(task=tasks())
@settings(deadline=None, max_examples=60)
def test_shares_of_samples(task: Task) -> None:
    benchmark, made, samples = task
    exact, over, under = [], [], []
    for sample in samples:
        predicted = [set(ids) for ids in sample.predicted]
        right = [g == p for g, p in zip(sample.gold, predicted, strict=True)]
        counts_at_all = [bool(u or p) for u, p in zip(sample.universe, predicted, strict=True)]
        silent = not any((*sample.gold, *predicted))
        modalities = [
            r and (sample.answered or bool(g | p))
            for r, counted, g, p in zip(right, counts_at_all, sample.gold, predicted, strict=True)
            if counted
        ]
        exact.append(float(all(modalities) and (sample.answered or not silent)))
        sizes = sum(map(len, predicted)), sum(map(len, sample.gold))
        over.append(float(sizes[0] > sizes[1]))
        under.append(float(sizes[0] < sizes[1]))
    assert value(made, benchmark, "exact") == approx(mean(exact))
    assert value(made, benchmark, "over_retrieval") == approx(mean(over))
    assert value(made, benchmark, "under_retrieval") == approx(mean(under))
    answered = mean([float(sample.answered) for sample in samples])
    assert value(made, benchmark, "answered_rate") == approx(answered)
    missing = mean([float(sample.outcome == "missing") for sample in samples])
    assert value(made, benchmark, "outcome_rate(missing)") == approx(missing)


@given(task=tasks())
@settings(deadline=None, max_examples=60)
def test_abstention_sizes_and_slips(task: Task) -> None:
    benchmark, made, samples = task
    negative = {i for i, s in enumerate(samples) if not any(s.gold)}
    abstained = {i for i, s in enumerate(samples) if s.answered and not any(s.predicted)}
    some = negative | abstained
    hit = len(negative & abstained)
    precision = (hit / len(abstained) if abstained else 0.0) if some else None
    recall = (hit / len(negative) if negative else 0.0) if some else None
    assert value(made, benchmark, "abstention_precision") == approx(precision)
    assert value(made, benchmark, "abstention_recall") == approx(recall)
    gold = sum(len(ids) for s in samples for ids in s.gold)
    distinct = sum(len(set(ids)) for s in samples for ids in s.predicted)
    assert value(made, benchmark, "cardinality_ratio") == approx(distinct / gold if gold else None)
    written = sum(len(ids) for s in samples for ids in s.predicted)
    repeats = (written - distinct) / written if written else 0.0
    assert value(made, benchmark, "duplicate_rate") == approx(repeats)
    pairs = [(set(p), u) for s in samples for p, u in zip(s.predicted, s.universe, strict=True)]
    invented = sum(len(p - u) for p, u in pairs)
    assert value(made, benchmark, "invented_rate") == approx(invented / distinct if distinct else 0)


@given(task=tasks())
@settings(deadline=None, max_examples=40)
def test_metrics_of_a_group_are_those_of_its_samples(task: Task) -> None:
    benchmark, made, _ = task
    names = ["f_beta(0.5)", "exact", "tol_f1(1)", "adjusted_f1", "macro.image.mcc", "jaccard"]
    scores = ffr_eval.score(made, benchmark, group_by=["kind"], metrics=names)
    for kind, group in scores.groups["kind"].items():
        rows = np.flatnonzero(scores.table.kind == kind)
        alone = score_table(scores.table.take(rows), "strict", (), names)
        assert list(group.metrics) == names
        for name in names:
            assert group.metrics[name] == approx(alone.metrics[name]), (kind, name)


def approx(wanted: float | None) -> Any:
    return None if wanted is None else pytest.approx(wanted, abs=1e-12)


# --- boundaries ----------------------------------------------------------------------------------

TURNS = st.lists(st.integers(0, 9), max_size=5, unique=True)


def most_pairs(gold: list[int], predicted: list[int], tolerance: int) -> int:
    """Over all ways to give each gold turn a predicted one of its own, or none."""
    best = 0
    longer, shorter = sorted((gold, predicted), key=len, reverse=True)
    for order in itertools.permutations(longer, len(shorter)):
        pairs = zip(shorter, order, strict=True)
        best = max(best, sum(abs(a - b) <= tolerance for a, b in pairs))
    return best


@given(batch=st.lists(st.tuples(TURNS, TURNS), min_size=1, max_size=5), k=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_turns_are_matched_one_to_one_as_often_as_can_be(batch: Any, k: int) -> None:
    gold, predicted = (
        Ragged.from_lists([sorted(pair[place]) for pair in batch]) for place in (0, 1)
    )
    wanted = [most_pairs(*pair, k) for pair in batch]
    assert count_matches(gold, predicted, k).tolist() == wanted


def test_tolerance_is_in_turns_and_not_in_ids() -> None:
    """Utterance ids 40, 7, 30, 2 in this order: 7 is beside 40, 2 is not."""
    benchmark = make_benchmark([([40, 7, 30, 2], [])], [(0, [40], [])])
    assert value({"s0": ([7], [])}, benchmark, "tol_f1(1)") == 1.0
    assert value({"s0": ([2], [])}, benchmark, "tol_f1(2)") == 0.0
    assert value({"s0": ([2], [])}, benchmark, "tol_f1(3)") == 1.0
    assert value({"s0": ([40, 7], [])}, benchmark, "tol_precision(1)") == 0.5  # one-to-one
    assert value({"s0": ([40, 7], [])}, benchmark, "tol_recall(1)") == 1.0
    assert value({"s0": ([41], [])}, benchmark, "tol_f1(3)") == 0.0  # invented: has no place


@given(task=tasks())
@settings(deadline=None, max_examples=60)
def test_without_tolerance_it_is_f1_and_more_never_hurts(task: Task) -> None:
    benchmark, made, _ = task
    for average, protocol in itertools.product(("micro", "macro"), ("strict", "official")):
        scores = ffr_eval.score(made, benchmark, protocol=protocol)
        values = [scores.metric(f"{average}.tol_f1({k})") for k in (0, 1, 4)]
        assert values[0] == approx(scores.metric(f"{average}.utterance.f1"))
        if None not in values:
            assert values == sorted(values, key=lambda v: v or 0.0)


# --- by hand -------------------------------------------------------------------------------------


def one(gold: Any, answer: Any, dialogue: Any = (range(10), range(4))) -> Scores:
    return ffr_eval.score({"s0": answer}, make_benchmark([dialogue], [(0, *gold)]))


def test_chance_takes_all_from_everything_and_nothing_from_gold() -> None:
    everything = one(([0, 1, 2], [0]), (list(range(10)), list(range(4))))
    assert everything.metric("micro.joint.f1") > 0.4
    assert everything.metric("adjusted_f1") == pytest.approx(0.0, abs=1e-15)
    assert one(([0, 1, 2], [0]), ([0, 1, 2], [0])).metric("adjusted_f1") == 1.0
    nothing = one(([0, 1, 2], [0]), ([], []))
    assert nothing.metric("adjusted_f1") == 0.0
    assert one(([0, 1], [0]), ([5, 6], [1])).metric("adjusted_f1") < 0


def test_all_of_the_dialogue_as_gold_cannot_be_told_from_chance() -> None:
    scores = one((range(10), [0]), (range(10), [0]))
    assert scores.metric("utterance.adjusted_f1") is None
    assert scores.metric("micro.joint.adjusted_f1") == 1.0  # the images alone


def test_a_failed_sample_is_exact_only_where_something_was_found() -> None:
    benchmark = make_benchmark([([0, 1], [])], [(0, [], [])])
    assert value({}, benchmark, "exact") == 0.0
    assert value({"s0": ((), ())}, benchmark, "exact") == 1.0


# --- a metric is a value -------------------------------------------------------------------------


def test_every_family_gives_finite_terms_and_one_value_a_row() -> None:
    benchmark = make_benchmark([([0, 1, 2], [0])], [(0, [0], [0]), (0, [], []), (0, [1], [])])
    evaluation = ffr_eval.score({"s0": ([0, 9], [])}, benchmark).evaluation
    numbers = {"beta": "2", "k": "1", "outcome": "ok"}
    for family in metric_families():
        brackets = ",".join(numbers[parameter.name] for parameter in family.parameters)
        for average, modality in itertools.product(family.averages, family.modalities):
            name = f"{average}.{modality}.{family.name}" + (f"({brackets})" if brackets else "")
            metric = parse_metric(name)
            assert metric.name == name
            assert metric.summary
            terms = metric.terms(evaluation)
            assert terms.dtype == np.float64
            assert terms.shape[0] == 3
            assert np.isfinite(terms).all()
            cube = np.broadcast_to(terms.sum(axis=0), (2, 5, terms.shape[1]))
            assert metric.value(cube).shape == (2, 5)


def test_a_third_party_metric_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from ffr_eval import plugins
    from ffr_eval.metrics import named

    real = plugins.registered

    def registered(group: str) -> dict[str, EntryPoint]:
        more = {
            "loudness": EntryPoint("loudness", f"{__name__}:LOUDNESS", group),
            "noise": EntryPoint("noise", "json:dumps", group),
        }
        return real(group) | more if group == plugins.METRICS else real(group)

    monkeypatch.setattr(named, "_registered", lambda: registered(plugins.METRICS))
    benchmark = make_benchmark([([0, 1, 2], [0])], [(0, [0], []), (0, [1], [])])
    scores = ffr_eval.score({"s0": ([0, 1], [])}, benchmark, metrics=["loudness"])
    assert scores.metrics == {"loudness": 1.0}
    with pytest.raises(ffr_eval.FfrError, match="the metric 'noise' is not a MetricFamily"):
        parse_metric("noise")


def test_a_built_in_metric_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, entry_points

    from ffr_eval import plugins

    for name in ("aaa.other:F1", "zzz.other:F1"):
        intruder = EntryPoint("f1", name, plugins.METRICS)
        every = [intruder, *entry_points(group=plugins.METRICS)]
        monkeypatch.setattr(plugins, "entry_points", lambda group, every=every: every)
        assert plugins.registered(plugins.METRICS)["f1"].value == "ffr_eval.metrics.builtin:F1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda e: np.zeros(1), "fails: IndexError|has terms of shape"),
        (lambda e: 1 / 0, "fails: ZeroDivisionError"),
        (lambda e: np.full(len(e), np.inf), "has terms that are not finite"),
    ],
)
def test_what_goes_wrong_in_a_metric_of_others_is_said_to_be_its_fault(
    monkeypatch: pytest.MonkeyPatch, values: Any, message: str
) -> None:
    from importlib.metadata import EntryPoint

    from ffr_eval.metrics import named

    family = MetricFamily("odd", "odd", lambda average, modality: mean_of(values))
    monkeypatch.setattr("tests.ffr_eval.metrics.test_builtin.ODD", family, raising=False)
    points = dict(named._registered())
    points["odd"] = EntryPoint("odd", "tests.ffr_eval.metrics.test_builtin:ODD", "ffr.metrics")
    monkeypatch.setattr(named, "_registered", lambda: points)
    named._parsed.cache_clear()
    benchmark = make_benchmark([([0, 1, 2], [0])], [(0, [0], []), (0, [1], [])])
    with pytest.raises(ffr_eval.FfrError, match=f"the metric 'odd' ({message})"):
        ffr_eval.score({}, benchmark, metrics=["odd"])
    named._parsed.cache_clear()


def test_metrics_are_parsed_from_one_text() -> None:
    text = "micro.joint.f1, exact , f_beta(0.12345678),macro.tol_f1( 2 )"
    assert [metric.name for metric in parse_metrics(text)] == [
        "micro.joint.f1",
        "macro.joint.exact",
        "micro.joint.f_beta(0.12345678)",
        "macro.utterance.tol_f1(2)",
    ]
    with pytest.raises(ffr_eval.InputError, match="no metric is named"):
        parse_metrics(" , ")


def _predicted_items(evaluation: Any) -> Any:
    return evaluation.table.utterance.predicted.lengths.astype(np.float64)


LOUDNESS = MetricFamily(
    "loudness",
    "predicted utterances a sample",
    lambda average, modality: mean_of(_predicted_items),
    averages=("macro",),
    modalities=("utterance",),
)
