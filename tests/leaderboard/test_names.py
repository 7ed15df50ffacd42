"""Untrusted text: what of it reaches the page and the CSV."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard import names


@pytest.mark.parametrize(
    "text", ["bm25", "qwen_2_5", "a__b", "Qwen2.5-VL-7B (tuned)", "runs/a b+c", "模型-一"]
)
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
        "_a_",
        "a __b__ c",
        "trailing_ word",
        "**bold**",
        "a\u3164b",
    ],
)
def test_dangerous_names_are_shown_as_such(text: str) -> None:
    shown = names.name(text)
    assert names.REPLACEMENT in shown
    assert not set(shown) & set("![]<>:*`$\\\u202e\u200b\u3164")
    assert not names.is_plain(text)


@pytest.mark.parametrize("text", ["www.evil.example", "WWW.evil.example/x", "a www.evil.example"])
def test_no_name_becomes_a_link(text: str) -> None:
    """Markdown makes links of such text."""
    assert "www." not in names.name(text).lower()
    assert "evil.example" in names.name(text)


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


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1", "\n=1", "＝1"]
)
def test_formulas_become_text(cell: str) -> None:
    assert names.csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["bm25", "", 1, -0.5, None])
def test_other_cells_stay(cell: object) -> None:
    assert names.csv_cell(cell) == cell


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n \"',;1＝＋|%x")))
def test_no_cell_is_a_formula(text: str) -> None:
    """Whatever a spreadsheet takes off at the front, what follows begins no formula."""
    cell = names.csv_cell(text)
    assert isinstance(cell, str)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋"))
    assert cell in (text, f"'{text}")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("bm25", "bm25"),
        ("a_b & 50% #1", r"a\_b \& 50\% \#1"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$x^2$ ~", r"\$x\textasciicircum{}2\$ \textasciitilde{}"),
        ("[a] *", "{[}a{]} {*}"),
        ("a\nb", "a b"),
    ],
)
def test_latex(text: str, written: str) -> None:
    assert names.latex(text) == written


COMMANDS = (
    "\\textbackslash{}",
    "\\textasciitilde{}",
    "\\textasciicircum{}",
    "\\dots{}",
    "$<$",
    "$>$",
)
ESCAPED = ("\\{", "\\}", "\\$", "\\&", "\\%", "\\#", "\\_", "{[}", "{]}", "{*}", "$|$", "$-$")


@given(st.text(alphabet=st.sampled_from("\\{}$&%#_~^<>|\"*[]–−… a\n\r\0\u202e`'x")))
def test_nothing_in_latex_is_a_command(text: str) -> None:
    rest = names.latex(text)
    for known in (*COMMANDS, *ESCAPED):
        rest = rest.replace(known, "")
    assert not set(rest) & set('\\{}$&%#_~^<>|*[]"\n\r\0\u202e')


@given(st.text())
def test_latex_is_one_line(text: str) -> None:
    assert "\n" not in names.latex(text)
    assert "\r" not in names.latex(text)


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org",
        "https://example.org/a/b_c-d.html?x=1&y=%20#z",
        "https://sub.example.co.uk:443/",
        "https://Example.ORG/x",
        "https://huggingface.co/org/model",
    ],
)
def test_links_that_are_followed(link: str) -> None:
    assert names.https_link(link) == link


@pytest.mark.parametrize(
    "link",
    [
        None,
        "",
        "http://example.org",
        "HTTPS://example.org",
        "javascript:alert(1)",
        "https:example.org",
        "https://",
        "https:///etc/passwd",
        "//example.org",
        "ftp://example.org",
        "data:text/html,x",
        "https://user:secret@example.org",
        "https://example.org@evil.example",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://intranet/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://example.org:8080/",
        "https://example.org:x/",
        "https://example.org/ a",
        "https://example.org/\n",
        "https://example.org/)](x",
        "https://example.org/<script>",
        'https://example.org/"x',
        "https://example.org\\@evil.example",
        "https://ex\u202eample.org",
        "https://еxample.org",
        " https://example.org",
        "https://-x.org",
        "https://a..org",
        "https://example.org/" + "x" * 300,
    ],
)
def test_links_that_are_not(link: str | None) -> None:
    assert names.https_link(link) is None
