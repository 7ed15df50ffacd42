"""What is refused before it costs anything, and what is written down about requests."""

from __future__ import annotations

import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from leaderboard.http_headers import SecurityHeaders, security_headers
from leaderboard.private_logs import place_of
from leaderboard.server_options import LARGEST_UPLOAD_MB

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from leaderboard.server_options import ServerSettings

ACCESS: Final = "leaderboard.access"
ERRORS: Final = "leaderboard.errors"
LONGEST_PATH: Final = 200

_log = logging.getLogger(ACCESS)
_errors = logging.getLogger(ERRORS)
_STATIC: Final = "/static/"
_UPLOAD: Final = "/_stcore/upload_file/"
_LARGEST_BODY: Final = 64 * 1024
_FRAMING: Final = 64 * 1024  # of a file in a form
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


def guards(settings: ServerSettings, public_url: str) -> dict[str, Any]:
    """What a Starlette app is to be made with: its middleware, outermost first, and a last resort.

    Args:
        settings: Of the server.
        public_url: Where it is reached from outside; empty if that is not known.
    """
    headers = security_headers(settings.embed_in, public_url)
    middleware = [Middleware(AccessLog), Middleware(SecurityHeaders, headers=headers)]
    if settings.hosts:
        # As its parser gives IPv6 addresses.
        hosts = [f"[{host}]" if ":" in host else host for host in settings.hosts]
        middleware.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
        )
    middleware.append(Middleware(BodyLimit, largest_upload=LARGEST_UPLOAD_MB * 1024 * 1024))
    # Its answers pass no middleware, so it puts the headers on them itself.
    return {"middleware": middleware, "exception_handlers": {Exception: _failure(headers)}}


def write_down(error: Exception) -> str:
    """Log an error by type and place; gives the number that the user is told."""
    reference = secrets.token_hex(4)
    _errors.error("%s %s", reference, place_of(error))
    return reference


def _failure(headers: dict[str, str]) -> Callable[[Request, Exception], Response]:
    def fail(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"Internal error {write_down(error)}", 500, headers)

    return fail


class BodyLimit:
    """Refuses request bodies that are larger than anything the app takes.

    Only uploads have a body worth the name. Streamlit limits those too; this holds for every route,
    and for bodies without a stated length.

    Args:
        app: What handles the request.
        largest_upload: In bytes.
    """

    def __init__(self, app: ASGIApp, largest_upload: int) -> None:
        self._app = app
        self._largest_upload = largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        largest = _LARGEST_BODY
        if _UPLOAD in scope["path"]:
            largest = self._largest_upload + _FRAMING
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or int(stated[:20]) > largest:
            await PlainTextResponse("Content Too Large", 413)(scope, receive, send)
            return
        n_bytes = 0

        async def receive_some() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > largest:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_some, send)


class AccessLog:
    """Writes down a line a request but for Streamlit's own files: method, path, status, time.

    Never what follows the path (the address of a view names models and samples), and nothing of
    whoever asked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] not in {"http", "websocket"} or not _log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            method = scope.get("method", "WEBSOCKET")
            if _STATIC not in scope["path"] or status >= HTTPStatus.BAD_REQUEST:
                _log.info("%s %s %d %.0f ms", method, _shown(scope["path"]), status, milliseconds)


def _shown(path: str) -> str:
    """A path as it is written down: one printable word of bounded length.

    The name of a session and of a file that it uploads are left out: with them, one could be
    replaced by another.
    """
    head, upload, _ = path.partition(_UPLOAD)
    return _UNPRINTABLE.sub("?", f"{head}{upload}"[:LONGEST_PATH])
