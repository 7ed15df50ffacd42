"""How large an upload may be, in every respect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST_ID: Final = 256
"""Characters of a sample id."""
LONGEST_RESPONSE: Final = 200_000
"""Characters of a raw answer."""
MOST_IDS: Final = 10_000
"""Utterance ids, and image ids, of one prediction."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of one upload.

    Attributes:
        upload_bytes: As it comes.
        unpacked_bytes: As JSON Lines.
        ratio: Bytes unpacked a byte of gzip, beyond the first ``ratio_free`` bytes.
        gzip_members: A gzip file may be several, one after the other.
        lines: Lines or rows.
        line_bytes: Of one line.
        row_groups: Of a Parquet file.
        values: Of a column of a Parquet file, the items of lists counted.
        seconds: For a Parquet file.
        memory_bytes: Address space of the process that reads a Parquet file.
    """

    upload_bytes: int = 32 * 2**20
    unpacked_bytes: int = 64 * 2**20
    ratio: int = 200
    ratio_free: int = 2**20
    gzip_members: int = 10_000
    lines: int = 200_000
    line_bytes: int = 4 * 2**20
    row_groups: int = 1_000
    values: int = 8_000_000
    seconds: int = 60
    memory_bytes: int = 768 * 2**20
