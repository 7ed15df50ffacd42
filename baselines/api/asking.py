"""One request from its messages to its completion: cache, limits, sending, new tries."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from baselines.api.body import encode_body
from baselines.api.client import NoReply
from baselines.api.limits import retry_after, wait_before
from baselines.api.outcomes import Answer, Failure, read_reply
from baselines.api.prices import cost_of
from baselines.api.stops import stopping, unreachable
from baselines.generative.chat import Completion
from baselines.response_cache import CachedResponse, request_key
from ffr_eval.errors import FfrError
from ffr_eval.image_reading import ImageProblem
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from baselines.api.body import BodyBuilder
    from baselines.api.client import Client, Reply
    from baselines.api.images import ImageStore
    from baselines.api.keys import Redactor
    from baselines.api.limits import Gate, Rates
    from baselines.api.stops import Server
    from baselines.generative.chat import ChatRequest
    from baselines.generative.engine import Price
    from baselines.response_cache import ResponseCache
    from ffr_eval.types import Image

_LONGEST_ERROR: Final = 300


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all requests of a session.

    Attributes:
        provider: Names the server in the cache.
        max_tokens: Of an answer.
        n_top: Log-probabilities asked for at each token; ``None`` for none.
        tool: Whether answers are arguments of a function.
        refresh: Do not look into the cache.
        price_of: The price of the model that answered.
        count: About how many tokens a prompt takes.
    """

    server: Server
    provider: str
    max_tokens: int
    max_retries: int
    n_top: int | None
    tool: bool
    refresh: bool
    price_of: Callable[[str | None], Price | None]
    count: Callable[[ChatRequest], int]


@dataclass(slots=True)
class Prepared:
    """A request that is ready to be sent, or what became of it before.

    Attributes:
        body: As it is sent.
        key: Of the cache; ``None`` without one.
        tokens: That it may take at most, about.
        done: Its completion, if nothing has to be sent.
    """

    body: bytes = b""
    key: str | None = None
    tokens: int = 0
    done: Completion | None = None


@dataclass(slots=True)
class Counts:
    """What has happened in a session.

    Attributes:
        retried: Tries after the first one of a request.
        problems: Sentences for the user about what went wrong beside the requests.
    """

    retried: int = 0
    problems: list[str] = field(default_factory=list)


