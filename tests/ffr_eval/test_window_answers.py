"""Answers of samples that were asked in windows: derived from the raw text when they are scored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_eval.types import Fragment, Outcome, Prediction
from ffr_eval.window_answers import (
    WindowRecord,
    merge_answers,
    read_answer,
    weight_of,
    window_records,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

INVENTED = 2**40


def window(
    number: int,
    answer: tuple[Sequence[int], Sequence[int]] | str | None,
    utts: Sequence[int] = (),
    imgs: Sequence[int] = (),
    **more: Any,
) -> dict[str, Any]:
    text = answer_text(*answer) if isinstance(answer, tuple) else answer
    return {
        "window": number,
        "merge": "union",
        "shown_utt_ids": list(utts),
        "shown_img_ids": list(imgs),
        "response": text,
        "outcome": "ok",
        **more,
    }


def answer_to(*steps: dict[str, Any], parse: Any = "lenient", **more: Any) -> Any:
    prediction = Prediction("a#0", Outcome.OK, steps=steps, **more)
    return merge_answers(window_records(prediction), parse)


def ids_of(*steps: dict[str, Any], rule: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    found = answer_to(*({**step, "merge": rule} for step in steps))
    return found.utt_ids, found.img_ids


# --- how answers become one ----------------------------------------------------------------------


def test_union_keeps_each_id_once_in_the_order_of_windows() -> None:
    late = window(1, ([3, 2], [0]), (2, 3, 4), (7, 5))
    early = window(0, ([1, 3, 1], [1]), (1, 2, 3), (9, 7))
    assert ids_of(late, early, rule="union") == ((1, 3, 2), (7,))


def test_vote_asks_for_most_of_the_windows_that_showed_an_id() -> None:
    steps = [
        window(0, ([1, 2], [0]), (0, 1, 2), (8,)),
        window(1, ([], [1]), (1, 2, 3), (9, 8)),
        window(2, ([3], []), (2, 3, 4), (8,)),
    ]
    # 1: one of two; 2: one of three; 3: one of two. Image 8: two of three, image 9: none of one.
    assert ids_of(*steps, rule="vote") == ((), (8,))
    assert ids_of(*steps, rule="union") == ((1, 2, 3), (8,))


def test_windows_without_a_usable_answer_have_no_vote() -> None:
    steps = [
        window(0, ([1], []), (1, 2)),
        window(1, "no idea", (1, 2)),
        window(2, None, (1, 2), outcome="refusal"),
    ]
    assert ids_of(*steps, rule="vote") == ((1,), ())
    steps[1]["response"] = steps[2]["response"] = answer_text([], [])
    steps[2]["outcome"] = "empty"
    assert ids_of(*steps, rule="vote") == ((), ())


def test_score_weighs_windows_by_how_sure_they_were() -> None:
    def steps(first: float, second: float) -> list[dict[str, Any]]:
        return [
            window(0, ([1], []), (0, 1), logprobs={"token_logprobs": [first, first]}),
            window(1, ([2], []), (1, 2), logprobs={"token_logprobs": [second]}),
        ]

    assert ids_of(*steps(-0.1, -2.0), rule="score") == ((1, 2), ())
    assert ids_of(*steps(-2.0, -0.1), rule="score") == ((2,), ())
    assert ids_of(*steps(-0.3, -0.3), rule="score") == ((2,), ())  # 1: just half
    many = [
        window(k, ([1] if k < 2 else [], []), (1,), logprobs={"token_logprobs": [-1 / 3]})
        for k in range(4)
    ]
    assert ids_of(*many, rule="score") == ((), ())
    assert ids_of(*many[:3], rule="score") == ((1,), ())


def test_the_weight_of_a_window() -> None:
    assert weight_of({"token_logprobs": [-1.0, -3.0]}) == math.exp(-2.0)
    assert weight_of({"token_logprobs": [-1.0, None, math.nan, -math.inf]}) == math.exp(-1.0)
    assert weight_of({"token_logprobs": [0.5]}) == 1.0
    for nothing in (None, {}, {"token_logprobs": []}, {"token_logprobs": None}):
        assert weight_of(nothing) is None


@pytest.mark.parametrize("rule", ["union", "vote", "score"])
def test_invented_ids_stay_and_hit_nothing(rule: str) -> None:
    sure = {"logprobs": {"token_logprobs": [-0.1]}}
    steps = [
        window(0, ([1, 5, 99], [1, -1]), (0, 1), (5,), **sure),
        window(1, ([99], [1]), (5, 6), (1,), **sure),
    ]
    utts, imgs = ids_of(*steps, rule=rule)
    # Utterance 5 was shown, but in the other window. Image 1 of each window is nobody's.
    assert utts == (1, INVENTED + 5, INVENTED + 99)
    assert imgs == (INVENTED + 1, -1, 2 * INVENTED + 1)


# --- the outcome ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        ([window(0, ([1], []), (1,)), window(1, None, outcome="request_error")], "request_error"),
        ([window(0, "?"), window(1, None, outcome="request_error")], "request_error"),
        ([window(0, ([1], []), (1,)), window(1, "?")], "ok"),
        ([window(0, "?"), window(1, "…", outcome="truncated")], "parse_error"),
        ([window(0, ([], [])), window(1, "…", outcome="truncated")], "truncated"),
        ([window(0, ([1], []), (1,), outcome="truncated"), window(1, ([], []))], "truncated"),
        ([window(0, ([], [])), window(1, ([], []))], "empty"),
        ([window(0, None)], "parse_error"),
        ([window(0, ([9], []))], "ok"),  # an invented id is an answer
    ],
)
def test_outcomes(steps: list[dict[str, Any]], outcome: str) -> None:
    found = answer_to(*steps)
    assert found.outcome == outcome
    assert bool(found.utt_ids) is (outcome == "ok")


def test_an_outcome_that_no_window_explains_stands() -> None:
    steps = (window(0, ([1], []), (1,)), window(1, ([], []), outcome="truncated"))
    for said, expected in (
        ("truncated", "ok"),  # as a window said; another one answered
        ("parse_error", "ok"),
        ("request_error", "request_error"),
        ("context_overflow", "context_overflow"),
    ):
        found = read_answer(Prediction("a#0", Outcome(said), steps=steps), "lenient")
        assert found.outcome == expected


def test_a_response_is_the_truth_and_other_steps_are_no_windows() -> None:
    steps = ({"tool": "search"}, window(0, ([1], []), (1,)))
    given = Prediction("a#0", Outcome.OK, Fragment((7,)), answer_text([2], []), steps=steps)
    assert read_answer(given, "lenient").utt_ids == (2,)
    given = Prediction("a#0", Outcome.OK, Fragment((7,)), steps=steps)
    assert read_answer(given, "lenient").utt_ids == (1,)
    given = Prediction("a#0", Outcome.OK, Fragment((7,)), steps=steps[:1])
    assert read_answer(given, "lenient").utt_ids == (7,)


# --- when it is scored ---------------------------------------------------------------------------


@pytest.fixture
def line() -> dict[str, Any]:
    """Sample ``c#0``, gold image 0, and 70 turns: asked in two windows, both right."""
    prose = "It is this one: " + answer_text([], [0])
    return {
        "sample_id": "c#0",
        "response": None,
        "utt_ids": [],
        "img_ids": [0],
        "outcome": "ok",
        "steps": [
            window(0, ([], [0]), range(40), (0,)),
            window(1, prose, range(30, 70), ()),
        ],
    }


