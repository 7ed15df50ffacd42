"""Untrusted text: what of it reaches the page and the CSV."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard import names


@pytest.mark.parametrize("text", ["bm25", "Qwen2.5-VL-7B (tuned)", "runs/a b+c", "模型-一"])
def test_ordinary_names_stay(text: str) -> None:
    assert names.name(text) == text
    assert names.is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://tracker.example/a.png)",
        ":material/verified: best",
        "<img src=x onerror=alert(1)>",
        "a\u202egnp.exe",
        "a\u200bb",
        "$\\href{x}{y}$",
        "`code`",
        "**bold**",
        "a\u3164b",
    ],
)
def test_dangerous_names_are_shown_as_such(text: str) -> None:
    shown = names.name(text)
    assert names.REPLACEMENT in shown
    assert not set(shown) & set("![]<>:*`$\\\u202e\u200b\u3164")
    assert not names.is_plain(text)


@given(st.text())
def test_nothing_invisible_or_long_gets_through(text: str) -> None:
    for shown, longest in ((names.name(text), 80), (names.line(text), 600)):
        assert len(shown) <= longest
        assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
    assert names.name(names.name(text).replace(names.REPLACEMENT, "x").replace("…", "x"))


def test_full_width_forms_are_composed() -> None:
    assert names.name("ｂｍ２５") == "bm25"


def test_names_that_become_the_same_are_told_apart() -> None:
    cleaned = [names.name("a!"), names.name("a?"), "b", f"a{names.REPLACEMENT} (2)"]
    assert len(set(names.unique(cleaned))) == 4


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1", "\n=1"])
def test_formulas_become_text(cell: str) -> None:
    assert names.csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["bm25", "", 1, -0.5, None])
def test_other_cells_stay(cell: object) -> None:
    assert names.csv_cell(cell) == cell
