"""Exact lengths of prompts and answers, as trainers make them of the rows."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ffr_eval.chat_templates import PROBE
from ffr_eval.image_reading import ImageProblem
from ffr_eval.picture_size import counts_images, image_tokens, picture_of, size_of
from ffr_train.data.images import UnusableImage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_eval.types import Image
    from ffr_train.data.processor import LoadedProcessor

    Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of a prompt, up to where the answer begins, and of the answer with its end."""

    prompt: int
    completion: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Item:
    """Something to measure.

    Attributes:
        prompt, completion: The messages.
        images: The images of the prompt, in order.
    """

    prompt: Messages
    completion: Messages
    images: Sequence[Image]


class Lengths:
    """Measures prompts and answers: by TRL's way of cutting a chat in two.

    Tokens of images are counted by the processor's own arithmetic, from the sizes in the files'
    headers. That is compared once with what the processor does; where it does something else, or
    has no such arithmetic, all images are decoded.

    Args:
        loaded: The processor.
    """

    def __init__(self, loaded: LoadedProcessor) -> None:
        self._loaded = loaded
        self._of_size: dict[tuple[int, int], int] = {}
        self._of_file: dict[Path | None, int] = {}
        self._agrees: bool | None = None

    @property
    def decodes_images(self) -> bool:
        """Whether images had to be decoded for their lengths."""
        return self._agrees is False

    def measure(self, items: Sequence[Item]) -> list[Length]:
        """The lengths of items, best many at a time.

        Raises:
            UnusableImage: If an image cannot be used.
        """
        texts = [self._texts(item) for item in items]
        both = [text for pair in texts for text in pair]
        counts = self.text_tokens(both)
        lengths = []
        for place, item in enumerate(items):
            prompt, completion = counts[2 * place : 2 * place + 2]
            if item.images:
                prompt = self._with_images(prompt, texts[place][0], item.images)
            lengths.append(Length(prompt, completion))
        return lengths

    def text_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of texts, each image being one token."""
        if not texts:
            return []
        found = self._loaded.tokenizer(
            list(texts), add_special_tokens=False, return_attention_mask=False
        )
        return [len(ids) for ids in found["input_ids"]]

    def image_tokens(self, image: Image) -> int:
        """The tokens of an image.

        Raises:
            UnusableImage: If it cannot be used.
        """
        if image.file not in self._of_file:
            try:
                size = size_of(image, self._loaded.fit)
            except ImageProblem as problem:
                raise UnusableImage(image, problem) from None
            if size not in self._of_size:
                (self._of_size[size],) = image_tokens(self._loaded.processor, [size])
            self._of_file[image.file] = self._of_size[size]
        return self._of_file[image.file]

    def tokens_in_place(self, image: Image) -> int:
        """The tokens of an image, with what the chat template puts around it.

        Raises:
            UnusableImage: If it cannot be used.
        """
        return self._around + self.image_tokens(image)

    @cached_property
    def _around(self) -> int:
        first, second = ({"type": "text", "text": word} for word in PROBE[:2])
        content = [first, {"type": "image"}, second]
        text: str = self._loaded.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False
        )
        between = text.partition(PROBE[0])[2].partition(PROBE[1])[0]
        return self.text_tokens([between])[0] - 1

    def _texts(self, item: Item) -> tuple[str, str]:
        """Prompt and answer as text, where the answer begins with the first difference."""
        template = self._loaded.processor.apply_chat_template
        prompt: str = template(item.prompt, tokenize=False, add_generation_prompt=True)
        whole: str = template([*item.prompt, *item.completion], tokenize=False)
        if not whole.startswith(prompt):
            prompt = os.path.commonprefix([prompt, whole])  # noqa: RUF071 - texts, not paths
        return prompt, whole[len(prompt) :]

    def _with_images(self, n_tokens: int, text: str, images: Sequence[Image]) -> int:
        if self._agrees is None:
            self._agrees = self._check(n_tokens, text, images)
        if not self._agrees:
            return self._counted(text, images)
        return n_tokens + sum(map(self.image_tokens, images)) - len(images)

    def _check(self, n_tokens: int, text: str, images: Sequence[Image]) -> bool:
        """Whether the processor's own arithmetic gives what it does."""
        if not counts_images(self._loaded.processor):
            return False
        counted = self._counted(text, images)
        return n_tokens + sum(map(self.image_tokens, images)) - len(images) == counted

    def _counted(self, text: str, images: Sequence[Image]) -> int:
        pictures = []
        for image in images:
            try:
                pictures.append(picture_of(image, self._loaded.fit))
            except ImageProblem as problem:
                raise UnusableImage(image, problem) from None
        found = self._loaded.processor(text=[text], images=[pictures], add_special_tokens=False)
        return len(found["input_ids"][0])
