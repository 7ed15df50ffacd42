"""What crosses the line between prompts and engines: requests and completions, frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.types import Image, Outcome

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a chat.

    Attributes:
        role: Whose it is.
        parts: Text and images in the order in which the model reads them; no two texts in a row.
    """

    role: Role
    parts: tuple[str | Image, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One thing to ask a model: about a whole dialogue, or about a window of it.

    Attributes:
        sample_id: The sample that it is asked for.
        part: Which window of the sample, from 0.
        messages: What is sent; ends with a message of the user.
        dialogue_id: Requests of one dialogue have the same images, and come one after another.
    """

    sample_id: str
    part: int
    messages: tuple[Message, ...]
    dialogue_id: str

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, in the order in which the model reads them."""
        return tuple(
            part for message in self.messages for part in message.parts if not isinstance(part, str)
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine made of a request: text, or the reason why there is none.

    Attributes:
        text: What the model wrote; ``None`` if there is nothing.
        outcome: Set only if the engine or server itself said how it ended: ``refusal``,
            ``truncated``, ``context_overflow`` or ``request_error``. Otherwise the text decides.
        error: What went wrong, in words, without keys and without the prompt.
        finish_reason: As the engine named it.
        model: The name of the model that answered, as the server returned it.
        usage: ``prompt_tokens``, ``completion_tokens``, and what else was counted.
        latency_s: Seconds from the last sending to the whole answer.
        cost: In the currency of the price table; ``None`` if no price is known.
        logprobs: ``{"token_logprobs": […], "entropy": […], "entropy_kind": "full"|"top-K"}``, one
            number a generated token, natural logarithms; only if they were asked for.
        meta: What else is worth keeping: ``attempts``, ``request_id``, ``cached``, ….
    """

    text: str | None
    outcome: Outcome | None = None
    error: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Mapping[str, int] | None = None
    latency_s: float | None = None
    cost: float | None = None
    logprobs: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
