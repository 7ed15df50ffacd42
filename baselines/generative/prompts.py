"""Samples as chats: system message, examples, question."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.generative.chat import Message
from baselines.generative.own_template import OwnTemplate, text_of
from ffr_eval.errors import FfrError, InputError
from ffr_eval.marked_ids import marked_ids
from ffr_eval.prompt import (
    joined_parts,
    language_of,
    prompt_hash,
    render,
    render_answer,
)
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.generative.options import GenerativeOptions
    from ffr_eval.prompt import Language
    from ffr_eval.types import Image, Sample

_EXAMPLE: Final = Fragment((1, 2), (0,))  # as in the built-in wording
_WORDING_IS_THE_TEMPLATES: Final = ("prompt", "query")


class PromptBuilder:
    """Makes the messages of samples, always by the same options.

    Attributes:
        hash: ``sha256:…`` of everything but the sample: the wording, the options that matter, what
            the template and the system file say, and how many examples there are. For a plain
            prompt in a language of its own it is :attr:`ffr_eval.prompt.Prompt.hash`.

    Raises:
        InputError: If a file cannot be used, or options contradict each other.
        MissingExtraError: If the template needs Jinja2, which is not installed.
    """

    hash: str

    def __init__(self, options: GenerativeOptions) -> None:
        self._options = options
        self._language: Language | None = None if options.language == "auto" else options.language
        self._system = _system_text(options.system)
        self._template = _own_template(options)
        self.hash = self._hashed()

    def messages(self, sample: Sample, shots: Sequence[Sample] = ()) -> tuple[Message, ...]:
        """What is sent for a sample: the system message, examples, and the question.

        Args:
            sample: Its gold, if it has any, is not read.
            shots: Samples with gold; each is shown as a question and its answer.

        Raises:
            InputError: If an own template fails.
            FfrError: If an example has no gold.
        """
        messages = [] if self._system is None else [Message("system", (self._system,))]
        for shot in shots:
            messages.append(self._question(shot))
            messages.append(Message("assistant", (self._right_answer(shot),)))
        messages.append(self._question(sample))
        return tuple(messages)

    def _question(self, sample: Sample) -> Message:
        options = self._options
        if self._template is None:
            prompt = render(
                sample,
                language=self._language,
                images=options.images,
                captions=options.captions,
                query=options.query,
                style=options.prompt,
                answer=options.answer,
            )
            return Message("user", prompt.parts)
        language = self._language_of(sample)
        parts: list[str | Image] = self._template.parts(
            sample,
            language=language,
            placement=options.images,
            captions=options.captions,
            answer=options.answer,
            example=render_answer(_EXAMPLE, language=language, answer=options.answer),
        )
        return Message("user", joined_parts(parts))

    def _right_answer(self, shot: Sample) -> str:
        if shot.gold is None:
            raise FfrError(f"the example {shot.sample_id!r} has no gold")
        options = self._options
        return render_answer(
            shot.gold,
            language=self._language_of(shot),
            style=options.prompt,
            answer=options.answer,
        )

    def _language_of(self, sample: Sample) -> Language:
        return self._language or language_of(sample.dialogue)

    def _hashed(self) -> str:
        options = self._options
        wording = self._wording()
        if self._system is None and not options.shots and isinstance(wording, str):
            return wording
        identity = {
            "wording": wording,
            "system": self._system,
            "shots": options.shots,
            "example_answers": self._example_answers() if options.shots else None,
        }
        data = json.dumps(identity, sort_keys=True).encode()
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def _wording(self) -> str | dict[str, Any]:
        """What a question is made by: the hash of the built-in wording, or the template."""
        options = self._options
        if self._template is not None:
            names = ("language", "images", "captions", "answer")
            given = {name: getattr(options, name) for name in names}
            return {"template": self._template.source, **given}
        return prompt_hash(
            self._language,
            options.images,
            options.captions,
            query=options.query,
            style=options.prompt,
            answer=options.answer,
        )

    def _example_answers(self) -> list[str]:
        """How examples are answered, in the languages that may occur."""
        options = self._options
        languages: tuple[Language, ...] = ("en", "zh")
        return [
            render_answer(fragment, language=each, style=options.prompt, answer=options.answer)
            for each in languages
            for fragment in (_EXAMPLE, Fragment())
            if self._language in {None, each}
        ]


def reached_ids(messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The utterance and image ids whose marks stand in the last message of the user.

    Returns:
        Each id once, in the order of the text; ``None`` if nothing is marked, as by an own template
        that does without marks.
    """
    asked = next((message for message in reversed(messages) if message.role == "user"), None)
    if asked is None:
        return None
    # Joined by what is in no mark, so that none is made of the ends of two texts.
    text = "\n".join(part for part in asked.parts if isinstance(part, str))
    utterances, images = (
        tuple(dict.fromkeys(found.values.tolist())) for found in marked_ids([text])
    )
    return (utterances, images) if utterances or images else None


def _system_text(given: str | None) -> str | None:
    """The system message: the option's text, or that of the file that it names."""
    if given is None:
        return None
    text = text_of(Path(given[1:])).removesuffix("\n") if given.startswith("@") else given
    if not text.strip():
        message, remedy = "the system message is empty", "leave the option out"
        raise InputError(message, field="option system", remedy=remedy)
    return text


def _own_template(options: GenerativeOptions) -> OwnTemplate | None:
    if options.template is None:
        return None
    defaults = type(options)()
    for name in _WORDING_IS_THE_TEMPLATES:
        if getattr(options, name) != getattr(defaults, name):
            message = "has no effect with a template of your own"
            remedy = "leave it out; the template says how to answer, and where the query stands"
            raise InputError(message, field=f"option {name}", remedy=remedy)
    return OwnTemplate(Path(options.template))
