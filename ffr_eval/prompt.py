"""A sample as a prompt: text with markup, or content blocks with each image at its place.

The wording is versioned: :data:`TEMPLATE` names it, and :attr:`Prompt.hash` changes with it and
with every option, so that a run's record says which prompt its model saw. A prompt of the default
options has the same text and the same hash as before there were others.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ffr_eval.errors import InputError
from ffr_eval.markup import IMAGE_PLACEHOLDER, IMG_ID, QUERY, UTT_ID, answer_text, defuse, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ffr_eval.types import Dialogue, Fragment, Image, Sample, Turn

ImagePlacement: TypeAlias = Literal["in_place", "images_first", "text_only"]
Language: TypeAlias = Literal["zh", "en"]
QueryPlacement: TypeAlias = Literal["first", "last"]
Style: TypeAlias = Literal["zero-shot", "cot"]
AnswerForm: TypeAlias = Literal["markup", "json_schema", "tool"]

TOOL: Final = "fragment"
"""The name of the tool that a prompt with the answer form ``tool`` asks to call."""

TEMPLATE: Final = "fragment-1"
"""Version of the wording; any change of a text below makes a new one."""

_HAN: Final = re.compile("[\u4e00-\u9fff]")
_BOTH: Final[tuple[Language, ...]] = ("en", "zh")
_TASK: Final[dict[Language, str]] = {
    "en": (
        "Below is a dialogue. Every utterance has an id between {utt}, and every image has an id"
        " between {img}. Find all utterances and images that are relevant to the query {query}."
        " They may be scattered over the dialogue, and there may be none."
    ),
    "zh": (
        "下面是一段对话。每句话的编号写在{utt}之间，每张图片的编号写在{img}之间。"
        "请找出与查询{query}相关的所有话语和图片：它们可能分散在对话各处，也可能一个都没有。"
    ),
}
_FORM: Final[dict[tuple[Style, AnswerForm], dict[Language, str]]] = {
    ("zero-shot", "markup"): {
        "en": (
            " Answer with the two lists of ids only, in exactly this form (these ids are an"
            " example; a list may be empty):"
        ),
        "zh": ("只回答两个编号列表，格式必须与下面完全一致（其中的编号只是示例，列表可以为空）："),
    },
    ("zero-shot", "json_schema"): {
        "en": (
            " Answer with a JSON object only, which holds the two lists of ids, in exactly this"
            " form (these ids are an example; a list may be empty):"
        ),
        "zh": (
            "只回答一个包含两个编号列表的JSON对象，格式必须与下面完全一致"
            "（其中的编号只是示例，列表可以为空）："
        ),
    },
    ("zero-shot", "tool"): {
        "en": (
            f" Answer only by calling the tool {TOOL} with the two lists of ids, in exactly this"
            " form (these ids are an example; a list may be empty):"
        ),
        "zh": (
            f"只通过调用工具{TOOL}来回答，参数是两个编号列表，格式必须与下面完全一致"
            "（其中的编号只是示例，列表可以为空）："
        ),
    },
    ("cot", "markup"): {
        "en": (
            " First reason step by step about which parts of the dialogue the query is about. Then"
            " write the answer on the last line, with nothing else on that line: the two lists of"
            " ids, in exactly the form below (these ids are an example; a list may be empty). Only"
            " the last line counts; do not use its markers before it."
        ),
        "zh": (
            "请先逐步推理：查询说的是对话中的哪些部分。然后把答案单独写在最后一行：两个编号列表，"
            "格式必须与下面完全一致（其中的编号只是示例，列表可以为空）。只有最后一行算作回答，"
            "在此之前不要使用这些标记。"
        ),
    },
}
_BEFORE_DIALOGUE: Final[dict[Language, str]] = {
    "en": "\n{example}\n\nDialogue:\n",
    "zh": "\n{example}\n\n对话：\n",
}
_QUERY_FOLLOWS: Final[dict[Language, str]] = {
    "en": "that follows the dialogue",
    "zh": "（写在对话之后）",
}
# What follows the dialogue begins with the marked query, so that importers see where it ends.
_AFTER_DIALOGUE: Final[dict[Language, str]] = {
    "en": (
        "{query}\nFind all utterances and images of the dialogue that are relevant to this query,"
        " and answer as described before the dialogue.\n"
    ),
    "zh": "{query}\n请找出对话中与这个查询相关的所有话语和图片，并按照对话之前的说明回答。\n",
}
_IN_WORDS: Final[dict[Language, str]] = {
    "en": "Utterances relevant to the query: {utt}. Images relevant to the query: {img}.",
    "zh": "与查询相关的话语：{utt}。与查询相关的图片：{img}。",
}
_NONE: Final[dict[Language, str]] = {"en": "none", "zh": "无"}
_COMMA: Final[dict[Language, str]] = {"en": ", ", "zh": "、"}
_CAPTION: Final[dict[Language, str]] = {"en": "[image: {}]", "zh": "[图片：{}]"}
_SEPARATOR: Final[dict[Language, str]] = {"en": " ", "zh": ""}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered sample.

    Attributes:
        parts: Text and images in the order in which the model reads them.
        language: Of the instruction.
        template: Version of the wording.
        hash: ``sha256:…`` of wording, language and options; the same for all samples.
    """

    parts: tuple[str | Image, ...]
    language: Language
    template: str
    hash: str

    @property
    def text(self) -> str:
        """All of it as text, ``<image>`` standing for the pixels of each image."""
        return "".join(part if isinstance(part, str) else IMAGE_PLACEHOLDER for part in self.parts)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images in the order of their placeholders."""
        return tuple(part for part in self.parts if not isinstance(part, str))


def render(
    sample: Sample,
    *,
    language: Language | None = None,
    images: ImagePlacement = "in_place",
    captions: bool = False,
    query: QueryPlacement = "first",
    style: Style = "zero-shot",
    answer: AnswerForm = "markup",
) -> Prompt:
    """Render a sample with the task's markup.

    Args:
        sample: The query and its dialogue; its gold is never rendered.
        language: Of the instruction; by default the dialogue's, else that of its characters.
        images: ``in_place`` puts each image after its id; ``images_first`` puts all images before
            the text, as the original release does; ``text_only`` leaves the pixels out.
        captions: Write captions after the image ids, where there are any.
        query: ``first`` puts the query into the instruction, before the dialogue; ``last`` after
            the dialogue, so that all queries of a dialogue have the same text before them.
        style: ``zero-shot`` asks for the answer alone; ``cot`` for reasoning, and for the answer
            on the last line.
        answer: ``markup`` asks for the task's markup; ``json_schema`` for an object; ``tool`` for
            a call of the tool :data:`TOOL`.

    Raises:
        InputError: If ``cot`` and an answer form without room for reasoning come together.
    """
    chosen = language or language_of(sample.dialogue)
    instruction = _instruction(chosen, style, answer)
    asked = mark(QUERY, defuse(sample.query))
    texts: list[str | Image] = [
        instruction.format(
            utt="".join(UTT_ID),
            img="".join(IMG_ID),
            query=asked if query == "first" else _QUERY_FOLLOWS[chosen],
            example=_answer_only((1, 2), (0,), answer),
        ),
        *_dialogue(sample.dialogue, chosen, images, captions),
    ]
    if query == "last":
        texts.append(_AFTER_DIALOGUE[chosen].format(query=asked))
    if images == "images_first":
        texts.sort(key=lambda part: isinstance(part, str))
    found = prompt_hash(chosen, images, captions, query=query, style=style, answer=answer)
    return Prompt(joined_parts(texts), chosen, TEMPLATE, found)


def render_answer(
    fragment: Fragment,
    *,
    language: Language,
    style: Style = "zero-shot",
    answer: AnswerForm = "markup",
) -> str:
    """What a model that is right would write to a prompt of the same options.

    With ``cot`` a sentence that names the ids stands for the reasoning. The form ``tool`` gives the
    arguments of the call.

    Raises:
        InputError: If ``cot`` and an answer form without room for reasoning come together.
    """
    _require_room(style, answer)
    only = _answer_only(fragment.utt_ids, fragment.img_ids, answer)
    if style == "zero-shot":
        return only
    utt, img = (
        _COMMA[language].join(map(str, ids)) or _NONE[language]
        for ids in (fragment.utt_ids, fragment.img_ids)
    )
    return f"{_IN_WORDS[language].format(utt=utt, img=img)}\n{only}"


def prompt_hash(
    language: Language | None,
    images: ImagePlacement,
    captions: bool,
    *,
    query: QueryPlacement = "first",
    style: Style = "zero-shot",
    answer: AnswerForm = "markup",
) -> str:
    """``sha256:…`` of everything in a prompt that is not the sample.

    Args:
        language: ``None`` where each prompt is in the language of its dialogue: the hash is then
            one of the wordings of both.
        images: As in :func:`render`, as are the others.
        captions: Captions after the image ids.
        query: Where the query stands.
        style: The answer alone, or reasoning before it.
        answer: The form of the answer.

    Raises:
        InputError: If ``cot`` and an answer form without room for reasoning come together.
    """
    if language is None:
        english, chinese = (
            prompt_hash(each, images, captions, query=query, style=style, answer=answer)
            for each in _BOTH
        )
        return _hashed(english, chinese)
    instruction = _instruction(language, style, answer)
    wording = [TEMPLATE, instruction, _CAPTION[language], images, str(captions)]
    if query == "last":
        wording += [_QUERY_FOLLOWS[language], _AFTER_DIALOGUE[language]]
    if answer != "markup":
        wording.append(_answer_only((1, 2), (0,), answer))
    return _hashed(*wording)


def language_of(dialogue: Dialogue) -> Language:
    """The dialogue's language if it says so, else ``zh`` if a fifth of its letters are Han."""
    if dialogue.language in {"zh", "en"}:
        return "zh" if dialogue.language == "zh" else "en"
    letters = "".join(filter(str.isalpha, "".join(turn.text for turn in dialogue.turns)))
    return "zh" if len(_HAN.findall(letters)) * 5 > len(letters) else "en"


