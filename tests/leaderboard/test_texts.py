"""The words of the interface: both languages say the same things, and nothing gets in by values."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path

import pytest

from leaderboard import texts as package
from leaderboard.figures import p_text, value_text
from leaderboard.texts import LANGUAGES, catalog, language_of, texts

FOLDER = Path(package.__file__).parent


def fields(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


def test_every_language_has_the_same_keys_and_values() -> None:
    english = catalog("en")
    assert english
    for code in LANGUAGES:
        other = catalog(code)
        assert set(other) == set(english), code
        assert {key: fields(words) for key, words in other.items()} == {
            key: fields(words) for key, words in english.items()
        }


def test_no_word_is_empty_and_chinese_is_chinese() -> None:
    for code in LANGUAGES:
        assert all(words.strip() for words in catalog(code).values())
    chinese = catalog("zh")
    letters = [key for key, words in chinese.items() if any("一" <= c <= "鿿" for c in words)]
    assert len(letters) > 0.8 * len(chinese)


@pytest.mark.parametrize(
    "file", sorted(FOLDER.glob("*/*.toml")), ids=lambda f: f"{f.parts[-2]}-{f.stem}"
)
def test_catalogs_are_flat(file: Path) -> None:
    words = tomllib.loads(file.read_text(encoding="utf-8"))
    assert all(isinstance(value, str) for value in words.values())


@pytest.mark.parametrize(
    ("wanted", "locale", "code"),
    [
        ("zh", "en-US", "zh"),
        (None, "zh-CN", "zh"),
        (None, "zh_TW", "zh"),
        (None, "de-DE", "en"),
        ("xx", None, "en"),
        ("<b>", "zh", "zh"),
        (None, None, "en"),
    ],
)
def test_the_address_goes_before_the_browser(
    wanted: str | None, locale: str | None, code: str
) -> None:
    assert language_of(wanted, locale) == code


def test_values_are_made_safe() -> None:
    shown = texts("en")("app.unknown_model", model="![x](https://evil.example/a.png)")
    assert "![" not in shown
    assert "](" not in shown
    assert "{" not in texts("en")("app.unknown_model", model="{model.__class__}")


def test_our_own_words_stay() -> None:
    text = texts("en")
    assert "< 0.0001" in text("compare.p_alone", p=p_text(0.0))
    assert "–" in text("compare.p_alone", p=value_text(None))
    assert "\N{REPLACEMENT CHARACTER}" not in text("compare.p_alone", p=text("app.bucket_long"))
    assert "\N{REPLACEMENT CHARACTER}" in text("compare.p_alone", p=f"{value_text(None)}")
