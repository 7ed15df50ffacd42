"""Requests as a model takes them: their lengths, and the inputs of a batch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from baselines.hf.chat import ChatTemplate
from ffr_eval.image_reading import ImageProblem
from ffr_eval.picture_size import bounded, counts_images, image_tokens, picture_of, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image as Picture

    from baselines.generative.chat import ChatRequest
    from baselines.hf.loading import Wording
    from baselines.hf.options import HfOptions

_KEPT_LENGTHS: Final = 4096
_TYPES: Final = "token_type_ids"


class Preparation:
    """Turns requests into the inputs of a model.

    Args:
        wording: Processor, tokenizer and template.
        options: The bounds of images.
    """

    def __init__(self, wording: Wording, options: HfOptions) -> None:
        self._processor = wording.processor
        self._tokenizer = wording.tokenizer
        self._reads_images = wording.reads == "images"
        self._chat = ChatTemplate(
            wording.processor,
            wording.tokenizer,
            wording.template,
            reads_images=self._reads_images,
        )
        self._fit = bounded(self._processor, options.max_pixels, options.min_pixels)
        self._shortcut: bool | None = None if self._reads_images else False
        self._length = lru_cache(maxsize=_KEPT_LENGTHS)(self._measured)

    def length(self, request: ChatRequest) -> int:
        """The tokens of a prompt, images and template included, as the model will read them.

        An image that cannot be read counts as one token; it fails when its turn comes.
        """
        return self._length(request)

    def pictures(
        self, request: ChatRequest, known: dict[Path | None, Picture] | None = None
    ) -> list[Picture]:
        """The pictures of a request, in order.

        Args:
            request: A request.
            known: Pictures by file, for requests that share them; more are added.

        Raises:
            ImageProblem: If one cannot be read.
        """
        known = {} if known is None else known
        for image in request.images:
            if image.file not in known:
                known[image.file] = picture_of(image, self._fit)
        return [known[image.file] for image in request.images]

    def inputs(
        self, requests: Sequence[ChatRequest], pictures: Sequence[Sequence[Picture]]
    ) -> dict[str, Any]:
        """The inputs of a batch, padded on the left, as tensors."""
        return self._processed([self._chat.text(each.messages) for each in requests], pictures)

    def _processed(
        self, texts: Sequence[str], pictures: Sequence[Sequence[Picture]]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "text": list(texts),
            "padding": True,
            "return_tensors": "pt",
            "add_special_tokens": self._adds_special(texts[0]),
        }
        if any(pictures):
            arguments["images"] = [list(own) for own in pictures]
        return dict(self._processor(**arguments))

    def _adds_special(self, text: str) -> bool:
        """Whether the tokenizer still has to add its first token: the template of a chat may."""
        first = self._tokenizer.bos_token
        return self._reads_images and not (first is not None and text.startswith(first))

    def _measured(self, request: ChatRequest) -> int:
        text = self._chat.text(request.messages)
        ids = self._tokenizer(text, add_special_tokens=self._adds_special(text))["input_ids"]
        if not request.images:
            return len(ids)
        try:
            sizes = [size_of(image, self._fit) for image in request.images]
            if self._shortcut is None:
                self._shortcut = self._agrees(request, text, len(ids), sizes)
            if self._shortcut:
                return len(ids) + self._added(sizes)
            return self._counted(text, self.pictures(request))
        except ImageProblem:
            return len(ids)

    def _agrees(
        self, request: ChatRequest, text: str, n_ids: int, sizes: list[tuple[int, int]]
    ) -> bool:
        """Whether the processor's own arithmetic gives what it does."""
        if not counts_images(self._processor):
            return False
        counted = self._counted(text, self.pictures(request))
        return n_ids + self._added(sizes) == counted

    def _added(self, sizes: list[tuple[int, int]]) -> int:
        """The tokens of images beyond the one that stands for each in the text."""
        return sum(image_tokens(self._processor, sizes)) - len(sizes)

    def _counted(self, text: str, pictures: list[Picture]) -> int:
        return int(self._processed([text], [pictures])["attention_mask"].sum())


def accepted(inputs: dict[str, Any], parameters: Sequence[str]) -> dict[str, Any]:
    """Inputs without the types of tokens, where the model has no use for them."""
    return {name: value for name, value in inputs.items() if name != _TYPES or name in parameters}
