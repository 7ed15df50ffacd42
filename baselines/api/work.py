"""Requests go to an event loop in a thread of its own, and completions come back."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from baselines.api.prices import money
from baselines.api.stops import out_of_money

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from baselines.api.asking import Asker
    from baselines.generative.chat import ChatRequest, Completion
    from baselines.session import Session

_POLL_S: Final = 0.1
_STATUS_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that is over.

    Attributes:
        request: ``None`` if it was the loop itself that failed.
        completion: ``None`` if it was given up, or failed in a way that all requests will.
        error: What failed.
    """

    request: ChatRequest | None
    completion: Completion | None = None
    error: BaseException | None = None


class Work:
    """An event loop in a thread, and the requests that are under way on it.

    Args:
        opened: Makes what completes requests, on the loop.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Asker]]) -> None:
        self._opened = opened
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self.asker: Asker | None = None
        self._thread = threading.Thread(target=self._run, name="ffr-api", daemon=True)
        self._thread.start()
        self._ready.wait()

    def submit(self, request: ChatRequest) -> None:
        """Begin a request."""
        self._call(self._begin, request)

    def drain(self) -> None:
        """Send nothing more; what is on its way goes on."""
        self._call(self._drain)

    def ended(self, timeout_s: float) -> Ended | None:
        """The next request that is over; ``None`` if there is none in this time."""
        try:
            return self._ended.get(timeout=timeout_s) if timeout_s else self._ended.get_nowait()
        except queue.Empty:
            return None

    @property
    def any_ended(self) -> bool:
        """Whether a request is over that nobody has asked for."""
        return not self._ended.empty()

    def close(self) -> None:
        """Give up what is under way, and end the thread."""
        if self._over is not None:
            self._call(self._over.set)
        self._thread.join()

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the user's thread
            self._ended.put(Ended(None, error=error))
        finally:
            self._ready.set()

    async def _main(self) -> None:
        async with self._opened() as asker:
            self.asker = asker
            self._over = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._over.wait()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, request: ChatRequest) -> None:
        assert self.asker is not None  # noqa: S101 - the loop runs only with it
        if self.asker.draining:
            self._ended.put(Ended(request))
            return
        task = asyncio.get_running_loop().create_task(self.asker.complete(request))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(request, done))

    def _end(self, request: ChatRequest, task: asyncio.Task[Completion | None]) -> None:
        self._tasks.discard(task)
        if self.asker is not None:
            self.asker.sending.discard(task)
        if task.cancelled():
            self._ended.put(Ended(request))
        elif error := task.exception():
            self._ended.put(Ended(request, error=error))
        else:
            self._ended.put(Ended(request, task.result()))

    def _drain(self) -> None:
        assert self.asker is not None  # noqa: S101 - the loop runs only with it
        self.asker.draining = True
        for task in self._tasks - self.asker.sending:
            task.cancel()


@dataclass(frozen=True, slots=True)
class Limits:
    """When a session ends early, and how far ahead it draws.

    Attributes:
        outstanding: Requests drawn whose completions were not taken, at most.
        concurrency: Requests at once, at most.
        max_cost: What the run may cost, all sessions together; ``None`` for no limit.
        currency: Of costs.
        estimate: What a request will cost, as long as none is done.
    """

    outstanding: int
    concurrency: int
    max_cost: float | None
    currency: str
    estimate: Callable[[ChatRequest], float]


@dataclass(slots=True)
class Account:
    """What one session has come to; it outlives a call of ``complete``.

    Attributes:
        session: Which; another one begins at nothing.
        spent: What its answers have cost.
        n_paid: How many have cost something.
        noted: What the user was told about, which is told once.
    """

    session: Session | None = None
    spent: float = 0.0
    n_paid: int = 0
    noted: set[str] = field(default_factory=set)

    def note(self, about: str, text: str) -> None:
        """Tell the user something, once a session."""
        if self.session is not None and about not in self.noted:
            self.noted.add(about)
            self.session.note(text)


class Drive:
    """Draws requests, hands them to the work, and yields what comes back.

    Everything here, ``session`` and ``requests`` included, is used by the caller's thread alone.
    """

    def __init__(
        self, work: Work, limits: Limits, session: Session, account: Account, model: str
    ) -> None:
        self._work, self._limits, self._session, self._model = work, limits, session, model
        self._account = account
        self._n_out = 0
        self._expected = account.spent / account.n_paid if account.n_paid else 0.0
        self._error: BaseException | None = None
        self._done = False
        self._shown_at = 0.0

    def run(self, requests: Iterator[ChatRequest]) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests.

        Raises:
            FfrError: If every request would fail; what is under way then is finished before.
            Stopped: If the money is spent and there are requests left.
        """
        while True:
            self._draw(requests)
            if not self._n_out:
                if self._done:
                    break
                self._end_if_spent(requests)
                continue
            ended = self._work.ended(_POLL_S)
            self._show()
            if ended is None:
                continue
            self._n_out -= 1
            if ended.error is not None:
                self._fail(ended)
            elif ended.completion is not None and ended.request is not None:
                self._take(ended.request, ended.completion)
                yield ended.request, ended.completion
        self._tell_problems()
        if self._error is not None:
            raise self._error

    def _draw(self, requests: Iterator[ChatRequest]) -> None:
        """Hand out requests as far as limits allow; what is over goes first."""
        if self._session.stop.is_set() and not self._done:
            self._finish()
        while not self._done and self._n_out < self._limits.outstanding and not self._is_spent():
            try:
                request = next(requests, None)
            except Exception as error:  # noqa: BLE001 - raised once what is under way is done
                self._error = self._error or error
                self._finish()
                return
            if request is None:
                self._done = True
                return
            if self._session.stop.is_set():
                self._finish()
                return
            if self._limits.max_cost is not None and not self._account.n_paid:
                self._expected = max(self._expected, self._limits.estimate(request))
            self._work.submit(request)
            self._n_out += 1
            if self._work.any_ended and self._n_out > self._limits.concurrency // 2:
                return

    def _finish(self) -> None:
        self._done = True
        self._work.drain()

    def _is_spent(self) -> bool:
        limit = self._limits.max_cost
        if limit is None:
            return False
        if self._total >= limit:
            return True
        under_way = self._n_out * self._expected
        return self._n_out > 0 and self._total + under_way + self._expected > limit

    def _end_if_spent(self, requests: Iterator[ChatRequest]) -> None:
        """Nothing is under way and nothing was handed out: the money is spent."""
        self._done = True
        if next(requests, None) is not None and self._limits.max_cost is not None:
            limits, here = self._limits, self._account.spent
            self._error = out_of_money(limits.max_cost or 0.0, self._total, here, limits.currency)

    @property
    def _total(self) -> float:
        """What the whole run has cost."""
        return self._session.spent + self._account.spent

    def _fail(self, ended: Ended) -> None:
        self._error = self._error or ended.error
        if ended.request is None:  # the loop is gone, with all that was under way
            self._n_out = 0
            self._done = True
        elif not self._done or self._work.asker is None or not self._work.asker.draining:
            self._finish()

    def _take(self, request: ChatRequest, completion: Completion) -> None:
        cost = completion.cost
        if cost is None and completion.text is not None and self._limits.max_cost is not None:
            cost = self._limits.estimate(request)
            text = "the server does not say what it used: --max-cost counts estimates, the highest"
            self._account.note("usage", text)
        if cost is not None and not completion.meta.get("cached"):
            account = self._account
            account.spent += cost
            account.n_paid += 1
            self._expected = account.spent / account.n_paid
        answered = completion.model
        if answered and not same_model(self._model, answered):
            text = f"the server answers as {answered!r}, though {self._model!r} was asked for"
            self._account.note("model", f"{text}; predictions name the model that answered")
        self._tell_problems()

    def _tell_problems(self) -> None:
        problems = [] if self._work.asker is None else self._work.asker.counts.problems
        while problems:
            self._account.note("cache", problems.pop())

    def _show(self) -> None:
        now = time.monotonic()
        asker = self._work.asker
        if now - self._shown_at < _STATUS_S or asker is None:
            return
        self._shown_at = now
        parts = [f"{asker.gate.n_inside} in flight"]
        if asker.gate.limit < self._limits.concurrency:
            parts[0] += f" of {asker.gate.limit}"
        if self._total:
            parts.append(money(self._total, self._limits.currency))
        if asker.counts.retried:
            parts.append(f"{asker.counts.retried} retried")
        self._session.status(", ".join(parts))


def same_model(asked: str, answered: str) -> bool:
    """Whether a name may be another one of the same model, such as one with a date behind it."""
    one, other = (name.rpartition("/")[2].casefold() for name in (asked, answered))
    return bool(one and other) and (one.startswith(other) or other.startswith(one))
