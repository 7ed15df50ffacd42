"""The one place where untrusted text is made fit to be shown or exported.

Names of runs, models and benchmarks come from folders that anybody may have written. Markdown
images in them would tell third parties who looks at the page, ``:material/verified:`` would draw a
badge, and bidi characters would show another text than the one that is there.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_NAME: Final = 80
LONGEST_TEXT: Final = 600
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
NOTHING: Final = "(no name)"

_NAME: Final = re.compile(r"[\w.\-/ ()+]{1,80}")
_INVISIBLE_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"＝＋－＠")
_LINKED: Final = re.compile(r"(www)\.", re.IGNORECASE)
"""Of what Markdown makes a link without being asked."""
_EMPHASIS: Final = re.compile(r"(?<!\w)_++|_++(?![^\W_])")
"""Underscores that are not inside a word: Markdown takes them for emphasis."""
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}", re.IGNORECASE)
LONGEST_LINK: Final = 300
_IN_LINKS: Final = re.compile(rf"[A-Za-z0-9\-._~/?#=&+,:;@%]{{1,{LONGEST_LINK}}}")
"""What of ASCII a link may have: nothing that ends it in Markdown or HTML."""


def is_plain(text: str) -> bool:
    """Whether a name is shown exactly as it is."""
    return name(text) == text


@lru_cache(maxsize=16_384)
def name(text: str) -> str:
    """A name that is safe in every widget, Markdown ones included, and looks like what it is.

    Characters that a name may not have become U+FFFD, so that two names never become one silently;
    what is too long is cut.
    """
    composed = unicodedata.normalize("NFKC", text[: 4 * LONGEST_NAME]).strip()
    kept = "".join(
        character if _NAME.fullmatch(character) and _is_visible(character) else REPLACEMENT
        for character in composed
    )
    unlinked = _LINKED.sub(rf"\1{REPLACEMENT}", kept)
    plain = _EMPHASIS.sub(lambda found: REPLACEMENT * len(found[0]), unlinked)
    return _cut(plain, LONGEST_NAME) or NOTHING


def line(text: str) -> str:
    """One line of any text, without control, bidi and other invisible characters.

    Only for widgets that show plain text: ``st.text``, text columns, and charts.
    """
    kept = "".join(
        character if _is_visible(character) else " " if character.isspace() else REPLACEMENT
        for character in text[: 2 * LONGEST_TEXT]
    )
    return _cut(" ".join(kept.split()), LONGEST_TEXT)


def unique(texts: Iterable[str]) -> list[str]:
    """The texts, those that occurred before with a number: no entry may stand for another."""
    taken: set[str] = set()
    result = []
    for text in texts:
        label, number = text, 1
        while label in taken:
            number += 1
            label = f"{text} ({number})"
        taken.add(label)
        result.append(label)
    return result


def csv_cell(value: object) -> object:
    """A cell that a spreadsheet takes as text: ``'`` before what it would take as a formula."""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value


def latex(text: str) -> str:
    """One line of any text for LaTeX, where nothing of it is a command."""
    from ffr_eval.report.run_report.latex import escaped

    return str(escaped(line(text)))


def https_link(text: str | None) -> str | None:
    """A link that may be followed from the board: the text itself, or ``None`` if it is none.

    Only ``https`` to a named host, at its usual port, without user and password; so no
    ``javascript:``, no file, no address of the operator's own network by number.
    """
    if text is None or not _IN_LINKS.fullmatch(text) or not text.startswith("https://"):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    plain = "@" not in parts.netloc and port in (None, 443)
    return text if plain and _HOST.fullmatch(parts.hostname or "") else None


def _is_visible(character: str) -> bool:
    if character == " ":
        return True
    category = unicodedata.category(character)
    return category[0] not in "CZ" and character not in _INVISIBLE_LETTERS


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
