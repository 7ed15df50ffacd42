"""The markers of the task's text format (task-format: Markup)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

UTT_ID: Final = ("<|utt_id_start|>", "<|utt_id_end|>")
IMG_ID: Final = ("<|img_id_start|>", "<|img_id_end|>")
UTT_IDS: Final = ("<|utt_ids_start|>", "<|utt_ids_end|>")
IMG_IDS: Final = ("<|img_ids_start|>", "<|img_ids_end|>")
QUERY: Final = ("<|query_start|>", "<|query_end|>")
IMAGE_PLACEHOLDER: Final = "<image>"

MARKERS: Final = (*UTT_ID, *IMG_ID, *UTT_IDS, *IMG_IDS, *QUERY)
"""All markers. Trainers decode with ``skip_special_tokens=True``, so a tokenizer must treat them
as plain text or as added tokens with ``special=False``."""

_LITERAL: Final = re.compile("|".join(map(re.escape, (*MARKERS, IMAGE_PLACEHOLDER))))


def mark(markers: tuple[str, str], content: object) -> str:
    """``content`` between a pair of markers."""
    return f"{markers[0]}{content}{markers[1]}"


def answer_text(utt_ids: Iterable[int], img_ids: Iterable[int]) -> str:
    """An answer in markup, ids as given."""
    utterances = mark(UTT_IDS, list(utt_ids))
    return f"{utterances};{mark(IMG_IDS, list(img_ids))}"


def defuse(text: str) -> str:
    """Text of a dialogue with anything that looks like our markers broken by a space.

    Otherwise a speaker who writes a marker would add ids to the dialogue.
    """
    return _LITERAL.sub(lambda match: match.group().replace("<", "< "), text)
