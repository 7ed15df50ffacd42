"""Answers: three readings, on what models really write and on what nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.answer import Answer, ParseMode, parse_answer, parse_official_answers
from ffr_eval.markup import answer_text
from ffr_eval.types import Outcome

MODES: tuple[ParseMode, ...] = ("strict", "lenient", "official")
FAILED = None
U, V = "<|utt_ids_start|>", "<|utt_ids_end|>"
I, J = "<|img_ids_start|>", "<|img_ids_end|>"  # noqa: E741
BOTH = f"{U}[1, 2]{V};{I}[0]{J}"
Ids = tuple[list[int], list[int]] | None


def read(text: str, mode: ParseMode) -> Ids:
    """The ids, or ``FAILED``; the outcome must go with them."""
    answer = parse_answer(text, mode)
    if answer.outcome is Outcome.PARSE_ERROR:
        assert (answer.utt_ids, answer.img_ids) == ((), ())
        assert answer.problem
        return FAILED
    some = answer.utt_ids or answer.img_ids
    assert answer.outcome is (Outcome.OK if some else Outcome.EMPTY)
    return list(answer.utt_ids), list(answer.img_ids)


ONE_TWO: Ids = ([1, 2], [0])


@pytest.mark.parametrize(
    ("text", "strict", "lenient", "official"),
    [
        (BOTH, ONE_TWO, ONE_TWO, ONE_TWO),
        (BOTH + "\n", ONE_TWO, ONE_TWO, ONE_TWO),
        (f" \n{U} [ 1 ,2 ] {V} ; {I}[0]{J} ", ONE_TWO, ONE_TWO, ONE_TWO),
        (f"{U}[]{V};{I}[]{J}", ([], []), ([], []), ([], [])),
        (f"{I}[0]{J};{U}[1, 2]{V}", FAILED, ONE_TWO, ONE_TWO),
        (f"{U}[1, 2]{V}{I}[0]{J}", FAILED, ONE_TWO, ONE_TWO),
        (f"{U}[1, 2]{V}", FAILED, ([1, 2], []), ([1, 2], [])),
        (f"{I}[0]{J}", FAILED, ([], [0]), ([], [0])),
        (f"The answer is {BOTH}. Bye!", FAILED, ONE_TWO, ONE_TWO),
        (f"```\n{BOTH}\n```", FAILED, ONE_TWO, ONE_TWO),
        # A newline inside a list: `.` of the original's pattern does not cross it.
        (f"{U}[1,\n2]{V};{I}[0]{J}", ONE_TWO, ONE_TWO, ([], [0])),
        (f"{U}[1,\n2{V}\n{BOTH}", FAILED, ONE_TWO, ONE_TWO),  # found on a later line
        (f'{U}["\ud800", 1]{V};{I}[0]{J}', FAILED, FAILED, "odd"),
        # Leading zeros are no JSON.
        (f"{U}[01, 2]{V};{I}[0]{J}", ONE_TWO, ONE_TWO, ([], [0])),
        # Repetitions are kept: they are counted when it is scored.
        (f"{U}[1, 1, 2]{V};{I}[0, 0]{J}", *[([1, 1, 2], [0, 0])] * 3),
        (f"{U}[-1, 2]{V};{I}[]{J}", FAILED, ([-1, 2], []), ([-1, 2], [])),
        # Several answers: the last readable list, but the original's first.
        (f"{BOTH} or {U}[5]{V};{I}[6]{J}", FAILED, ([5], [6]), ONE_TWO),
        (f"{U}[1]{V};{I}[0]{J} {U}[x]{V}", FAILED, ([1], [0]), ([1], [0])),
        # Ids that are no numbers, and what JSON allows.
        (f'{U}["1", 2]{V};{I}[0.0]{J}', FAILED, ONE_TWO, "odd"),
        (f"{U}[1.5]{V};{I}[0]{J}", FAILED, FAILED, "odd"),
        (f"{U}1, 2{V};{I}0{J}", FAILED, ONE_TWO, ([], [])),
        (f"{U}[a]{V};{I}[0]{J}", FAILED, FAILED, ([], [0])),
        (f"{U}none{V};{I}[0]{J}", FAILED, ([], [0]), ([], [0])),
        (f"{U}[[1, 2]]{V};{I}[0]{J}", FAILED, FAILED, ([], [0])),
        # 18 digits are an id, 30 are none (a wrong one to the original).
        (f"{U}[{10**18 - 1}]{V};{I}[]{J}", *[([10**18 - 1], [])] * 3),
        (f"{U}[{10**30}]{V};{I}[]{J}", FAILED, FAILED, "odd"),
        # Cut off.
        (f"{U}[1, 2]{V};{I}[0", FAILED, FAILED, ([1, 2], [])),
        (f"{U}[1, 2]", FAILED, ([1, 2], []), FAILED),
        (f"{U}[1, 2", FAILED, FAILED, FAILED),
        (U, FAILED, FAILED, FAILED),
        ("", FAILED, FAILED, FAILED),
        ("抱歉，我没有找到相关的内容。", FAILED, FAILED, FAILED),
        ("Sorry, nothing in this dialogue is about that.", FAILED, FAILED, FAILED),
        ("[1, 2, 3]", FAILED, FAILED, FAILED),
    ],
)
def test_the_three_readings(text: str, strict: Ids, lenient: Ids, official: Ids | str) -> None:
    assert read(text, "strict") == strict
    assert read(text, "lenient") == lenient
    if official == "odd":
        utt_ids = parse_answer(text, "official").utt_ids
        assert any(number <= -(2**62) for number in utt_ids)  # stands for what is no id
    elif official is FAILED and U in text:
        assert read(text, "official") is FAILED
    else:
        found = parse_answer(text, "official")
        assert (list(found.utt_ids), list(found.img_ids)) == (official or ([], []))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # JSON objects.
        ('```json\n{"utt_ids": [1, 2], "img_ids": [0]}\n```', ONE_TWO),
        ('{"utterances": ["1", "2"], "images": 0}', ONE_TWO),
        ('{"turn_ids": [1, 2], "pictures": ["0"]}', ONE_TWO),
        ('{"answer": {"relevant_utterance_ids": [1, 2], "relevant_image_ids": [0]}}', ONE_TWO),
        ('{"话语": [1, 2], "图片": [0]}', ONE_TWO),
        ('{"utt_ids": "无", "img_ids": [0]}', ([], [0])),
        ('{"utt_ids": "无", "img_ids": "没有"}', ([], [])),
        ('{"utt_ids": [1, 2], "img_ids": [0], "reason": "both"}', ONE_TWO),
        ('{"utt_ids": [1, 2], "img_ids": null}', ([1, 2], [])),
        ('{"utt_ids": [1, 2]}', ([1, 2], [])),
        ('{"utt_ids": [], "img_ids": []}', ([], [])),
        ('{"utt_ids": [1]} or {"utt_ids": [2]}', FAILED),
        # A list that is named but cannot be read is not an empty one.
        ("Utterances: [1-4]\nImages: []", FAILED),
        ('{"utt_ids": ["u1"], "img_ids": []}', FAILED),
        ('{"utt_ids": "1-4", "img_ids": []}', FAILED),
        ('{"utterances": [{"id": 1}, {"id": 2}], "images": []}', FAILED),
        ("utt_ids: 3, 5; img_ids: []", FAILED),
        ("The images list is [] but utterances are 1 and 2.", FAILED),
        ("Utterances: [u1, u2]; images: [0]", FAILED),
        ('{"utt_ids": [5, 6], "img_ids": [0', FAILED),
        ("images: []", FAILED),
        ('{"utt_ids": [1, 2], "img_ids": [0], "text": "both", "image_note": "map"}', ONE_TWO),
        ("Utterances: []; images: []", ([], [])),
        # Two bare lists side by side are an answer, two that prose cites are none.
        ("The answer is [1, 2]; [0].", ONE_TWO),
        ("See [1] and [2]: nothing there matches.", FAILED),
        # The first closing tag ends the thoughts, whatever they quote.
        (f"<think>I write <think> first</think>{U}[1, 2]{V};{I}[0]{J}", ONE_TWO),
        ('{"utt_ids": [1]} that is {"utt_ids": [1]}', ([1], [])),
        ('{"utt_ids": [1], "turn_ids": [2]}', FAILED),
        ('{"ids": [1, 2]}', FAILED),
        ('{"utt_ids": true}', FAILED),
        # Full-width punctuation and digits.
        (f"＜｜utt_ids_start｜＞［１，２］{V}；{I}［０］＜｜img＿ids＿end｜＞", ONE_TWO),
        (f"{U}【1、2】{V}；{I}［0］{J}", ONE_TWO),
        ("｛“utt_ids”：［1，2］，“img_ids”：［0］｝", ONE_TWO),
        # Thinking.
        (f"<think>maybe {U}[9]{V};{I}[9]{J}</think>{BOTH}", ONE_TWO),
        (f"maybe {U}[9]{V}</think>\n{BOTH}", ONE_TWO),  # opened in the prompt
        (f"maybe {BOTH}</think>Sorry, nothing.", FAILED),
        (f"{BOTH}<think>a</think>b</think>Sorry, nothing.", FAILED),
        (f"{BOTH}<think>or is it {U}[9]{V}", ONE_TWO),  # unclosed
        (f"<think>{BOTH}", FAILED),
        (f"<THINKING>x</THINKING>{BOTH}", ONE_TWO),
        (f"<think>a</think>{U}[9]{V}<think>b</think>{BOTH}", ONE_TWO),
        # Lists with labels, or exactly two without.
        ("Utterances: [1, 2]\nImages: [0]", ONE_TWO),
        ("Image ids: [0]; utterance ids: [1, 2]", ONE_TWO),
        ("相关话语编号：[1，2]；相关图片编号：[0]", ONE_TWO),
        ("话语：【1、2】\n图片：【】", ([1, 2], [])),
        ("**Turns**: [1, 2] and then again turns [1, 2]", ([1, 2], [])),
        ("Turns [1], no, turns [2]", FAILED),
        ("[1, 2]; [0]", ONE_TWO),
        ("[[1, 2], [0]]", ONE_TWO),
        ("[1], [2], [3]", FAILED),
        ("Utterances: [1, 2] and [0]", FAILED),
        ("Utterances: [see above]", FAILED),
    ],
)  # fmt: skip
def test_lenient_forms(text: str, expected: Ids) -> None:
    assert read(text, "lenient") == expected
    assert read(text, "strict") is FAILED


@pytest.mark.parametrize(
    ("content", "same", "different"),
    [
        ("[1.0, true, 1]", "[1]", "[2]"),
        ("[NaN, NaN]", "[NaN]", "[Infinity]"),
        ('["1"]', '{"1": 5}', "[1]"),
        ('"12"', '["1", "2"]', "[12]"),
        ("[null]", "[null, null]", '["None"]'),
        ("[1e400]", "[Infinity]", "[-Infinity]"),
        (f"[{10**30}]", f"[{10**30}, {10**30}]", f"[{10**30 + 1}]"),
        ("[1e30]", f"[{int(1e30)}]", f"[{10**30}]"),
        (f"[{2**62}]", f"[{2**62}]", f"[{-(2**62)}]"),
    ],
)
def test_official_items_are_equal_where_the_originals_are(
    content: str, same: str, different: str
) -> None:
    first, equal, other = (
        set(parse_answer(f"{U}{text}{V}", "official").utt_ids)
        for text in (content, same, different)
    )
    assert first == equal
    assert len(first) == (2 if content == '"12"' else 1)
    assert not first & other


BOMBS = {
    "brackets": "[" * 100_000,
    "open list": "[" + " " * 100_000,
    "list of commas": "[" + "1," * 100_000,
    "deep value": '{"utt_ids": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "thoughts": "<think>" * 50_000,
    "closed thoughts": "</think>" * 50_000,
    "braces": "{" * 50_000,
    "pairs of braces": "{}" * 50_000,
    "markers": U * (2**20 // len(U)),
    "markers on lines": f"{U}\n" * 50_000,
    "both markers": (U + I) * 20_000,
    "marked brackets": f"{U}{'[' * 100_000}{V}",
    "open marked lists": f"{U}[" * 30_000,
    "spaces in a list": f"{U}[1{' ' * 100_000}",
    "spaces before": " " * 100_000 + "x",
    "half markers": "<|" * 100_000,
    "spaced marker": "<|" + " " * 100_000,
    "labels": "utt [" * 50_000,
    "digits": f"{U}[{'9' * 200_000}]{V};{I}[]{J}",
    "many ids": answer_text(range(100_000), range(100_000)) + "x",
    "quotes": '"' * 100_000,
    "objects": '{"utt_ids": [1]}' * 20_000,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_read_and_nothing_happens(name: str, mode: ParseMode) -> None:
    assert isinstance(parse_answer(BOMBS[name], mode), Answer)


def test_nesting_near_the_recursion_limit() -> None:
    for depth in range(1, 1200):
        deep = "[" * depth + "]" * depth
        for mode in MODES:
            parse_answer(f'{{"utt_ids": {deep}}}', mode)
            parse_answer(f"{U}{deep}{V}", mode)


PIECES = st.sampled_from(
    [
        *(U, V, I, J, "<|", "|>", "<|utt_ids_start", "<think>", "</think>", "```json\n", "```"),
        *(
            ";",
            "；",
            "[",
            "]",
            "［",
            "】",
            "{",
            "}",
            "(",
            ")",
            '"',
            "'",
            ",",
            "，",
            "、",
            " ",
            "\n",
        ),
        *("1", "２", "-1", "007", "1.0", "1e3", "9" * 19, "١", "²", "none", "无", "null", "NaN"),
        *("utt", "图", ":", "text ", "true", "[1, 2]", "[]", '{"utt_ids": [1]}', '{"img": '),
        *("\ud800", "\0", "\ufeff", "\u2028", "\u3000", "\\", "\\u12"),
    ]
)
TEXTS = st.one_of(st.text(), st.text(st.characters()), st.lists(PIECES, max_size=25).map("".join))


@given(text=TEXTS, mode=st.sampled_from(MODES))
@settings(deadline=None, max_examples=1000)
def test_no_text_raises_and_outcome_and_ids_agree(text: str, mode: ParseMode) -> None:
    answer = parse_answer(text, mode)
    some = bool(answer.utt_ids or answer.img_ids)
    assert some == (answer.outcome is Outcome.OK)
    assert answer.outcome in {Outcome.OK, Outcome.EMPTY, Outcome.PARSE_ERROR}
    assert all(-(2**63) < number < 2**63 for number in (*answer.utt_ids, *answer.img_ids))


USUAL = st.builds(
    "{}[{}]{};{}[{}]{}{}".format,
    *(st.just(U), st.text("0123, ", max_size=8), st.just(V)),
    *(st.just(I), st.sampled_from(["", "0", "007", str(2**62), str(10**30), "1 2"]), st.just(J)),
    st.sampled_from(["", "\n", " or " + BOTH]),
)


@given(texts=st.lists(st.one_of(TEXTS, USUAL, st.just(BOTH)), max_size=8))
@settings(deadline=None, max_examples=300)
def test_many_texts_at_once_are_read_as_one_by_one(texts: list[str]) -> None:
    one_by_one = [parse_answer(text, "official") for text in texts]
    assert parse_official_answers(texts) == one_by_one


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_what_strict_reads_the_others_read_alike(data: st.DataObject) -> None:
    blank = st.text(" \t\r\u3000", max_size=2)  # no newline: official reads single lines

    def space() -> str:
        return data.draw(blank)

    def written(ids: list[int]) -> str:
        items = f"{space()},{space()}".join(map(str, ids))
        return f"{space()}[{space()}{items}{space()}]{space()}".replace("\u3000", " ")

    numbers = st.lists(st.integers(0, 10**18 - 1), max_size=4)
    utt_ids, img_ids = data.draw(numbers), data.draw(numbers)
    text = f"{space()}{U}{written(utt_ids)}{V}{space()};{space()}{I}{written(img_ids)}{J}\n"
    for mode in MODES:
        assert read(text, mode) == (utt_ids, img_ids), mode


@given(text=st.lists(PIECES, max_size=12).map("".join))
@settings(deadline=None)
def test_strict_success_is_lenient_success(text: str) -> None:
    for candidate in (text, f"{U}[{text}]{V};{I}[{text}]{J}"):
        strict = read(candidate, "strict")
        if strict is not FAILED:
            assert read(candidate, "lenient") == strict


@given(utt_ids=st.lists(st.integers(0, 999)), img_ids=st.lists(st.integers(0, 99)))
@settings(deadline=None)
def test_a_written_answer_is_read_back(utt_ids: list[int], img_ids: list[int]) -> None:
    text = answer_text(utt_ids, img_ids)
    for mode in MODES:
        assert read(text, mode) == (utt_ids, img_ids)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown parse mode 'loose'"):
        parse_answer("", "loose")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (f"{U}[4]{V};{I}[]{J}", ([4], [])),
        (f"{U}[4]{V}", ([4], [])),  # the draft's image is not the answer's
        (f"{U}[utterance 3]{V};{I}[]{J}", FAILED),
        (f"{U}[1, 2", FAILED),
        (f"where {U}[ids]{V} are the utterances", ([5], [3])),
    ],
)
def test_a_draft_and_the_answer_after_it_are_never_mixed(last: str, expected: Ids) -> None:
    draft = f"A draft: {U}[5]{V};{I}[3]{J}. "
    assert read(draft + last, "lenient") == expected
