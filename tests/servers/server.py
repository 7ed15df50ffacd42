"""The server itself: HTTP/1.1 on asyncio and h11, so that connections can be broken as well."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import h11
import msgspec

from tests.servers.plan import Plan, Rule, Seen, Settings
from tests.servers.replies import (
    FAULTS,
    Reply,
    error_body,
    models_body,
    n_images_of,
    reply,
    texts_of,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_TRICKLE_BYTES = 400  # so many parts of a trickled answer, at most
_LARGEST_HEAD = 64 * 1024


class Server:
    """What all connections share."""

    def __init__(self, settings: Settings, log: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self.max_in_flight = 0
        self.n_connections = 0
        self._in_flight = 0
        self._connections: set[asyncio.Transport] = set()
        self._log: IO[bytes] | None = None if log is None else log.open("ab", buffering=0)
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Take up settings; the plan begins anew."""
        unknown = {rule.fault for rule in settings.rules} - set(FAULTS)
        if unknown:
            raise ValueError(f"unknown faults: {unknown}")
        self.settings = settings
        self.plan = Plan(settings.rules, settings.seed)
        self._marker = re.compile(settings.marker)

    async def start(self) -> asyncio.Server:
        """Listen on a loopback port."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.settings.port, backlog=1024
        )

    def connected(self, transport: asyncio.Transport) -> None:
        """A client has connected."""
        self.n_connections += 1
        self._connections.add(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """A connection is over."""
        self._connections.discard(transport)

    def drop_connections(self) -> None:
        """Break all connections."""
        for transport in tuple(self._connections):
            transport.abort()

    def arrived(self, path: str, asked: dict[str, Any], n_bytes: int, key: str | None) -> Seen:
        """Write down a request, which the plan has not judged yet."""
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        markers = [found for text in texts_of(asked) for found in self._marker.findall(text)]
        seen = Seen(
            number=len(self.seen),
            path=path,
            marker=markers[-1] if markers else "",
            fault="",
            arrived=time.monotonic(),
            in_flight=self._in_flight,
            n_bytes=n_bytes,
            n_images=n_images_of(asked),
            key=key,
            body=asked if self.settings.keep_bodies else None,
        )
        self.seen.append(seen)
        return seen

    def judged(self, seen: Seen) -> Rule:
        """What happens to a request."""
        limit = self.settings.max_in_flight
        if limit is not None and seen.in_flight > limit:
            rule = Rule("rate_limit", retry_after=0.05)
        else:
            rule = self.plan.rule(seen.marker)
        seen.fault = rule.fault
        self.write(seen)
        return rule

    def left(self, seen: Seen, status: int | None) -> None:
        """A request has its answer, or its client is gone (``None``)."""
        self._in_flight -= 1
        if status is None:
            seen.gone = time.monotonic()
        else:
            seen.answered, seen.status = time.monotonic(), status
        self.write(seen)

    def write(self, seen: Seen) -> None:
        """Add a line about a request to the log; its last line is the newest."""
        if self._log is not None:
            self._log.write(msgspec.json.encode(seen) + b"\n")

    def stats(self) -> dict[str, int]:
        """Counts over all requests so far."""
        return {
            "requests": len(self.seen),
            "max_in_flight": self.max_in_flight,
            "connections": self.n_connections,
        }


class _Connection(asyncio.Protocol):
    """One connection of a client; requests come one after another."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._seen: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connected(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.disconnected(self._transport)
        if self._task is not None:
            self._task.cancel()
        if self._seen is not None:
            self._server.left(self._seen, None)
            self._seen = None

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        return False

    def _read(self) -> None:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._transport.abort()
                return
            if isinstance(event, h11.Request):
                self._head, self._body = event, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:
                return

    def _answer(self) -> None:
        assert self._head is not None
        path = self._head.target.decode()
        method = self._head.method.decode()
        if method == "GET" and path.endswith("/models"):
            self._send(Reply(200, models_body(self._server.settings)))
        elif path == "/_plan":
            self._server.configure(msgspec.json.decode(bytes(self._body), type=Settings))
            self._send(Reply(200, b"{}"))
        elif path == "/_stats":
            self._send(Reply(200, msgspec.json.encode(self._server.stats())))
        elif method == "POST" and path.endswith("/chat/completions"):
            self._chat(path)
        else:
            self._send(Reply(404, error_body("invalid_request_error", None, "No such path.")))

    def _chat(self, path: str) -> None:
        assert self._head is not None
        headers = dict(self._head.headers)
        key = headers.get(b"authorization", b"").decode().removeprefix("Bearer ") or None
        try:
            asked = msgspec.json.decode(bytes(self._body), type=dict[str, Any])
        except msgspec.DecodeError:
            self._send(Reply(400, error_body("invalid_request_error", None, "Not JSON.")))
            return
        settings = self._server.settings
        seen = self._seen = self._server.arrived(path, asked, len(self._body), key)
        self._body = bytearray()
        if settings.key is not None and key != settings.key:
            rule = Rule("unauthorized")
        elif not settings.any_model and asked.get("model") not in settings.model:
            rule = Rule("no_model")
        else:
            rule = self._server.judged(seen)
        self._task = asyncio.get_running_loop().create_task(self._finish(rule, seen, asked))

    async def _finish(self, rule: Rule, seen: Seen, asked: dict[str, Any]) -> None:
        settings = self._server.settings
        if rule.fault == "hang":
            await asyncio.Event().wait()
        made = reply(rule, seen, asked, settings)
        late = settings.jitter * self._server.plan.chance() if settings.jitter else 0.0
        wait = settings.latency + late + (rule.seconds if rule.fault != "trickle" else 0.0)
        if wait and rule.fault != "rate_limit":
            await asyncio.sleep(wait)
        if rule.fault == "reset":
            self._transport.abort()
            return
        head, body = self._encoded(made)
        if rule.fault in {"reset_in_body", "cut"}:
            self._transport.write(head + body[: len(body) // 2])
            await asyncio.sleep(0.02)  # so that it is on its way
            if rule.fault == "reset_in_body":
                self._transport.abort()
            else:
                self._transport.close()
            return
        if rule.fault == "trickle":
            self._transport.write(head)
            size = max(1, len(body) // _TRICKLE_BYTES)
            for start in range(0, len(body), size):
                await asyncio.sleep(rule.seconds * size / len(body))
                self._transport.write(body[start : start + size])
        else:
            self._transport.write(head + body)
        self._done(made.status)

    def _send(self, made: Reply) -> None:
        head, body = self._encoded(made)
        self._transport.write(head + body)
        self._next()

    def _done(self, status: int) -> None:
        if self._seen is not None:
            self._server.left(self._seen, status)
            self._seen = None
        self._task = None
        self._next()

    def _encoded(self, made: Reply) -> tuple[bytes, bytes]:
        headers = {"Content-Type": "application/json", **made.headers}
        headers["Content-Length"] = str(len(made.body))
        response = h11.Response(status_code=made.status, headers=list(headers.items()))
        head = self._http.send(response) or b""
        body = self._http.send(h11.Data(data=made.body)) or b""
        self._http.send(h11.EndOfMessage())
        return head, body

    def _next(self) -> None:
        """Go on with the next request of the connection, or end it as the client wishes."""
        if self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._read()
