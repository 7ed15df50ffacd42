"""Special tokens of a model, and texts of dialogues that look like them."""

from __future__ import annotations

import re
from typing import Any

from ffr_eval.markup import MARKERS


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


def pattern_of(tokens: set[str]) -> re.Pattern[str] | None:
    """What finds these tokens in a text, the longest first; ``None`` if there are none."""
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def broken(text: str, special: re.Pattern[str] | None) -> str:
    """A text with everything that looks like a special token broken by a space.

    It would otherwise end a message, or stand for an image.
    """
    if special is None:
        return text
    return special.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
