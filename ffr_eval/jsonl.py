"""JSON Lines with line numbers, bounded memory and errors that name file, line and field."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

import msgspec

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE_BYTES: Final = 64 * 2**20
"""Longer lines are refused, so that memory stays bounded whatever the file."""

T = TypeVar("T")
_FIELD: Final = re.compile(r" - at `\$\.?(.*)`$")
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_BUFFER: Final = 2**20
_BOM: Final = b"\xef\xbb\xbf"
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair, which is one character
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."
)


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: Counted from 1.
        data: Its bytes without the line end.
        complete: Whether it ended in a newline; a last line may not, for example after a crash.
    """

    number: int
    data: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """A decoded record and the line it stood on."""

    line: int
    record: T


def open_binary(path: Path, buffering: int = -1) -> IO[bytes]:
    """Open a file, gzip included, or explain why not.

    Raises:
        InputError: If the file is missing, a folder or unreadable.
    """
    try:
        if path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        return path.open("rb", buffering=buffering)
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy="check the path") from None
    except IsADirectoryError:
        raise InputError("is a folder", file=path, remedy="give a file") from None
    except OSError as error:
        raise _unreadable(error, path) from None


def too_long(max_bytes: int, file: Path | None, line: int) -> InputError:
    """The error for a line over the limit."""
    message = f"the line is longer than {max_bytes:,} bytes"
    remedy = "one record a line; images belong into files, not into the JSON"
    return InputError(message, file=file, line=line, remedy=remedy)


def read_lines(path: Path, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Yield the lines of a file that are not blank.

    Raises:
        InputError: If the file cannot be read or a line is longer than ``max_bytes``.
    """
    with open_binary(path, _BUFFER) as stream:
        number = 0
        while True:
            number += 1
            try:
                data = stream.readline(max_bytes + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise _unreadable(error, path, number) from None
            if not data:
                return
            if len(data) > max_bytes:
                raise too_long(max_bytes, path, number)
            if not data.isspace():
                yield Line(number, data.rstrip(b"\r\n"), data.endswith(b"\n"))


def _unreadable(error: Exception, path: Path, line: int | None = None) -> InputError:
    """The error for a file that opens but does not give its bytes."""
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        message, remedy = f"cannot be read: {error.strerror}", "check the path and its permissions"
    else:
        message, remedy = f"damaged gzip data: {error}", "fetch or compress the file again"
    return InputError(message, file=path, line=line, remedy=remedy)


def read_bytes(path: Path, size: int = -1) -> bytes:
    """The bytes of a file, unpacked if it is gzip; the first ``size`` if that is given.

    Raises:
        InputError: If it cannot be read.
    """
    with open_binary(path) as stream:
        try:
            return stream.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(error, path) from None


def read_json(path: Path, record_type: type[T]) -> T:
    """Read a file that is one JSON value, for example an object over many lines.

    Args:
        path: A ``.json`` or ``.json.gz`` file.
        record_type: The :mod:`msgspec` type of the value.

    Raises:
        InputError: If it cannot be read or is not such a value.
    """
    data = read_bytes(path)
    try:
        return decode(data, msgspec.json.Decoder(record_type))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _file_problem(error, path, data) from None


def is_array(path: Path) -> bool:
    """Whether a file begins like a JSON array (and is not JSON Lines).

    Raises:
        InputError: If it cannot be read.
    """
    return read_bytes(path, 1024).removeprefix(_BOM).lstrip().startswith(b"[")


def read_array(path: Path) -> Iterator[Line]:
    """Yield the items of a file that is one JSON array, as JSON, with the lines they begin in.

    Raises:
        InputError: If it cannot be read or is not a JSON array.
    """
    data = read_bytes(path).removeprefix(_BOM)
    try:
        items = [bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _file_problem(error, path, data) from None
    number, position = 1, 0
    for item in items:  # only commas and spaces are between them
        start = data.index(item, position)
        number += data.count(b"\n", position, start)
        yield Line(number, item, complete=True)
        position = start + len(item)
        number += item.count(b"\n")


def _file_problem(error: Exception, path: Path, data: bytes) -> InputError:
    at = _BYTE.search(str(error))
    line = data.count(b"\n", 0, int(at.group(1))) + 1 if at else None
    return problem(error, path, line, "the file must be one complete JSON value")


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode one JSON value.

    What Python's ``json`` writes but JSON does not have (``NaN``, ``-Infinity``: found in
    log-probabilities) is read as Python reads it; half of a surrogate pair (a cut emoji), which no
    file could hold again, is read as U+FFFD.

    Raises:
        msgspec.DecodeError: If it is not JSON or not of the decoder's type.
        UnicodeDecodeError: If it is not UTF-8.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise msgspec.DecodeError("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        data.decode("utf-8")  # raises again, with the place in the data and not in the string
        raise
    except msgspec.DecodeError:
        whole = _ESCAPE.sub(lambda m: rb"\ufffd" if m.group("lone") else m.group(), data)
        text = whole.decode("utf-8-sig")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError
            value = None
        if value is None:
            raise
        return msgspec.convert(value, decoder.type)


def problem(
    error: Exception,
    file: object,
    line: int | None,
    remedy: str = "each line must be one complete JSON object",
) -> InputError:
    """The :class:`InputError` for what :func:`decode` raised; ``remedy`` is for malformed JSON."""
    if isinstance(error, UnicodeDecodeError):
        message = f"not UTF-8 (byte {error.start})"
        return InputError(message, file=file, line=line, remedy="save the file as UTF-8")
    text = str(error)
    at = _FIELD.search(text)
    missing = _MISSING.search(text)
    field = at.group(1) if at else ""
    if missing:
        field = f"{field}.{missing.group(1)}".strip(".")
    message = _FIELD.sub("", text).replace("Object missing", "missing")
    if isinstance(error, msgspec.ValidationError):
        remedy = "add the field" if missing else "correct the value"
    return InputError(message, file=file, line=line, field=field or None, remedy=remedy)


def read_records(
    path: Path,
    record_type: type[T],
    *,
    drop_truncated: bool = False,
    notes: list[str] | None = None,
) -> Iterator[Located[T]]:
    """Yield the records of a JSON Lines file, each with its line number.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.
        record_type: The :mod:`msgspec` type of a record.
        drop_truncated: Leave out a last line that was cut by a crash, and say so in ``notes``.
        notes: Gets a sentence about each line left out.

    Raises:
        InputError: For the first line that is not such a record.
    """
    decoder = msgspec.json.Decoder(record_type)
    for line in read_lines(path):
        try:
            yield Located(line.number, decode(line.data, decoder))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if drop_truncated and not line.complete and is_truncated(line.data):
                if notes is not None:
                    notes.append(f"{path}:{line.number}: dropped a truncated last line")
                return
            raise problem(error, path, line.number) from None


def is_truncated(data: bytes) -> bool:
    """Whether bytes are the beginning of a JSON object that was cut off, maybe in a character."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text.lstrip().startswith("{")
    return False


def encode_line(record: Any) -> bytes:
    """One record as a JSON line, newline included."""
    return msgspec.json.encode(record) + b"\n"