class TryAgain(Exception):  # noqa: N818 - handled where it is raised
    """A try failed, and the next one may not.

    Args:
        failure: What happened.
        throttled: Whether the server has too much to do.
        wait_s: What the server asks to wait.
    """

    def __init__(
        self, failure: Failure, *, wait_s: float | None = None, unreached: bool = False
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait_s = wait_s
        self.unreached = unreached


class Given(Exception):  # noqa: N818 - handled where it is raised
    """A try failed, and another one would not help."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Asker:
    """Completes requests over one client, on one event loop.

    Args:
        executor: Where requests are prepared.
        keeping: Where answers are put into the cache: many that wait share a write to the disk.

    Attributes:
        draining: Whether nothing more is sent.
        sending: The tasks whose requests are on their way.
    """

    def __init__(
        self,
        client: Client,
        terms: Terms,
        builder: BodyBuilder,
        images: ImageStore,
        gate: Gate,
        rates: Rates,
        redact: Redactor,
        cache: ResponseCache | None,
        executor: Executor,
        keeping: Executor,
    ) -> None:
        self._client, self._terms, self._builder = client, terms, builder
        self._images, self.gate, self._rates, self._redact = images, gate, rates, redact
        self._cache, self._executor, self._keeping = cache, executor, keeping
        self._replied_at = 0.0
        self.counts = Counts()
        self.draining = False
        self.sending: set[asyncio.Task[Any]] = set()

    async def complete(self, request: ChatRequest) -> Completion | None:
        """The completion of a request; ``None`` if it was given up because the session ends.

        Raises:
            FfrError: If every request would fail.
        """
        loop = asyncio.get_running_loop()
        self._images.enter(request.dialogue_id)
        try:
            prepared = await loop.run_in_executor(self._executor, self._prepare, request)
            if prepared.done is not None:
                return prepared.done
            return await self._asked(request, prepared)
        finally:
            self._images.leave(request.dialogue_id)

    def _prepare(self, request: ChatRequest) -> Prepared:
        """Encode a request, and look whether its answer is known; off the event loop."""

        def uri(image: Image) -> str:
            if image.file is None:
                raise _NoImage(f"image {image.img_id} has no file")
            try:
                return self._images.get(request.dialogue_id, image.file)
            except ImageProblem as problem:
                what = f"image {image.img_id} ({image.file.name}) cannot be read"
                raise _NoImage(f"{what}: {problem.message}") from None

        try:
            body = self._builder.body(request, uri)
        except _NoImage as error:
            failed = Completion(None, Outcome.REQUEST_ERROR, str(error), meta={"attempts": 0})
            return Prepared(done=failed)
        key, cache = None, self._cache  # which the event loop may take away meanwhile
        if cache is not None:
            key = request_key(self._terms.provider, {**body, **self._builder.drawn_by})
            known = None if self._terms.refresh else cache.get(key)
            if known is not None:
                return Prepared(done=_from_cache(known))
        tokens = self._terms.count(request) + self._terms.max_tokens
        return Prepared(encode_body(body), key, tokens)

    async def _asked(self, request: ChatRequest, prepared: Prepared) -> Completion | None:
        loop = asyncio.get_running_loop()
        n_tries, first_failed_at = 0, math.inf
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TryAgain),
            stop=stop_after_attempt(self._terms.max_retries + 1),
            wait=_wait,
            before_sleep=self._count,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    n_tries += 1
                    try:
                        answer, reply = await self._try(prepared)
                    except TryAgain:
                        first_failed_at = min(first_failed_at, loop.time())
                        raise
        except Given as given:
            return self._failed(given.failure, request, n_tries)
        except TryAgain as last:
            if self.draining:
                return None
            if last.unreached and self._replied_at < first_failed_at:
                message = self._redact(last.failure.message)
                raise unreachable(message, self._terms.server) from None
            return self._failed(last.failure, request, n_tries)
        completion = self._completion(answer, reply, n_tries, request)
        if answer.complete:
            await self._keep(prepared.key, completion)
        return completion

    async def _try(self, prepared: Prepared) -> tuple[Answer, Reply]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - there is one wherever something is awaited
        await self.gate.enter()
        try:
            await self._rates.take(prepared.tokens)
            self.sending.add(task)
            sent_at = loop.time()
            try:
                reply = await self._client.send(prepared.body)
            except NoReply as none:
                failure = Failure("retry", none.message)
                raise TryAgain(failure, unreached=not none.connected) from None
            self._replied_at = loop.time()
            return self._read(reply, prepared, sent_at), reply
        except TryAgain:
            self.sending.discard(task)
            if self.draining:
                raise Given(Failure("retry", "given up")) from None
            raise
        finally:
            self.gate.leave()

    def _read(self, reply: Reply, prepared: Prepared, sent_at: float) -> Answer:
        terms = self._terms
        answer = read_reply(reply.status, reply.body, tool=terms.tool, n_top=terms.n_top)
        if isinstance(answer, Answer):
            self.gate.succeeded()
            used = answer.usage.get("prompt_tokens"), answer.usage.get("completion_tokens")
            if used[0] is not None:
                self._rates.counted(prepared.tokens, used[0] + (used[1] or 0))
            return answer
        if answer.action == "stop" and answer.cause is not None:
            raise stopping(answer.cause, self._redact(answer.message), terms.server)
        if answer.action == "record":
            raise Given(answer)
        pause = retry_after(reply.headers)
        if answer.action == "throttle":
            self.gate.throttled(sent_at, pause)
        raise TryAgain(answer, wait_s=pause)

    def _count(self, _: RetryCallState) -> None:
        self.counts.retried += 1

    def _failed(self, failure: Failure, request: ChatRequest, n_tries: int) -> Completion | None:
        if self.draining and failure.action == "retry":
            return None
        text = self._said(failure.message, request)
        if n_tries > 1:
            text += f" ({n_tries} tries)"
        return Completion(None, failure.outcome, text, meta={"attempts": n_tries})

    def _said(self, text: str, request: ChatRequest) -> str:
        sent = [
            part for message in request.messages for part in message.parts if isinstance(part, str)
        ]
        return self._redact(text, sent, _LONGEST_ERROR)

    def _completion(
        self, answer: Answer, reply: Reply, n_tries: int, request: ChatRequest
    ) -> Completion:
        price = self._terms.price_of(answer.model)
        cost = None if price is None else cost_of(price, answer.usage)
        meta: dict[str, Any] = {"attempts": n_tries}
        if request_id := reply.request_id or answer.request_id:
            meta["request_id"] = request_id
        if price is not None and cost is not None:
            meta["price"] = price.source
            if price.currency != "USD":
                meta["currency"] = price.currency
        return Completion(
            text=answer.text,
            outcome=answer.outcome,
            error=None if answer.error is None else self._said(answer.error, request),
            finish_reason=answer.finish_reason,
            model=answer.model,
            usage=answer.usage or None,
            latency_s=round(reply.latency_s, 6),
            cost=cost,
            logprobs=answer.logprobs,
            meta=meta,
        )

    async def _keep(self, key: str | None, completion: Completion) -> None:
        """Put an answer into the cache; if that fails, the answer is there all the same."""
        cache = self._cache
        if key is None or cache is None:
            return
        kept = CachedResponse(
            text=completion.text,
            provider=self._terms.provider,
            asked=self._terms.server.model,
            model=completion.model,
            finish_reason=completion.finish_reason,
            usage=None if completion.usage is None else dict(completion.usage),
            latency_s=completion.latency_s,
            logprobs=None if completion.logprobs is None else dict(completion.logprobs),
            request_id=completion.meta.get("request_id"),
        )
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._keeping, cache.put, key, kept)
        except FfrError as error:
            self._cache = None
            self.counts.problems.append(f"answers are no longer kept in the cache: {error}")


class _NoImage(Exception):  # noqa: N818 - an outcome
    """An image cannot be sent."""


def _wait(state: RetryCallState) -> float:
    error = None if state.outcome is None else state.outcome.exception()
    if not isinstance(error, TryAgain):
        return 0.0
    return wait_before(state.attempt_number, error.failure.action == "throttle", error.wait_s)


def _from_cache(known: CachedResponse) -> Completion:
    meta: dict[str, Any] = {"attempts": 0, "cached": True, "answered": known.created}
    if known.request_id is not None:
        meta["request_id"] = known.request_id
    return Completion(
        text=known.text,
        finish_reason=known.finish_reason,
        model=known.model,
        usage=known.usage,
        latency_s=known.latency_s,
        cost=0.0,
        logprobs=known.logprobs,
        meta=meta,
    )
