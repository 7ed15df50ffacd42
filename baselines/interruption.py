"""Ctrl-C in two steps: the first asks to stop, the second stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGE: Final = b"\nfinishing what is under way; Ctrl-C again stops at once\n"


@contextmanager
def stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """While the block runs, the first SIGINT sets ``stop``, and the next raises KeyboardInterrupt.

    Does nothing where signals cannot be handled (in another thread) or are ignored.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if in_main_thread else signal.SIG_IGN
    if before is None or before == signal.SIG_IGN:
        yield
        return

    def handle(_number: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with suppress(OSError, ValueError):  # not through a buffer that may be in use
            os.write(sys.stderr.fileno(), _MESSAGE)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
