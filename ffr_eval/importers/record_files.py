"""Files of one record a line, or of one JSON array of records, and where each record stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.jsonl import decode, is_array, problem, read_array, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T")


class Place(NamedTuple):
    """Where a record stands; ``prefix`` goes before its fields, for a record of an array."""

    file: Path
    line: int
    prefix: str = ""

    def error(self, field: str, message: str, remedy: str | None) -> InputError:
        """An error about a field of the record."""
        path = f"{self.prefix}{field}".rstrip(".") or None
        return InputError(message, file=self.file, line=self.line, field=path, remedy=remedy)

    def blame(self, error: InputError, prefix: str = "") -> InputError:
        """An error of the writer, which knows no file, as one about a field of this record."""
        found = error.problem
        if found.file is not None:
            return error
        return self.error(f"{prefix}{found.field}", found.message, found.remedy)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.prefix.rstrip('.')})" if self.prefix else "")


def read_places(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Yield the records of a file with their places, each as JSON.

    Args:
        path: JSON Lines or a JSON array, gzip included.

    Raises:
        InputError: If the file cannot be read.
    """
    array = is_array(path)
    for index, line in enumerate(read_array(path) if array else read_lines(path)):
        yield Place(path, line.number, f"[{index}]." if array else ""), line.data


def decode_at(place: Place, data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A record.

    Raises:
        InputError: If it is not of the decoder's type.
    """
    try:
        return decode(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = problem(error, place.file, place.line).problem
        raise place.error(found.field or "", found.message, found.remedy) from None


class _Named(msgspec.Struct, frozen=True):
    dialogue_id: str | int


def read_dialogue_records(path: Path, record_type: type[T]) -> Iterator[tuple[Place, T]]:
    """Yield the records of a file with their places.

    Args:
        path: JSON Lines or a JSON array, gzip included.
        record_type: The :mod:`msgspec` type of a record.

    Raises:
        InputError: For the first that is not such a record; it names its dialogue if it can.
    """
    decoder = msgspec.json.Decoder(record_type)
    for place, data in read_places(path):
        try:
            yield place, decode_at(place, data, decoder)
        except InputError as error:
            found = error.problem
            message = f"{_name(data)}{found.message}"
            raise InputError(
                message, file=found.file, line=found.line, field=found.field, remedy=found.remedy
            ) from None


def _name(data: bytes) -> str:
    try:
        return f"dialogue {decode(data, msgspec.json.Decoder(_Named)).dialogue_id!r}: "
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
