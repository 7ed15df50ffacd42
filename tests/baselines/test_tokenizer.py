from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.tokenizer import tokenize


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  … !? ", []),
        ("Running DOGS", ["run", "dog"]),
        ("What's the dog's name?", ["dog", "name"]),
        ("don’t", []),
        ("café 2025 x9", ["café", "2025", "x9"]),
        ("自行车", ["自行", "行车"]),
        ("好", ["好"]),
        ("好，吃饭", ["好", "吃饭"]),
        ("iPhone手机", ["iphon", "手机"]),
        ("カタカナ", ["カタ", "タカ", "カナ"]),
        ("ひらがな漢", ["ひら", "らが", "がな", "な漢"]),
        ("한국어", ["한국", "국어"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ", ["full", "width"]),
        ("ｶﾞｯ", ["ガッ"]),
        ("снега Straße", ["снега", "straße"]),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


@given(st.text())
def test_any_text_gives_terms_without_spaces(text: str) -> None:
    terms = tokenize(text)
    assert all(term and not any(char.isspace() for char in term) for term in terms)
    assert tokenize(text) == terms


@given(st.text("天地人和你我他她", min_size=2))
def test_cjk_gives_one_pair_less_than_characters(text: str) -> None:
    assert tokenize(text) == [text[i : i + 2] for i in range(len(text) - 1)]
