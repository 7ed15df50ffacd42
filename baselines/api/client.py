"""One exchange with a server, over the official client; nothing is tried twice here."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from baselines.api.keys import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx2
    from openai import AsyncOpenAI

_CONNECT_S: Final = 15.0
_KEEP_ALIVE_S: Final = 4.0  # below the 5 s after which many servers close idle connections
_NO_KEY: Final = "none"  # the client insists on one; it is taken out again
_LOGGERS: Final = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "hpack")
_SENT_HEADERS: Final = frozenset(
    {
        *("host", "accept", "accept-encoding", "connection", "content-type", "content-length"),
        *("transfer-encoding", "user-agent", "authorization"),
    }
)
_OPENAI_HOST: Final = "api.openai.com"
_OPENAI_HEADERS: Final = frozenset({"openai-organization", "openai-project"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    Attributes:
        headers: Case-insensitive.
        latency_s: Seconds from sending to the whole answer.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    latency_s: float

    @property
    def request_id(self) -> str | None:
        """The server's name of the request, as its headers give it."""
        for name in ("x-request-id", "request-id", "x-ds-request-id", "x-tt-logid"):
            if value := self.headers.get(name):
                return value[:200]
        return None


class NoReply(Exception):  # noqa: N818 - what happened on the way, not a failure of the program
    """There was no whole answer.

    Args:
        message: What happened, for people.
        connected: Whether the server could be reached at all.
    """

    def __init__(self, message: str, *, connected: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.connected = connected


class Client:
    """Sends bodies to a server; :func:`open_client` makes it."""

    def __init__(self, openai: AsyncOpenAI, timeout_s: float) -> None:
        self._openai = openai
        self._timeout_s = timeout_s

    async def send(self, body: bytes) -> Reply:
        """Send a request and read the whole answer, within the time limit for both together.

        Raises:
            NoReply: If there is none: no connection, a broken one, or the time is over.
        """
        import httpx2
        import openai

        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._openai.post(
                    "/chat/completions", cast_to=httpx2.Response, content=body
                )
        except openai.APIStatusError as error:
            response = error.response
        except (TimeoutError, openai.APITimeoutError) as error:
            connected = not isinstance(error.__cause__, httpx2.ConnectTimeout)
            what = f"no whole answer within {self._timeout_s:g} s" if connected else "no connection"
            raise NoReply(what, connected=connected) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            connected = not isinstance(cause, httpx2.ConnectError)
            what = "the connection broke" if connected else "no connection"
            raise NoReply(f"{what}: {_named(cause)}", connected=connected) from None
        return Reply(response.status_code, response.content, response.headers, loop.time() - start)


@asynccontextmanager
async def open_client(
    base_url: str, key: str | None, *, timeout_s: float, connections: int
) -> AsyncIterator[Client]:
    """A client for one server.

    It takes nothing from the environment but proxies, and those not for a server on this machine.
    Redirects are not followed: they would send dialogues elsewhere.

    Args:
        base_url: Up to what ``/chat/completions`` is added to.
        key: ``None`` for none.
        timeout_s: For a request and its whole answer.
        connections: At most so many at once, all kept for the next request.
    """
    import httpx2
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    parts = urlsplit(base_url)
    headers = _Headers(key, openai=parts.hostname == _OPENAI_HOST)
    http = DefaultAsyncHttpxClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s), pool=None),
        limits=httpx2.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEP_ALIVE_S,
        ),
        follow_redirects=False,
        trust_env=not is_loopback(base_url),
        event_hooks={"request": [headers.reduce]},
    )
    with _Quiet():
        async with AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=urlunsplit(parts._replace(query="")),
            default_query=dict(parse_qsl(parts.query)),
            max_retries=0,
            http_client=http,
        ) as openai:
            yield Client(openai, timeout_s)


class _Headers:
    """Lets only those headers through that the server needs.

    The official client adds what it finds in ``OPENAI_ORG_ID``, ``OPENAI_PROJECT_ID``,
    ``OPENAI_ADMIN_KEY`` and ``OPENAI_CUSTOM_HEADERS``, whatever the server.
    """

    def __init__(self, key: str | None, *, openai: bool) -> None:
        self._key = key
        self._kept = _SENT_HEADERS | _OPENAI_HEADERS if openai else _SENT_HEADERS

    async def reduce(self, request: httpx2.Request) -> None:
        """Take out the other headers of a request."""
        for name in list(request.headers):
            if name.lower() not in self._kept:
                del request.headers[name]
        if self._key is None:
            request.headers.pop("authorization", None)
        else:
            request.headers["authorization"] = f"Bearer {self._key}"


class _Quiet:
    """Keeps the client's libraries from logging what they send: addresses, headers, bodies."""

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)


def _named(error: BaseException | None) -> str:
    """What happened, without what was sent."""
    if error is None:
        return "no reason given"
    return " ".join(str(error).split())[:200] or type(error).__name__
