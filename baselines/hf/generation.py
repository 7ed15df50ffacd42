"""A model in memory: batches of requests become completions."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baselines.generative.chat import Completion
from baselines.hf.preparation import accepted
from baselines.hf.steps import Draws, Notes, seed_of
from ffr_eval.special_tokens import special_tokens
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image as Picture

    from baselines.generative.chat import ChatRequest
    from baselines.hf.loading import Wording
    from baselines.hf.options import HfOptions
    from baselines.hf.preparation import Preparation
    from baselines.hf.steps import Noted

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Ready:
    """A request with its pictures."""

    request: ChatRequest
    pictures: list[Picture]


class Generator:
    """Completes batches of requests.

    Args:
        name: The model's, for the completions.
        model: Of transformers, on its device.
        preparation: Makes its inputs.
        wording: Its tokenizer.
        options: How to generate.
        limit: Tokens of prompt and answer, at most.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        preparation: Preparation,
        wording: Wording,
        options: HfOptions,
        limit: int | None,
    ) -> None:
        self._name = name
        self._model = model
        self._preparation = preparation
        self._tokenizer = wording.tokenizer
        self._options = options
        self._limit = limit
        special = special_tokens(wording.processor, wording.tokenizer)
        self._hidden = frozenset(wording.tokenizer.convert_tokens_to_ids(sorted(special)))
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._parameters = tuple(inspect.signature(base.forward).parameters)
        self._ends = _ends(base, self._tokenizer)
        self._settings = self._plain_settings(base)

    def complete(self, batch: Sequence[Ready]) -> list[Completion]:
        """A completion for each request of a batch, in order.

        Raises:
            RuntimeError: If the model fails, or memory is short; other errors of libraries as well.
        """
        import torch
        from transformers import LogitsProcessorList

        start = time.perf_counter()
        requests = [each.request for each in batch]
        inputs = self._preparation.inputs(requests, [each.pictures for each in batch])
        lengths: list[int] = inputs["attention_mask"].sum(dim=1).tolist()
        if self._limit is not None:
            # Lengths were counted before; this is the last look.
            too_long = [n + self._options.max_tokens > self._limit for n in lengths]
            if any(too_long):
                return self._without(batch, lengths, too_long)
        notes = Notes(logprobs=self._options.logprobs)
        steps: list[Any] = [notes]
        if self._options.temperature > 0:
            seeds = [seed_of(self._options.seed, r.sample_id, r.part) for r in requests]
            steps.append(Draws(seeds, self._options.temperature, self._options.top_p))
        with torch.inference_mode():
            sequences = self._model.generate(
                **self._placed(inputs),
                generation_config=self._settings,
                logits_processor=LogitsProcessorList(steps),
            )
        noted = notes.rows(sequences[:, -1])
        written = sequences[:, inputs["input_ids"].shape[1] :].tolist()
        share = round((time.perf_counter() - start) / len(batch), _DIGITS)
        return [
            self._completion(*row, share=share) for row in zip(written, lengths, noted, strict=True)
        ]

    def _without(
        self, batch: Sequence[Ready], lengths: list[int], too_long: list[bool]
    ) -> list[Completion]:
        rest = [each for each, long in zip(batch, too_long, strict=True) if not long]
        completed = iter(self.complete(rest) if rest else [])
        return [
            overflow(length, self._options.max_tokens, self._limit) if long else next(completed)
            for length, long in zip(lengths, too_long, strict=True)
        ]

    def _placed(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs on the model's device; pictures in its number format."""
        import torch

        device, dtype = self._model.device, self._model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            if isinstance(value, torch.Tensor)
            else value
            for name, value in accepted(inputs, self._parameters).items()
        }

    def _completion(self, tokens: list[int], length: int, noted: Noted, share: float) -> Completion:
        end = next((k for k, token in enumerate(tokens) if token in self._ends), None)
        tokens = tokens if end is None else tokens[: end + 1]
        usage = {"prompt_tokens": length, "completion_tokens": len(tokens)}
        if not all(noted.usable[: len(tokens)]):
            return Completion(
                None,
                outcome=Outcome.REQUEST_ERROR,
                error="the model's scores are not numbers; try another number format, for "
                "example -o dtype=float32",
                model=self._name,
                usage=usage,
                latency_s=share,
            )
        shown = [token for token in tokens if token not in self._hidden]
        logprobs = None
        if self._options.logprobs:
            logprobs = {
                "token_logprobs": [round(x, _DIGITS) for x in noted.token_logprobs[: len(tokens)]],
                "entropy": [round(x, _DIGITS) for x in noted.entropy[: len(tokens)]],
                "entropy_kind": "full",
            }
        return Completion(
            self._tokenizer.decode(
                shown, skip_special_tokens=False, clean_up_tokenization_spaces=False
            ),
            outcome=Outcome.TRUNCATED if end is None else None,
            finish_reason="length" if end is None else "stop",
            model=self._name,
            usage=usage,
            latency_s=share,
            logprobs=logprobs,
        )

    def _plain_settings(self, base: Any) -> Any:
        """Settings without the penalties and the like that checkpoints bring along."""
        from transformers import GenerationConfig

        kind: Any = GenerationConfig
        settings = kind(
            do_sample=False,
            max_new_tokens=self._options.max_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        # What is not set is taken from the model's own.
        base.generation_config = settings
        return settings


def overflow(length: int, answer: int, limit: int | None) -> Completion:
    """The completion of a request that is too long; the model has not seen it."""
    return Completion(
        None,
        outcome=Outcome.CONTEXT_OVERFLOW,
        error=f"the prompt has {length} tokens; with an answer of up to {answer}, {limit} are "
        "possible",
        usage={"prompt_tokens": length, "completion_tokens": 0},
    )


def _ends(base: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    ends: set[int] = set()
    text = base.config.get_text_config()
    for owner in (getattr(base, "generation_config", None), base.config, text, tokenizer):
        found = getattr(owner, "eos_token_id", None)
        if found is not None:
            ends |= {found} if isinstance(found, int) else set(found)
    return frozenset(ends)
