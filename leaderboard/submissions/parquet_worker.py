"""Reads an uploaded Parquet file in a process of its own, with little memory and time.

Started by :mod:`leaderboard.submissions.parquet_rows` as a script: it needs nothing of FFR. The
file comes on standard input, its rows go to standard output as JSON Lines. What is wrong with it
goes to standard error as one JSON object, and the exit code is 3.

What a Parquet file says about itself may be a lie that makes a reader allocate without end; the
system's limits on this process hold whatever it says.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    import pyarrow as pa

WRONG: Final = 3
_TEXT: Final = ("sample_id", "response", "outcome", "finish_reason")
_IDS: Final = ("utt_ids", "img_ids", "reached_utt_ids", "reached_img_ids")
_NUMBERS: Final = ("latency_s", "cost")
_COLUMNS: Final = (*_TEXT, *_IDS, *_NUMBERS, "schema_version")
_ROWS_AT_ONCE: Final = 256
_LONGEST_WORD: Final = 2**20
_LONGEST_LIST: Final = 2**17


def main() -> None:
    """Read standard input."""
    limits: dict[str, int] = json.loads(sys.argv[1])
    _limit_resources(limits)
    data = sys.stdin.buffer.read()
    try:
        _write_rows(data, limits)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the other side has had enough
        sys.stderr.close()
    except MemoryError:
        _refuse("too_large", "needs more memory than an upload gets")


def _limit_resources(limits: dict[str, int]) -> None:
    try:
        import resource
    except ImportError:  # not POSIX
        return
    for what, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["seconds"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(what, (most, most))


def _write_rows(data: bytes, limits: dict[str, int]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(
            pa.BufferReader(data),
            pre_buffer=False,
            thrift_string_size_limit=_LONGEST_WORD,
            thrift_container_size_limit=_LONGEST_LIST,
        )
        _require_small(file, limits)
        _require_columns(file)
        row = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, use_threads=False):
            row += batch.num_rows
            if row > limits["lines"]:
                _refuse("too_large", f"more than {limits['lines']:,} rows")
            _require_small_texts(batch, limits, row)
            for record in batch.to_pylist():
                kept = {name: value for name, value in record.items() if value is not None}
                sys.stdout.buffer.write(json.dumps(kept).encode() + b"\n")
    except (pa.ArrowException, OSError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, pa.ArrowMemoryError):
            raise MemoryError from None
        _refuse("damaged", f"damaged Parquet: {str(error).splitlines()[0][:200]}")


def _require_small(file: Any, limits: dict[str, int]) -> None:
    """Refuse what says itself that it is too large, is encrypted, or lies in other files."""
    metadata = file.metadata
    for what, number, most in (
        ("rows", metadata.num_rows, limits["lines"]),
        ("row groups", metadata.num_row_groups, limits["row_groups"]),
        ("columns", metadata.num_columns, len(_COLUMNS)),
    ):
        if not 0 <= number <= most:
            _refuse("too_large", f"{number:,} {what}; at most {most:,} are taken")
    n_bytes = 0
    values = dict.fromkeys(range(metadata.num_columns), 0)
    for group in range(metadata.num_row_groups):
        for place in values:
            column = metadata.row_group(group).column(place)
            if column.file_path:
                _refuse("kind", "refers to another file", column.path_in_schema)
            n_bytes += max(column.total_uncompressed_size, 0)
            values[place] += max(column.num_values, 0)
    if n_bytes > limits["unpacked_bytes"]:
        _refuse(
            "too_large", f"{n_bytes:,} bytes uncompressed; {limits['unpacked_bytes']:,} at most"
        )
    if max(values.values(), default=0) > limits["values"]:
        _refuse("too_large", f"a column of more than {limits['values']:,} values")


def _require_columns(file: Any) -> None:
    schema = file.schema_arrow
    known = f"take only: {', '.join(_COLUMNS)}"
    for name in schema.names:
        if name not in _COLUMNS:
            _refuse("kind", "no column of a prediction file", name[:80], remedy=known)
        if schema.names.count(name) > 1:
            _refuse("kind", "two columns of one name", name)
    if "sample_id" not in schema.names:
        _refuse("kind", "no such column", "sample_id", remedy="one row a sample, with its id")
    for field in schema:
        wanted = _wanted(field.name, field.type)
        if wanted is not None:
            _refuse("kind", f"is {str(field.type)[:80]}, not {wanted}", field.name)


def _wanted(name: str, kind: pa.DataType) -> str | None:
    """What a column should be, unless it is that."""
    from pyarrow import types

    if types.is_null(kind):
        return None
    if name in _TEXT:
        if types.is_dictionary(kind):
            kind = kind.value_type
        text = types.is_string(kind) or types.is_large_string(kind)
        return None if text else "text"
    if name in _IDS:
        if types.is_list(kind) or types.is_large_list(kind):
            item = kind.value_type
            if types.is_integer(item) or types.is_null(item):
                return None
        return "lists of integers"
    if name in _NUMBERS:
        return None if types.is_floating(kind) or types.is_integer(kind) else "numbers"
    return None if types.is_integer(kind) else "integers"


def _require_small_texts(batch: pa.RecordBatch, limits: dict[str, int], row: int) -> None:
    """Refuse rows whose texts, each repetition counted, are more than the whole upload may be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    n_bytes = 0
    for column in batch.columns:
        if isinstance(column, pa.DictionaryArray):
            lengths = pc.binary_length(column.dictionary)
            n_bytes += pc.sum(lengths.take(column.indices)).as_py() or 0
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            n_bytes += pc.sum(pc.binary_length(column)).as_py() or 0
    if n_bytes > limits["unpacked_bytes"]:
        message = f"more than {limits['unpacked_bytes']:,} bytes of text (before row {row:,})"
        _refuse("too_large", message)


def _refuse(reason: str, message: str, field: str | None = None, remedy: str = "") -> NoReturn:
    found = {"reason": reason, "message": message, "field": field, "remedy": remedy}
    sys.stderr.write(json.dumps(found))
    sys.stderr.flush()
    raise SystemExit(WRONG)


if __name__ == "__main__":
    main()
