"""Keys: where they are found, which server may see which, and how they stay out of texts."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.api.presets import Preset

SERVICE: Final = "ffr"
"""The service under which the system's keyring holds keys."""
_FALLBACK: Final = "OPENAI_API_KEY"
_FIELD: Final = "option base_url"
_USUAL_KEYS: Final = re.compile(r"\b(?:sk|pk|rk|xai|gsk|ark)-[A-Za-z0-9_*-]{6,}|\bAIza[\w*-]{10,}")
_BEARER: Final = re.compile(r"(?i)\b(bearer\s+|(?:api[-_ ]?)?key\s*[=:]\s*)[^\s,;\"']{6,}")
_SECRET_NAME: Final = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|key|token|access|secret|password|passwd|pwd|auth|authorization"
    r"|sig|signature|credentials?|bearer)($|[-_.])|apikey|token$"
)


def checked_base_url(url: str) -> str:
    """A base URL that holds nothing secret, without its last slash.

    Raises:
        InputError: If it is no HTTP address, or holds a password or a key. The message does not
            show the address then.
    """
    remedy = "for example -o base_url=http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError("is not an address", field=_FIELD, remedy=remedy) from None
    if parts.username is not None or parts.password is not None:
        message = "holds a user name or a password, which would be written into run.json"
        raise InputError(message, field=_FIELD, remedy="give keys in an environment variable")
    fields = parse_qsl(parts.query, keep_blank_values=True)
    if any(is_secret_name(name) or not value for name, value in fields):
        message = "has a query that looks like a key, which would be written into run.json"
        raise InputError(message, field=_FIELD, remedy="give keys in an environment variable")
    if parts.fragment:
        raise InputError("has a fragment (#…)", field=_FIELD, remedy=remedy)
    if parts.scheme not in {"http", "https"} or not host or any(map(str.isspace, url)):
        message = "is not an address that begins with http:// or https://"
        raise InputError(message, field=_FIELD, remedy=remedy)
    if parts.path.endswith("/chat/completions"):
        message = "/chat/completions is added to the address"
        raise InputError(message, field=_FIELD, remedy="leave it out, and what follows it")
    return url.rstrip("/")


def is_secret_name(name: str) -> bool:
    """Whether a parameter of this name is likely to hold a key."""
    return _SECRET_NAME.search(name) is not None


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_key(preset: Preset, name: str | None, base_url: str) -> str | None:
    """The key for a server.

    It is looked for in the variable that the preset names (``OPENAI_API_KEY`` without a preset),
    and then in the system's keyring, under the service ``ffr`` and the preset's name, or the
    host's without a preset.

    Args:
        preset: What is known of the server.
        name: The preset's name; ``None`` without one.
        base_url: Where the server is.

    Returns:
        ``None`` if there is none and none is needed.

    Raises:
        InputError: If there is none though one is needed, it cannot be a key, or it would go over
            the network in the clear.
    """
    parts = urlsplit(base_url)
    local = is_loopback(base_url)
    in_the_clear = parts.scheme == "http" and not local and not preset.key_optional
    user = name or parts.hostname or ""
    places = [f"the environment variable {preset.key_env}"] if preset.key_env else []
    value = os.environ.get(preset.key_env, "").strip() if preset.key_env else ""
    if value and not in_the_clear:
        return _sendable(value, places[0])
    if local:
        return None
    if not in_the_clear and (held := _from_keyring(user)):
        return _sendable(held, f"the keyring ({SERVICE}, {user})")
    if preset.key_optional:
        return None
    if in_the_clear:
        message = "no key is sent to another machine without encryption"
        remedy = "use https; or, for a server of your own, -o preset=vllm"
        raise InputError(message, field=_FIELD, remedy=remedy)
    places.append(f"the keyring: keyring set {SERVICE} {user}")
    raise InputError(
        f"no key for {preset.title if name else parts.hostname}",
        remedy="put it into " + ", or into ".join(places),
    )


def key_advice(preset: Preset, name: str | None, base_url: str) -> str:
    """Where a user looks if the server refuses the key."""
    user = name or urlsplit(base_url).hostname or ""
    keyring = f"the keyring (keyring set {SERVICE} {user})"
    return f"{preset.key_env} or {keyring}" if preset.key_env else keyring


class Redactor:
    """Takes keys, images and the prompt out of texts that are shown or kept."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, text: str, sent: Sequence[str] = (), limit: int = 300) -> str:
        """A text of a server, fit to be kept.

        Args:
            text: What the server wrote.
            sent: The texts of the prompt.
            limit: No more characters than this.
        """
        text = " ".join(text[: limit * 20].split())
        if self._key:
            text = text.replace(self._key, "***")
        text = re.sub(r"data:[\w/+.-]*;base64,[A-Za-z0-9+/=]*", "data:…", text)
        text = _BEARER.sub(r"\1***", _USUAL_KEYS.sub("***", text))
        return _shortened(_without(text[: limit * 2], sent), limit)


_QUOTED: Final = 24
"""So many characters in a row that stand in the prompt are a quotation of it."""


def _without(text: str, sent: Sequence[str]) -> str:
    """A text without its quotations from what was sent."""
    if not sent or len(text) < _QUOTED:
        return text
    flat = [" ".join(part.split()) for part in sent]
    quoted = bytearray(len(text))
    for start in range(len(text) - _QUOTED + 1):
        piece = text[start : start + _QUOTED]
        if any(piece in part for part in flat):
            quoted[start : start + _QUOTED] = b"\1" * _QUOTED
    pieces, gap = [], False
    for char, drop in zip(text, quoted, strict=True):
        if not drop:
            pieces.append(char)
        elif not gap:
            pieces.append("…")
        gap = bool(drop)
    return "".join(pieces)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _sendable(key: str, place: str) -> str:
    """A key that an HTTP header can hold.

    Raises:
        InputError: If it cannot; the message does not show it.
    """
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        message = f"the key in {place} has characters that no key has (spaces, line ends, …)"
        raise InputError(message, remedy="copy it once more")
    return key


def _from_keyring(user: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password(SERVICE, user)
    except (KeyringError, OSError, RuntimeError):  # locked, or there is none on this machine
        return None