def test_ids_are_read_again_from_the_windows(
    cli: Any, jsonl: Callable[..., Path], lengths: Path, line: dict[str, Any]
) -> None:
    edited = {**line, "utt_ids": [1, 2, 3], "img_ids": [], "outcome": "empty"}
    found = []
    for record in (line, edited):
        options = ("--benchmark", lengths, "--split", "test", "--json", "-")
        found.append(cli("score", jsonl([record]), *options).json)
    assert found[0] == found[1]
    assert (found[0]["outcomes"]["ok"], found[0]["micro"]["image"]["tp"]) == (1, 1)
    assert found[0]["rates"]["image"]["invented"] == 0.5  # the second window has no image 0
    assert found[0]["rates"]["utterance"]["invented"] == 0


def test_the_parse_mode_decides_as_for_responses(
    jsonl: Callable[..., Path], lengths: Path, line: dict[str, Any]
) -> None:
    file = jsonl([line])
    lenient = ffr_eval.score(file, lengths, split="test")
    strict = ffr_eval.score(file, lengths, split="test", parse="strict")
    assert lenient.rates["image"].invented == 0.5
    assert strict.rates["image"].invented == 0  # prose around the markup: that window has no vote
    assert strict.outcomes["ok"] == 1
    official = ffr_eval.score(file, lengths, split="test", protocol="official")
    assert official.rates["image"].invented == 0.5


