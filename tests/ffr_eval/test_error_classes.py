"""The error classes: each by example, and all against a slow classifier."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.error_classes import CLASSES, ErrorClass, classify, decompose, without_errors
from ffr_eval.markup import answer_text
from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import parse_metric
from ffr_eval.metrics.protocols import Evaluation, evaluate
from ffr_eval.sources import PredictionsLike, Request, load_source
from ffr_eval.types import Fragment, Outcome, Prediction
from tests.ffr_eval.metrics.tasks import Task, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

Ids = tuple[tuple[int, ...], tuple[int, ...]]
NOTHING: Ids = ((), ())
OFF_BY_ONE_AND_MORE = {"boundary": (0, 1), "over-retrieval": (1, 0), "under-retrieval": (0, 1)}


@pytest.fixture
def benchmark(tmp_path: Path) -> Callable[..., Benchmark]:
    """Makes a benchmark of one query for each gold.

    Utterance ids are ten times their turn, 0 to 200; turn 5 shows image 0 and turn 15 image 1.
    """

    def make(*golds: Ids) -> Benchmark:
        pictures = {5: (0,), 15: (1,)}
        turns = tuple(TurnRecord(10 * i, "S", "t", pictures.get(i, ())) for i in range(21))
        with BenchmarkWriter(tmp_path / "turns", InfoRecord(name="turns")) as writer:
            writer.add_dialogue(DialogueRecord("d", turns, (ImageRecord(0), ImageRecord(1))))
            for number, (utts, imgs) in enumerate(golds):
                writer.add_query(QueryRecord(f"d#{number}", "d", "q", utts, imgs))
        return read_benchmark(tmp_path / "turns")

    return make


def evaluated(benchmark: Benchmark, predictions: PredictionsLike) -> Evaluation:
    source = load_source(predictions, Request(benchmark))
    return evaluate(source.table, source.protocol)


def found(classes: Iterable[ErrorClass]) -> dict[str, tuple[int, int]]:
    """Wrong and missed ids of the classes that have any."""
    return {c.name: (c.n_wrong, c.n_missed) for c in classes if c.n_wrong + c.n_missed}


# One by one --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        (((40, 50), (0,)), ((50, 40), (0,)), {}),
        # Nothing within a turn of the gold, which an image in turn 5 belongs to.
        (((40, 50), (0,)), ((100, 110), ()), {"wrong topic": (2, 3)}),
        (((), (0,)), ((70,), (1,)), {"wrong topic": (2, 1)}),
        (((40,), ()), ((7, 8), ()), {"wrong topic": (2, 1)}),  # all invented
        (((40,), ()), ((60,), ()), {"wrong topic": (1, 1)}),  # two turns
        # The turn before the image: near, but no image was named and no utterance asked for.
        (((), (0,)), ((40,), ()), {"wrong modality": (1, 1)}),
        (((40, 50), ()), ((40, 50), (0,)), {"over-retrieval": (1, 0)}),
        (((40, 50), (0,)), ((40, 50), ()), {"under-retrieval": (0, 1)}),
        # One turn off: the wrong and the missed one. Turn 90 is two away.
        (((40, 50), ()), ((50, 60), ()), {"boundary": (1, 1)}),
        (((40, 50, 60), ()), ((40, 90), ()), OFF_BY_ONE_AND_MORE),
        (((40, 50, 60), ()), ((40, 50), ()), {"boundary": (0, 1)}),
        (((40, 50, 60), ()), ((50, 60, 70), ()), {"boundary": (1, 1)}),
        # What is left.
        (((40,), ()), ((40, 7), ()), {"over-retrieval": (1, 0)}),
        (((40,), (0,)), ((40,), (0, 1)), {"over-retrieval": (1, 0)}),
        (NOTHING, ((40,), (0,)), {"over-retrieval": (2, 0)}),
        (((40, 80), (0, 1)), ((40,), (0,)), {"under-retrieval": (0, 2)}),
        (((40,), (0,)), NOTHING, {"under-retrieval": (0, 2)}),
        (NOTHING, NOTHING, {}),
    ],
)
def test_each_class_by_example(
    benchmark: Callable[..., Benchmark], gold: Ids, predicted: Ids, expected: Any
) -> None:
    classes = decompose(evaluated(benchmark(gold), {"d#0": predicted}))
    assert [c.name for c in classes] == list(CLASSES)
    assert found(classes) == expected
    for c in classes:
        assert (c.n_samples, c.example) == ((1, "d#0") if c.name in expected else (0, None))


@pytest.mark.parametrize("outcome", [Outcome.REQUEST_ERROR, Outcome.PARSE_ERROR, None])
def test_a_sample_without_an_answer_has_only_missed_ids(
    benchmark: Callable[..., Benchmark], outcome: Outcome | None
) -> None:
    made = [] if outcome is None else [Prediction("d#0", outcome, Fragment((100,)))]
    classes = decompose(evaluated(benchmark(((40, 50), (0,))), made))
    assert found(classes) == {"no answer": (0, 3)}
    assert classes[0].gain == 1.0


def test_gains_by_hand(benchmark: Callable[..., Benchmark]) -> None:
    made = benchmark(((40, 50), ()), ((40,), ()), ((10, 20), ()), NOTHING)
    predictions: dict[str, Ids] = {
        "d#0": ((50, 60, 6), ()),  # right, one off, invented
        "d#1": ((40,), ()),
        "d#2": ((180, 190), ()),
        "d#3": ((0,), ()),
    }
    classes = {c.name: c for c in decompose(evaluated(made, predictions))}
    # tp 2 (50, 40), fp 5, fn 3 (40, 10, 20): F1 is 4 / 12; nothing is said of images.
    before = 4 / 12
    assert classes["boundary"].gain == pytest.approx(2 * 3 / (6 + 4 + 2) - before)
    assert classes["wrong topic"].gain == pytest.approx(2 * 4 / (8 + 3 + 1) - before)
    assert classes["over-retrieval"].gain == pytest.approx(4 / (4 + 3 + 3) - before)
    assert classes["under-retrieval"].gain == 0
    assert classes["over-retrieval"].n_invented == 1
    assert classes["boundary"].gains == {
        "utterance": pytest.approx(2 * 3 / 12 - before),
        "image": None,
    }


def test_the_example_has_the_most_errors_of_its_class(
    benchmark: Callable[..., Benchmark],
) -> None:
    made = benchmark(((40,), ()), ((40, 80), ()), ((40, 80), ()))
    classes = decompose(evaluated(made, {f"d#{number}": NOTHING for number in range(3)}))
    assert (classes[-1].n_samples, classes[-1].example) == (3, "d#1")


def test_without_gold_there_is_no_gain(benchmark: Callable[..., Benchmark]) -> None:
    negative = benchmark(NOTHING)
    classes = decompose(evaluated(negative, {"d#0": ((40,), ())}))
    assert found(classes) == {"over-retrieval": (1, 0)}
    assert classes[4].gain is None  # without the error, F1 is not 1 but undefined
    assert [c.gain for c in classes[:4]] == [0.0] * 4
    assert {c.gain for c in decompose(evaluated(negative, {"d#0": NOTHING}))} == {None}


def test_in_inference_files_images_have_no_turn(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    def classes(gold: Ids, predicted: Ids) -> dict[str, tuple[int, int]]:
        images = ("a.png", "b.png")
        record = inference(answer_text(*predicted), gold, utts=range(9), images=images)
        source = load_source(jsonl([record]), Request(protocol="strict"))
        return found(decompose(evaluate(source.table, source.protocol)))

    assert classes(((1, 2), (0,)), ((7,), (1,))) == {"wrong topic": (2, 3)}
    # An image in common says that the topic is right, whatever the utterances.
    assert classes(((1, 2), (0,)), ((7,), (0,))) == {
        "over-retrieval": (1, 0),
        "under-retrieval": (0, 2),
    }
    # Only one side has turns: having nothing in common decides.
    assert classes(((), (0,)), ((7,), ())) == {"wrong topic": (1, 1)}
    assert classes(((), (0,)), ((7,), (0,))) == {"over-retrieval": (1, 0)}
    assert classes(((1,), (0,)), ((2,), (1,))) == {
        "boundary": (1, 1),
        "over-retrieval": (1, 0),
        "under-retrieval": (0, 1),
    }


def test_a_gold_id_that_the_prompt_does_not_mark_is_missed_not_invented(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    record = inference(answer_text([1, 7], []), ((1, 50), ()), utts=range(5))
    source = load_source(jsonl([record]), Request(protocol="strict"))
    evaluation = evaluate(source.table, source.protocol)
    classes = decompose(evaluation)
    assert found(classes) == {"over-retrieval": (1, 0), "under-retrieval": (0, 1)}
    assert [c.n_invented for c in classes] == [0, 0, 0, 0, 1, 0]
    counts = without_errors(evaluation, classify(evaluation)).utterance_counts
    assert (counts.tp[0], counts.fp[0], counts.fn[0], counts.tn[0]) == (2, 0, 0, 4)
    assert (counts.tp_outside[0], counts.fp_outside[0], counts.fn_outside[0]) == (1, 0, 0)


# All of them -------------------------------------------------------------------------------------


def slow_classes(task: Task) -> dict[tuple[str, str, bool, int], str]:
    """Sample, modality, whether wrong, and id of every error, to its class."""
    benchmark, _, judged = task
    result: dict[tuple[str, str, bool, int], str] = {}
    for sample, one in zip(benchmark.samples(), judged, strict=True):
        turn_of: list[dict[int, int]] = [{}, {}]
        for place, turn in enumerate(sample.dialogue.turns):
            turn_of[0][turn.utt_id] = place
            turn_of[1] |= dict.fromkeys(turn.img_ids, place)
        gold, predicted = one.gold, [set(ids) for ids in one.predicted]
        gold_turns, predicted_turns = (
            [turn_of[m][i] for m in (0, 1) for i in ids[m] if i in turn_of[m]]
            for ids in (gold, predicted)
        )
        both = one.answered and any(gold) and any(predicted)
        near = any(abs(a - b) <= 1 for a in gold_turns for b in predicted_turns)
        for place, modality in enumerate(("utterance", "image")):
            for i in gold[place] ^ predicted[place]:
                wrong = i in predicted[place]
                others = gold[place] if wrong else predicted[place]
                apart = [
                    abs(turn_of[0][i] - turn_of[0][j])
                    for j in others
                    if place == 0 and i in turn_of[0] and j in turn_of[0]
                ]
                if not one.answered:
                    name = "no answer"
                elif both and not near:
                    name = "wrong topic"
                elif both and not any(g and p for g, p in zip(gold, predicted, strict=True)):
                    name = "wrong modality"
                elif 1 in apart:
                    name = "boundary"
                else:
                    name = "over-retrieval" if wrong else "under-retrieval"
                result[sample.sample_id, modality, wrong, i] = name
    return result


@given(task=tasks())
@settings(deadline=None, max_examples=200)
def test_classes_are_those_of_the_slow_classifier(task: Task) -> None:
    benchmark, made, judged = task
    evaluation = evaluated(benchmark, made)
    expected = slow_classes(task)
    classes = decompose(evaluation)
    for c in classes:
        errors = [key for key, name in expected.items() if name == c.name]
        per_sample = Counter(sample_id for sample_id, *_ in errors)
        assert c.n_wrong == sum(wrong for _, _, wrong, _ in errors)
        assert c.n_missed == len(errors) - c.n_wrong
        assert c.n_samples == len(per_sample)
        assert c.example == (max(sorted(per_sample), key=per_sample.__getitem__, default=None))
        assert c.n_invented == sum(
            wrong and i not in judged[int(sample_id[1:])].universe[modality == "image"]
            for sample_id, modality, wrong, i in errors
        )


@given(task=tasks())
@settings(deadline=None, max_examples=200)
def test_every_error_is_in_one_class_and_without_all_of_them_f1_is_1(task: Task) -> None:
    benchmark, made, judged = task
    evaluation = evaluated(benchmark, made)
    errors, classes = classify(evaluation), decompose(evaluation)
    for modality, each in errors.items():
        counts = evaluation.counts(modality)
        n = len(evaluation)
        assert np.array_equal(np.bincount(each.row[each.wrong], minlength=n), counts.fp)
        assert np.array_equal(np.bincount(each.row[~each.wrong], minlength=n), counts.fn)
    right = without_errors(evaluation, errors)
    before, after = (
        {m: parse_metric(f"micro.{m}.f1").of(e) for m in MODALITIES} for e in (evaluation, right)
    )
    has_gold = [any(one.gold[place] for one in judged) for place in (0, 1)]
    assert after == {
        "utterance": 1.0 if has_gold[0] else None,
        "image": 1.0 if has_gold[1] else None,
        "joint": 1.0 if any(has_gold) else None,
    }
    for modality in ("utterance", "image"):
        # The counts are those of an evaluation of the gold itself.
        counts = right.counts(modality)
        perfect = {
            f"s{number}": (tuple(one.gold[0]), tuple(one.gold[1]))
            for number, one in enumerate(judged)
        }
        wanted = evaluated(benchmark, perfect).counts(modality)
        for name in ("tp", "fp", "fn", "tn", "tp_outside", "fp_outside", "fn_outside"):
            assert np.array_equal(getattr(counts, name), getattr(wanted, name)), name
    if any(has_gold):
        assert all(c.gain is not None and c.gain >= 0 for c in classes)
        most = 1.0 - (before["joint"] or 0.0)
        assert all(c.gain is not None and c.gain <= most + 1e-12 for c in classes)
