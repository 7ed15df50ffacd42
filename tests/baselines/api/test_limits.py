"""How fast a server is asked: requests at once, rates, and waits."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from baselines.api import limits
from baselines.api.limits import Gate, Rates, retry_after, wait_before


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "99999"}, limits.LONGEST_RETRY_AFTER_S),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "Wed, 21 Oct 9999999 07:28:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1_000_000.0) == seconds


def test_waits_double_and_are_never_all_the_same() -> None:
    for attempt, longest in ((1, 0.5), (2, 1.0), (4, 4.0), (50, limits.LONGEST_WAIT_S)):
        waits = {wait_before(attempt, False, None) for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert wait_before(1, True, None) >= 1.0
    assert 3.0 <= wait_before(9, True, 3.0) <= 3.25


def test_the_gate_lets_only_so_many_through() -> None:
    async def check() -> int:
        gate, most = Gate(3), 0

        async def one() -> None:
            nonlocal most
            await gate.enter()
            most = max(most, gate.n_inside)
            await asyncio.sleep(0.001)
            gate.leave()

        await asyncio.gather(*(one() for _ in range(20)))
        assert gate.n_inside == 0
        return most

    assert asyncio.run(check()) == 3


def test_a_burst_halves_once_and_successes_grow_back() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(16)
        sent = loop.time()
        for _ in range(16):  # all of them were under way together
            gate.throttled(sent, None)
        assert gate.limit == 8
        await asyncio.sleep(0.01)
        gate.throttled(loop.time(), None)
        assert gate.limit == 4
        for _ in range(5):  # about one round
            gate.succeeded()
        assert gate.limit == 5
        for _ in range(200):
            gate.succeeded()
        assert gate.limit == 16  # and no further
        for _ in range(20):
            await asyncio.sleep(0.001)
            gate.throttled(loop.time(), None)
        assert gate.limit == 1

    asyncio.run(check())


def test_a_pause_holds_back_everything_new() -> None:
    async def check() -> float:
        loop = asyncio.get_running_loop()
        gate = Gate(4)
        start = loop.time()
        gate.throttled(start, 0.15)
        await asyncio.gather(*(gate.enter() for _ in range(2)))
        return loop.time() - start

    assert 0.14 <= asyncio.run(check()) < 2.0


def test_giving_up_a_place_in_the_queue_gives_it_to_the_next() -> None:
    async def check() -> None:
        gate = Gate(1)
        await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.leave()  # it is the turn of the first, which is given up at the same moment
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.wait_for(waiting[2], 1.0)
        assert gate.n_inside == 1

    asyncio.run(check())


def spent(monkeypatch: pytest.MonkeyPatch, rates: list[int | None], takes: list[int]) -> float:
    """Seconds, of minutes that are one second long, until all requests may be sent."""
    monkeypatch.setattr(limits, "_MINUTE", 1.0)

    async def check() -> float:
        loop = asyncio.get_running_loop()
        made = Rates(*rates)
        start = loop.time()
        await asyncio.gather(*(made.take(tokens) for tokens in takes))
        return loop.time() - start

    return asyncio.run(check())


def test_requests_are_spread_over_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.48 <= spent(monkeypatch, [20, None], [0] * 11) < 5.0


def test_tokens_stay_within_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    # 100 come at once; the other 900 of the first 1,000 take the whole minute.
    assert 0.98 <= spent(monkeypatch, [None, 1000], [100] * 10) < 5.0


def test_a_request_of_more_than_the_limit_waits_and_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 1.9 <= spent(monkeypatch, [None, 1000], [1900]) < 6.0


def test_tokens_that_were_not_used_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MINUTE", 1.0)

    async def check() -> float:
        loop = asyncio.get_running_loop()
        rates = Rates(None, 1000)
        start = loop.time()
        for _ in range(10):
            await rates.take(500)
            rates.counted(500, 50)
        return loop.time() - start

    assert asyncio.run(check()) < 3.0  # 5,000 tokens would take five minutes of a second


def test_no_limits_do_not_wait() -> None:
    async def check() -> None:
        await asyncio.wait_for(Rates(None, None).take(10**9), 1.0)

    asyncio.run(check())
