"""What a space of embeddings is: the encoder, its weights, and the options that change a vector."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from pathlib import Path

RECORD: Final = "space.json"
ID_LENGTH: Final = 16
_SHORT_ID: Final = 8


class SpaceRecord(msgspec.Struct, frozen=True):
    """``space.json`` in the folder of a space.

    Vectors of one space can be compared with each other, and with no others.

    Attributes:
        encoder: Its registered name, for example ``open_clip``.
        model: The model as the user named it, for reading: an architecture, a folder, a hub name.
        revision: Identifies the weights.
        options: Every option that changes a vector (pooling, prompts, versions of preparation …).
        modalities: ``("text",)`` or ``("text", "image")``.
        roles: Whether queries are encoded differently from passages.
        max_tokens: The longest text that the model takes in, in tokens.
        dimension: Length of the vectors; ``None`` until there is one.
        dtype, device: What the first vectors were computed with.
        created: When the space was made, UTC.
    """

    encoder: str
    model: str
    revision: str
    options: dict[str, Any]
    modalities: tuple[str, ...]
    roles: bool
    max_tokens: int | None = None
    dimension: int | None = None
    dtype: str | None = None
    device: str | None = None
    created: str | None = None
    schema_version: Literal[1] = 1

    @property
    def id(self) -> str:
        """16 hexadecimal digits of what decides on a vector, the same on every machine."""
        parts = (self.encoder, self.revision, self.options, self.modalities, self.roles)
        text = json.dumps(msgspec.to_builtins(parts, str_keys=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    @property
    def label(self) -> str:
        """The encoder with its model, for example ``open_clip:ViT-B-32/openai``."""
        return f"{self.encoder}:{self.model}"


def write_record(folder: Path, record: SpaceRecord) -> None:
    """Write ``space.json``, replacing an older one in one step.

    Raises:
        InputError: If it cannot be written.
        FfrError: If the disk is full.
    """
    text = json.dumps(msgspec.to_builtins(record, str_keys=True), indent=2)
    with replacing(folder / RECORD) as temporary, temporary.open("w", encoding="ascii") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_record(folder: Path) -> SpaceRecord:
    """What ``space.json`` in a space's folder says.

    Raises:
        InputError: If there is none, or it is not what belongs there.
    """
    path = folder / RECORD
    remedy = f"the embeddings can be computed again: remove the folder {folder}"
    try:
        found = json.loads(path.read_bytes())
        record = msgspec.convert(found, SpaceRecord)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path, remedy=remedy) from None
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise InputError(f"is damaged: {error}", file=path, remedy=remedy) from None
    if record.id != folder.name:
        message = f"describes the space {record.id}, not the one of this folder"
        raise InputError(message, file=path, remedy=remedy)
    return record


def short_name(record: SpaceRecord) -> str:
    """A name that means one space, for example ``open_clip:ViT-B-32/openai@0f3c52aa``."""
    return f"{record.label}@{record.id[:_SHORT_ID]}"
