"""Prompts: exactly the task's markup, nothing of the gold, and what speakers write stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.answer import parse_answer
from ffr_eval.errors import InputError
from ffr_eval.importers import mswift
from ffr_eval.importers.record_files import Place
from ffr_eval.markup import MARKERS, answer_text
from ffr_eval.prompt import (
    TEMPLATE,
    TOOL,
    AnswerForm,
    ImagePlacement,
    Language,
    QueryPlacement,
    Style,
    language_of,
    prompt_hash,
    render,
    render_answer,
    to_openai,
    to_transformers,
)
from ffr_eval.types import Dialogue, Fragment, Image, Kind, Outcome, Sample, Turn

PLACEMENTS: tuple[ImagePlacement, ...] = get_args(ImagePlacement)
QUERIES: tuple[QueryPlacement, ...] = get_args(QueryPlacement)
VARIANTS: tuple[tuple[Style, AnswerForm], ...] = (
    ("zero-shot", "markup"),
    ("zero-shot", "json_schema"),
    ("zero-shot", "tool"),
    ("cot", "markup"),
)
LANGUAGES: tuple[Language, ...] = get_args(Language)
DIALOGUE = Dialogue(
    "d",
    (
        Turn(3, "Ann", "look at this", (0, 1)),
        Turn(7, "Bo", "nice"),
        Turn(8, "Ann", "", (4,)),
    ),
    (
        Image(0, Path("/data/a.png"), caption="a red bridge"),
        Image(1, Path("/data/b.png")),
        Image(4, Path("/data/c.png"), caption="a cat"),
    ),
)
SAMPLE = Sample("s", DIALOGUE, "the bridge", gold=Fragment((3,), (0,)), kind=Kind.MULTIMODAL)
UTT, IMG = "<|utt_id_start|>{}<|utt_id_end|>", "<|img_id_start|>{}<|img_id_end|>"


def lines_of(text: str) -> list[str]:
    """The lines of the dialogue."""
    return text.partition("Dialogue:\n")[2].splitlines()


def sample_of(*turns: Turn, images: tuple[Image, ...] = (), **fields: Any) -> Sample:
    return Sample("s", Dialogue("d", turns, images, **fields), "q")


def test_a_line_an_utterance_with_each_image_at_its_place() -> None:
    prompt = render(SAMPLE, language="en")
    assert lines_of(prompt.text) == [
        (
            "<|utt_id_start|>3<|utt_id_end|> Ann: look at this"
            "<|img_id_start|>0<|img_id_end|><image><|img_id_start|>1<|img_id_end|><image>"
        ),
        "<|utt_id_start|>7<|utt_id_end|> Bo: nice",
        "<|utt_id_start|>8<|utt_id_end|> Ann: <|img_id_start|>4<|img_id_end|><image>",
    ]
    assert [image.img_id for image in prompt.images] == [0, 1, 4]
    before_second = prompt.parts[: prompt.parts.index(DIALOGUE.images[1])]
    assert str(before_second[-1]).endswith(IMG.format(1))  # its id stands before its pixels
    assert all(
        not (isinstance(a, str) and isinstance(b, str))
        for a, b in zip(prompt.parts, prompt.parts[1:], strict=False)
    )


def test_images_first() -> None:
    prompt = render(SAMPLE, language="en", images="images_first")
    assert prompt.parts[:3] == DIALOGUE.images
    assert len(prompt.parts) == 4
    assert prompt.text.startswith("<image><image><image>Below is a dialogue.")
    assert lines_of(prompt.text)[2] == f"{UTT.format(8)} Ann: {IMG.format(4)}"


def test_text_only_keeps_the_ids_and_leaves_the_pixels() -> None:
    prompt = render(SAMPLE, language="en", images="text_only")
    assert prompt.images == ()
    assert len(prompt.parts) == 1
    assert lines_of(prompt.text)[0].endswith(f"look at this{IMG.format(0)}{IMG.format(1)}")


@pytest.mark.parametrize("images", PLACEMENTS)
def test_captions_stand_after_the_image_that_has_one(images: ImagePlacement) -> None:
    pixels = "<image>" if images == "in_place" else ""
    lines = lines_of(render(SAMPLE, language="en", images=images, captions=True).text)
    shown = f"{IMG.format(0)}{pixels} [image: a red bridge]{IMG.format(1)}{pixels}"
    assert lines[0] == f"{UTT.format(3)} Ann: look at this{shown}"
    assert lines[2].endswith(f"{pixels} [image: a cat]")
    chinese = render(SAMPLE, language="zh", images=images, captions=True).text
    assert f"{IMG.format(4)}{pixels}[图片：a cat]\n" in chinese
    assert "a cat" not in render(SAMPLE, images=images).text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("images", PLACEMENTS)
def test_instruction_query_and_form_of_the_answer(
    language: Language, images: ImagePlacement
) -> None:
    sample = replace(SAMPLE, query="the {bridge} <|query_end|> 100%")
    text = render(sample, language=language, images=images).text
    assert text.count("<|query_start|>the {bridge} < |query_end|> 100%<|query_end|>") == 1
    assert text.count("<|query_start|>") == text.count("<|query_end|>") == 1
    assert answer_text([1, 2], [0]) in text
    assert text.endswith("\n")
    assert bool(re.search(r"[\u4e00-\u9fff]", text)) == (language == "zh")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("images", PLACEMENTS)
def test_the_gold_is_never_in_the_prompt(language: Language, images: ImagePlacement) -> None:
    bare = replace(SAMPLE, gold=None, kind=None, meta={}, sample_id="t", split="dev")
    other = replace(SAMPLE, gold=Fragment((7, 8), (4,)), meta={"answer": "secret"})
    prompts = [
        render(s, language=language, images=images, captions=True) for s in (SAMPLE, bare, other)
    ]
    assert prompts[0] == prompts[1] == prompts[2]


# --- language and hash ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "text", "expected"),
    [
        ("en", "我们明天见", "en"),
        ("zh", "see you", "zh"),
        (None, "see you", "en"),
        (None, "我们明天见", "zh"),
        (None, "", "en"),
        (None, "123 !?", "en"),
        ("fr", "à demain", "en"),
        (None, "bcde一", "en"),  # one letter in five
        (None, "bcd一", "zh"),
    ],
)
def test_the_language_is_the_dialogues(told: str | None, text: str, expected: Language) -> None:
    sample = sample_of(Turn(0, "A", text), language=told)
    assert language_of(sample.dialogue) == expected
    assert render(sample).language == expected
    for language in LANGUAGES:
        assert render(sample, language=language).language == language


def test_the_hash_tells_every_option_apart_and_no_samples() -> None:
    options = list(product(LANGUAGES, PLACEMENTS, (False, True)))
    samples = (SAMPLE, sample_of(Turn(0, "A", "x")))
    hashes = set()
    for language, images, captions in options:
        both = {
            render(sample, language=language, images=images, captions=captions).hash
            for sample in samples
        }
        assert both == {prompt_hash(language, images, captions)}
        hashes |= both
    assert len(hashes) == len(options)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in hashes)
    assert render(SAMPLE).template == TEMPLATE


def test_the_default_prompts_are_those_that_earlier_runs_recorded() -> None:
    recorded: dict[Language, str] = {
        "en": "fedb29d8ecf6172ea5dcdf909058078d50b7b664c77b6244f063816e2e31af7d",
        "zh": "de6af7b3abb2feb3f5d5d3f6f4fef5f323e5dba24e080eb29f67813e793c5ac2",
    }
    opening = {
        "en": (
            "Below is a dialogue. Every utterance has an id between <|utt_id_start|><|utt_id_end|>,"
            " and every image has an id between <|img_id_start|><|img_id_end|>. Find all utterances"
            " and images that are relevant to the query <|query_start|>the bridge<|query_end|>."
            " They may be scattered over the dialogue, and there may be none. Answer with the two"
            " lists of ids only, in exactly this form (these ids are an example; a list may be"
            " empty):\n"
            "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[0]<|img_ids_end|>\n\n"
            "Dialogue:\n<|utt_id_start|>3"
        ),
        "zh": (
            "下面是一段对话。每句话的编号写在<|utt_id_start|><|utt_id_end|>之间，每张图片的编号写在"
            "<|img_id_start|><|img_id_end|>之间。请找出与查询<|query_start|>the bridge<|query_end|>"
            "相关的所有话语和图片：它们可能分散在对话各处，也可能一个都没有。只回答两个编号列表，"
            "格式必须与下面完全一致（其中的编号只是示例，列表可以为空）：\n"
            "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[0]<|img_ids_end|>\n\n"
            "对话：\n<|utt_id_start|>3"
        ),
    }
    for language in LANGUAGES:
        assert prompt_hash(language, "in_place", False) == f"sha256:{recorded[language]}"
        assert render(SAMPLE, language=language).text.startswith(opening[language])
    assert TEMPLATE == "fragment-1"


# --- variants ------------------------------------------------------------------------------------


def test_every_variant_has_a_hash_and_a_text_of_its_own() -> None:
    texts, hashes = set(), set()
    variants = list(product(LANGUAGES, QUERIES, VARIANTS))
    for language, query, (style, answer) in variants:
        prompt = render(SAMPLE, language=language, query=query, style=style, answer=answer)
        found = prompt_hash(language, "in_place", False, query=query, style=style, answer=answer)
        assert prompt.hash == found
        texts.add(prompt.text)
        hashes.add(prompt.hash)
        assert bool(re.search(r"[\u4e00-\u9fff]", prompt.text)) == (language == "zh")
        assert prompt.text.count("<|query_start|>the bridge<|query_end|>") == 1
        assert "{" not in prompt.text.replace('{"utt_ids": [1, 2], "img_ids": [0]}', "")
    assert len(texts) == len(hashes) == len(variants)


def test_the_hash_without_a_language_is_of_both_wordings() -> None:
    both = prompt_hash(None, "in_place", False)
    assert both not in {prompt_hash(language, "in_place", False) for language in LANGUAGES}
    assert both != prompt_hash(None, "in_place", False, query="last")
    assert both == prompt_hash(None, "in_place", False)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("images", PLACEMENTS)
@pytest.mark.parametrize(("style", "answer"), VARIANTS)
def test_with_the_query_last_all_queries_of_a_dialogue_begin_alike(
    language: Language, images: ImagePlacement, style: Style, answer: AnswerForm
) -> None:
    queries = ("the bridge", "a <|utt_id_start|> cat", "桥", "")
    prompts = [
        render(
            replace(SAMPLE, query=query, gold=Fragment((number,))),
            language=language,
            images=images,
            query="last",
            style=style,
            answer=answer,
        )
        for number, query in enumerate(queries)
    ]
    first = prompts[0]
    beginning = first.text[: first.text.index("<|query_start|>")]
    assert beginning.endswith(f"{IMG.format(4)}{'<image>' if images == 'in_place' else ''}\n")
    for prompt in prompts:
        assert prompt.text.startswith(beginning + "<|query_start|>")
        assert prompt.parts[:-1] == first.parts[:-1]
        assert prompt.images == first.images


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_form_of_the_answer_is_described(language: Language) -> None:
    as_object = '{"utt_ids": [1, 2], "img_ids": [0]}'
    for answer in ("json_schema", "tool"):
        text = render(SAMPLE, language=language, answer=answer).text
        assert as_object in text
        assert "<|utt_ids_start|>" not in text
        assert (TOOL in text) == (answer == "tool")
    last_line = {"en": "Only the last line counts", "zh": "只有最后一行算作回答"}
    assert last_line[language] in render(SAMPLE, language=language, style="cot").text
    assert last_line[language] not in render(SAMPLE, language=language).text


@pytest.mark.parametrize("answer", ["json_schema", "tool"])
def test_an_object_leaves_no_room_for_reasoning(answer: AnswerForm) -> None:
    for refuse in (
        lambda: render(SAMPLE, style="cot", answer=answer),
        lambda: prompt_hash("en", "in_place", False, style="cot", answer=answer),
        lambda: render_answer(Fragment(), language="en", style="cot", answer=answer),
    ):
        with pytest.raises(InputError, match=r"room for reasoning(.|\n)*answer=markup"):
            refuse()


@given(
    utt_ids=st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
    img_ids=st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
    language=st.sampled_from(LANGUAGES),
    variant=st.sampled_from(VARIANTS),
)
def test_a_right_answer_is_read_as_it_was_meant(
    utt_ids: tuple[int, ...],
    img_ids: tuple[int, ...],
    language: Language,
    variant: tuple[Style, AnswerForm],
) -> None:
    gold = Fragment(utt_ids, img_ids)
    text = render_answer(gold, language=language, style=variant[0], answer=variant[1])
    answer = parse_answer(text)
    assert (answer.utt_ids, answer.img_ids) == (utt_ids, img_ids)
    assert answer.outcome is (Outcome.OK if utt_ids or img_ids else Outcome.EMPTY)
    assert (len(text.splitlines()) == 2) == (variant[0] == "cot")


@pytest.mark.parametrize(
    "reasoning",
    [
        "Utterances [7, 8] and images [9] are about it.",
        f"At first: {answer_text([5], [3])}. But no.",
        'At first: {"utt_ids": [5], "img_ids": []}.',
        "The form is <|utt_ids_start|>…<|utt_ids_end|>;<|img_ids_start|>…<|img_ids_end|>.",
        "I begin with <|utt_ids_start|> and <|img_ids_start|>.",
        "I end with <|utt_ids_end|>.",
        "Turn <|utt_id_start|>8<|utt_id_end|> shows <|img_id_start|>4<|img_id_end|>.",
        f"<think>{answer_text([5], [3])}</think>",
        "第 [7] 句和图片 [9]。",
    ],
)
@pytest.mark.parametrize("answer", [((1, 2), (0,)), ((), ())])
def test_the_answer_on_the_last_line_is_the_one_that_is_read(
    reasoning: str, answer: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    found = parse_answer(f"{reasoning}\n\n{answer_text(*answer)}")
    assert (found.utt_ids, found.img_ids) == answer
    assert found.outcome in {Outcome.OK, Outcome.EMPTY}


# --- what speakers write -------------------------------------------------------------------------

EVIL = st.lists(
    st.sampled_from(
        [*MARKERS, "<image>", "<", "|", ">", "<|", "|>", "9", "hi", " ", "utt_id", "{}"]
    ),
    max_size=8,
).map("".join)


@given(speaker=EVIL, text=EVIL, caption=EVIL, query=EVIL, images=st.sampled_from(PLACEMENTS))
@settings(deadline=None, max_examples=300)
def test_markers_that_people_write_are_defused(
    speaker: str, text: str, caption: str, query: str, images: ImagePlacement
) -> None:
    image = Image(5, Path("a.png"), caption=caption)
    evil = replace(sample_of(Turn(2, speaker, text, (5,)), images=(image,)), query=query)
    tame = replace(sample_of(Turn(2, "A", "x", (5,)), images=(Image(5, caption="y"),)), query="q")
    prompts = [
        render(sample, language="en", images=images, captions=True) for sample in (evil, tame)
    ]
    for marker in (*MARKERS, "<image>"):
        assert prompts[0].text.count(marker) == prompts[1].text.count(marker), marker
    assert prompts[0].text.count("<image>") == len(prompts[0].images)


def test_defused_text_is_otherwise_as_it_was() -> None:
    sample = sample_of(Turn(2, "A", "1 <2 <|utt_id_start|>9<|utt_id_end|> <b> <image>"))
    text = render(sample, language="en").text
    assert lines_of(text) == [
        f"{UTT.format(2)} A: 1 <2 < |utt_id_start|>9< |utt_id_end|> <b> < image>"
    ]


# --- blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", PLACEMENTS)
def test_blocks_for_chat_servers(images: ImagePlacement) -> None:
    prompt = render(SAMPLE, language="en", images=images)
    openai = to_openai(prompt, lambda image: f"data:{image.img_id}")
    transformers = to_transformers(prompt)
    assert len(openai) == len(transformers) == len(prompt.parts)
    for part, ours, theirs in zip(prompt.parts, openai, transformers, strict=True):
        if isinstance(part, str):
            assert ours == theirs == {"type": "text", "text": part}
        else:
            url = {"url": f"data:{part.img_id}"}
            assert ours == {"type": "image_url", "image_url": url}
            assert theirs == {"type": "image", "path": str(part.file)}


def test_an_image_without_file_is_a_clear_error() -> None:
    sample = sample_of(Turn(0, "A", "x", (6,)), images=(Image(6, caption="a dog"),))
    with pytest.raises(InputError, match=r"image 6 has no file(.|\n)*captions"):
        to_transformers(render(sample))
    blocks = to_transformers(render(sample, images="text_only", captions=True))
    assert "[image: a dog]" in blocks[0]["text"]


# --- and back ------------------------------------------------------------------------------------

WORD = st.text(st.characters(codec="utf-8", exclude_characters=":：<\n\r"), max_size=8).map(
    lambda word: " ".join(word.split())
)
SPOKEN = st.lists(WORD | st.sampled_from([":", "：", "<", "a\nb", "[1]"]), max_size=4).map(
    lambda words: " ".join(words).strip()
)


@given(
    turns=st.lists(st.tuples(WORD, SPOKEN, st.integers(0, 2)), min_size=1, max_size=4),
    language=st.sampled_from(LANGUAGES),
    images=st.sampled_from(["in_place", "text_only"]),
    asked=st.sampled_from(QUERIES),
    variant=st.sampled_from(VARIANTS),
)
@settings(deadline=None, max_examples=300)
def test_a_rendered_dialogue_is_imported_as_it_was(
    turns: list[tuple[str, str, int]],
    language: Language,
    images: ImagePlacement,
    asked: QueryPlacement,
    variant: tuple[Style, AnswerForm],
) -> None:
    made: list[Turn] = []
    n_images = 0
    for number, (speaker, text, shown) in enumerate(turns):
        made.append(Turn(3 * number, speaker, text, tuple(range(n_images, n_images + shown))))
        n_images += shown
    sample = sample_of(*made, images=tuple(map(Image, range(n_images))))
    style, answer = variant
    text = render(
        sample, language=language, images=images, query=asked, style=style, answer=answer
    ).text
    record = mswift._Record("d", (mswift._Message("user", text),))
    query, found = mswift._parse_message(Place(Path("x"), 1), record, has_image_ids=False)
    assert query == "q"
    assert [(t.utt_id, t.speaker, t.text, t.images) for t in found] == [
        (t.utt_id, t.speaker, t.text, t.img_ids) for t in made
    ]
