"""Logs without content: errors are written down by type and place, never by their message.

The message of an exception may hold what a user asked or what a dialogue says, and Streamlit and
uvicorn write it down with every line of the traceback.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_FRAMES: Final = 6
_DEEPEST: Final = 4


def place_of(error: BaseException) -> str:
    """The types of an error and its causes, and the last lines of code that it came through."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < _DEEPEST:
        frames = traceback.extract_tb(current.__traceback__)[-_FRAMES:]
        places = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
        parts.append(f"{type(current).__module__}.{type(current).__qualname__} at {places}")
        current = current.__cause__ or current.__context__
    return "; after ".join(parts)


def keep_content_out() -> None:
    """From now on no log record of this process carries an exception, or text from one."""
    make: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()
    if getattr(make, "without_content", False):
        return

    def make_without_content(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        given = record.args if isinstance(record.args, tuple) else ()
        if any(isinstance(value, BaseException) for value in given):
            record.args = tuple(
                place_of(value) if isinstance(value, BaseException) else value for value in given
            )
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()}: {place_of(record.exc_info[1])}"
            record.args, record.exc_info = (), None
        return record

    make_without_content.without_content = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_without_content)
