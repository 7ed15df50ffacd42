"""What an upload is, by its first bytes: its name proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

Kind: TypeAlias = Literal["jsonl", "gzip", "parquet"]
Reason: TypeAlias = Literal["kind", "too_large", "damaged", "empty", "busy", "changed"]

HEAD_BYTES: Final = 1024
"""So many bytes are looked at."""

TAKEN: Final = "upload prediction JSON Lines (plain or gzip), or Parquet"
_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


class UploadRefused(InputError):  # noqa: N818 - nothing failed
    """An upload is not read, or not to its end; ``reason`` says why in a word."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        file: str,
        line: int | None = None,
        field: str | None = None,
        remedy: str = TAKEN,
    ) -> None:
        super().__init__(message, file=file, line=line, field=field, remedy=remedy)
        self.reason: Reason = reason


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


_OTHERS: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("a ZIP archive (or what is made of one: .docx, .xlsx, .npz, .pt)", _starts(b"PK")),
    ("a tar archive", lambda head: head[257:262] == b"ustar"),
    ("a 7z archive", _starts(b"7z\xbc\xaf\x27\x1c")),
    ("a RAR archive", _starts(b"Rar!")),
    ("bzip2 data", _starts(b"BZh")),
    ("xz data", _starts(b"\xfd7zXZ")),
    ("zstd data", _starts(b"\x28\xb5\x2f\xfd")),
    ("a Python pickle", lambda head: head[:1] == b"\x80" and head[1:2] <= b"\x05"),
    ("a NumPy array", _starts(b"\x93NUMPY")),
    ("an HDF5 file", _starts(b"\x89HDF")),
    ("an Arrow file", _starts(b"ARROW1", b"FEA1")),
    ("encrypted Parquet", _starts(b"PARE")),
    ("an SQLite database", _starts(b"SQLite format 3\0")),
    ("a PNG image", _starts(b"\x89PNG")),
    ("a JPEG image", _starts(b"\xff\xd8\xff")),
    ("a GIF image", _starts(b"GIF8")),
    ("a WebP image", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("a BMP image", _starts(b"BM")),
    ("a TIFF image", _starts(b"II*\0", b"MM\0*")),
    ("a PDF document", _starts(b"%PDF")),
    ("a program", _starts(b"\x7fELF", b"MZ", b"#!")),
    ("text in UTF-16", _starts(b"\xff\xfe", b"\xfe\xff")),
    ("HTML or XML", lambda head: _text(head).startswith(b"<")),
    ("a JSON array: write one object a line", lambda head: _text(head).startswith(b"[")),
)


def kind_of(head: bytes, name: str) -> Kind:
    """What an upload is.

    Args:
        head: Its first :data:`HEAD_BYTES` bytes.
        name: What it is called in messages.

    Raises:
        UploadRefused: If it is nothing that is taken.
    """
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_PARQUET):
        return "parquet"
    require_json_lines(head, name)
    return "jsonl"


def require_json_lines(head: bytes, name: str, inside: str = "") -> None:
    """Refuse what does not begin as a JSON object does.

    Args:
        head: The first bytes.
        name: What the file is called in messages.
        inside: What the bytes were taken from, such as ``gzip data with ``.

    Raises:
        UploadRefused: If it is something else.
    """
    if not _text(head):
        if len(head) < HEAD_BYTES:
            raise UploadRefused("empty", f"{inside or 'the file has '}no predictions", file=name)
        raise UploadRefused("kind", "begins with nothing but white space", file=name)
    if _text(head).startswith(b"{"):
        return
    if head.startswith((_GZIP, _PARQUET)):
        what = "gzip data" if head.startswith(_GZIP) else "Parquet"
        raise UploadRefused("kind", f"{inside}{what}", file=name)
    for what, matches in _OTHERS:
        if matches(head):
            raise UploadRefused("kind", f"{inside}{what}", file=name)
    message = f"{inside}no prediction file: JSON Lines begin with '{{'"
    raise UploadRefused("kind", message, file=name)


def _text(head: bytes) -> bytes:
    return head.removeprefix(_BOM).lstrip(b" \t\r\n")
