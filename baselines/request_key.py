"""What identifies a request in the response cache."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA_URI: Final = "data:"


def request_key(provider: str, body: Mapping[str, Any]) -> str:
    """Identifies a request by all that decides on its answer.

    Args:
        provider: Which server is asked, as its base URL or its name.
        body: The request's JSON. The order of fields makes no difference, and ``data:`` URIs
            stand as the hash of their bytes.

    Returns:
        SHA-256 as 64 hexadecimal digits.
    """
    canonical = msgspec.json.encode([provider, _hashed(body)], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def _hashed(value: Any) -> Any:
    """A JSON value with the bytes of ``data:`` URIs in it replaced by their hash."""
    if isinstance(value, str):
        return _hashed_uri(value) if value.startswith(_DATA_URI) else value
    if isinstance(value, (list, tuple)):
        return [_hashed(item) for item in value]
    if hasattr(value, "items"):
        return {key: _hashed(item) for key, item in value.items()}
    return value


def _hashed_uri(uri: str) -> str:
    head, comma, data = uri.partition(",")
    if not comma:
        return uri
    try:
        content = base64.b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        return uri
    kind = head.removeprefix(_DATA_URI).removesuffix(";base64")
    return f"{_DATA_URI}{kind};sha256,{hashlib.sha256(content).hexdigest()}"
