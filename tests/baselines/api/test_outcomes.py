"""What replies of servers come to, one by one: pure functions, no server."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.api.logprobs import LEAST, entropy
from baselines.api.outcomes import Answer, Failure, read_reply
from ffr_eval.types import Outcome


def error(message: str = "no", code: Any = None, kind: Any = None, **more: Any) -> Any:
    return {"error": {"message": message, "code": code, "type": kind, **more}}


def answer(content: Any = "text", reason: Any = "stop", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": content, **message}, "finish_reason": reason}
    return {"id": "r1", "model": "m", "choices": [choice]}


def read(body: Any, status: int = 200, **how: Any) -> Answer | Failure:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(status, data, **how)


OVERFLOWS = [
    (400, error("…", "context_length_exceeded")),
    (400, error("This model's maximum context length is 8192 tokens. However, you requested 9000")),
    (
        400,
        error("prompt is too long: 210000 tokens > 200000 maximum"),
    ),
    (400, error("input length and `max_tokens` exceed context limit: 1 + 2 > 3")),
    (400, error("Range of input length should be [1, 30720]", "InvalidParameter")),
    (400, error("the request exceeds the available context size", 400)),
    (
        400,
        error("…", 400, "exceed_context_size_error"),
    ),
    (400, [error("The input token count (2000000) exceeds the maximum number of tokens allowed")]),
    (422, {"detail": "The decoder prompt (length 9001) is longer than the maximum model length"}),
    (500, error("…", "context_length_exceeded")),
]
REFUSALS = [
    (400, error("…", "content_policy_violation")),
    (400, error("…", "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, error("Input data may contain inappropriate content.", "data_inspection_failed")),
    (400, error("…", "InputImageSensitiveContentDetected")),
    (400, error("Your prompt was flagged as potentially violating our usage policy", "invalid")),
    (403, error("Your chosen model requires moderation and your input was flagged", 403)),
]


@pytest.mark.parametrize(("status", "body"), OVERFLOWS)
def test_prompts_over_the_context(status: int, body: Any) -> None:
    failure = read(body, status)
    assert isinstance(failure, Failure)
    assert (failure.action, failure.outcome) == ("record", Outcome.CONTEXT_OVERFLOW)


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_prompts_against_a_policy(status: int, body: Any) -> None:
    failure = read(body, status)
    assert isinstance(failure, Failure)
    assert (failure.action, failure.outcome) == ("record", Outcome.REFUSAL)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, error(), "key"),
        (400, [error("API key not valid. Please pass a valid API key.", 400)], "key"),
        (400, error(details=[{"reason": "API_KEY_INVALID"}]), "key"),
        (403, error("Country not supported"), "forbidden"),
        (404, error("The model `x` does not exist", "model_not_found"), "model"),
        (404, [error("models/x is not found for API version v1main", 404)], "model"),
        (400, error("Model not exist.", kind="invalid_request_error"), "model"),
        (404, b"<html><title>404 Not Found</title></html>", "address"),
        (405, b"", "address"),
        (301, b"", "address"),
        (308, b"", "address"),
        (402, error("Insufficient Balance"), "quota"),
        (429, error("…", "insufficient_quota"), "quota"),
        (400, error("Your credit balance is too low to access the API"), "quota"),
        (400, error("Access denied, account is in good standing?", "Arrearage"), "quota"),
        (403, error("…", "AccountOverdueError"), "quota"),
        (400, error("Unsupported parameter: 'max_tokens'", "unsupported_parameter"), "parameter"),
    ],
)
def test_what_every_request_would_meet_stops(status: int, body: Any, cause: str) -> None:
    failure = read(body, status)
    assert isinstance(failure, Failure)
    assert (failure.action, failure.cause) == ("stop", cause)


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (429, error("Rate limit reached", "rate_limit_exceeded"), "throttle"),
        # Gemini words a minute's limit like an empty account.
        (
            429,
            [error("You exceeded your current quota", 429, status="RESOURCE_EXHAUSTED")],
            "throttle",
        ),
        (429, b"", "throttle"),
        (429, error("Request too large for gpt-4o: Limit 30000, Requested 40000"), "record"),
        (408, b"", "retry"),
        (409, b"", "retry"),
        (500, error("maximum context length"), "retry"),
        (502, b"<html><title>Bad gateway</title></html>", "retry"),
        (503, b"", "retry"),
        (529, b"", "retry"),
        (501, b"", "record"),
        (400, b"", "record"),
        (400, error("Invalid image."), "record"),
        (413, error("Payload too large"), "record"),
        (418, b"teapot", "record"),
        # An error where an answer should be.
        (200, error("Upstream failed"), "retry"),
        (200, error("slow down", 429), "throttle"),
        (200, error("slow down", "rate_limit_exceeded"), "throttle"),
        (200, error("bad", 400), "record"),
        (200, {"error": "it broke"}, "retry"),
        (200, error("bad", "9" * 5000), "retry"),
        # No answer at all.
        (200, b"", "retry"),
        (200, b'{"choices": [', "retry"),
        (200, b"<html><title>Login</title></html>", "retry"),
        (200, [], "retry"),
        (200, {"choices": []}, "retry"),
        (200, {"choices": None}, "retry"),
        (200, {"choices": [{"message": None}]}, "retry"),
        (200, answer(None, None), "retry"),
        (200, answer("half of it", "error"), "retry"),
        (200, answer("half of it", "abort"), "retry"),
    ],
)
def test_other_failures(status: int, body: Any, action: str) -> None:
    failure = read(body, status)
    assert isinstance(failure, Failure)
    assert (failure.action, failure.outcome) == (action, Outcome.REQUEST_ERROR)


@pytest.mark.parametrize(
    ("body", "text", "outcome", "complete"),
    [
        (answer(), "text", None, True),
        (answer(reason=None), "text", None, False),
        (answer(reason="something_new"), "text", None, False),
        (answer([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", None, True),
        (answer("cut", "length"), "cut", Outcome.TRUNCATED, False),
        (answer("", "length"), "", Outcome.TRUNCATED, False),
        (answer("cut", "MAX_TOKENS"), "cut", Outcome.TRUNCATED, False),
        (answer(None, "content_filter"), None, Outcome.REFUSAL, False),
        (answer("some", "SAFETY"), "some", Outcome.REFUSAL, False),
        (answer(None, refusal="I cannot"), None, Outcome.REFUSAL, False),
        (answer([{"type": "refusal", "refusal": "I cannot"}]), None, Outcome.REFUSAL, False),
        (answer(None), "", None, False),  # a normal end without text: the parser's business
        (answer(""), "", None, False),
        ({**answer(), "error": None}, "text", None, True),
    ],
)
def test_answers(body: Any, text: str | None, outcome: Outcome | None, complete: bool) -> None:
    read_answer = read(body)
    assert isinstance(read_answer, Answer)
    found = (read_answer.text, read_answer.outcome, read_answer.complete)
    assert found == (text, outcome, complete)


@pytest.mark.parametrize("arguments", ['{"utt_ids":[1]}', {"utt_ids": [1]}])
def test_the_arguments_of_a_call_are_the_text(arguments: Any) -> None:
    calls = [{"function": {"name": "fragment", "arguments": arguments}}]
    body = answer(None, "tool_calls", tool_calls=calls)
    called = read(body, tool=True)
    assert isinstance(called, Answer)
    assert (called.text, called.complete) == ('{"utt_ids":[1]}', True)
    prose = read(answer("no call"), tool=True)
    assert isinstance(prose, Answer)
    assert prose.text == "no call"
    unasked = read(body)
    assert isinstance(unasked, Answer)
    assert unasked.text == ""


def test_tokens_are_counted_whatever_else_is_there() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": None},
        "cost": 0.1,
    }
    counted = read({**answer(), "usage": usage})
    assert isinstance(counted, Answer)
    assert counted.usage == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
    }
    for odd in (None, [], {"prompt_tokens": "10"}, {"prompt_tokens": -1}, {"prompt_tokens": True}):
        uncounted = read({**answer(), "usage": odd})
        assert isinstance(uncounted, Answer)
        assert uncounted.usage == {}


def test_log_probabilities_and_the_entropy_of_the_most_likely() -> None:
    content = [
        {"logprob": math.log(0.5), "top_logprobs": [{"logprob": math.log(0.5)}] * 2},
        {"logprob": -math.inf, "top_logprobs": [{"logprob": 0.0}, {"logprob": -math.inf}]},
    ]
    body = answer()
    body["choices"][0]["logprobs"] = {"content": content}
    found = read(body, n_top=2)  # Python writes -Infinity, which JSON does not have
    assert isinstance(found, Answer)
    assert found.logprobs is not None
    assert found.logprobs["entropy_kind"] == "top-2"
    assert found.logprobs["token_logprobs"] == [pytest.approx(math.log(0.5)), LEAST]
    assert found.logprobs["entropy"] == [pytest.approx(math.log(2)), 0.0]
    unasked = read(body)
    assert isinstance(unasked, Answer)
    assert unasked.logprobs is None


def test_no_entropy_where_the_server_does_not_name_the_most_likely() -> None:
    body = answer()
    body["choices"][0]["logprobs"] = {"content": [{"logprob": -1.0, "top_logprobs": []}]}
    found = read(body, n_top=5)
    assert isinstance(found, Answer)
    assert found.logprobs == {"token_logprobs": [-1.0]}


def test_the_entropy_of_equal_probabilities_is_the_logarithm_of_their_number() -> None:
    assert entropy([-5.0] * 8) == pytest.approx(math.log(8))
    assert entropy([0.0, LEAST]) == 0.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "message", "content", "finish_reason", "error", "code", "type"),
                    *("usage", "prompt_tokens", "tool_calls", "function", "arguments", "logprobs"),
                    *("top_logprobs", "logprob", "details", "reason", "status", "refusal", "text"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 200, 400, 404, 429, 500]))
def test_nothing_that_a_server_says_breaks_the_reading(body: Any, status: int) -> None:
    found = read(body, status, tool=True, n_top=2)
    assert isinstance(found, Answer | Failure)
    if isinstance(found, Failure):
        assert (found.action == "stop") == (found.cause is not None)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    assert isinstance(read(body), Answer | Failure)
