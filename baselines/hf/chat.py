"""Messages in the words of a model's own chat template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ffr_eval.errors import InputError
from ffr_eval.markup import MARKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.generative.chat import Message

Chat: TypeAlias = list[tuple[str, list[str | None]]]
"""Roles, and their texts; ``None`` is an image."""
_PROBE: Final = ("first3f7", "second3f7", "third3f7")
"""Words that no template has."""


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
        self._special = _pattern(special_tokens(processor, tokenizer))
        self._has_system = True
        self._form = self._find_form(reads_images)
        self._has_system = self._takes_system()

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt, up to where the answer begins."""
        chat: Chat = []
        for message in messages:
            parts = [
                self._defused(part) if isinstance(part, str) else None for part in message.parts
            ]
            chat.append((message.role, parts))
        return self._render(chat, self._form)

    def _defused(self, text: str) -> str:
        if self._special is None:
            return text
        return self._special.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)

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
                if self._tried([("user", [_PROBE[0]])], form) is not None:
                    return form
            raise InputError("the model's chat template cannot be used", field="option model")
        chat: Chat = [("user", [_PROBE[0], None, _PROBE[1], None, _PROBE[2]])]
        for form in ("parts", "text", "string"):
            text = self._tried(chat, form)
            if text is not None and (form == "parts" or self._image_token) and _in_order(text):
                return form
        raise InputError(
            "the model's chat template does not say where images stand in a text",
            field="option model",
            remedy="leave them out (-o images=text_only), or serve the model and use `ffr run api`",
        )

    def _takes_system(self) -> bool:
        text = self._tried([("system", [_PROBE[0]]), ("user", [_PROBE[1]])], self._form)
        return text is not None and all(word in text for word in _PROBE[:2])

    def _tried(self, chat: Chat, form: str) -> str | None:
        """The prompt; ``None`` if the template does not take such messages."""
        from jinja2 import TemplateError

        try:
            text = self._render(chat, form)
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return None
        said = [part for _, parts in chat for part in parts if part is not None]
        return text if all(part in text for part in said) else None


def special_tokens(processor: Any, tokenizer: Any) -> set[str]:
    """The tokens that mean something to the model, the task's own markers left out."""
    known = {
        str(token)
        for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if getattr(token, "special", False)
    }
    known |= set(map(str, tokenizer.all_special_tokens))
    for owner in (processor, tokenizer):
        for name in ("image_token", "video_token", "boi_token", "eoi_token"):
            token = getattr(owner, name, None)
            known |= {token} if isinstance(token, str) else set()
    return {token for token in known if len(token) > 1} - set(MARKERS)


def _pattern(tokens: set[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _in_order(text: str) -> bool:
    """Whether the same something stands between each two words of the probe."""
    places = [text.find(word) for word in _PROBE]
    if places != sorted(places) or places[0] < 0:
        return False
    gaps = [
        text[place + len(word) : following].strip()
        for place, word, following in zip(places, _PROBE, places[1:], strict=False)
    ]
    return bool(gaps[0]) and gaps[0] == gaps[1]


def _without_system(
    chat: Chat,
) -> Chat:
    """The system message at the head of the first message of the user."""
    (_, system), (role, parts), *rest = chat
    head = "".join(part for part in system if part is not None) + "\n\n"
    if parts and parts[0] is not None:
        return [(role, [head + parts[0], *parts[1:]]), *rest]
    return [(role, [head, *parts]), *rest]
