"""Text of users on a terminal: what would control the terminal is shown, not sent."""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # also what turns the direction of writing
_HARMLESS: Final = {"\u200c", "\u200d"}  # they join emoji and letters


def visible(text: str) -> str:
    r"""One line of text with control and invisible characters as escapes such as ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def visible_lines(text: str) -> str:
    """The same for a text of several lines: its line ends stay, a tab becomes a space."""
    lines = text.replace("\r\n", "\n").replace("\t", " ").split("\n")
    return "\n".join(map(visible, lines))


def _visible(char: str) -> str:
    if char in _HARMLESS or unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape").decode("ascii")
