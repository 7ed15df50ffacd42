"""Messages in the words of a model's own chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ffr_eval.chat_templates import PROBE, in_order
from ffr_eval.errors import InputError
from ffr_eval.special_tokens import broken, pattern_of, special_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.generative.chat import Message

Chat: TypeAlias = list[tuple[str, list[str | None]]]
"""Roles, and their texts; ``None`` is an image."""


class ChatTemplate:
    """Renders messages to the text of a prompt.

    Most templates take text and images as parts, and keep their order. One that puts all images
    first (LLaVA-1.5) or takes text alone gets one text, with the model's image token in the place
    of each image. Where a template has no place for a system message, that stands at the head of
    the first message of the user.

    Text of the dialogue that looks like a special token of the model is broken by a space, as it
    would otherwise end a message, or stand for an image.

    Args:
        processor: A processor of transformers, or a tokenizer.
        tokenizer: Its tokenizer.
        template: The template, in Jinja.
        reads_images: Whether the model reads images.

    Raises:
        InputError: If the template cannot be used.
    """

    def __init__(
        self, processor: Any, tokenizer: Any, template: str, *, reads_images: bool
    ) -> None:
        self._processor = processor
        self._template = template
        self._image_token: str | None = getattr(processor, "image_token", None)
        self._special = pattern_of(special_tokens(processor, tokenizer))
        self._has_system = True
        self._form = self._find_form(reads_images)
        self._has_system = self._takes_system()

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt, up to where the answer begins."""
        chat: Chat = []
        for message in messages:
            parts = [
                broken(part, self._special) if isinstance(part, str) else None
                for part in message.parts
            ]
            chat.append((message.role, parts))
        return self._render(chat, self._form)

    def _render(self, chat: Chat, form: str) -> str:
        if chat[0][0] == "system" and not self._has_system:
            chat = _without_system(chat)
        messages = [{"role": role, "content": self._content(parts, form)} for role, parts in chat]
        text: str = self._processor.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        return text

    def _content(self, parts: list[str | None], form: str) -> str | list[dict[str, str]]:
        if form == "parts":
            return [
                {"type": "image"} if part is None else {"type": "text", "text": part}
                for part in parts
            ]
        text = "".join((self._image_token or "") if part is None else part for part in parts)
        return text if form == "string" else [{"type": "text", "text": text}]

    def _find_form(self, reads_images: bool) -> str:
        if not reads_images:
            for form in ("string", "parts"):
                if self._tried([("user", [PROBE[0]])], form) is not None:
                    return form
            raise InputError("the model's chat template cannot be used", field="option model")
        chat: Chat = [("user", [PROBE[0], None, PROBE[1], None, PROBE[2]])]
        for form in ("parts", "text", "string"):
            text = self._tried(chat, form)
            if text is not None and (form == "parts" or self._image_token) and in_order(text):
                return form
        raise InputError(
            "the model's chat template does not say where images stand in a text",
            field="option model",
            remedy="leave them out (-o images=text_only), or serve the model and use `ffr run api`",
        )

    def _takes_system(self) -> bool:
        text = self._tried([("system", [PROBE[0]]), ("user", [PROBE[1]])], self._form)
        return text is not None and all(word in text for word in PROBE[:2])

    def _tried(self, chat: Chat, form: str) -> str | None:
        """The prompt; ``None`` if the template does not take such messages."""
        from jinja2 import TemplateError

        try:
            text = self._render(chat, form)
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return None
        said = [part for _, parts in chat for part in parts if part is not None]
        return text if all(part in text for part in said) else None


def _without_system(
    chat: Chat,
) -> Chat:
    """The system message at the head of the first message of the user."""
    (_, system), (role, parts), *rest = chat
    head = "".join(part for part in system if part is not None) + "\n\n"
    if parts and parts[0] is not None:
        return [(role, [head + parts[0], *parts[1:]]), *rest]
    return [(role, [head, *parts]), *rest]
