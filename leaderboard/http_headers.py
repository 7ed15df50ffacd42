"""What every answer of the server tells the browser: whom it may talk to, and what it may run."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SANDBOX: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""The policy of files: nothing in them runs, even if a browser takes one for a page."""

POLICY: Final = "Content-Security-Policy"
_UNUSED: Final = (
    "accelerometer",
    "browsing-topics",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "usb",
)
_INLINE_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page_policy(embed_in: Sequence[str] = (), public_url: str = "") -> str:
    """The Content-Security-Policy of the app's pages.

    Scripts come from Streamlit's own files only. Its page has an inline script, which is named by
    its hash; components bring theirs as ``blob:``, a place that only a script can make. Charts need
    no ``unsafe-eval``: Streamlit has Vega interpret its expressions. Styles are made at run time
    by its library (``unsafe-inline``); they can fetch nothing from elsewhere.

    Args:
        embed_in: Origins whose pages may show this one in a frame.
        public_url: Where the server is reached; its WebSocket is named for browsers in which
            ``'self'`` does not cover it.
    """
    sockets = [f"wss://{urlsplit(public_url).netloc}"] if public_url.startswith("https:") else []
    directives = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "blob:", *_inline_scripts()],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'", *sockets],
        "worker-src": ["'self'", "blob:"],
        "frame-src": ["'none'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": list(embed_in) or ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives.items())


def security_headers(embed_in: Sequence[str] = (), public_url: str = "") -> dict[str, str]:
    """The headers of every answer that does not bring its own."""
    headers = {
        POLICY: page_policy(embed_in, public_url),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if not embed_in:
        headers["X-Frame-Options"] = "DENY"
    if not public_url.startswith("http:"):  # without TLS, browsers only complain about it
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if public_url.startswith("https:"):
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def _inline_scripts() -> list[str]:
    """The hashes of the scripts in Streamlit's page, as a policy names them."""
    import streamlit

    page = Path(streamlit.__file__).with_name("static") / "index.html"
    sources = _INLINE_SCRIPT.findall(page.read_text(encoding="utf-8"))
    digests = [hashlib.sha256(source.encode()).digest() for source in sources]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


class SecurityHeaders:
    """Puts headers on every HTTP answer; those that the answer has already stay."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    present.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
