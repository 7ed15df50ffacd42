"""Requests as vLLM takes them, and their lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from baselines.generative.engine import TokenCount
from baselines.hf.chat import ChatTemplate
from baselines.hf.loading import load_wording
from baselines.hf.preparation import Preparation
from baselines.vllm.options import as_hf_options
from ffr_eval.errors import InputError
from ffr_eval.picture_size import Fit, picture_of
from ffr_eval.special_tokens import broken, pattern_of, special_tokens

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence

    from PIL.Image import Image as Picture

    from baselines.generative.chat import ChatRequest, Message
    from baselines.hf.checkpoint import Source
    from baselines.hf.loading import Wording
    from baselines.vllm.options import VllmOptions

_BYTES_A_TOKEN: Final = 3
_TOKENS_AN_IMAGE: Final = 800
_TOKENS_A_MESSAGE: Final = 16


@dataclass(frozen=True, slots=True)
class Ready:
    """A request with its pictures."""

    request: ChatRequest
    pictures: Sequence[Picture]


class Prompts:
    """Prompts in the words of the model's chat template.

    Where transformers knows the model, prompts are those of ``hf``, letter by letter, and their
    lengths are exact. Where only vLLM does, vLLM applies the template, and lengths are estimated.

    Args:
        source: The files of the model.
        options: The options.
    """

    def __init__(self, source: Source, options: VllmOptions) -> None:
        self._source = source
        self._hf_options = as_hf_options(options)
        self.unknown: str | None = None

    @cached_property
    def _wording(self) -> Wording | None:
        try:
            return load_wording(self._source, self._hf_options)
        except InputError as error:
            if not _only_unknown(error):
                raise
            self.unknown = error.problem.message
            return None

    @cached_property
    def _preparation(self) -> Preparation | None:
        return None if self._wording is None else Preparation(self._wording, self._hf_options)

    @cached_property
    def _template(self) -> ChatTemplate | None:
        wording = self._wording
        return (
            None
            if wording is None
            else ChatTemplate(
                wording.processor,
                wording.tokenizer,
                wording.template,
                reads_images=wording.reads == "images",
            )
        )

    @property
    def reads_images(self) -> bool | None:
        """Whether the model reads images; ``None`` if only vLLM knows."""
        return None if self._wording is None else self._wording.reads == "images"

    @property
    def image_size(self) -> Mapping[str, int] | None:
        """The bounds that the model's own image processor has to get, if it has such bounds."""
        if self._wording is None or self._preparation is None:
            return None
        part = getattr(self._wording.processor, "image_processor", None)
        size: Any = getattr(part, "size", None)
        if getattr(size, "get", lambda _: None)("longest_edge") != self._hf_options.max_pixels:
            return None
        return {edge: int(size[edge]) for edge in ("shortest_edge", "longest_edge")}

    def count(self, request: ChatRequest) -> TokenCount:
        """The length of a prompt."""
        if self._preparation is None:
            return TokenCount(estimated_tokens(request), exact=False)
        return TokenCount(self._preparation.length(request), exact=True)

    def pictures(self, request: ChatRequest) -> list[Picture]:
        """The pictures of a request, no larger than they have to be.

        Raises:
            ImageProblem: If one cannot be read.
        """
        if self._preparation is not None:
            return self._preparation.pictures(request)
        fit = Fit(self._hf_options.max_pixels)
        return [picture_of(image, fit) for image in request.images]

    def decoder(self) -> Callable[[Sequence[int]], str] | None:
        """What makes text of tokens: all but those that mean something to the model itself."""
        if self._wording is None:
            return None
        tokenizer = self._wording.tokenizer
        special = special_tokens(self._wording.processor, tokenizer)
        hidden = frozenset(tokenizer.convert_tokens_to_ids(sorted(special)))

        def decode(tokens: Sequence[int]) -> str:
            shown = [token for token in tokens if token not in hidden]
            text: str = tokenizer.decode(
                shown, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            return text

        return decode

    def ask(
        self,
        llm: Any,
        ready: Sequence[Ready],
        arguments: Mapping[str, Any],
    ) -> list[Any]:
        """Have vLLM complete requests.

        Args:
            llm: A ``vllm.LLM``.
            ready: The requests.
            arguments: What else ``LLM.generate`` and ``LLM.chat`` take.

        Returns:
            A ``RequestOutput`` for each, in order.
        """
        if self._template is None:
            tokenizer = llm.get_tokenizer()
            special = pattern_of(special_tokens(tokenizer, tokenizer))
            chats = [chat_of(each.request.messages, each.pictures, special) for each in ready]
            chat_outputs: list[Any] = llm.chat(chats, use_tqdm=False, **arguments)
            return chat_outputs
        prompts = [_prompt(each, self._template) for each in ready]
        outputs: list[Any] = llm.generate(
            prompts,
            use_tqdm=False,
            tokenization_kwargs={"add_special_tokens": self._adds_special(prompts[0]["prompt"])},
            **arguments,
        )
        return outputs

    def _adds_special(self, text: str) -> bool:
        """Whether the tokenizer still has to add its first token: the template of a chat may."""
        if self._wording is None or self._wording.reads != "images":
            return False
        first = self._wording.tokenizer.bos_token
        return not (first is not None and text.startswith(first))


def chat_of(
    messages: Sequence[Message],
    pictures: Sequence[Picture],
    special: re.Pattern[str] | None = None,
) -> list[dict[str, Any]]:
    """Messages for ``LLM.chat``.

    Args:
        messages: The messages.
        pictures: Of their images, in order.
        special: Tokens of the model: where text looks like one, it is broken by a space.
    """
    chat = []
    remaining = iter(pictures)
    for message in messages:
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": broken(part, special)}
            if isinstance(part, str)
            else {"type": "image_pil", "image_pil": next(remaining)}
            for part in message.parts
        ]
        plain = len(parts) == 1 and parts[0]["type"] == "text"
        chat.append({"role": message.role, "content": parts[0]["text"] if plain else parts})
    return chat


def _prompt(ready: Ready, template: ChatTemplate) -> dict[str, Any]:
    prompt: dict[str, Any] = {"prompt": template.text(ready.request.messages)}
    if ready.pictures:
        prompt["multi_modal_data"] = {"image": ready.pictures}
    return prompt


def estimated_tokens(request: ChatRequest) -> int:
    """A length that is rather too large than too small."""
    texts = [
        part for message in request.messages for part in message.parts if isinstance(part, str)
    ]
    return (
        sum(len(text.encode()) for text in texts) // _BYTES_A_TOKEN
        + _TOKENS_AN_IMAGE * len(request.images)
        + _TOKENS_A_MESSAGE * len(request.messages)
    )


def _only_unknown(error: InputError) -> bool:
    """Whether transformers just does not know the model, or its processor."""
    return error.problem.field == "model_type" or "cannot be loaded" in error.problem.message
