"""What an answer of a server means: pure functions from what came in to what it comes to.

* A server that says how it ended is believed: ``length`` is a truncated answer, a content filter
  or a ``refusal`` is a refusal, a prompt over the context is an overflow.
* A normal end with no text at all is the model's doing, not the server's: the completion has the
  text ``""``, which no parser takes for an answer (``parse_error``, never ``empty``). Without text
  *and* without a reason the server failed: it is asked again, and in the end ``request_error``.
* Errors of a moment are tried again. Errors of one request are its outcome. Errors that every
  request would meet stop the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from baselines.api.logprobs import token_logprobs
from ffr_eval.jsonl import decode
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

Action: TypeAlias = Literal["retry", "throttle", "record", "stop"]
Cause: TypeAlias = Literal["key", "forbidden", "model", "quota", "address", "parameter"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is none.

    Attributes:
        action: ``retry`` and ``throttle`` (the server has too much to do) are tried again and end
            as ``outcome`` if nothing helps; ``record`` has the outcome at once; ``stop`` ends the
            run.
        message: What the server said, as it said it: keys may be in it.
        outcome: Of the request.
        cause: Of ``stop``: what has to be mended.
    """

    action: Action
    message: str
    outcome: Outcome = Outcome.REQUEST_ERROR
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        text: What the model wrote.
        outcome: If the server itself says how it ended.
        error: Why there is no usable text, as the server said it.
        finish_reason: As the server named it.
        model: The name of the model that answered.
        usage: Tokens, by what they were counted as.
        logprobs: In the form of a completion.
        request_id: As the body names it.
    """

    text: str | None
    outcome: Outcome | None = None
    error: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    logprobs: dict[str, Any] | None = None
    request_id: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the model ended by itself and wrote something: what is worth caching."""
        return self.outcome is None and bool(self.text) and self.finish_reason in _ENDED


_ENDED: Final = frozenset(
    {"stop", "tool_calls", "function_call", "end_turn", "eos", "stop_sequence"}
)
_CUT: Final = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_FILTERED: Final = frozenset(
    {
        *("content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"),
        *("spii", "sensitive", "image_safety", "content_filtered", "moderation"),
    }
)
_BROKEN: Final = frozenset(
    {"error", "abort", "aborted", "cancelled", "insufficient_system_resource", "unknown_error"}
)

