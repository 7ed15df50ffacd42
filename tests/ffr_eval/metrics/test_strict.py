"""``strict`` against a slow scorer, and case by case by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ffr_eval
from ffr_eval.answer import parse_answer
from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_eval.types import Fragment, Outcome, Prediction
from tests import reference
from tests.ffr_eval.metrics.tasks import Task, make_benchmark, tasks

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.scoring import Scores
    from tests.reference import Judged

NAMES = [(m, f) for m in (*reference.MODALITIES, "joint") for f in reference.FIGURES]


def check(found: Any, samples: list[Judged]) -> None:
    expected = reference.strict(samples)
    for modality, figure in NAMES:
        micro, wanted = getattr(found.micro, modality), expected["micro"][modality]
        assert (micro is None) == (wanted is None), modality
        if micro is not None:
            assert getattr(micro, figure) == pytest.approx(wanted[figure], abs=1e-12)
        macro, wanted = getattr(found.macro, modality), expected["macro"][modality]
        assert getattr(macro, figure) == pytest.approx(wanted[figure], abs=1e-12), modality
        assert (macro.n, macro.n_mcc) == (wanted["n"], wanted["n_mcc"])


@given(task=tasks(), random=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_figures_are_those_of_the_slow_scorer(task: Task, random: Any) -> None:
    benchmark, made, samples = task
    random.shuffle(made)
    scores = ffr_eval.score(made, benchmark, group_by=["kind"])
    check(scores, samples)
    check(scores.answered, [sample for sample in samples if sample.answered])
    assert scores.n_samples == len(samples)
    assert scores.n_scored == sum(sample.answered for sample in samples)
    for outcome, number in scores.outcomes.items():
        assert number == sum(sample.outcome == outcome for sample in samples)
    for place, modality in enumerate(reference.MODALITIES):
        rates = scores.rates[modality]
        wanted = reference.strict_rates(samples, place)
        assert (rates.invented, rates.duplicate) == (wanted["invented"], wanted["duplicate"])
    kinds = {(1, 1): "multimodal", (1, 0): "utterance", (0, 1): "image", (0, 0): "negative"}
    of_kind: dict[str, list[Judged]] = {}
    for sample in samples:
        shape = (int(bool(sample.gold[0])), int(bool(sample.gold[1])))
        of_kind.setdefault(kinds[shape], []).append(sample)
    assert set(scores.groups["kind"]) == set(of_kind)
    for kind, members in of_kind.items():
        assert scores.groups["kind"][kind].n_samples == len(members)
        check(scores.groups["kind"][kind], members)


# --- by hand -------------------------------------------------------------------------------------


def score_one(
    gold: tuple[list[int], list[int]],
    answer: tuple[list[int], list[int]],
    dialogue: tuple[list[int], list[int]] = ([0, 5, 10, 15], [0, 1]),
) -> Scores:
    return ffr_eval.score({"s0": answer}, make_benchmark([dialogue], [(0, *gold)]))


def test_the_universe_is_what_the_dialogue_has() -> None:
    scores = score_one(([0, 5], []), ([0, 15], []))
    micro = scores.micro.utterance
    assert micro is not None
    assert (micro.tp, micro.fp, micro.fn, micro.tn) == (1, 1, 1, 1)  # four ids, not 0 … 15
    assert micro.mcc == 0.0


def test_an_invented_id_is_a_false_positive_outside_the_universe() -> None:
    scores = score_one(([0, 5], []), ([0, 5, 7, 7], []))
    micro = scores.micro.utterance
    assert micro is not None
    assert (micro.tp, micro.fp, micro.fn, micro.tn) == (2, 1, 0, 2)  # |U| + 1
    assert scores.rates["utterance"].invented == pytest.approx(1 / 3)
    assert scores.rates["utterance"].duplicate == pytest.approx(1 / 4)


def test_a_modality_without_gold_or_prediction_is_null_and_left_out_of_the_joint() -> None:
    scores = score_one(([0, 5], []), ([0], []))
    assert scores.micro.image is None
    assert scores.metric("micro.image.f1") is None
    assert scores.metric("micro.joint.f1") == pytest.approx(2 / 3)  # the utterances' alone
    # In macro the dialogue has images, and naming none was right: that counts.
    assert scores.metric("macro.image.f1") == 1.0
    assert scores.metric("macro.joint.recall") == pytest.approx(2 / 3)  # of 1/2 and 1


def test_negative_queries_alone_have_no_micro_figures() -> None:
    scores = score_one(([], []), ([], []))
    assert scores.micro.joint is None
    assert scores.metric("macro.joint.f1") == 1.0
    assert (scores.macro.joint.mcc, scores.macro.joint.n_mcc) == (None, 0)


def test_an_outage_is_no_wise_silence() -> None:
    benchmark = make_benchmark([([0, 1], [0])], [(0, [], [])] * 3)
    made = [
        Prediction("s0", Outcome.EMPTY),
        Prediction("s1", Outcome.REQUEST_ERROR),  # and s2 is missing
    ]
    scores = ffr_eval.score(made, benchmark)
    assert scores.metric("macro.joint.f1") == pytest.approx(1 / 3)
    assert scores.macro.joint.n == 3
    assert scores.answered.macro.joint.f1 == 1.0
    assert (scores.n_scored, scores.outcomes["missing"]) == (1, 1)


def test_ids_invented_in_a_modality_that_the_dialogue_lacks_count_zero() -> None:
    silent = score_one(([0], []), ([0], []), dialogue=([0, 1], []))
    assert (silent.macro.image.f1, silent.macro.image.n) == (None, 0)
    assert silent.metric("macro.joint.f1") == 1.0
    inventing = score_one(([0], []), ([0], [3]), dialogue=([0, 1], []))
    assert (inventing.macro.image.f1, inventing.macro.image.n) == (0.0, 1)
    assert inventing.metric("macro.joint.f1") == 0.5
    assert inventing.metric("macro.joint.precision") == 0.0  # harmonic
    assert inventing.macro.image.n_mcc == 0  # the gold is empty: no MCC


def test_mcc_is_left_out_only_where_the_gold_is_empty_or_everything() -> None:
    everything = score_one(([0, 1], []), ([0], []), dialogue=([0, 1], [0]))
    assert (everything.macro.utterance.mcc, everything.macro.utterance.n_mcc) == (None, 0)
    # Otherwise an undefined fraction is 0: no prediction, and all predicted.
    for answer in ([], [0, 5, 10, 15]):
        scores = score_one(([0, 5], []), (answer, []))
        assert (scores.macro.utterance.mcc, scores.macro.utterance.n_mcc) == (0.0, 1)


def test_a_perfect_answer_scores_exactly_one() -> None:
    scores = score_one(([0, 5], [1]), ([5, 0], [1]))
    for modality, figure in NAMES:
        assert scores.metric(f"micro.{modality}.{figure}") == 1.0
        assert scores.metric(f"macro.{modality}.{figure}") == 1.0


def test_strict_parsing_only_on_request() -> None:
    benchmark = make_benchmark([([0, 1], [0])], [(0, [0], [])])
    text = "Here: " + answer_text([0], [])
    made = [Prediction("s0", Outcome.OK, Fragment((0,)), text)]
    assert ffr_eval.score(made, benchmark).metric("micro.utterance.f1") == 1.0
    strict = ffr_eval.score(made, benchmark, parse="strict")
    assert strict.metric("micro.utterance.f1") == 0.0
    assert strict.outcomes["parse_error"] == 1
    assert parse_answer(text, "strict").outcome is Outcome.PARSE_ERROR


@pytest.mark.parametrize("number", [10**18, -(10**18), 2**63, 10**30])
@pytest.mark.parametrize("field", ["utt_ids", "img_ids"])
def test_an_id_of_more_than_18_digits_is_refused(number: int, field: str, tmp_path: Path) -> None:
    benchmark = make_benchmark([([0, 1], [0])], [(0, [0], [])])
    path = tmp_path / "predictions.jsonl"
    ids = {"utt_ids": "[0]", "img_ids": "[0]"} | {field: f"[0, {number}]"}
    path.write_text(
        f'{{"sample_id": "s0", "utt_ids": {ids["utt_ids"]}, "img_ids": {ids["img_ids"]}}}\n'
    )
    with pytest.raises(InputError, match=f"{path}:1: {field}: an id of more than 18 digits"):
        ffr_eval.score(path, benchmark)


# --- groups --------------------------------------------------------------------------------------


def test_groups_by_turns_have_the_edges_of_the_paper() -> None:
    lengths = [1, 34, 35, 65, 66, 200]
    dialogues = [(range(length), []) for length in lengths]
    benchmark = make_benchmark(dialogues, [(row, [0], []) for row in range(len(lengths))])
    scores = ffr_eval.score(
        {f"s{row}": ([0], []) for row in range(3)}, benchmark, group_by=["turns"]
    )
    groups = scores.groups["turns"]
    assert {name: group.n_samples for name, group in groups.items()} == {
        "short": 2,
        "medium": 2,
        "long": 2,
    }
    assert list(groups) == ["short", "medium", "long"]
    recalls = [group.micro.utterance.recall for group in groups.values() if group.micro.utterance]
    assert recalls == [1.0, 0.5, 0.0]


def test_groups_by_kind_and_language() -> None:
    golds = [([], []), ([], [0]), ([0], []), ([0], [0])]
    dialogues, languages = [([0, 1], [0])] * 4, ["zh", None, "en", "zh"]
    benchmark = make_benchmark(dialogues, [(i, *gold) for i, gold in enumerate(golds)], languages)
    scores = ffr_eval.score({}, benchmark, group_by=["kind", "language"])
    assert list(scores.groups["kind"]) == ["multimodal", "utterance", "image", "negative"]
    assert scores.groups["kind"]["negative"].micro.joint is None
    sizes = {name: group.n_samples for name, group in scores.groups["language"].items()}
    assert sizes == {"en": 1, "unknown": 1, "zh": 2}


def test_an_unknown_grouping_is_refused_with_the_nearest() -> None:
    benchmark = make_benchmark([([0], [])], [(0, [0], [])])
    with pytest.raises(InputError, match=r"unknown grouping 'turn'(.|\n)*turns"):
        ffr_eval.score({}, benchmark, group_by=["turn"])
