"""Requests as the JSON that is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from baselines.api.keys import is_secret_name
from baselines.generative.structured import ANSWER_NAME, ANSWER_SCHEMA
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from baselines.api.model import ApiOptions
    from baselines.api.presets import Feature, Preset
    from baselines.generative.chat import ChatRequest, Message
    from ffr_eval.types import Image

_OURS: Final = {
    "messages": "the prompt has options of its own",
    "model": "use -o model=",
    "stream": "answers are read whole",
    "n": "one answer is asked for",
    "max_tokens": "use -o max_tokens=",
    "max_completion_tokens": "use -o max_tokens=",
    "temperature": "use -o temperature=",
    "top_p": "use -o top_p=",
    "seed": "use -o seed=",
    "logprobs": "use -o logprobs=",
    "top_logprobs": "use -o top_logprobs=",
    "reasoning_effort": "use -o reasoning_effort=",
    "response_format": "use -o answer=json_schema",
    "tools": "use -o answer=tool",
    "tool_choice": "use -o answer=tool",
}


class BodyBuilder:
    """Makes the bodies of requests.

    Args:
        options: The model's.
        preset: What is known of the server.

    Attributes:
        left_out: Fields that the server's model does not take, though they were to be sent.
        drawn_by: What tells answers apart that are drawn anew, where the server is not told: the
            seed, for the cache.

    Raises:
        InputError: If an option asks for what the server's model does not have.
    """

    def __init__(self, options: ApiOptions, preset: Preset) -> None:
        assert options.model is not None  # noqa: S101 - required by the model
        self._detail = options.image_detail
        self.left_out: list[str] = []
        _refuse_missing(options, preset)
        fields: dict[str, Any] = {preset.max_tokens: options.max_tokens}
        if preset.has("temperature", options.model):
            fields["temperature"] = options.temperature
        else:
            self.left_out.append("temperature")
        if options.top_p != 1.0:
            fields["top_p"] = options.top_p
        self.drawn_by: dict[str, Any] = {}
        if preset.has("seed", options.model):
            fields["seed"] = options.seed
        elif options.temperature > 0 or "temperature" not in fields:
            self.drawn_by["seed"] = options.seed
        if options.logprobs:
            fields |= {"logprobs": True, "top_logprobs": options.top_logprobs}
        if options.reasoning_effort is not None:
            fields["reasoning_effort"] = options.reasoning_effort
        self._before = {"model": options.model}
        self._after = fields | _form(options.answer) | parse_extra(options.extra)

    def body(self, request: ChatRequest, uri: Callable[[Image], str]) -> dict[str, Any]:
        """The body of a request; ``uri`` gives the ``data:`` URI of an image."""
        messages = [self._message(message, uri) for message in request.messages]
        return {**self._before, "messages": messages, **self._after}

    def _message(self, message: Message, uri: Callable[[Image], str]) -> dict[str, Any]:
        texts = [part for part in message.parts if isinstance(part, str)]
        if len(texts) == len(message.parts):  # some servers take text only so
            return {"role": message.role, "content": "".join(texts)}
        return {"role": message.role, "content": [self._part(part, uri) for part in message.parts]}

    def _part(self, part: str | Image, uri: Callable[[Image], str]) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        image = {"url": uri(part)}
        if self._detail is not None:
            image["detail"] = self._detail
        return {"type": "image_url", "image_url": image}


def encode_body(body: Mapping[str, Any]) -> bytes:
    """A body as JSON in UTF-8."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write as an escape
        return json.dumps(body).encode()


def parse_extra(text: str | None) -> dict[str, Any]:
    """Further fields of requests, from the option ``extra``.

    Raises:
        InputError: If it is no JSON object, or has fields that FFR sets or that hold keys.
    """
    if text is None:
        return {}
    field = "option extra"
    remedy = """for example -o 'extra={"top_k": 20}'"""
    try:
        extra = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InputError(f"is not JSON: {error}", field=field, remedy=remedy) from None
    if not isinstance(extra, dict):
        raise InputError("is not a JSON object", field=field, remedy=remedy)
    for name in extra:
        if name in _OURS:
            raise InputError(f"{name!r} cannot be given here", field=field, remedy=_OURS[name])
    secret = next(_secret_names(extra), None)
    if secret is not None:
        message = f"{secret!r} looks like a key, which would be written into run.json"
        raise InputError(message, field=field, remedy="give keys in an environment variable")
    return extra


def _secret_names(value: Any) -> Any:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str) and is_secret_name(name):
                yield name
            yield from _secret_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_names(item)


def _form(answer: str) -> dict[str, Any]:
    """The fields that hold the model to an object."""
    if answer == "json_schema":
        schema = {"name": ANSWER_NAME, "strict": True, "schema": ANSWER_SCHEMA}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if answer == "tool":
        function = {
            "name": ANSWER_NAME,
            "description": "Give the ids of the utterances and images that belong to the query",
            "strict": True,
            "parameters": ANSWER_SCHEMA,
        }
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": ANSWER_NAME}},
        }
    return {}


def _refuse_missing(options: ApiOptions, preset: Preset) -> None:
    """Refuse options that ask for what the server's model does not have.

    Raises:
        InputError: With the option, and what to do.
    """
    asked: list[tuple[str, Feature, bool, str]] = [
        ("answer", "json_schema", options.answer == "json_schema", "-o answer=markup"),
        ("answer", "tool", options.answer == "tool", "-o answer=markup"),
        ("logprobs", "logprobs", options.logprobs, "leave out -o logprobs"),
        ("top_p", "top_p", options.top_p != 1.0, "leave out -o top_p"),
        (
            *("temperature", "temperature", options.temperature != 0.0),
            "leave out -o temperature: the model has its own",
        ),
        (
            *("reasoning_effort", "reasoning_effort", options.reasoning_effort is not None),
            "leave out -o reasoning_effort",
        ),
        (
            *("image_detail", "image_detail", options.image_detail is not None),
            "leave out -o image_detail",
        ),
    ]
    for option, feature, wanted, remedy in asked:
        if wanted and not preset.has(feature, options.model or ""):
            message = f"{preset.title} has no {feature} for {options.model!r}"
            hint = f"{remedy}; or a preset of your own that says otherwise: -o preset=FILE.toml"
            raise InputError(message, field=f"option {option}", remedy=hint)