def to_openai(prompt: Prompt, image_url: Callable[[Image], str]) -> list[dict[str, Any]]:
    """Content blocks of an OpenAI chat message; ``image_url`` gives a URL or a ``data:`` URI."""
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": image_url(part)}}
        for part in prompt.parts
    ]


def to_transformers(prompt: Prompt) -> list[dict[str, Any]]:
    """Content blocks for ``apply_chat_template`` of transformers; images by path.

    Raises:
        InputError: If an image has no file.
    """
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "path": str(require_file(part))}
        for part in prompt.parts
    ]


def joined_parts(parts: Iterable[str | Image]) -> tuple[str | Image, ...]:
    """The parts with neighbouring texts made one, and without empty ones."""
    joined: list[str | Image] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


def require_file(image: Image) -> Any:
    """The image's file.

    Raises:
        InputError: If it has none.
    """
    if image.file is None:
        remedy = "add the file to the benchmark, or use captions (images='text_only')"
        raise InputError(f"image {image.img_id} has no file", field="path", remedy=remedy)
    return image.file


def _instruction(language: Language, style: Style, answer: AnswerForm) -> str:
    """What stands before the dialogue, its places not filled in."""
    _require_room(style, answer)
    form = _FORM[style, answer][language]
    return _TASK[language] + form + _BEFORE_DIALOGUE[language]