def test_an_outage_of_a_window_is_not_hidden_by_an_edited_line(
    lengths: Path, line: dict[str, Any]
) -> None:
    line["steps"][1] |= {"response": None, "outcome": "request_error"}
    scores = ffr_eval.score([line], lengths, split="test")
    assert (scores.outcomes["ok"], scores.outcomes["request_error"]) == (0, 1)
    assert scores.micro.image is not None
    assert (scores.micro.image.tp, scores.micro.image.fp) == (0, 0)


def test_the_other_commands_read_the_windows_too(
    cli: Any, jsonl: Callable[..., Path], lengths: Path, line: dict[str, Any]
) -> None:
    shown = jsonl([{**line, "img_ids": []}], "a.jsonl")
    other = jsonl([{"sample_id": "c#0", "utt_ids": [], "img_ids": []}], "b.jsonl")
    options = ("--benchmark", lengths, "--split", "test", "--sample", "c#0")
    answers = cli("diff", shown, other, *options).out
    assert "G ✓ –     [image 0]" in answers
    assert f"A invented image ids: {2 * INVENTED}" in answers


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"window": -1}, "steps[1].window"),
        ({"window": "1"}, "steps[1].window"),
        ({"window": 0}, "steps[1].window"),
        ({"merge": "best"}, "steps[1].merge"),
        ({"merge": "vote"}, "steps[1].merge"),
        ({"shown_utt_ids": None}, "steps[1].shown_utt_ids"),
        ({"shown_img_ids": [2**31]}, "steps[1].shown_img_ids[0]"),
        ({"response": 3}, "steps[1].response"),
        ({"outcome": "fine"}, "steps[1].outcome"),
        ({"outcome": "missing"}, "steps[1].outcome"),
    ],
)
def test_a_malformed_record_is_refused_with_its_place(
    cli: Any,
    jsonl: Callable[..., Path],
    lengths: Path,
    line: dict[str, Any],
    change: dict[str, Any],
    field: str,
) -> None:
    line["steps"][1] |= change
    file = jsonl([{**line, "sample_id": "a#0", "steps": []}, line])
    error = cli.refused("score", file, "--benchmark", lengths)
    assert f"{file}:2: {field}: " in error
    assert "→" in error


def test_a_record_that_lacks_something_is_refused(lengths: Path, line: dict[str, Any]) -> None:
    del line["steps"][0]["shown_img_ids"]
    with pytest.raises(InputError) as refused:
        ffr_eval.score([line], lengths)
    assert refused.value.problem.field == "steps[0].shown_img_ids"
    assert refused.value.problem.line == 1


def test_scores_without_log_probabilities_are_refused(lengths: Path, line: dict[str, Any]) -> None:
    for step in line["steps"]:
        step["merge"] = "score"
    with pytest.raises(InputError, match="token_logprobs") as refused:
        ffr_eval.score([line], lengths)
    assert refused.value.problem.field == "steps[0].logprobs"


def test_records_have_no_more_than_they_need() -> None:
    (record,) = window_records(Prediction("a#0", Outcome.OK, steps=(window(0, "x", (1,)),)))
    assert record == WindowRecord(
        window=0,
        merge="union",
        shown_utt_ids=(1,),
        shown_img_ids=(),
        response="x",
        outcome=Outcome.OK,
    )
