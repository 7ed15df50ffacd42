"""Texts in prompts whose last token is the vector.

The models behind ``e5-v`` and ``gme`` are asked in a fixed frame, and the state of the frame's last
token is the vector. A text that is too long is therefore cut inside its frame: the tokens after it
always stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Frame = Callable[[str], str]


class PromptTokenizer:
    """Counts and cuts texts in their frames.

    A text is data: where it spells a special token of the model (``<image>``), a space is put into
    the spelling, so that a text can neither stand for an image nor end its own turn.

    Args:
        tokenizer: A tokenizer of transformers with offsets (a "fast" one).
        max_tokens: Of a prompt, special ones included.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._special = _pattern(
            [*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()],
        )

    def lengths(self, texts: Sequence[str], frame: Frame) -> list[int]:
        """The length of each prompt in tokens, uncut."""
        if not texts:
            return []
        prompts = [frame(self._plain(text)) for text in texts]
        return [len(ids) for ids in self._tokenizer(prompts, verbose=False)["input_ids"]]

    def prompts(self, texts: Sequence[str], frame: Frame) -> list[str]:
        """Each text in its frame, cut at its end so that the whole is not too long.

        Raises:
            InputError: If not even the empty frame is short enough.
        """
        plain = [self._plain(text) for text in texts]
        lengths = self.lengths(texts, frame)
        return [
            frame(text) if length <= self._max_tokens else self._cut(text, length, frame)
            for text, length in zip(plain, lengths, strict=True)
        ]

    def _cut(self, text: str, length: int, frame: Frame) -> str:
        ends = [
            end
            for _, end in self._tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )["offset_mapping"]
        ]
        # Where text and frame meet, the same characters may be other tokens than apart, so that
        # the first guess may still be too long.
        keep = len(ends)
        while length > self._max_tokens and keep > 0:
            keep = max(0, keep - (length - self._max_tokens))
            prompt = frame(text[: ends[keep - 1]] if keep else "")
            length = len(self._tokenizer(prompt, verbose=False)["input_ids"])
        if length > self._max_tokens:
            raise InputError(
                f"the prompt alone has {length} tokens, more than {self._max_tokens}",
                field="option max_length",
                remedy=f"give more than {length}",
            )
        return prompt

    def _plain(self, text: str) -> str:
        return self._special.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", text)


def _pattern(special: Iterable[str]) -> re.Pattern[str]:
    spellings = {str(token) for token in special if len(str(token)) > 1}
    longest_first = sorted(spellings, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
