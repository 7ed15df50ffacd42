"""How fast a server may be asked: requests at once, per minute, and the waits before new tries."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from aiolimiter import AsyncLimiter

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT_S: Final = 60.0
"""Between two tries, if the server does not ask for more."""
LONGEST_RETRY_AFTER_S: Final = 120.0
"""Of what a server asks for in ``Retry-After``, no more than this is waited."""
FIRST_WAIT_S: Final = 0.5
"""Before the second try; it doubles from try to try."""
FIRST_WAIT_THROTTLED_S: Final = 2.0
"""The same after a 429 without ``Retry-After``: limits are a minute's."""
_MINUTE: Final = 60.0


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a server asks to wait; ``None`` if it does not, or not understandably.

    Args:
        headers: Of its answer, names in lower case or in a case-insensitive mapping.
        now: The time of day, for dates; what is waited is measured by another clock.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _capped(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return _capped(seconds)
    if not text:
        return None
    try:
        at = parsedate_to_datetime(text)
        return _capped(at.timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def wait_before(attempt: int, throttled: bool, asked: float | None) -> float:
    """Seconds before the next try, with some chance in it, so that not all come at once.

    Args:
        attempt: How many tries there were.
        throttled: Whether the last one was answered with 429.
        asked: What the server asks for.
    """
    if asked is not None:
        return asked + random.uniform(0.0, 0.25)  # noqa: S311 - no secret
    first = FIRST_WAIT_THROTTLED_S if throttled else FIRST_WAIT_S
    longest = min(LONGEST_WAIT_S, first * 2.0 ** min(attempt - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _capped(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


class Gate:
    """Lets so many requests through at once, and fewer while the server says that it is too much.

    It is used on one event loop. It starts at the ceiling, halves when the server answers 429
    (once for all requests that were under way together), and grows back by one for each round of
    successes.

    Args:
        ceiling: Never more than this.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._limit = float(ceiling)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._halved_at = -math.inf
        self._paused_until = -math.inf
        self.n_inside = 0

    @property
    def limit(self) -> int:
        """How many are let through at once, now."""
        return int(self._limit)

    async def enter(self) -> None:
        """Wait until there is room, and until a pause is over."""
        loop = asyncio.get_running_loop()
        while True:
            while self.n_inside >= self.limit:
                await self._turn(loop.create_future())
            pause = self._paused_until - loop.time()
            if pause <= 0:
                break
            await asyncio.sleep(pause)
        self.n_inside += 1

    def leave(self) -> None:
        """One is through."""
        self.n_inside -= 1
        self._wake()

    def succeeded(self) -> None:
        """The server answered."""
        self._limit = min(float(self._ceiling), self._limit + 1.0 / self._limit)
        self._wake()

    def throttled(self, sent_at: float, pause: float | None) -> None:
        """The server answered 429.

        Args:
            sent_at: When the request was sent, by the loop's clock.
            pause: Seconds in which it wants no request at all.
        """
        now = asyncio.get_running_loop().time()
        if sent_at > self._halved_at:
            self._limit = max(1.0, self._limit / 2)
            self._halved_at = now
        if pause is not None:
            self._paused_until = max(self._paused_until, now + pause)

    async def _turn(self, turn: asyncio.Future[None]) -> None:
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # it was this one's turn: let another have it
            raise

    def _wake(self) -> None:
        room = self.limit - self.n_inside
        while room > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1


class Rates:
    """At most so many requests and tokens in any minute; used on one event loop.

    Requests are spread evenly over the minute. Tokens are those that a request may take at most,
    put right when the server has counted them.

    Args:
        requests: A minute; ``None`` for no limit.
        tokens: A minute; ``None`` for no limit.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._requests = None if requests is None else AsyncLimiter(1, _MINUTE / requests)
        self._tokens: AsyncLimiter | None = None
        self._one_by_one = asyncio.Lock()
        self._owed = 0
        if tokens is not None:
            # What may come at once, and what trickles in, are a minute's limit together.
            at_once = max(1.0, tokens / 10)
            trickle = max(tokens - at_once, tokens / 2) / _MINUTE
            self._tokens = AsyncLimiter(at_once, at_once / trickle)

    async def take(self, tokens: int) -> None:
        """Wait until a request of so many tokens may be sent."""
        if self._tokens is not None:
            async with self._one_by_one:
                left = max(0.0, float(tokens + self._owed))
                self._owed = min(0, tokens + self._owed)
                while left > 0:
                    part = min(left, self._tokens.max_rate)
                    await self._tokens.acquire(part)
                    left -= part
        if self._requests is not None:
            await self._requests.acquire()

    def counted(self, taken: int, used: int) -> None:
        """Put right what a request took, now that its tokens are counted."""
        self._owed += used - taken
