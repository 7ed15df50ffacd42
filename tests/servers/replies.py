"""What a fault server answers, as status, headers and body."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from tests.servers.plan import Rule, Seen, Settings

CONTEXT: Final = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in"
    " 9001 tokens. Please reduce the length of the messages."
)
KEY_IN_ERROR: Final = "Incorrect API key provided: {key}."

ERRORS: Final[dict[str, tuple[int, str, str | None, str]]] = {
    # fault: status, type, code, message
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "server_error": (500, "server_error", None, "The server had an error."),
    "bad_gateway": (502, "server_error", None, "Bad gateway."),
    "unavailable": (503, "server_error", None, "The engine is currently overloaded."),
    "gateway_timeout": (504, "server_error", None, "Gateway timeout."),
    "overloaded": (529, "overloaded_error", None, "Overloaded."),
    "request_timeout": (408, "invalid_request_error", None, "Request timeout."),
    "conflict": (409, "invalid_request_error", None, "Conflict."),
    "bad_request": (400, "invalid_request_error", "invalid_value", "Invalid image."),
    "context": (400, "invalid_request_error", "context_length_exceeded", CONTEXT),
    "context_vllm": (400, "BadRequestError", None, CONTEXT),
    "filtered": (400, "invalid_request_error", "content_filter", "The prompt was filtered."),
    "policy": (400, "invalid_request_error", "content_policy_violation", "Against our policy."),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", KEY_IN_ERROR),
    "forbidden": (403, "invalid_request_error", None, "Not in your country."),
    "no_model": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "too_large": (413, "invalid_request_error", None, "Request too large."),
    "unprocessable": (422, "invalid_request_error", None, "Unknown parameter."),
}
_ANSWERS: Final = (
    *("ok", "length", "refusal", "content_filter", "wrong_model", "empty", "null", "no_choices"),
    *("no_usage", "error_200", "bad_json_answer", "wrong_schema_answer", "text_instead"),
)
_BODIES: Final = {
    "invalid_json": b'{"id": "chatcmpl-1", "choices": [{"message": {"cont',
    "html": b"<html><body>Please sign in</body></html>",
    "no_body": b"",
    "list": b"[1, 2]",
}
_CONNECTION: Final = ("hang", "reset", "reset_in_body", "cut", "trickle", "status")
FAULTS: Final = (*_ANSWERS, *ERRORS, *_BODIES, *_CONNECTION)
"""All names of faults; ``ok`` is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def reply(rule: Rule, seen: Seen, asked: dict[str, Any], settings: Settings) -> Reply:
    """The reply to a chat request; for faults of the connection, the reply that is disturbed."""
    headers = {"x-request-id": f"req-{seen.number}", **rule.headers}
    if rule.retry_after is not None:
        date = formatdate(time.time() + rule.retry_after, usegmt=True)
        headers["Retry-After"] = date if rule.http_date else f"{rule.retry_after:g}"
    if rule.fault == "status":
        return Reply(rule.status, error_body("error", None, f"Status {rule.status}."), headers)
    if rule.fault in ERRORS:
        status, kind, code, message = ERRORS[rule.fault]
        body = error_body(kind, code, (rule.text or message).replace("{key}", seen.key or ""))
        return Reply(status, body, headers)
    if rule.fault in _BODIES:
        if rule.fault == "html":
            headers["Content-Type"] = "text/html"
        return Reply(200, _BODIES[rule.fault], headers)
    if rule.fault == "error_200":
        return Reply(200, error_body("server_error", None, "Upstream failed."), headers)
    return Reply(200, msgspec.json.encode(_completion(rule, seen, asked, settings)), headers)


def error_body(kind: str, code: str | None, message: str) -> bytes:
    """An error as servers of this protocol describe it."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"error": error})


def models_body(settings: Settings) -> bytes:
    """The answer to ``GET /v1/models``."""
    models = [
        {"id": name, "object": "model", "created": 1, "owned_by": "tests", "max_model_len": 8192}
        for name in settings.model
    ]
    return msgspec.json.encode({"object": "list", "data": models})


def _completion(
    rule: Rule, seen: Seen, asked: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    message, finish_reason = _message(rule, seen, asked, settings)
    content = message.get("content") or ""
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish_reason}
    choice["logprobs"] = _logprobs(content, asked) if asked.get("logprobs") else None
    prompt = 10 + sum(len(text) for text in texts_of(asked)) // 4 + 85 * seen.n_images
    completion = len(content.split()) + 5
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    model = asked.get("model")
    if rule.fault == "wrong_model":
        model = "another-model"
    answer = {
        "id": f"chatcmpl-{seen.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [] if rule.fault == "no_choices" else [choice],
        "usage": usage,
    }
    if rule.fault == "no_usage":
        del answer["usage"]
    return answer


def _message(
    rule: Rule, seen: Seen, asked: dict[str, Any], settings: Settings
) -> tuple[dict[str, Any], str]:
    """The message, and why it ended."""
    fault = rule.fault
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if fault == "refusal":
        return message | {"refusal": "I cannot help with that."}, "stop"
    if fault == "content_filter":
        return message, "content_filter"
    if fault == "null":
        return message, "stop"
    if fault == "empty":
        return message | {"content": ""}, "stop"
    utt_ids, img_ids = ([seen.number if i == -1 else i for i in ids] for ids in settings.ids)
    record = msgspec.json.encode({"utt_ids": utt_ids, "img_ids": img_ids}).decode()
    text = settings.answer.replace("{number}", str(seen.number)).replace("{marker}", seen.marker)
    if rule.text is not None:
        text = record = rule.text
    if fault in {"bad_json_answer", "length"}:
        record = record[:10]
    elif fault == "wrong_schema_answer":
        record = '{"turns": "all of them"}'
    if fault == "length":
        text = text[: len(text) // 2]
    end = "length" if fault == "length" else "stop"
    if asked.get("tools") and fault != "text_instead":
        name = asked["tools"][0]["function"]["name"]
        call = {
            "id": f"call-{seen.number}",
            "type": "function",
            "function": {"name": name, "arguments": record},
        }
        return message | {"tool_calls": [call]}, "tool_calls" if end == "stop" else end
    structured = (asked.get("response_format") or {}).get("type") in {"json_schema", "json_object"}
    return message | {"content": record if structured and fault != "text_instead" else text}, end


def _logprobs(content: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Log-probabilities of four characters at a time, in the protocol's form."""
    n_top = asked.get("top_logprobs") or 0
    tokens = [content[i : i + 4] for i in range(0, len(content), 4)]
    return {
        "content": [
            {
                "token": token,
                "logprob": -0.125,
                "bytes": list(token.encode()),
                "top_logprobs": [
                    {"token": f"{token}{k}", "logprob": -0.125 - k, "bytes": None}
                    for k in range(n_top)
                ],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def texts_of(asked: dict[str, Any]) -> list[str]:
    """The texts of a request's messages."""
    texts = []
    for message in asked.get("messages", ()):
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if part.get("type") == "text"]
    return texts


def n_images_of(asked: dict[str, Any]) -> int:
    """How many images a request's messages have."""
    return sum(
        part.get("type") == "image_url"
        for message in asked.get("messages", ())
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
