"""How the server is set: Streamlit's options, and our own, which it gets by the environment."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

import msgspec

VARIABLE: Final = "FFR_BOARD_SERVER"
COOKIE_SECRET: Final = "STREAMLIT_SERVER_COOKIE_SECRET"  # noqa: S105 - the name of a variable
LOOPBACK: Final = "127.0.0.1"
LOCAL_HOSTS: Final = (LOOPBACK, "localhost", "::1")
LARGEST_UPLOAD_MB: Final = 32
LARGEST_MESSAGE_MB: Final = 50

CLOSED: Final[dict[str, object]] = {
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.scriptHealthCheckEnabled": False,
    "server.maxUploadSize": LARGEST_UPLOAD_MB,
    "server.maxMessageSize": LARGEST_MESSAGE_MB,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.disableDataExport": True,
    "client.toolbarMode": "viewer",
    "browser.gatherUsageStats": False,
    "logger.enableRich": False,
    "global.developmentMode": False,
    "runner.magicEnabled": False,  # would show the script's own strings
}
"""What keeps the board safe: the server does not start with other values."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the server itself; what the app shows is in :mod:`leaderboard.settings`.

    Attributes:
        hosts: The names by which it may be reached; empty for any.
        embed_in: Origins whose pages may show the board in a frame.
    """

    hosts: tuple[str, ...] = ()
    embed_in: tuple[str, ...] = ()


def store(settings: ServerSettings) -> None:
    """Give the settings to this process and those that it starts."""
    os.environ[VARIABLE] = msgspec.json.encode(settings).decode()


def server_settings() -> ServerSettings:
    """The settings of this process."""
    return msgspec.json.decode(os.environ.get(VARIABLE, "{}"), type=ServerSettings)


def hosts_of(host: str, public_url: str) -> tuple[str, ...]:
    """The names by which a server may be reached; empty for any.

    A page elsewhere must not reach it by a name of its own that it lets point here. Without a
    public URL nobody knows under which names a server on all addresses is known.
    """
    public = urlsplit(public_url).hostname
    if public:
        return (*LOCAL_HOSTS, public)
    return LOCAL_HOSTS if host in LOCAL_HOSTS else ()


def base_path(public_url: str) -> str:
    """The path below which everything is served: empty, or ``/path``."""
    path = urlsplit(public_url).path.strip("/")
    return f"/{path}" if path else ""


def streamlit_options(
    host: str, port: int, public_url: str = "", embed_in: tuple[str, ...] = ()
) -> dict[str, object]:
    """Streamlit's options; they win over its configuration files and environment variables."""
    options: dict[str, object] = {
        **CLOSED,
        "server.address": host,
        "server.port": port,
        # We open the browser: Streamlit would first ask for an e-mail address.
        "server.headless": True,
        "server.allowedHosts": list(hosts_of(host, public_url)),
        "server.baseUrlPath": base_path(public_url),
        "server.corsAllowedOrigins": [],
        # In a frame on another site, an upload's cookie is sent only so (and only over HTTPS).
        "server.xsrfCookieSameSite": "none" if embed_in else "strict",
        "server.sslCertFile": None,
        "logger.level": "warning",
        # Its greeting would ask a third party for our address when the host is 0.0.0.0.
        "logger.hideWelcomeMessage": True,
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#56B4E9",
    }
    if public_url:
        parts = urlsplit(public_url)
        options["server.corsAllowedOrigins"] = [f"{parts.scheme}://{parts.netloc}"]
        options["browser.serverAddress"] = parts.hostname
        options["browser.serverPort"] = parts.port or (443 if parts.scheme == "https" else 80)
    return options
