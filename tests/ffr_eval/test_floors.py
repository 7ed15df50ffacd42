"""Floors and the oracle threshold, against exact expectations and brute force."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.benchmark import (
    Benchmark,
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.errors import InputError
from ffr_eval.floors import FLOORS, draw_without_replacement, draws_of, floor_table, floors
from ffr_eval.metrics.named import parse_metric
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.places import NOWHERE
from ffr_eval.sources import Request, load_source
from ffr_eval.threshold_sweep import oracle_threshold, oracle_value, score_columns, threshold_curve
from ffr_eval.types import Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ffr_eval.sources import Source

MODALITIES = ("utterance", "image")
PROTOCOLS = ("strict", "official")
METRICS = ("micro.joint.f1", "macro.joint.mcc", "micro.utterance.tol_f1(1)", "micro.image.recall")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A benchmark whose ids have gaps and do not come in order; one dialogue has no images."""
    folder = tmp_path_factory.mktemp("odd") / "odd"
    generator = np.random.default_rng(5)
    with BenchmarkWriter(folder, InfoRecord(name="odd")) as writer:
        for name, n_turns, n_images in (("a", 12, 5), ("b", 7, 0), ("c", 30, 9)):
            utt_ids = generator.permutation(100)[:n_turns].tolist()
            img_ids = generator.permutation(40)[:n_images].tolist()
            shown = generator.permutation(n_turns)[:n_images].tolist()
            turns = tuple(
                TurnRecord(
                    utt_id,
                    "S",
                    "text",
                    tuple(i for i, turn in zip(img_ids, shown, strict=True) if turn == place),
                )
                for place, utt_id in enumerate(utt_ids)
            )
            images = tuple(ImageRecord(img_id) for img_id in img_ids)
            writer.add_dialogue(DialogueRecord(name, turns, images, "en"))
            for k in range(4):
                utts = tuple(sorted(generator.permutation(utt_ids)[:k].tolist()))
                imgs = tuple(sorted(generator.permutation(img_ids)[: k // 2].tolist()))
                writer.add_query(QueryRecord(f"{name}#{k}", name, "q", utts, imgs))
    return read_benchmark(folder)


def source_of(benchmark: Benchmark, predictions: Any = (), protocol: str = "strict") -> Source:
    request = Request(benchmark=benchmark, protocol=protocol, keep_predictions=True)
    return load_source(predictions, request)


def floor_values(source: Source, metric: str, seed: int = 0) -> dict[str, float | None]:
    found = floors(source.table, source.protocol, parse_metric(metric), seed, source.benchmark)
    assert [floor.name for floor in found] == list(FLOORS)
    return {floor.name: floor.value for floor in found}


# Drawing -----------------------------------------------------------------------------------------


@given(st.data())
def test_draws_are_sorted_sets_of_the_size_asked_for(data: st.DataObject) -> None:
    universe = np.array(data.draw(st.lists(st.integers(0, 12), max_size=8)), dtype=np.int64)
    sizes = np.array([data.draw(st.integers(0, size)) for size in universe], dtype=np.int64)
    seed = data.draw(st.integers(0, 99))
    drawn = draw_without_replacement(sizes, universe, np.random.default_rng(seed))
    assert drawn.lengths.tolist() == sizes.tolist()
    for row, ids in enumerate(drawn.to_lists()):
        assert ids == sorted(set(ids))
        assert set(ids) <= set(range(universe[row]))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_all_sets_of_a_size_are_equally_likely(size: int) -> None:
    n = 20_000
    sizes, universe = np.full(n, size), np.full(n, 5)
    drawn = draw_without_replacement(sizes, universe, np.random.default_rng(size))
    sets = [tuple(ids) for ids in drawn.to_lists()]
    possible = list(combinations(range(5), size))
    assert set(sets) == set(possible)
    share = 1 / len(possible)
    deviation = np.sqrt(n * share * (1 - share))
    for one in possible:
        assert abs(sets.count(one) - n * share) < 4.5 * deviation


def test_enormous_universes_can_be_drawn_from() -> None:
    sizes, universe = np.array([3, 0, 2]), np.array([2**62, 2**62, 3])
    drawn = draw_without_replacement(sizes, universe, np.random.default_rng(0)).to_lists()
    assert [len(ids) for ids in drawn] == [3, 0, 2]
    assert max(drawn[0]) > 2**32


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", ["ffr-sample", "odd"])
def test_random_has_its_expected_value(name: str, modality: str, odd: Benchmark) -> None:
    """|G| of |U| ids drawn hit |G|²/|U| on average; the count is hypergeometric."""
    source = source_of(odd if name == "odd" else read_benchmark(name))
    columns = getattr(source.table, modality)
    gold = columns.gold.lengths.astype(float)
    universe = np.maximum(columns.universe, 2).astype(float)
    share = gold / universe
    variance = gold * share * (1 - share) * (universe - gold) / (universe - 1)
    expected = (gold * share).sum() / gold.sum()
    error = np.sqrt(variance.sum() / draws_of(len(gold))) / gold.sum()
    for seed in range(3):
        value = floor_values(source, f"micro.{modality}.f1", seed)["random"]
        assert value == pytest.approx(expected, abs=4 * error)
    assert error < 0.03


def test_window_on_average(odd: Benchmark) -> None:
    """Each start is equally likely: the mean over all of them is what is drawn on average."""
    source = source_of(odd)
    dialogues, queries = odd.dialogues, odd.queries
    hits = 0.0
    for row in range(len(odd)):
        ids = dialogues.utt_ids[int(queries.dialogue[row])].tolist()
        gold = set(queries.gold_utt_ids[row].tolist())
        starts = range(len(ids) - len(gold) + 1)
        hits += np.mean([len(gold & set(ids[start : start + len(gold)])) for start in starts])
    expected = hits / queries.gold_utt_ids.lengths.sum()
    value = floor_values(source, "micro.utterance.f1")["window"]
    assert value == pytest.approx(expected, abs=0.03)
    assert abs(value - floor_values(source, "micro.utterance.f1", 1)["window"]) < 0.05  # type: ignore[operator]


def test_none_and_all_are_exact(odd: Benchmark) -> None:
    everything = {
        sample.sample_id: (
            [turn.utt_id for turn in sample.dialogue.turns],
            [image.img_id for image in sample.dialogue.images],
        )
        for sample in odd.samples()
    }
    nothing = dict.fromkeys(everything, ([], []))
    for metric in (*METRICS, "exact", "over_retrieval", "abstention_f1", "micro.joint.adjusted_f1"):
        values = floor_values(source_of(odd), metric)
        for name, predictions in (("all", everything), ("none", nothing)):
            source = source_of(odd, predictions)
            expected = parse_metric(metric).of(evaluate(source.table, source.protocol))
            assert values[name] == expected, (metric, name)


def test_what_is_predicted_does_not_matter(odd: Benchmark) -> None:
    some = source_of(odd, {"a#1": ([1, 2, 3], [4]), "c#3": ([], [])})
    for metric in METRICS:
        assert floor_values(some, metric) == floor_values(source_of(odd), metric)


def test_a_seed_makes_the_draws(odd: Benchmark) -> None:
    source = source_of(odd)
    first = floor_values(source, "micro.joint.f1", 1)
    assert first == floor_values(source, "micro.joint.f1", 1)
    other = floor_values(source, "micro.joint.f1", 2)
    assert {name for name in FLOORS if first[name] != other[name]} == {"random", "window"}


def test_few_samples_are_drawn_more_often() -> None:
    assert [draws_of(n) for n in (1, 100, 1000, 1_000_000)] == [200, 200, 100, 5]


def test_undefined_is_none(lengths: Path) -> None:
    """In split dev no image is asked for: only `all` predicts one."""
    source = load_source({}, Request(benchmark=lengths, split="dev"))
    assert floor_values(source, "micro.image.f1") == {
        "none": None,
        "all": 0.0,
        "random": None,
        "window": None,
    }


# What is predicted -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random", "window"])
def test_drawn_floors_have_the_size_of_the_gold(odd: Benchmark, name: str) -> None:
    for protocol in PROTOCOLS:
        source = source_of(odd, protocol=protocol)
        table = floor_table(source.table, source.protocol, name, np.random.default_rng(0), odd)
        found = evaluate(table, source.protocol)
        for modality in MODALITIES:
            counts = found.counts(modality)
            assert (counts.tp + counts.fp).tolist() == (counts.tp + counts.fn).tolist()
            assert not counts.fp_outside.any()
            assert not counts.duplicates.any()
        negative = table.utterance.gold.lengths + table.image.gold.lengths == 0
        assert (table.outcome_counts()["empty"], table.outcome_counts()["ok"]) == (
            negative.sum(),
            (~negative).sum(),
        )


def test_a_window_is_of_consecutive_turns_and_of_consecutive_images(odd: Benchmark) -> None:
    source = source_of(odd)
    starts = set()
    for seed in range(20):
        generator = np.random.default_rng(seed)
        table = floor_table(source.table, source.protocol, "window", generator, odd)
        assert table.places is not None
        for row in range(len(table)):
            turns = table.places.predicted_utterance[row].tolist()
            assert turns == list(range(turns[0], turns[0] + len(turns))) if turns else True
            dialogue = int(odd.queries.dialogue[row])
            order = odd.dialogues.img_ids[dialogue].tolist()
            codes = sorted(order)
            where = [order.index(codes[code]) for code in table.image.predicted[row]]
            assert where == list(range(where[0], where[0] + len(where))) if where else True
            starts.update(where[:1])
    assert len(starts) > 3


@pytest.mark.parametrize("name", ["all", "random", "window"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_places_are_those_of_the_ids(odd: Benchmark, name: str, protocol: str) -> None:
    source = source_of(odd, protocol=protocol)
    table = floor_table(source.table, source.protocol, name, np.random.default_rng(3), odd)
    assert table.places is not None
    for row in range(len(table)):
        dialogue = odd.sample(row).dialogue
        turn_of = {turn.utt_id: place for place, turn in enumerate(dialogue.turns)}
        image_turn = {i: place for place, turn in enumerate(dialogue.turns) for i in turn.img_ids}
        for columns, known, places in (
            (table.utterance, turn_of, table.places.predicted_utterance),
            (table.image, image_turn, table.places.predicted_image),
        ):
            ids = columns.predicted[row].tolist()
            if protocol == "strict":  # a code is the rank of an id
                ids = [sorted(known)[code] for code in ids]
            assert places[row].tolist() == [known.get(i, NOWHERE) for i in ids]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_inference_files_have_floors(
    jsonl: Callable[..., Path], inference: Callable[..., Any], protocol: str
) -> None:
    """There is no benchmark: utterance 0 … 4 are the turns."""
    records = [inference("", ((1, 2), (0,)), images=["a", "b"], dialogue_id=name) for name in "ab"]
    source = load_source(jsonl(records), Request(protocol=protocol))
    assert len(source.table) == 2
    values = floor_values(source, "micro.utterance.tol_f1(1)")
    assert values["none"] == 0
    assert values["all"] == pytest.approx(2 * 2 / (2 + 5))
    # Of the four windows, three have two turns near 1 and 2, and (3, 4) one.
    assert values["window"] == pytest.approx((1 + 1 + 1 + 0.5) / 4, abs=0.05)
    image = floor_values(source, "micro.image.f1")
    assert image["random"] == pytest.approx(0.5, abs=0.1)
    assert image["window"] == pytest.approx(0.5, abs=0.1)


def test_a_file_of_no_samples_has_floors(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    record = inference("x")
    del record["response"]
    source = load_source(jsonl([record]), Request(protocol="official"))
    assert len(source.table) == 0
    assert floor_values(source, "macro.joint.f1") == dict.fromkeys(FLOORS)


def test_too_many_ids_for_all(jsonl: Callable[..., Path], inference: Callable[..., Any]) -> None:
    record = inference("x", ((1,), ()), utts=[1, 10**17])
    source = load_source(jsonl([record]), Request(protocol="official"))
    values = floor_values(source, "micro.utterance.f1")
    assert values == {"none": 0.0, "all": None, "random": 0.0, "window": 0.0}


# Thresholds --------------------------------------------------------------------------------------

SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=25)


@given(SCORED, st.integers(0, 3))
def test_the_sweep_is_what_brute_force_finds(scored: list[tuple[int, bool]], more: int) -> None:
    scores = np.array([score for score, _ in scored], dtype=float)
    gold = np.array([flag for _, flag in scored], dtype=bool)
    n_gold = int(gold.sum()) + more
    curve = threshold_curve(scores, gold, n_gold)
    assert curve.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    best = 0.0
    for place, threshold in enumerate(curve.thresholds):
        predicted = scores >= threshold
        tp, n = int((predicted & gold).sum()), int(predicted.sum())
        assert curve.n_predicted[place] == n
        assert curve.precision[place] == tp / n
        assert curve.recall[place] == (tp / n_gold if n_gold else 0)
        assert curve.f1[place] == 2 * tp / (n + n_gold)
        best = max(best, 2 * tp / (n + n_gold))
    assert (curve.best is None) == (best == 0)
    if curve.best is not None:
        assert curve.f1[curve.thresholds.tolist().index(curve.best)] == best


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    curve = threshold_curve([4.0, 3.0, 2.0, 1.0], [True, False, False, True])
    assert curve.f1.tolist() == pytest.approx([2 / 3, 1 / 2, 2 / 5, 2 / 3])
    assert curve.best == 4.0


def scored_predictions(benchmark: Benchmark, seed: int, levels: int = 4) -> Iterator[Prediction]:
    """Predictions with scores of few levels; one sample failed, one has no image scores."""
    generator = np.random.default_rng(seed)
    for sample in benchmark.samples():
        scores = {
            "utterance": tuple(generator.integers(0, levels, len(sample.dialogue.turns)) / 2),
            "image": tuple(generator.integers(0, levels, len(sample.dialogue.images)) / 2),
        }
        if sample.sample_id.endswith("c#2"):
            yield Prediction(sample.sample_id, Outcome.REQUEST_ERROR)
            continue
        if sample.sample_id.endswith("c#3"):
            del scores["image"]
        yield Prediction(sample.sample_id, Outcome.OK, Fragment((1,), (0,)), scores=scores)


def cut(
    benchmark: Benchmark, predictions: list[Prediction], utterance: float, image: float
) -> list[Prediction]:
    """The predictions with the ids that score at least the thresholds."""
    made = []
    for prediction in predictions:
        if prediction.scores is None:
            made.append(prediction)
            continue
        row = benchmark.row_of(prediction.sample_id)
        assert row is not None
        dialogue = benchmark.sample(row).dialogue
        fragment = Fragment(
            tuple(
                turn.utt_id
                for turn, score in zip(dialogue.turns, prediction.scores["utterance"], strict=True)
                if score >= utterance
            ),
            tuple(
                picture.img_id
                for picture, score in zip(
                    dialogue.images, prediction.scores.get("image", ()), strict=False
                )
                if score >= image
            ),
        )
        outcome = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
        made.append(Prediction(prediction.sample_id, outcome, fragment))
    return made


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_no_pair_of_thresholds_beats_the_oracle(odd: Benchmark, protocol: str, seed: int) -> None:
    predictions = list(scored_predictions(odd, seed))
    source = source_of(odd, predictions, protocol)
    found = oracle_threshold(source)
    assert found is not None
    assert found.n_scored == len(odd) - 1
    joint = parse_metric("micro.joint.f1")
    best = -1.0
    for utterance in (0.0, 0.5, 1.0, 1.5, 9.0):
        for image in (0.0, 0.5, 1.0, 1.5, 9.0):
            other = source_of(odd, cut(odd, predictions, utterance, image), protocol)
            best = max(best, joint.of(evaluate(other.table, other.protocol)) or 0.0)
    assert oracle_value(source, joint) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_oracles_table_is_that_of_the_ids(odd: Benchmark, protocol: str) -> None:
    """Gaps in the ids, their order, places and failed samples: as if the ids had been predicted."""
    predictions = list(scored_predictions(odd, 7))
    source = source_of(odd, predictions, protocol)
    found = oracle_threshold(source)
    assert found is not None
    assert found.utterance is not None
    assert found.image is not None
    other = source_of(odd, cut(odd, predictions, found.utterance, found.image), protocol)
    assert found.table.outcome_counts() == other.table.outcome_counts()
    assert found.table.outcome_counts()["request_error"] == 1
    for name in (*METRICS, "exact", "abstention_f1", "answered_rate"):
        metric = parse_metric(name)
        value = metric.of(evaluate(found.table, source.protocol))
        assert value == metric.of(evaluate(other.table, other.protocol)), name
        assert value == oracle_value(source, metric)


def test_gold_without_a_score_is_missed(odd: Benchmark) -> None:
    source = source_of(odd, list(scored_predictions(odd, 1)))
    columns = score_columns(source)
    assert columns is not None
    gold = source.table.utterance.gold.lengths
    lacking = source.table.sample_id.index("c#2")
    assert columns["utterance"].n_gold == gold.sum()
    assert columns["utterance"].gold.sum() == gold.sum() - gold[lacking]
    assert columns["utterance"].lengths[lacking] == 0


def test_without_scores_there_is_no_oracle(odd: Benchmark) -> None:
    assert oracle_threshold(source_of(odd, {"a#1": ([1], [])})) is None
    assert oracle_value(source_of(odd), parse_metric("exact")) is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ((0.5,) * 11, "11 scores, the dialogue has 12"),
        ((0.5,) * 11 + (float("nan"),), "not all are finite"),
        ((0.5,) * 11 + (10**400,), "not all are finite"),
        (("high",) * 12, "not a list of numbers"),
        ({"0": 1.0}, "not a list of numbers"),
    ],
)
def test_wrong_scores_are_refused(odd: Benchmark, scores: Any, message: str) -> None:
    prediction = Prediction("a#1", Outcome.EMPTY, scores={"utterance": scores})
    with pytest.raises(InputError, match=message) as caught:
        oracle_threshold(source_of(odd, [prediction]))
    assert caught.value.problem.field == "a#1: scores.utterance"
    assert "in its order" in (caught.value.problem.remedy or "")


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(["micro.utterance.f1", "micro.image.f1"]))
def test_a_modalitys_oracle_is_the_top_of_its_curve(odd: Benchmark, seed: int, metric: str) -> None:
    source = source_of(odd, list(scored_predictions(odd, seed, levels=20)))
    columns = score_columns(source)
    assert columns is not None
    top = columns[metric.split(".")[1]].curve.f1.max()
    assert oracle_value(source, parse_metric(metric)) == pytest.approx(top)
