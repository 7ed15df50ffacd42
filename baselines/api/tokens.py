"""Estimates of how many tokens a prompt takes, by its characters and the sizes of its images."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from baselines.api.images import fitted_size, image_size

if TYPE_CHECKING:
    from baselines.api.presets import ImageTokens
    from baselines.generative.chat import ChatRequest

# Characters a token, roughly, in the vocabularies of today's models.
_LETTERS: Final = 4.5
_DIGITS: Final = 2.0
_MARKS: Final = 1.6
_HAN: Final = 1.2
_OTHER: Final = 2.2

_PER_MESSAGE: Final = 6
_UNKNOWN_IMAGE: Final = (1024, 1024)

_ASCII_LETTERS: Final = bytes(range(65, 91)) + bytes(range(97, 123))
_ASCII_DIGITS: Final = b"0123456789"
_SPACES: Final = b" \t\r\n"
_HAN_LIKE: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+")

_TILED_INTO: Final = 2048
_TILED_SHORT: Final = 768


def text_tokens(text: str) -> int:
    """About how many tokens a text takes; spaces go with the words that they stand before."""
    ascii_bytes = text.encode("ascii", "ignore")
    no_letters = ascii_bytes.translate(None, _ASCII_LETTERS)
    no_digits = no_letters.translate(None, _ASCII_DIGITS)
    n_marks = len(no_digits.translate(None, _SPACES))
    n_lines = no_digits.count(b"\n")
    n_beyond = len(text) - len(ascii_bytes)
    n_han = n_beyond and sum(map(len, _HAN_LIKE.findall(text)))
    return math.ceil(
        (len(ascii_bytes) - len(no_letters)) / _LETTERS
        + (len(no_letters) - len(no_digits)) / _DIGITS
        + n_marks / _MARKS
        + n_lines
        + n_han / _HAN
        + (n_beyond - n_han) / _OTHER
    )


def image_tokens(width: int, height: int, rule: ImageTokens, detail: str | None = None) -> int:
    """How many tokens an image takes by a server's rule.

    Args:
        width: As it is sent.
        height: As it is sent.
        rule: The server's.
        detail: ``low`` takes the base alone where there are ``tiles``.
    """
    if rule.kind == "area":
        tokens = rule.base + width * height / rule.size
    elif rule.kind == "tiles" and detail == "low":
        tokens = float(rule.base)
    else:
        if rule.kind == "tiles":
            scale = min(1.0, _TILED_INTO / max(width, height))
            scale = min(scale, _TILED_SHORT / min(width, height))
            width, height = round(width * scale), round(height * scale)
        tiles = math.ceil(width / rule.size) * math.ceil(height / rule.size)
        tokens = rule.base + tiles * rule.each
    whole = max(1, math.ceil(tokens))
    return whole if rule.most is None else min(whole, rule.most)


def request_tokens(
    request: ChatRequest, rule: ImageTokens, max_pixels: int, detail: str | None = None
) -> int:
    """About how many tokens a request's prompt takes."""
    tokens = _PER_MESSAGE * (len(request.messages) + 1)
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, str):
                tokens += text_tokens(part)
                continue
            size = (None if part.file is None else image_size(part.file)) or _UNKNOWN_IMAGE
            tokens += image_tokens(*fitted_size(*size, max_pixels), rule, detail)
    return tokens
