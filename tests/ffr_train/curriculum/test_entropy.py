"""Entropies of answers: full, of the most likely tokens, over windows, and the released figure."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ffr_eval.markup import answer_text
from ffr_eval.types import Outcome, Prediction
from ffr_train.curriculum.entropy import entropy_of, released_entropy

TEXT = answer_text([1], [])


def prediction(logprobs: Any, **more: Any) -> Prediction:
    return Prediction("s", Outcome.OK, response=TEXT, logprobs=logprobs, **more)


def window(number: int, logprobs: Any, response: str | None = TEXT, outcome: str = "ok") -> Any:
    return {
        "window": number,
        "merge": "union",
        "shown_utt_ids": [1],
        "shown_img_ids": [],
        "response": response,
        "outcome": outcome,
        "logprobs": logprobs,
    }


def of(entropy: list[Any], kind: str = "full") -> dict[str, Any]:
    chosen = [-0.1] * len(entropy)
    return {"token_logprobs": chosen, "entropy": entropy, "entropy_kind": kind}


def test_the_mean_over_tokens() -> None:
    found = entropy_of(prediction(of([0.0, 1.0, 2.0])))
    assert (found.value, found.kind) == (1.0, "full")


def test_tokens_whose_entropy_is_no_number_are_left_out() -> None:
    assert entropy_of(prediction(of([None, 3.0, 1.0]))).value == 2.0


def test_the_kind_is_kept() -> None:
    assert entropy_of(prediction(of([1.0], "top-20"))).kind == "top-20"


@pytest.mark.parametrize("rule", ["eq4", "released"])
@pytest.mark.parametrize(
    "logprobs", [None, {}, "odd", {"token_logprobs": [], "entropy": [], "entropy_kind": "full"}]
)
def test_without_log_probabilities(logprobs: Any, rule: Any) -> None:
    found = entropy_of(prediction(logprobs), rule)
    assert (found.value, found.kind) == (None, None)


def test_only_chosen_tokens_are_no_entropy() -> None:
    given = prediction({"token_logprobs": [-1.0, -2.0]})
    assert entropy_of(given).value is None
    assert entropy_of(given, "released").value is not None


def test_all_tokens_of_all_windows() -> None:
    steps = (window(0, of([1.0, 1.0, 1.0])), window(1, of([5.0])))
    given = Prediction("s", Outcome.OK, steps=steps)
    assert entropy_of(given).value == 2.0  # over four tokens, not over two windows
    assert entropy_of(given, "released").value == pytest.approx(math.log(4))


def test_a_window_without_an_answer_has_no_say() -> None:
    failed = window(1, None, None, "context_overflow")
    given = Prediction("s", Outcome.OK, steps=(window(0, of([2.0])), failed))
    assert entropy_of(given).value == 2.0


def test_a_window_whose_log_probabilities_are_lost_leaves_nothing() -> None:
    given = Prediction("s", Outcome.OK, steps=(window(0, of([2.0])), window(1, None)))
    assert entropy_of(given).value is None
    assert entropy_of(given, "released").value is None


def test_windows_of_several_kinds_are_the_least_exact() -> None:
    steps = (window(0, of([1.0])), window(1, of([1.0], "top-5")), window(2, of([1.0], "top-20")))
    assert entropy_of(Prediction("s", Outcome.OK, steps=steps)).kind == "top-5"


def test_the_most_likely_tokens_of_a_server() -> None:
    def token(*probabilities: float) -> dict[str, Any]:
        logs = [math.log(p) for p in probabilities]
        return {"logprob": logs[0], "top_logprobs": [{"logprob": x} for x in logs]}

    found = entropy_of(prediction({"content": [token(0.5, 0.25), token(0.5, 0.5)]}))
    first = 0.5 * math.log(2) + 0.25 * math.log(4)
    assert found.value == pytest.approx((first + math.log(2)) / 2)
    assert found.kind == "top-2"
    released = entropy_of(prediction({"content": [token(0.5), token(0.5)]}), "released")
    assert released.value == pytest.approx(math.log(2))


def test_a_server_that_names_no_other_tokens() -> None:
    assert entropy_of(prediction({"content": [{"logprob": -1.0}]})).value is None


@pytest.mark.parametrize("length", [1, 2, 17, 300])
@pytest.mark.parametrize("confidence", [0.999, 0.5, 0.01])
def test_the_released_figure_measures_length(length: int, confidence: float) -> None:
    found = released_entropy([math.log(confidence)] * length)
    assert found == pytest.approx(math.log(length))


def test_the_released_figure_of_unequal_tokens() -> None:
    p, q = 0.9 / 1.2, 0.3 / 1.2
    expected = -p * math.log(p) - q * math.log(q)
    assert released_entropy([math.log(0.9), math.log(0.3)]) == pytest.approx(expected)
    assert released_entropy([-9999.0, 0.0]) == 0.0
    assert released_entropy([-2000.0, -2000.0]) == pytest.approx(math.log(2))
