"""The engine of ``hf``: requests are sorted by length and completed in batches."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final

from baselines.generative.chat import Completion
from baselines.generative.doubtful import Doubtful
from baselines.generative.engine import Engine, TokenCount
from baselines.hf.batching import (
    BATCH_SIZE,
    CHUNK,
    TOKENS_A_REQUEST,
    Entry,
    Limits,
    batches,
)
from baselines.hf.checkpoint import find_source
from ffr_eval.errors import FfrError, InputError
from ffr_eval.image_reading import ImageProblem
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL.Image import Image as Picture

    from baselines.generative.chat import ChatRequest
    from baselines.hf.checkpoint import Source
    from baselines.hf.generation import Generator, Ready
    from baselines.hf.loading import Wording
    from baselines.hf.options import HfOptions
    from baselines.hf.preparation import Preparation
    from baselines.machine import Machine
    from baselines.session import Session

_FAILED: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    MemoryError,
    OSError,
)
"""What transformers and torch raise; our own errors and interrupts are not among them."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a batch was not completed."""

    reason: str
    memory: bool


class HfEngine(Engine):
    """A model of transformers in this process.

    Args:
        options: Which model, and how to generate.
        machine: Device and batch size.
    """

    def __init__(self, options: HfOptions, machine: Machine) -> None:
        self._options = options
        self._machine = machine
        self._limits = Limits(
            machine.batch_size or BATCH_SIZE,
            (machine.batch_size or BATCH_SIZE) * TOKENS_A_REQUEST,
            options.max_tokens,
        )
        self._generator: Generator | None = None

    @cached_property
    def _source(self) -> Source:
        return find_source(self._options)

    @cached_property
    def _wording(self) -> Wording:
        from baselines.hf.loading import load_wording

        return load_wording(self._source, self._options)

    @cached_property
    def _preparation(self) -> Preparation:
        from baselines.hf.preparation import Preparation

        return Preparation(self._wording, self._options)

    @property
    def revision(self) -> str | None:  # type: ignore[override]
        """Name and commit, or a hash of the files; with that of the adapter."""
        return self._source.revision

    @property
    def context_tokens(self) -> int | None:  # type: ignore[override]
        """What the configuration of the model says."""
        return self._source.context

    @property
    def _limit(self) -> int | None:
        return self._options.context or self.context_tokens

    def expect(self, max_images: int) -> None:
        """Check that the model reads images, if there are any.

        Raises:
            InputError: If it does not.
        """
        if max_images and self._wording.reads == "text":
            raise InputError(
                f"{self._source.name} reads text only",
                field="option images",
                remedy="-o images=text_only, and -o captions=true if there are captions",
            )

    def count_tokens(self, request: ChatRequest) -> TokenCount:
        """The length of a prompt by the model's own tokenizer and processor."""
        self.expect(len(request.images))
        return TokenCount(self._preparation.length(request), exact=True)

    def complete(
        self, requests: Iterator[ChatRequest], session: Session
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests in batches of nearly the same length; see :class:`Engine`.

        ``latency_s`` is a request's share of its batch's time.
        """
        doubtful = Doubtful("the model")
        while not session.stop.is_set():
            chunk = list(islice(requests, CHUNK))
            if not chunk:
                break
            yield from self._chunk(chunk, session, doubtful)
        yield from doubtful.end(stopped=session.stop.is_set())

    def close(self) -> None:
        """Forget the model."""
        self._generator = None
        _free_memory()

    def _chunk(
        self, chunk: list[ChatRequest], session: Session, doubtful: Doubtful
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        from baselines.hf.generation import overflow

        entries = []
        for request in chunk:
            length = self.count_tokens(request).tokens
            answer = self._options.max_tokens
            if self._limit is not None and length + answer > self._limit:
                yield request, overflow(length, answer, self._limit)
            else:
                entries.append(Entry(request, length, request.dialogue_id))
        waiting = deque(batches(entries, self._limits))
        while waiting and not session.stop.is_set():
            batch = waiting.popleft()
            if not self._limits.allow(len(batch), max(entry.length for entry in batch)):
                waiting.extendleft(reversed(batches(batch, self._limits)))
                continue  # memory turned out to be short
            ready, unread = self._read([entry.item for entry in batch])
            yield from unread
            if not ready:
                continue
            done = self._tried(ready, session)
            if isinstance(done, list):
                yield from doubtful.success()
                yield from zip((each.request for each in ready), done, strict=True)
                continue
            if done.memory:
                self._lower(batch, session)
            if len(batch) > 1:
                half = len(batch) // 2
                waiting.extendleft((batch[half:], batch[:half]))
            else:
                failed = self._failed(batch[0], done)
                yield from doubtful.failed(batch[0].item, failed, memory=done.memory)

    def _read(
        self, requests: Sequence[ChatRequest]
    ) -> tuple[list[Ready], list[tuple[ChatRequest, Completion]]]:
        """Requests with their pictures, and those that have some that cannot be read."""
        from baselines.hf.generation import Ready

        ready, unread = [], []
        known: dict[Path | None, Picture] = {}
        for request in requests:
            try:
                ready.append(Ready(request, self._preparation.pictures(request, known)))
            except ImageProblem as problem:
                unread.append(
                    (
                        request,
                        Completion(None, outcome=Outcome.REQUEST_ERROR, error=problem.message),
                    )
                )
        return ready, unread

    def _tried(self, batch: list[Ready], session: Session) -> list[Completion] | _Failure:
        generator = self._loaded(session)
        try:
            return generator.complete(batch)
        except FfrError:
            raise
        except _FAILED as error:
            text = " ".join(str(error).split()) or "no reason given"
            failure = _Failure(f"{type(error).__name__}: {text[:300]}", _is_memory(error))
        # Only now that the error is gone, what it holds can be freed.
        _free_memory()
        return failure

    def _loaded(self, session: Session) -> Generator:
        if self._generator is None:
            from baselines.hf.generation import Generator
            from baselines.hf.loading import load_weights

            session.status(f"loading {self._source.name}")
            model = load_weights(self._source, self._options, self._wording, self._machine.device)
            session.status("")
            self._generator = Generator(
                self._source.name,
                model,
                self._preparation,
                self._wording,
                self._options,
                self._limit,
            )
        return self._generator

    def _lower(self, batch: Sequence[Entry[ChatRequest]], session: Session) -> None:
        """After memory was short: smaller batches from now on."""
        if len(batch) == 1:
            return
        longest = max(entry.length for entry in batch)
        tokens = len(batch) * (longest + self._limits.answer) // 2
        self._limits = Limits(self._limits.rows, tokens, self._limits.answer)
        session.note(
            f"{len(batch)} requests of up to {longest} tokens do not fit into memory at once; "
            "going on with smaller batches"
        )

    def _failed(self, entry: Entry[ChatRequest], failure: _Failure) -> Completion:
        reason = failure.reason
        if failure.memory:
            reason = (
                f"{entry.length} tokens do not fit into memory: lower -o max_pixels or "
                f"-o max_tokens, or show less at once (-o window=TURNS). {reason}"
            )
        return Completion(
            None,
            outcome=Outcome.REQUEST_ERROR,
            error=reason,
            model=self._source.name,
            usage={"prompt_tokens": entry.length, "completion_tokens": 0},
        )


def _is_memory(error: BaseException) -> bool:
    """Whether memory was short; what says so differs between devices."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def _free_memory() -> None:
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