def _require_room(style: Style, answer: AnswerForm) -> None:
    if (style, answer) not in _FORM:
        message = f"an answer in the form {answer!r} leaves no room for reasoning before it"
        remedy = "answer=markup with prompt=cot, or prompt=zero-shot"
        raise InputError(message, field="option prompt", remedy=remedy)


def _answer_only(utt_ids: Iterable[int], img_ids: Iterable[int], answer: AnswerForm) -> str:
    if answer == "markup":
        return answer_text(utt_ids, img_ids)
    return json.dumps({"utt_ids": list(utt_ids), "img_ids": list(img_ids)})


def _hashed(*wording: str) -> str:
    return f"sha256:{hashlib.sha256(chr(0).join(wording).encode()).hexdigest()}"


def _dialogue(
    dialogue: Dialogue, language: Language, placement: ImagePlacement, captions: bool
) -> Iterator[str | Image]:
    images = {image.img_id: image for image in dialogue.images}
    for turn in dialogue.turns:
        yield _opening(turn)
        for img_id in turn.img_ids:
            yield mark(IMG_ID, img_id)
            if placement != "text_only":
                yield images[img_id]
            caption = images[img_id].caption
            if captions and caption:
                yield _SEPARATOR[language] + _CAPTION[language].format(defuse(caption))
        yield "\n"


def _opening(turn: Turn) -> str:
    return f"{mark(UTT_ID, turn.utt_id)} {defuse(turn.speaker)}: {defuse(turn.text)}"
