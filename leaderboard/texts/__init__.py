"""The words of the interface, in English and Chinese.

``leaderboard/texts/<language>/<page>.toml`` holds the words of a page, one flat table of
``key = "…"``; ``text("board.title")`` is the key ``title`` of ``board.toml``. What is filled in
(``{name}``) is made safe for Markdown first: numbers and :class:`Words` stay, and other texts are
reduced to what a name may have.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from leaderboard import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LANGUAGES: Final = {"en": "English", "zh": "中文"}
"""By the code in the address; the first is the default."""
DEFAULT: Final = "en"


class Words(str):
    """A text of ours, with nothing in it that anybody else wrote as they wished.

    It may be put into other words as it is.
    """

    __slots__ = ()


Text: TypeAlias = "Callable[..., str]"


def language_of(wanted: str | None, locale: str | None = None) -> str:
    """The language to speak: the one asked for, else that of the browser, else English."""
    for code in (wanted, locale):
        short = (code or "").replace("_", "-").partition("-")[0].lower()
        if short in LANGUAGES:
            return short
    return DEFAULT


@lru_cache
def texts(language: str) -> Text:
    """``text(key, **values)`` of a language."""
    words = catalog(language)

    def text(key: str, /, **values: Any) -> Words:
        filled = {name: _safe(value) for name, value in values.items()}
        return Words(words[key].format_map(filled))

    return text


@lru_cache
def catalog(language: str) -> Mapping[str, str]:
    """All words of a language by ``page.key``."""
    folder = Path(__file__).parent / language
    return {
        f"{file.stem}.{key}": words
        for file in sorted(folder.glob("*.toml"))
        for key, words in tomllib.loads(file.read_text(encoding="utf-8")).items()
    }


def _safe(value: Any) -> Any:
    return names.name(value) if isinstance(value, str) and not isinstance(value, Words) else value
