"""The engine of ``vllm``: chunks of requests, those of one dialogue together."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from baselines.generative.chat import Completion
from baselines.generative.doubtful import Doubtful
from baselines.generative.engine import Engine, TokenCount
from baselines.generative.structured import ANSWER_SCHEMA
from baselines.hf.checkpoint import find_source
from baselines.hf.generation import overflow
from baselines.hf.steps import seed_of
from baselines.vllm.completions import ABORTED, completion_of
from baselines.vllm.guarding import watched
from baselines.vllm.options import as_hf_options
from baselines.vllm.prompts import Prompts, Ready
from baselines.vllm.starting import engine_arguments, one_line, start
from ffr_eval.errors import FfrError, InputError
from ffr_eval.image_reading import ImageProblem
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image as Picture

    from baselines.generative.chat import ChatRequest
    from baselines.hf.checkpoint import Source
    from baselines.machine import Machine
    from baselines.session import Session
    from baselines.vllm.options import VllmOptions
    from baselines.vllm.starting import Running

CHUNK: Final = 256
"""Requests that vLLM gets at once; it orders them itself."""
CHUNK_PIXELS: Final = 100_000_000
"""A chunk ends where its pictures may have so many pixels together, as the model sees them. Before
the model's own preparation they may be four times as large: 1.2 GB at most."""
ENDING_S: Final = 30
"""Seconds that vLLM's processes have to end."""