_OVERFLOW_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_OVERFLOW: Final = re.compile(
    r"maximum context|context (?:length|window|size)|prompt is too long|input is too long"
    r"|input length and `?max_tokens`? exceed|range of input length|too many (?:input )?tokens"
    r"|maximum (?:number of tokens|model length|prompt length)|token count .{0,40}exceed"
    r"|(?:prompt|input)\b.{0,60}\btokens?\b.{0,60}\b(?:exceed|larger|longer)"
    r"|max_model_len|longer than the maximum model",
    re.IGNORECASE,
)
_POLICY_CODES: Final = re.compile(
    r"content_?(?:policy|filter)|responsibleai|sensitive|data_?inspection|moderation|prohibited"
    r"|safety",
    re.IGNORECASE,
)
_POLICY: Final = re.compile(
    r"content (?:management )?policy|safety system|usage polic(?:y|ies)|inappropriate content"
    r"|content filter|flagged as potentially|requires moderation",
    re.IGNORECASE,
)
_QUOTA_CODES: Final = re.compile(
    r"insufficient_?(?:user_)?(?:quota|balance|credits?)|billing|arrearage|overdue|payment_?required"
    r"|account_?deactivated",
    re.IGNORECASE,
)
_QUOTA: Final = re.compile(
    r"credit balance is too low|insufficient (?:balance|credits?)|account is overdue|in arrears"
    r"|good standing",
    re.IGNORECASE,
)
_KEY_CODES: Final = re.compile(
    r"invalid_?api_?key|api_key_invalid|authentication|unauthorized", re.IGNORECASE
)
_KEY: Final = re.compile(r"api key not valid|invalid api[- ]key|incorrect api key", re.IGNORECASE)
_MODEL_CODES: Final = re.compile(r"model_?not_?found|invalid_?model|no_such_model", re.IGNORECASE)
_MODEL: Final = re.compile(
    r"\bmodels?\b.{0,120}\b(?:does not exist|not exist|not found)", re.IGNORECASE
)
_PARAMETER_CODES: Final = frozenset(
    {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
)
_TOO_LARGE_FOR_LIMIT: Final = re.compile(r"request too large", re.IGNORECASE)
_RETRIED: Final = frozenset({408, 409, 423, 425})
_TITLE: Final = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def read_reply(
    status: int, body: bytes, *, tool: bool = False, n_top: int | None = None
) -> Answer | Failure:
    """What a whole HTTP reply comes to.

    Args:
        status: Of HTTP.
        body: All of it.
        tool: Whether the answer is expected as the arguments of a function.
        n_top: How many log-probabilities were asked for at each token, if any.
    """
    try:
        content: Any = decode(body, _DECODER)
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = None
    if status != 200:
        return failure_of(status, content, body)
    if not isinstance(content, dict):
        what = _page(body) or "not JSON"
        return Failure("retry", f"the server's answer cannot be read: {what}")
    if content.get("error"):
        return failure_of(_status_within(content), content, within=True)
    return _answer(content, tool, n_top)


def failure_of(status: int, content: Any, body: bytes = b"", *, within: bool = False) -> Failure:
    """What an error comes to.

    Args:
        status: Of HTTP, or as the error itself says.
        content: The decoded body; anything.
        body: The body as it came.
        within: Whether HTTP itself said 200.
    """
    code, message = _described(content)
    said = message or _page(body)
    head = "an error within an answer" if within else f"HTTP {status}"
    text = f"{head}: {said}" if said else head
    if 300 <= status < 400:
        return Failure("stop", text, cause="address")
    if status not in {401, 429} and status < 500:
        outcome = _outcome_of(code, message)
        if outcome is not None:
            return Failure("record", text, outcome)
    cause = _cause_of(status, code, message)
    if cause is not None:
        return Failure("stop", text, cause=cause)
    if status == 429:
        never = _TOO_LARGE_FOR_LIMIT.search(message)
        return Failure("record" if never else "throttle", text)
    if status in _RETRIED or (status >= 500 and status not in {501, 505}):
        if any(part in _OVERFLOW_CODES for part in code.casefold().split()):
            return Failure("record", text, Outcome.CONTEXT_OVERFLOW)
        return Failure("retry", text)
    return Failure("record", text)


def _outcome_of(code: str, message: str) -> Outcome | None:
    if any(part in _OVERFLOW_CODES for part in code.casefold().split()):
        return Outcome.CONTEXT_OVERFLOW
    if _POLICY_CODES.search(code) or _POLICY.search(message):
        return Outcome.REFUSAL
    return Outcome.CONTEXT_OVERFLOW if _OVERFLOW.search(message) else None


def _cause_of(status: int, code: str, message: str) -> Cause | None:
    """Why every request would fail, if that is so."""
    if status >= 500:
        return None
    if status == 402 or _QUOTA_CODES.search(code) or _QUOTA.search(message):
        return "quota"
    if status == 429:
        return None
    if status == 401 or _KEY_CODES.search(code) or _KEY.search(message):
        return "key"
    if _MODEL_CODES.search(code) or (status in {400, 404} and _MODEL.search(message)):
        return "model"
    if status == 403:
        return "forbidden"
    if status in {404, 405}:
        return "address"
    return "parameter" if any(part in _PARAMETER_CODES for part in code.split()) else None


def _status_within(content: Mapping[str, Any]) -> int:
    """The status that an error in an answer of status 200 stands for."""
    error = content["error"]
    for name in ("status", "status_code", "code"):
        value = error.get(name) if isinstance(error, dict) else None
        if isinstance(value, int | str) and re.fullmatch("[45][0-9]{2}", str(value)):
            return int(value)
    code, message = _described(content)
    known = _outcome_of(code, message) or _cause_of(400, code, message)
    if known:
        return 400
    return 429 if re.search(r"rate_?limit", code, re.IGNORECASE) else 500


def _described(content: Any) -> tuple[str, str]:
    """Codes (code, type and status, a space between) and message of an error, as far as given."""
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return "", ""
    error = content.get("error", content)
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    inner = error.get("innererror")
    reasons = [inner] if isinstance(inner, dict) else []
    reasons += [item for item in _list(error.get("details")) if isinstance(item, dict)]
    names = [error.get(name) for name in ("code", "type", "status")]
    names += [reason.get(name) for reason in reasons for name in ("code", "reason")]
    code = " ".join(name for name in names if isinstance(name, str))
    messages = (_text(error.get(name)) for name in ("message", "detail", "msg"))
    return code, next(filter(None, messages), "")


def _page(body: bytes) -> str:
    """The title of an HTML page, or the beginning of a text."""
    title = _TITLE.search(body[:4096])
    if title:
        return title.group(1).decode(errors="replace").strip()
    text = body[:200].decode(errors="replace").strip()
    return "" if text.startswith(("<", "{", "[")) else text


def _answer(content: Mapping[str, Any], tool: bool, n_top: int | None) -> Answer | Failure:
    choice = next(iter(_list(content.get("choices"))), None)
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Failure("retry", "the server's answer has no choices")
    reason = _text(choice.get("finish_reason"))
    how = (reason or "").lower()
    written, refusal = _written(message, tool)
    text: str | None = written
    outcome, error = _ended(how, refusal)
    if how in _BROKEN or (outcome is None and not text and reason is None):
        what = f"finish_reason {reason!r}" if reason else "no text and no finish_reason"
        return Failure("retry", f"the server broke off: {what}")
    if outcome is Outcome.REFUSAL:
        text = text or None
    return Answer(
        text=text,
        outcome=outcome,
        error=error,
        finish_reason=reason,
        model=_text(content.get("model")),
        usage=_usage(content.get("usage")),
        logprobs=None if n_top is None else token_logprobs(choice.get("logprobs"), n_top),
        request_id=_text(content.get("id")),
    )


def _ended(how: str, refusal: str | None) -> tuple[Outcome | None, str | None]:
    if refusal:
        return Outcome.REFUSAL, refusal
    if how in _FILTERED:
        return Outcome.REFUSAL, f"the server withheld the answer: {how}"
    if how in _CUT:
        return Outcome.TRUNCATED, "the answer was cut at the length limit"
    return None, None


def _written(message: Mapping[str, Any], tool: bool) -> tuple[str, str | None]:
    """What the model wrote, and its refusal."""
    content, refusal = message.get("content"), _text(message.get("refusal"))
    parts = [part for part in _list(content) if isinstance(part, dict)]
    text = content if isinstance(content, str) else ""
    text += "".join(_text(part.get("text")) or "" for part in parts)
    refusal = refusal or next(filter(None, (_text(part.get("refusal")) for part in parts)), None)
    arguments = _arguments(message) if tool else None
    return (text if arguments is None else arguments), refusal


def _arguments(message: Mapping[str, Any]) -> str | None:
    call = next(iter(_list(message.get("tool_calls"))), None)
    function = call.get("function") if isinstance(call, dict) else message.get("function_call")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return _text(arguments)


def _usage(usage: Any) -> dict[str, int]:
    if not isinstance(usage, dict):
        return {}
    found = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    for name, group, key in (
        ("cached_tokens", "prompt_tokens_details", "cached_tokens"),
        ("reasoning_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        details = usage.get(group)
        found[name] = details.get(key) if isinstance(details, dict) else None
    totals = [usage.get(name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")]
    numbers = [number for number in totals if isinstance(number, int)]
    if len(numbers) == len(totals) and numbers[0] > numbers[1] + numbers[2]:
        found["total_tokens"] = numbers[0]  # some servers count reasoning here alone
    if found["cached_tokens"] is None:
        found["cached_tokens"] = usage.get("prompt_cache_hit_tokens")
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
