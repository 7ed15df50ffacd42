"""Lines that are nearly JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ffr_eval.jsonl import decode


def test_a_number_of_thousands_of_digits_beside_nan_is_malformed() -> None:
    line = b'{"a": NaN, "b": ' + b"9" * 5000 + b"}"
    with pytest.raises(msgspec.DecodeError):
        decode(line, msgspec.json.Decoder(Any))


def test_nan_is_read_as_python_writes_it() -> None:
    found = decode(b'{"a": NaN}', msgspec.json.Decoder(Any))
    assert found["a"] != found["a"]
