"""A sample, or a window of it, as messages and gold: what rows hold, and what evaluation asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ffr_eval.dialogue_views import View
from ffr_eval.markup import answer_text
from ffr_eval.prompt import render
from ffr_eval.special_tokens import broken, pattern_of, special_tokens
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    import re

    from ffr_eval.prompt import Language
    from ffr_eval.types import Image, Sample


@dataclass(frozen=True, slots=True)
class Wording:
    """How samples become messages.

    Attributes:
        language: Of the instruction; ``None`` for that of each dialogue.
        special: Finds the special tokens of the model, which texts are kept free of.
    """

    language: Language | None = None
    special: re.Pattern[str] | None = None


def wording_of(processor: Any, language: Language | None = None) -> Wording:
    """The wording for a model's processor."""
    special = special_tokens(processor, processor.tokenizer)
    return Wording(language, pattern_of(special))


def messages_of(
    sample: Sample | View, wording: Wording
) -> tuple[list[dict[str, Any]], list[Image]]:
    """What the model is asked: as ``ffr run hf`` asks with its default options.

    :func:`ffr_eval.picture_size.picture_of` gives the picture of an image, as it is in a folder of
    training data.

    Args:
        sample: A whole sample, or a window of one; its gold is not read.
        wording: For the model.

    Returns:
        One message of the user, with texts and places of images; and the images, in their order.
    """
    shown = sample.sample if isinstance(sample, View) else sample
    prompt = render(shown, language=wording.language)
    content = [
        {"type": "text", "text": broken(part, wording.special)}
        if isinstance(part, str)
        else {"type": "image"}
        for part in prompt.parts
    ]
    return [{"role": "user", "content": content}], list(prompt.images)


def completion_of(gold: Fragment) -> list[dict[str, Any]]:
    """The right answer, as a message of the assistant."""
    text = answer_text(gold.utt_ids, gold.img_ids)
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def gold_in(sample: Sample, view: View) -> Fragment:
    """What of a sample's gold a view shows, in the ids that it shows it under.

    Args:
        sample: With its gold.
        view: The sample whole, or a window of it.
    """
    gold = sample.gold
    if gold is None:
        raise AssertionError("a benchmark's samples have their gold")
    if view.img_ids is None:
        return gold
    shown = {turn.utt_id for turn in view.sample.dialogue.turns}
    local = {img_id: place for place, img_id in enumerate(view.img_ids)}
    return Fragment(
        tuple(utt_id for utt_id in gold.utt_ids if utt_id in shown),
        tuple(sorted(local[img_id] for img_id in gold.img_ids if img_id in local)),
    )
