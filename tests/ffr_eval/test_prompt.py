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

from ffr_eval.errors import InputError
from ffr_eval.importers import mswift
from ffr_eval.importers.record_files import Place
from ffr_eval.markup import MARKERS, answer_text
from ffr_eval.prompt import (
    TEMPLATE,
    ImagePlacement,
    Language,
    language_of,
    prompt_hash,
    render,
    to_openai,
    to_transformers,
)
from ffr_eval.types import Dialogue, Fragment, Image, Kind, Sample, Turn

PLACEMENTS: tuple[ImagePlacement, ...] = get_args(ImagePlacement)
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
)
@settings(deadline=None, max_examples=300)
def test_a_rendered_dialogue_is_imported_as_it_was(
    turns: list[tuple[str, str, int]], language: Language, images: ImagePlacement
) -> None:
    made: list[Turn] = []
    n_images = 0
    for number, (speaker, text, shown) in enumerate(turns):
        made.append(Turn(3 * number, speaker, text, tuple(range(n_images, n_images + shown))))
        n_images += shown
    sample = sample_of(*made, images=tuple(map(Image, range(n_images))))
    text = render(sample, language=language, images=images).text
    record = mswift._Record("d", (mswift._Message("user", text),))
    query, found = mswift._parse_message(Place(Path("x"), 1), record, has_image_ids=False)
    assert query == "q"
    assert [(t.utt_id, t.speaker, t.text, t.images) for t in found] == [
        (t.utt_id, t.speaker, t.text, t.img_ids) for t in made
    ]
