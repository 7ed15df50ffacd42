"""Messages: exactly what was asked for, with images in their places, and a hash that tells."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.generative.chat import Message
from baselines.generative.options import GenerativeOptions
from baselines.generative.prompts import PromptBuilder, reached_ids
from baselines.generative.structured import ANSWER_NAME, ANSWER_SCHEMA
from ffr_eval.answer import parse_answer
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.markup import IMG_ID, MARKERS, UTT_ID, answer_text, mark
from ffr_eval.prompt import TOOL, prompt_hash, render
from ffr_eval.types import Dialogue, Fragment, Image, Outcome, Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

DIALOGUE = Dialogue(
    "d",
    (
        Turn(3, "Ann", "look at this", (0, 1), time="10:00"),
        Turn(7, "Bo", "nice"),
        Turn(8, "Ann", "", (4,)),
    ),
    (
        Image(0, Path("/data/a.png"), caption="a red bridge"),
        Image(1, Path("/data/b.png")),
        Image(4, Path("/data/c.png"), caption="a cat"),
    ),
)
SAMPLE = Sample("s", DIALOGUE, "the bridge", gold=Fragment((3,), (0,)))
CHINESE = Sample(
    "z",
    Dialogue("e", (Turn(0, "甲", "我们明天去看桥", (0,)),), (Image(0, Path("/data/z.png")),)),
    "桥",
    gold=Fragment((), ()),
)
WHOLE = """\
{# for people #}
{{ query_mark(query) }} ({{ language }}, {{ answer }}), as {{ example }}
{% for turn in turns %}
{{ utt(turn.utt_id) }} {{ turn.speaker }}{{ ' at ' ~ turn.time if turn.time }}: {{ turn.text }}
{%- for image in turn.images %}
 {{ img(image.img_id) }}{{ image.pixels }}{{ ' [' ~ image.caption ~ ']' if image.caption }}
{%- endfor %}

{% endfor %}
"""


def builder(**options: Any) -> PromptBuilder:
    return PromptBuilder(GenerativeOptions(**options))


def text_of(message: Message) -> str:
    return "".join(part if isinstance(part, str) else "<image>" for part in message.parts)


@pytest.fixture
def template(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mine.jinja"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


# --- the built-in wording ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"images": "images_first", "captions": True},
        {"images": "text_only", "language": "zh"},
        {"query": "last", "prompt": "cot"},
        {"answer": "tool"},
    ],
)
def test_a_question_is_what_render_gives(options: dict[str, Any]) -> None:
    named = {"prompt": "style"}
    asked = {named.get(name, name): value for name, value in options.items()}
    expected = render(SAMPLE, **asked)
    assert builder(**options).messages(SAMPLE) == (Message("user", expected.parts),)


def test_system_message_examples_and_question_in_their_order() -> None:
    made = builder(shots=2, system="Be brief.", images="images_first")
    messages = made.messages(replace(SAMPLE, gold=None), (CHINESE, SAMPLE))
    roles = [message.role for message in messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[0].parts == ("Be brief.",)
    assert messages[1] == Message("user", render(CHINESE, images="images_first").parts)
    assert text_of(messages[2]) == answer_text([], [])
    assert messages[3] == messages[5]
    assert text_of(messages[4]) == answer_text([3], [0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"answer": "json_schema"}, '{"utt_ids": [3], "img_ids": [0]}'),
        ({"answer": "tool"}, '{"utt_ids": [3], "img_ids": [0]}'),
        (
            {"prompt": "cot"},
            "Utterances relevant to the query: 3. Images relevant to the query: 0.\n"
            + answer_text([3], [0]),
        ),
        (
            {"prompt": "cot", "language": "zh"},
            "与查询相关的话语：3。与查询相关的图片：0。\n" + answer_text([3], [0]),
        ),
    ],
)
def test_examples_are_answered_in_the_form_asked_for(
    options: dict[str, Any], expected: str
) -> None:
    messages = builder(shots=1, **options).messages(CHINESE, (SAMPLE,))
    assert text_of(messages[1]) == expected


def test_each_message_is_in_the_language_of_its_dialogue_unless_one_is_named() -> None:
    chinese, english = "下面是一段对话", "Below is a dialogue"
    messages = builder(shots=1).messages(SAMPLE, (CHINESE,))
    assert text_of(messages[0]).startswith(chinese)
    assert text_of(messages[2]).startswith(english)
    messages = builder(shots=1, language="zh").messages(SAMPLE, (CHINESE,))
    assert all(text_of(messages[place]).startswith(chinese) for place in (0, 2))


def test_the_gold_of_the_question_is_nowhere() -> None:
    other = replace(SAMPLE, gold=Fragment((7, 8), ()), meta={"answer": "secret"})
    made = builder(shots=1, captions=True)
    assert made.messages(SAMPLE, (CHINESE,)) == made.messages(other, (CHINESE,))


def test_an_example_without_gold_is_refused() -> None:
    with pytest.raises(FfrError, match="'s' has no gold"):
        builder(shots=1).messages(CHINESE, (replace(SAMPLE, gold=None),))


def test_no_two_texts_stand_side_by_side(template: Callable[[str], str]) -> None:
    for options in ({}, {"images": "images_first"}, {"template": template(WHOLE)}):
        (message,) = builder(**options).messages(SAMPLE)
        pairs = zip(message.parts, message.parts[1:], strict=False)
        assert not any(isinstance(a, str) and isinstance(b, str) for a, b in pairs)
        assert "" not in message.parts


def test_with_the_query_last_only_the_end_differs(template: Callable[[str], str]) -> None:
    made = builder(query="last", shots=1, system="S", prompt="cot")
    first, second = (
        made.messages(replace(SAMPLE, query=query), (CHINESE,)) for query in ("one", "two")
    )
    assert first[:-1] == second[:-1]
    assert first[-1].parts[:-1] == second[-1].parts[:-1]
    ends = [str(message.parts[-1]) for message in (first[-1], second[-1])]
    assert [end.partition("<|query_start|>")[0] for end in ends] == ["\n", "\n"]


# --- hash ----------------------------------------------------------------------------------------


def test_the_hash_of_a_plain_prompt_is_that_of_render() -> None:
    assert builder(language="en").hash == render(SAMPLE, language="en").hash
    assert builder().hash == prompt_hash(None, "in_place", captions=False)


def test_the_hash_tells_everything_apart_that_changes_a_prompt(
    template: Callable[[str], str], tmp_path: Path
) -> None:
    system = tmp_path / "system.txt"
    system.write_text("Be brief.\n")
    variants: list[dict[str, Any]] = [
        {},
        *({"language": language} for language in ("en", "zh")),
        {"prompt": "cot"},
        {"query": "last"},
        {"images": "images_first"},
        {"images": "text_only"},
        {"captions": True},
        {"answer": "json_schema"},
        {"answer": "tool"},
        {"shots": 1},
        {"shots": 2},
        {"shots": 2, "prompt": "cot"},
        {"system": "Be brief!"},
        {"template": template(WHOLE)},
        {"template": template(WHOLE), "captions": True},
        {"template": template(WHOLE), "language": "en"},
        {"template": template(WHOLE), "shots": 1},
    ]
    hashes = [builder(**options).hash for options in variants]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in hashes)
    assert len(set(hashes)) == len(variants)
    assert builder(system=f"@{system}").hash == builder(system="Be brief.").hash
    assert builder(system=f"@{system}").hash not in hashes


def test_the_hash_is_of_the_template_and_not_of_its_name(
    template: Callable[[str], str], tmp_path: Path
) -> None:
    before = builder(template=template(WHOLE)).hash
    (tmp_path / "other.jinja").write_text(WHOLE)
    assert builder(template=str(tmp_path / "other.jinja")).hash == before
    assert builder(template=template(WHOLE + "!")).hash != before


def test_the_hash_leaves_out_what_changes_no_prompt() -> None:
    plain = builder().hash
    for options in ({"seed": 3}, {"temperature": 0.5}, {"max_tokens": 9}, {"window": 5}):
        assert builder(**options).hash == plain
    assert builder(shots=2, seed=1).hash == builder(shots=2, shot_turns=9).hash


# --- system message ------------------------------------------------------------------------------


def test_a_system_file_is_taken_as_it_is_but_for_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_bytes("\ufeff你好 {{ x }}\r\n\r\nB\n".encode())
    messages = builder(system=f"@{tmp_path / 'system.txt'}").messages(SAMPLE)
    assert messages[0] == Message("system", ("你好 {{ x }}\n\nB",))


@pytest.mark.parametrize("content", [b"", b" \n", None, b"a\n\xff"])
def test_a_system_file_that_cannot_be_used_is_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "system.txt"
    if content is not None:
        path.write_bytes(content)
    pattern = {None: "no such file", b"a\n\xff": "system.txt:2: not UTF-8"}
    with pytest.raises(InputError, match=pattern.get(content, "option system: .*empty")):
        builder(system=f"@{path}")
    with pytest.raises(InputError, match=r"option system: .*empty"):
        builder(system=" ")


# --- a template of the user's own ----------------------------------------------------------------


def test_a_template_sees_the_sample_and_puts_pixels_in_their_places(
    template: Callable[[str], str],
) -> None:
    (message,) = builder(template=template(WHOLE), captions=True).messages(SAMPLE)
    assert text_of(message) == (
        "<|query_start|>the bridge<|query_end|> (en, markup), as "
        "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[0]<|img_ids_end|>\n"
        "<|utt_id_start|>3<|utt_id_end|> Ann at 10:00: look at this"
        " <|img_id_start|>0<|img_id_end|><image> [a red bridge]"
        " <|img_id_start|>1<|img_id_end|><image>\n"
        "<|utt_id_start|>7<|utt_id_end|> Bo: nice\n"
        "<|utt_id_start|>8<|utt_id_end|> Ann:  <|img_id_start|>4<|img_id_end|><image> [a cat]\n"
    )
    assert tuple(part for part in message.parts if isinstance(part, Image)) == DIALOGUE.images
    assert reached_ids((message,)) == ((3, 7, 8), (0, 1, 4))


def test_options_decide_what_a_template_shows(template: Callable[[str], str]) -> None:
    path = template(WHOLE)
    (first,) = builder(template=path, images="images_first").messages(SAMPLE)
    assert first.parts[:3] == DIALOGUE.images
    assert len(first.parts) == 4
    (only,) = builder(template=path, images="text_only", answer="tool").messages(SAMPLE)
    assert len(only.parts) == 1
    assert '(en, tool), as {"utt_ids": [1, 2], "img_ids": [0]}' in str(only.parts[0])
    assert "a cat" not in str(only.parts[0])


def test_examples_are_shown_by_the_template_too(template: Callable[[str], str]) -> None:
    made = builder(template=template(WHOLE), shots=1)
    messages = made.messages(SAMPLE, (CHINESE,))
    assert text_of(messages[0]).startswith("<|query_start|>桥<|query_end|> (zh, markup)")
    assert text_of(messages[1]) == answer_text([], [])


EVIL = st.lists(
    st.sampled_from(
        [
            *(*MARKERS, "<image>", "\0", "0123456789abcdef" * 2, ":0", f"\0{'0' * 32}:0\0"),
            *("{{ query }}", "{% for %}", "{#", "#}", "|safe", "hi", " "),
        ]
    ),
    max_size=8,
).map("".join)


@given(speaker=EVIL, text=EVIL, caption=EVIL, query=EVIL)
@settings(deadline=None, max_examples=100)
def test_what_people_write_stays_text_in_a_template(
    speaker: str, text: str, caption: str, query: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.jinja"
    path.write_text(WHOLE)
    made = builder(template=str(path), captions=True)
    image = Image(5, Path("a.png"), caption=caption)
    (evil,) = made.messages(
        Sample("s", Dialogue("d", (Turn(2, speaker, text, (5,)),), (image,)), query)
    )
    (tame,) = made.messages(
        Sample("s", Dialogue("d", (Turn(2, "A", "x", (5,)),), (Image(5, Path("a.png")),)), "q")
    )
    assert [part for part in evil.parts if not isinstance(part, str)] == [image]
    for marker in (*MARKERS, "<image>"):
        counts = [
            sum(part.count(marker) for part in message.parts if isinstance(part, str))
            for message in (evil, tame)
        ]
        assert counts[0] == counts[1], marker
    assert "{{ query }}" not in text or "{{ query }}" in text_of(evil)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n{% for t in turn %}{% endfor %}", 2, "no 'turn' in a prompt(.|\n)*'turns'"),
        ("{{ gold }}", 1, "no 'gold' in a prompt"),
        ("a\n\n{% if %}", 3, "not a Jinja template"),
        ("a\n{% for t in turns %}", 2, "not a Jinja template"),
        ("{{ query|rondom }}", 1, "No filter named 'rondom'"),
        ("a\n{{ query|random }}", 2, "No filter named 'random'"),
        ("{% include '/etc/passwd' %}", 1, "cannot include"),
        ("a\n{% extends 'x' %}", 2, "cannot include, import or extend"),
    ],
)
def test_a_template_that_cannot_work_is_refused_at_once(
    text: str, line: int, message: str, template: Callable[[str], str]
) -> None:
    path = template(text)
    with pytest.raises(InputError, match=message) as refused:
        builder(template=path)
    problem = refused.value.problem
    assert (problem.file, problem.line) == (path, line)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n{{ turns[99].text }}", 2, "no element 99"),
        ("{% for t in turns %}\n{{ t.gold }}{% endfor %}", 2, "a turn has no attribute 'gold'"),
        ("{{ images[0].file }}", 1, "an image has no attribute 'file'"),
        ("a\n{{ 1 + query }}", 2, "unsupported operand"),
        ("a\n\n{{ 1 // 0 }}", 3, "by zero"),
        ("{{ query.__class__ }}", 1, "unsafe"),
        ("{{ '{0.__class__}'.format(query) }}", 1, "unsafe"),
        ("{{ utt.__globals__ }}", 1, "unsafe"),
        ("{{ turns.__add__(turns) }}", 1, "unsafe"),
        ("{{ range(10 ** 9) }}", 1, "Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", 1, "recursion"),
        (" \n", None, "no text for sample 's'"),
        ("{{ images[0].pixels|upper }}", None, "changed `pixels`"),
    ],
)
def test_a_template_that_fails_says_where(
    text: str, line: int | None, message: str, template: Callable[[str], str]
) -> None:
    path = template(text)
    with pytest.raises(InputError, match=message) as refused:
        builder(template=path).messages(SAMPLE)
    problem = refused.value.problem
    assert (problem.file, problem.line) == (path, line)


def test_a_template_cannot_change_the_sample(template: Callable[[str], str]) -> None:
    with pytest.raises(InputError, match=r"append|unsafe"):
        builder(template=template("{% set x = turns[0].images.append(1) %}a")).messages(SAMPLE)


def test_a_template_that_writes_on_and_on_is_stopped(
    template: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.generative.own_template.MAX_CHARACTERS", 5000)
    text = "{% for i in range(9999) %}{% for j in range(99999) %}xy{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match="more than 5,000 characters"):
        builder(template=template(text)).messages(SAMPLE)


def test_a_template_file_must_be_there_and_be_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    with pytest.raises(InputError, match="no such file"):
        builder(template=str(path))
    path.write_bytes(b"a\n\xff")
    with pytest.raises(InputError, match=r"mine\.jinja:2: not UTF-8"):
        builder(template=str(path))


@pytest.mark.parametrize("options", [{"prompt": "cot"}, {"query": "last"}])
def test_what_a_template_decides_is_no_option(
    options: dict[str, Any], template: Callable[[str], str]
) -> None:
    with pytest.raises(InputError, match=f"option {next(iter(options))}: has no effect"):
        builder(template=template(WHOLE), **options)


def test_jinja_is_an_optional_part(
    template: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    builder()
    with pytest.raises(MissingExtraError, match=r"a prompt template .*\[api\]"):
        builder(template=template(WHOLE))


# --- what reached the model ----------------------------------------------------------------------


def test_only_marks_of_the_question_count() -> None:
    messages = builder(shots=1, system="S").messages(CHINESE, (SAMPLE,))
    assert reached_ids(messages) == ((0,), (0,))
    assert reached_ids(builder(images="text_only").messages(SAMPLE)) == ((3, 7, 8), (0, 1, 4))


def test_marks_that_speakers_write_do_not_count() -> None:
    told = Turn(1, "A", f"{mark(UTT_ID, 9)} {mark(IMG_ID, 9)}")
    sample = Sample("s", Dialogue("d", (told,)), mark(UTT_ID, 8))
    assert reached_ids(builder().messages(sample)) == ((1,), ())


def test_ids_are_named_once_and_no_mark_is_made_of_two_texts() -> None:
    parts = (
        mark(UTT_ID, 2) + mark(UTT_ID, 1) + mark(UTT_ID, 2) + "<|utt_id_start|>",
        Image(0),
        f"7{UTT_ID[1]}",
    )
    assert reached_ids((Message("user", parts),)) == ((2, 1), ())


def test_without_marks_nothing_is_known(template: Callable[[str], str]) -> None:
    text = "{{ query }}{% for turn in turns %} {{ turn.utt_id }}: {{ turn.text }}{% endfor %}"
    assert reached_ids(builder(template=template(text)).messages(SAMPLE)) is None
    assert reached_ids(()) is None
    assert reached_ids((Message("system", (mark(UTT_ID, 1),)),)) is None


# --- the answer as an object ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("utt_ids", "img_ids", "outcome"),
    [((1, 2), (0,), Outcome.OK), ((), (3,), Outcome.OK), ((), (), Outcome.EMPTY)],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_objects_of_the_schema_are_read(
    utt_ids: tuple[int, ...], img_ids: tuple[int, ...], outcome: Outcome, indent: int | None
) -> None:
    text = json.dumps({"utt_ids": utt_ids, "img_ids": img_ids}, indent=indent)
    answer = parse_answer(text)
    assert (answer.utt_ids, answer.img_ids, answer.outcome) == (utt_ids, img_ids, outcome)


def test_the_schema_is_strict() -> None:
    assert list(ANSWER_SCHEMA["properties"]) == ANSWER_SCHEMA["required"] == ["utt_ids", "img_ids"]
    assert ANSWER_SCHEMA["additionalProperties"] is False
    assert ANSWER_NAME == TOOL
    json.dumps(ANSWER_SCHEMA)
