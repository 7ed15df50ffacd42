"""What was sent, as plain data and as a hash: the same on every machine and with every engine.

A prediction keeps the hash of each of its requests (``meta.prompts``), so that a prompt that is
rendered again later can be shown to be the one that was sent. It is of what every engine is given:
roles, texts, images, and the schema of the answer. What an engine makes of that is its own: how
pictures are scaled, the model's chat template, fields of the request beside the messages.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from baselines.generative.structured import ANSWER_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from baselines.generative.chat import Message
    from baselines.generative.options import GenerativeOptions
    from ffr_eval.types import Image

PROMPTS: Final = "prompts"
"""The key of a prediction's ``meta`` that holds the hashes."""
_KEPT: Final = 4096  # hashes of files; those of a dialogue are needed again and again


def plain_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as plain JSON: the texts are exact, images are known by the hash of their file.

    An image is ``{"img_id": …, "sha256": …}``, with its id in the message; the hash is null where
    there is no file, or none that can be read.
    """
    return [
        {"role": message.role, "parts": [_plain(part) for part in message.parts]}
        for message in messages
    ]


def request_hash(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> str:
    """``sha256:…`` of a request.

    It is of the JSON ``{"messages": …, "schema": …}`` with sorted keys, without spaces, and with
    all that is not ASCII as escapes.

    Args:
        messages: As :func:`plain_messages` gives them.
        schema: Of the answer, if one is sent beside the messages.
    """
    request = {"messages": messages, "schema": schema}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


def schema_of(options: GenerativeOptions) -> dict[str, Any] | None:
    """The schema that is sent beside the messages, if the answer is to be an object."""
    return None if options.answer == "markup" else ANSWER_SCHEMA


def _plain(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    return {"img_id": part.img_id, "sha256": None if part.file is None else _file_hash(part.file)}


def _file_hash(path: Path) -> str | None:
    """The hash of a file's content; ``None`` if it cannot be read."""
    try:
        status = path.stat()
        return _content_hash(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=_KEPT)
def _content_hash(path: Path, size: int, changed: int) -> str:
    del size, changed  # of the key alone: a file that was changed is read again
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