class VllmEngine(Engine):
    """A model of vLLM, in processes of its own.

    Args:
        options: Which model, and how to generate.
        machine: Its ``batch_size`` is that of a chunk.
    """

    def __init__(self, options: VllmOptions, machine: Machine) -> None:
        self._options = options
        self._chunk_size = machine.batch_size or CHUNK
        self._max_images: int | None = None
        self._running: Running | None = None

    @cached_property
    def _source(self) -> Source:
        return find_source(as_hf_options(self._options))

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self._source, self._options)

    @property
    def revision(self) -> str | None:  # type: ignore[override]
        """Name and commit, or a hash of the files; with that of the adapter."""
        return self._source.revision

    @property
    def context_tokens(self) -> int | None:  # type: ignore[override]
        """What vLLM says once it runs; before, what the configuration of the model says."""
        if self._running is not None:
            return int(self._running.llm.model_config.max_model_len)
        return self._options.context or self._source.context

    def expect(self, max_images: int) -> None:
        """Take up how many images a request may have: memory is reserved for them.

        Raises:
            InputError: If there are any, and the model does not read images.
        """
        if max_images and self._prompts.reads_images is False:
            raise InputError(
                f"{self._source.name} reads text only",
                field="option images",
                remedy="-o images=text_only, and -o captions=true if there are captions",
            )
        if self._running is None:
            self._max_images = max(max_images, self._max_images or 0)
        elif max_images > (self._max_images or 0):
            message = f"vllm was started for requests of up to {self._max_images} images"
            raise FfrError(f"{message}, not {max_images}")

    def count_tokens(self, request: ChatRequest) -> TokenCount:
        """The length of a prompt, exact where transformers knows the model."""
        return self._prompts.count(request)

    def complete(
        self, requests: Iterator[ChatRequest], session: Session
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests in chunks; see :class:`Engine`.

        ``latency_s`` is the time from the first computation to the last token.
        """
        if self._options.query == "first":
            session.note(
                "query=first: prompts differ from the start, so the queries of a dialogue share "
                "next to nothing; -o query=last (the default) is faster"
            )
        doubts = Doubtful("vllm")
        before: tuple[int, int] | None = None
        while not session.stop.is_set():
            chunk = self._drawn(requests)
            if not chunk:
                break
            ready, done = self._prepared(chunk)
            yield from done
            if not ready:
                continue
            try:
                llm = self._started(session).llm
                if session.stop.is_set():
                    break
                before = _prefix_counters(llm) if before is None else before
                session.status(f"{len(ready)} requests at vllm")
                yield from self._completed(ready, session, doubts)
            except FfrError:
                if session.stop.is_set():
                    break  # what stopped this may have stopped vLLM's processes as well
                raise
            session.status("")
        yield from doubts.end(stopped=session.stop.is_set())
        if self._running is not None and before is not None:
            _tell_shared(self._running.llm, before, session)

    def close(self) -> None:
        """End vLLM's processes."""
        running, self._running = self._running, None
        if running is None:
            return
        with suppress(AttributeError, RuntimeError, OSError):
            end = running.llm.llm_engine.engine_core.shutdown
            end(**({"timeout": ENDING_S} if "timeout" in signature(end).parameters else {}))
        running.llm = None
        gc.collect()

    # --- A chunk

    def _drawn(self, requests: Iterator[ChatRequest]) -> list[ChatRequest]:
        """The next requests, those with the same beginning one after another.

        Sorting the windows of a dialogue keeps what its queries share in vLLM's cache.
        """
        chunk: list[ChatRequest] = []
        pixels, seen = 0, set()
        for request in requests:
            chunk.append(request)
            if request.images not in seen:
                seen.add(request.images)
                pixels += len(request.images) * self._options.max_pixels
            if len(chunk) >= self._chunk_size or pixels >= CHUNK_PIXELS:
                break
        order = {name: place for place, name in enumerate(dict.fromkeys(map(_dialogue, chunk)))}
        return sorted(chunk, key=lambda request: (order[request.dialogue_id], request.part))

    def _prepared(
        self, chunk: Sequence[ChatRequest]
    ) -> tuple[list[Ready], list[tuple[ChatRequest, Completion]]]:
        """Requests with their pictures, and those that need not be sent."""
        ready: list[Ready] = []
        done: list[tuple[ChatRequest, Completion]] = []
        last: tuple[Any, list[Picture]] | None = None
        for request in chunk:
            count, answer, limit = self.count_tokens(request), self._options.max_tokens, self._limit
            if count.exact and limit is not None and count.tokens + answer > limit:
                done.append((request, overflow(count.tokens, answer, limit)))
                continue
            if last is None or last[0] != request.images:
                try:
                    last = (request.images, self._prompts.pictures(request))
                except ImageProblem as problem:
                    done.append((request, _failure(problem.message)))
                    continue
            ready.append(Ready(request, last[1]))
        return ready, done

    @property
    def _limit(self) -> int | None:
        return self._options.context or self.context_tokens

    def _completed(
        self, ready: list[Ready], session: Session, doubts: Doubtful
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests; where all fail together, halves of them until the culprit is found."""
        try:
            outputs = self._asked(ready)
        except FfrError:
            raise
        except Exception as error:
            # vLLM's own, torch's, a tokenizer's: one bad request must not sink the others.
            reason = one_line(f"{type(error).__name__}: {error}")
            if self._dead(error):
                raise self._death(reason) from error
        else:
            yield from self._taken(ready, outputs, session, doubts)
            return
        if session.stop.is_set():
            return
        if len(ready) > 1:
            half = len(ready) // 2
            yield from self._completed(ready[:half], session, doubts)
            yield from self._completed(ready[half:], session, doubts)
            return
        completion = _failure(reason)
        if is_too_long(reason):
            yield ready[0].request, Completion(None, Outcome.CONTEXT_OVERFLOW, error=reason)
        else:
            yield from doubts.failed(ready[0].request, completion)

    def _taken(
        self, ready: list[Ready], outputs: list[Any], session: Session, doubts: Doubtful
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        yield from doubts.success()
        options = self._options
        k = options.top_logprobs if options.logprobs else None
        decode = self._prompts.decoder()
        for each, output in zip(ready, outputs, strict=True):
            completion = completion_of(output, self._source.name, k, decode)
            if completion.finish_reason == ABORTED and session.stop.is_set():
                continue  # not an answer: it is asked again
            yield each.request, completion

    def _asked(self, ready: list[Ready]) -> list[Any]:
        assert self._running is not None  # noqa: S101 - a chunk is prepared after the start
        arguments: dict[str, Any] = {
            "sampling_params": [_sampling(self._options, each.request) for each in ready]
        }
        if self._running.adapter is not None:
            arguments["lora_request"] = self._running.adapter
        with watched(self._running.llm):
            outputs = self._prompts.ask(self._running.llm, ready, arguments)
        if len(outputs) != len(ready):
            raise FfrError(f"vllm answered {len(outputs)} of {len(ready)} requests")
        return outputs

    # --- Life and death

    def _started(self, session: Session) -> Running:
        if self._running is None:
            prompts = self._prompts
            size = prompts.image_size if self._max_images != 0 else None
            arguments = engine_arguments(self._source, self._options, self._max_images, size)
            session.status(f"starting vllm with {self._source.name}")
            self._running = start(arguments, self._source.adapter)
            session.status("")
            if prompts.unknown is not None:
                session.note(
                    f"{prompts.unknown}: vLLM makes the prompts, and their lengths are estimated"
                )
        return self._running

    def _dead(self, error: Exception) -> bool:
        core = getattr(getattr(self._running, "llm", None), "llm_engine", None)
        resources = getattr(getattr(core, "engine_core", None), "resources", None)
        return type(error).__name__ == "EngineDeadError" or bool(
            getattr(resources, "engine_dead", False)
        )

    def _death(self, reason: str) -> FfrError:
        log = None if self._running is None else self._running.log
        cause = one_line((log.cause if log is not None else None) or reason)
        return FfrError(
            f"vllm broke down: {cause}\n  → what it was asked last is not recorded; the same "
            "command goes on. If memory was short: lower -o max_pixels, --batch-size or "
            "-o gpu_memory_utilization"
        )


def is_too_long(reason: str) -> bool:
    """Whether vLLM refused a prompt for its length."""
    return "maximum context length" in reason or "longer than the maximum model length" in reason


def sampling_arguments(options: VllmOptions, request: ChatRequest) -> dict[str, Any]:
    """The arguments of ``SamplingParams``, without those that are objects of vLLM."""
    arguments: dict[str, Any] = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
    }
    if options.temperature > 0:
        # A seed of its own: what is drawn does not depend on the requests beside it.
        digest = seed_of(options.seed, request.sample_id, request.part)
        arguments["seed"] = int(digest[:15], 16)
    if options.logprobs:
        arguments["logprobs"] = options.top_logprobs
    return arguments


def _sampling(options: VllmOptions, request: ChatRequest) -> Any:
    from vllm import SamplingParams

    arguments = sampling_arguments(options, request)
    if options.answer == "json_schema":
        from vllm.sampling_params import StructuredOutputsParams

        arguments["structured_outputs"] = StructuredOutputsParams(json=ANSWER_SCHEMA)
    return SamplingParams(**arguments)


def _dialogue(request: ChatRequest) -> str:
    return request.dialogue_id


def _failure(reason: str) -> Completion:
    return Completion(None, outcome=Outcome.REQUEST_ERROR, error=reason)


def _prefix_counters(llm: Any) -> tuple[int, int]:
    """Prompt tokens that were looked up in vLLM's prefix cache, and those that were in it."""
    values = {"vllm:prefix_cache_queries": 0, "vllm:prefix_cache_hits": 0}
    for metric in llm.get_metrics():
        if metric.name in values:
            values[metric.name] += int(metric.value)
    return values["vllm:prefix_cache_queries"], values["vllm:prefix_cache_hits"]


def _tell_shared(llm: Any, before: tuple[int, int], session: Session) -> None:
    queries, hits = (now - then for now, then in zip(_prefix_counters(llm), before, strict=True))
    if queries:
        session.note(f"prefix cache: {hits / queries:.0%} of {queries:,} prompt tokens were shared")
