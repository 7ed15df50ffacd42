"""gzip data and lines of bounded size: memory stays bounded whatever an upload says it is."""

from __future__ import annotations

import io
import zlib
from typing import IO, TYPE_CHECKING, Final

from ffr_eval.jsonl import Line, too_long
from leaderboard.submissions.file_kinds import UploadRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leaderboard.submissions.upload_limits import UploadLimits

_PIECE: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_SMALLER: Final = "leave out what is not needed: sample_id, utt_ids and img_ids are enough"


class Unpacked(io.RawIOBase):
    """What a gzip stream holds, as far as it is within the limits.

    Args:
        source: The stream, at its beginning.
        limits: Of the upload.
        name: What it is called in messages.
    """

    def __init__(self, source: IO[bytes], limits: UploadLimits, name: str) -> None:
        self._source = source
        self._limits = limits
        self._name = name
        self._inflater = zlib.decompressobj(_GZIP)
        self._packed = b""
        self._n_in = 0
        self._n_out = 0
        self._n_members = 1

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Unpack as much as the buffer holds.

        Raises:
            UploadRefused: If the data are damaged, or more than the limits allow.
        """
        data = b""
        while not data:
            if not self._packed:
                self._packed = self._source.read(_PIECE)
                self._n_in += len(self._packed)
            if not self._packed:
                if self._inflater.eof:
                    return 0
                raise self._damaged("it ends too early")
            if self._inflater.eof:
                self._next_member()
                continue
            data = self._inflate(min(len(buffer), _PIECE))
        self._n_out += len(data)
        self._require_within()
        buffer[: len(data)] = data
        return len(data)

    def _inflate(self, size: int) -> bytes:
        try:
            data = self._inflater.decompress(self._packed, size)
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        self._packed = self._inflater.unconsumed_tail or self._inflater.unused_data
        return data

    def _next_member(self) -> None:
        self._packed = self._packed.lstrip(b"\0")  # what tapes and some tools fill up with
        if not self._packed:
            return
        self._n_members += 1
        if self._n_members > self._limits.gzip_members:
            most = self._limits.gzip_members
            raise UploadRefused("too_large", f"more than {most:,} gzip parts", file=self._name)
        self._inflater = zlib.decompressobj(_GZIP)

    def _require_within(self) -> None:
        limits = self._limits
        require_unpacked(self._n_out, limits, self._name)
        consumed = self._n_in - len(self._packed)
        if self._n_out > max(limits.ratio_free, limits.ratio * consumed):
            message = f"unpacks to more than {limits.ratio} times its size"
            remedy = "upload the predictions as they are, without gzip"
            raise UploadRefused("too_large", message, file=self._name, remedy=remedy)

    def _damaged(self, why: str) -> UploadRefused:
        message = f"damaged gzip data: {why}"
        return UploadRefused("damaged", message, file=self._name, remedy="compress the file again")


def require_unpacked(n_bytes: int, limits: UploadLimits, name: str) -> None:
    """Refuse more bytes of JSON Lines than are taken.

    Raises:
        UploadRefused: If there are more.
    """
    if n_bytes > limits.unpacked_bytes:
        message = f"more than {limits.unpacked_bytes:,} bytes of JSON Lines"
        raise UploadRefused("too_large", message, file=name, remedy=_SMALLER)


def bounded_lines(stream: IO[bytes], limits: UploadLimits, name: str) -> Iterator[Line]:
    """The lines of a stream that are not blank.

    Raises:
        UploadRefused: If there are too many, or one is too long.
    """
    number = n_bytes = 0
    while data := stream.readline(limits.line_bytes + 1):
        number += 1
        n_bytes += len(data)
        require_unpacked(n_bytes, limits, name)
        if number > limits.lines:
            message = f"more than {limits.lines:,} lines"
            remedy = "one line a sample"
            raise UploadRefused("too_large", message, file=name, line=number, remedy=remedy)
        if len(data) > limits.line_bytes:
            found = too_long(limits.line_bytes, None, number).problem
            raise UploadRefused("too_large", found.message, file=name, line=number, remedy=_SMALLER)
        if not data.isspace():
            yield Line(number, data.rstrip(b"\r\n"), data.endswith(b"\n"))
