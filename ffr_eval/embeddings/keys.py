"""Keys of embeddings: a hash of the content that was embedded, and of nothing else.

Standard library only, so that it also runs in an interpreter in which FFR is not installed.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_LENGTH: Final = 32


class Role(StrEnum):
    """What a text is to a retriever; some encoders treat the two differently."""

    QUERY = "query"
    PASSAGE = "passage"


class Content(StrEnum):
    """What was embedded; a key's first byte tells."""

    TEXT = "text"
    IMAGE = "image"
    MIXED = "mixed"


def text_key(text: str, role: Role | None = None) -> bytes:
    """The key of a text, 32 bytes.

    Args:
        text: The text as it is given to the encoder.
        role: ``None`` where the encoder treats queries as it treats passages.
    """
    return _key(Content.TEXT, _of_role(role), _of_text(text))


def image_key(content: bytes) -> bytes:
    """The key of an image, 32 bytes; ``content`` is what its file holds."""
    return _key(Content.IMAGE, content)


def mixed_key(text: str, images: Sequence[bytes], role: Role | None = None) -> bytes:
    """The key of a text with images, 32 bytes.

    Args:
        text: The text as it is given to the encoder.
        images: The :func:`image_key` of each image, in order.
        role: ``None`` where the encoder treats queries as it treats passages.
    """
    return _key(Content.MIXED, _of_role(role), _of_text(text), *images)


def content_of(key: bytes) -> Content:
    """What a key is the key of.

    Raises:
        ValueError: If it is no key that was made here.
    """
    return _CONTENT[key[:1]]


def require_key(key: bytes) -> None:
    """See that a key was made here.

    Raises:
        ValueError: If it was not.
    """
    if len(key) != KEY_LENGTH:
        raise ValueError(f"a key has {KEY_LENGTH} bytes, not {len(key)}")
    content_of(key)


_TAGS: Final = {Content.TEXT: b"t", Content.IMAGE: b"i", Content.MIXED: b"m"}


class _Contents(dict[bytes, Content]):
    def __missing__(self, tag: bytes) -> Content:
        raise ValueError(f"no key of an embedding starts with {tag!r}")


_CONTENT: Final = _Contents({tag: content for content, tag in _TAGS.items()})


def _of_role(role: Role | None) -> bytes:
    return b"" if role is None else role.value.encode()


def _of_text(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON may hold half of a surrogate pair


def _key(content: Content, *parts: bytes) -> bytes:
    """The tag of the content, and 31 bytes of SHA-256 over the parts with their lengths."""
    tag = _TAGS[content]
    pieces = [b"ffr 1 ", tag]
    for part in parts:
        pieces += (len(part).to_bytes(8, "little"), part)
    return tag + hashlib.sha256(b"".join(pieces)).digest()[: KEY_LENGTH - 1]
