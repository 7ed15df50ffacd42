"""A sample as a prompt: text with markup, or content blocks with each image at its place.

The wording is versioned: :data:`TEMPLATE` names it, and :attr:`Prompt.hash` changes with it and
with every option, so that a run's record says which prompt its model saw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ffr_eval.errors import InputError
from ffr_eval.markup import IMAGE_PLACEHOLDER, IMG_ID, QUERY, UTT_ID, answer_text, defuse, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_eval.types import Dialogue, Image, Sample, Turn

ImagePlacement: TypeAlias = Literal["in_place", "images_first", "text_only"]
Language: TypeAlias = Literal["zh", "en"]

TEMPLATE: Final = "fragment-1"
"""Version of the wording; any change of a text below makes a new one."""

_INSTRUCTION: Final[dict[Language, str]] = {
    "en": (
        "Below is a dialogue. Every utterance has an id between {utt}, and every image has an id"
        " between {img}. Find all utterances and images that are relevant to the query {query}."
        " They may be scattered over the dialogue, and there may be none. Answer with the two"
        " lists of ids only, in exactly this form (these ids are an example; a list may be"
        " empty):\n{example}\n\nDialogue:\n"
    ),
    "zh": (
        "下面是一段对话。每句话的编号写在{utt}之间，每张图片的编号写在{img}之间。"
        "请找出与查询{query}相关的所有话语和图片：它们可能分散在对话各处，也可能一个都没有。"
        "只回答两个编号列表，格式必须与下面完全一致（其中的编号只是示例，列表可以为空）："
        "\n{example}\n\n对话：\n"
    ),
}
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
) -> Prompt:
    """Render a sample with the task's markup.

    Args:
        sample: The query and its dialogue; its gold is never rendered.
        language: Of the instruction; by default the dialogue's, else that of its characters.
        images: ``in_place`` puts each image after its id; ``images_first`` puts all images before
            the text, as the original release does; ``text_only`` leaves the pixels out.
        captions: Write captions after the image ids, where there are any.
    """
    chosen = language or language_of(sample.dialogue)
    texts = list(_texts(sample, chosen, images, captions))
    if images == "images_first":
        pixels = [part for part in texts if not isinstance(part, str)]
        texts = [*pixels, *(part for part in texts if isinstance(part, str))]
    return Prompt(_joined(texts), chosen, TEMPLATE, prompt_hash(chosen, images, captions))


def prompt_hash(language: Language, images: ImagePlacement, captions: bool) -> str:
    """``sha256:…`` of everything in a prompt that is not the sample."""
    wording = (TEMPLATE, _INSTRUCTION[language], _CAPTION[language], images, str(captions))
    return f"sha256:{hashlib.sha256(chr(0).join(wording).encode()).hexdigest()}"


def language_of(dialogue: Dialogue) -> Language:
    """The dialogue's language if it says so, else ``zh`` if a fifth of its letters are Han."""
    if dialogue.language in {"zh", "en"}:
        return "zh" if dialogue.language == "zh" else "en"
    letters = [char for turn in dialogue.turns for char in turn.text if char.isalpha()]
    han = sum("\u4e00" <= char <= "\u9fff" for char in letters)
    return "zh" if han * 5 > len(letters) else "en"


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


def require_file(image: Image) -> Any:
    """The image's file.

    Raises:
        InputError: If it has none.
    """
    if image.file is None:
        remedy = "add the file to the benchmark, or use captions (images='text_only')"
        raise InputError(f"image {image.img_id} has no file", field="path", remedy=remedy)
    return image.file


def _texts(
    sample: Sample, language: Language, placement: ImagePlacement, captions: bool
) -> Iterator[str | Image]:
    yield _INSTRUCTION[language].format(
        utt="".join(UTT_ID),
        img="".join(IMG_ID),
        query=mark(QUERY, defuse(sample.query)),
        example=answer_text([1, 2], [0]),
    )
    images = {image.img_id: image for image in sample.dialogue.images}
    for turn in sample.dialogue.turns:
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


def _joined(parts: list[str | Image]) -> tuple[str | Image, ...]:
    """Neighbouring texts made one."""
    joined: list[str | Image] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
