"""The options that all generative models have; they decide on the answers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ffr_eval.errors import InputError


class GenerativeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the prompt, of windows, and of generation.

    Attributes:
        model: A name, a folder or a preset: what the engine takes.
        prompt: ``zero-shot`` asks for the answer alone; ``cot`` for reasoning and then the answer.
        shots: How many examples of the tuning split stand before the question.
        shot_turns: Examples are of dialogues of at most so many turns.
        seed: Of the choice of examples, and of sampling.
        query: Whether the query stands before the dialogue or after it.
        language: Of the instruction; ``auto`` for that of the dialogue.
        images: ``in_place`` shows each image after its id, ``images_first`` all before the text,
            ``text_only`` none.
        captions: Write captions after the image ids.
        template: A Jinja file in the place of the built-in wording.
        system: A system message; ``@FILE`` reads it from a file.
        window: Turns of a window; ``None`` shows the whole dialogue if it fits.
        stride: Turns from the start of a window to that of the next; ``None`` for three quarters
            of the window.
        merge: How the answers of windows become one.
        overflow: What happens to a prompt that would exceed the context, without ``window``:
            windows that fit, or the outcome ``context_overflow``.
        context: Tokens that prompt and answer may have together; ``None`` for what the engine says.
        max_tokens: Tokens of an answer, at most.
        temperature: 0 for the most likely token each time.
        top_p: Sample from the most likely tokens of so much probability together.
        logprobs: Keep log-probabilities and entropies of the generated tokens.
        answer: The form of the answer: text in the task's markup, or an object that the server
            holds the model to.
    """

    model: str | None = None
    prompt: Literal["zero-shot", "cot"] = "zero-shot"
    shots: Annotated[int, Meta(ge=0)] = 0
    shot_turns: Annotated[int, Meta(ge=1)] = 40
    seed: int = 0
    query: Literal["first", "last"] = "first"
    language: Literal["auto", "en", "zh"] = "auto"
    images: Literal["in_place", "images_first", "text_only"] = "in_place"
    captions: bool = False
    template: str | None = None
    system: str | None = None
    window: Annotated[int, Meta(ge=1)] | None = None
    stride: Annotated[int, Meta(ge=1)] | None = None
    merge: Literal["union", "vote", "score"] = "union"
    overflow: Literal["window", "refuse"] = "window"
    context: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] = 1024
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    logprobs: bool = False
    answer: Literal["markup", "json_schema", "tool"] = "markup"


def check_options(options: GenerativeOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        InputError: With the option, and what to do.
    """
    if options.stride is not None and options.window is None:
        message, remedy = "has no effect without windows", "add -o window=TURNS"
        raise InputError(message, field="option stride", remedy=remedy)
    if options.window is not None and (options.stride or 0) > options.window:
        message = f"{options.stride} is more than the window of {options.window} turns"
        remedy = "turns in between would never be shown: at most the window"
        raise InputError(message, field="option stride", remedy=remedy)
    if options.merge == "score" and not options.logprobs:
        message, remedy = "'score' weighs windows by their log-probabilities", "add --logprobs"
        raise InputError(message, field="option merge", remedy=remedy)
    if options.context is not None and options.context <= options.max_tokens:
        message = f"{options.context} tokens leave no room beside max_tokens={options.max_tokens}"
        raise InputError(message, field="option context", remedy="lower -o max_tokens")
