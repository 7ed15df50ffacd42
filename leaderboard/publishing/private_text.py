"""Records without what they say of the publishing machine: paths, and secrets in addresses."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ffr_eval.jsonl import decode, encode_line

if TYPE_CHECKING:
    from ffr_eval.runs import RunRecord

_POSIX: Final = re.compile(r"(?<![\w:/.~-])~?/(?:[\w.@+~,=-]+/)+([\w.@+~,=-]*)")
_AFTER_NAME: Final = re.compile(
    r"(?<![:/])//(?:[\w.@+~,=-]+/)+([\w.@+~,=-]*)"
)  # NAME//data/weights
_WINDOWS: Final = re.compile(r"(?<!\w)[A-Za-z]:[\\/](?:[^\\/\s\"']+[\\/])*([^\\/\s\"']*)")
_USER: Final = re.compile(r"(?<=://)[^/@\s]*@")
_SECRET: Final = re.compile(r"api[_-]?key|password|passwd|secret|authorization|bearer", re.I)
_KEY: Final = re.compile(r"\b(?:sk|hf|gsk|xai)[-_][A-Za-z0-9_-]{16,}")
_HIDDEN: Final = "…"
_SCRUBBED: Final = ("meta", "steps", "model")
"""The fields of a prediction that a program filled with other things than ids and numbers."""


def public_record(record: RunRecord) -> RunRecord:
    """``run.json`` as it may be shown: of paths of this machine only the last part is left."""
    return msgspec.structs.replace(
        record,
        benchmark=msgspec.structs.replace(record.benchmark, path=last_part(record.benchmark.path)),
        options={name: _option(name, value) for name, value in record.options.items()},
        selection=without_paths(record.selection),
        oracle_gap=without_paths(record.oracle_gap),
    )


def public_line(data: bytes) -> bytes:
    """A line of a prediction file, newline included, as it may be shown."""
    if b"/" not in data and b"\\" not in data:
        return data.rstrip(b"\r\n") + b"\n"
    try:
        record = decode(data, msgspec.json.Decoder(dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data.rstrip(b"\r\n") + b"\n"  # whoever reads it says what is wrong
    clean = {
        name: without_paths(value) if name in _SCRUBBED else value for name, value in record.items()
    }
    return data.rstrip(b"\r\n") + b"\n" if clean == record else encode_line(clean)


def without_paths(value: Any) -> Any:
    """The same, of paths in its texts only the last part left; keys stay."""
    if isinstance(value, str):
        return path_free(value)
    if isinstance(value, dict):
        return {name: _option(name, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    return value


def path_free(text: str) -> str:
    """A text, of absolute paths in it only the last part left."""
    if is_absolute(text):
        return last_part(text)
    text = _KEY.sub(_HIDDEN, text)
    if "/" not in text and "\\" not in text:
        return text
    text = _POSIX.sub(r"\1", _AFTER_NAME.sub(r"//\1", text))
    return _USER.sub("", _WINDOWS.sub(r"\1", text))


def is_absolute(text: str) -> bool:
    """Whether a text as a whole is an absolute path, on any operating system."""
    if "\n" in text or len(text) > 4096:
        return False
    bare = text.removeprefix("@").removeprefix("file://")
    posix = bare.startswith(("/", "~")) and len(PurePosixPath(bare).parts) > 2
    return posix or bare.startswith("~/") or bool(PureWindowsPath(bare).drive)


def last_part(path: str) -> str:
    """The last part of a path; what is no absolute path stays."""
    if not is_absolute(path):
        return path
    return PureWindowsPath(path).name or PurePosixPath(path).name or "/"


def _option(name: Any, value: Any) -> Any:
    if isinstance(name, str) and isinstance(value, str) and value and _SECRET.search(name):
        return _HIDDEN
    return without_paths(value)
