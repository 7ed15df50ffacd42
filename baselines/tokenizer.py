"""Words for lexical models, in languages with and without spaces."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Han, Hiragana, Katakana and Hangul, as they are after NFKC.
_CJK: Final = (
    "\u3005-\u3007"  # iteration mark, closing mark, zero
    "\u3041-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
)
_RUN: Final = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+(?:'[^\W_{_CJK}]+)*")
_LATIN: Final = re.compile(r"[a-z'\u00df-\u024f]+")


def tokenize(text: str) -> list[str]:
    """The index terms of a text, in order, with repetitions.

    The text is normalised (NFKC) and lowercased. Words are runs of letters and digits; English
    stop words are left out, and words in Latin letters are stemmed as English. In a run of Han,
    Hiragana, Katakana or Hangul characters the terms are the overlapping pairs of characters; a
    single character is a term only where it stands alone, as in Lucene's CJK analyzer.
    """
    normal = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return [term for match in _RUN.finditer(normal) for term in _terms(match)]


def _terms(match: re.Match[str]) -> Iterator[str]:
    run = match.group()
    if match.lastgroup == "cjk":
        yield from (a + b for a, b in pairwise(run)) if len(run) > 1 else run
    else:
        word = run.removesuffix("'s")
        if word not in _stop_words():
            yield _stemmer().stemWord(word) if _LATIN.fullmatch(word) else word


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)


@cache
def _stemmer() -> Any:
    from Stemmer import Stemmer

    return Stemmer("english")
