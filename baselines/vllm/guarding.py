"""Keeping vLLM's processes and this one from waiting for, or ending, each other."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY_S: Final = 1.0


@contextmanager
def shielded_from_interrupts() -> Iterator[None]:
    """Processes that are started in this block never get SIGINT.

    A terminal sends it to all processes of a command at once. vLLM's would end, and what is under
    way would be lost; so the signal is blocked for them, which they inherit, whatever handlers they
    set. This program still gets it, through any other thread.
    """
    resource_tracker.ensure_running()  # as its start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def watched(llm: Any) -> Iterator[None]:
    """In this block, a call that waits for vLLM's answers fails once vLLM is dead.

    If its process is killed, for want of memory for example, vLLM 0.32 notices it in one thread
    and waits forever in another.
    """
    core = getattr(getattr(llm, "llm_engine", None), "engine_core", None)
    answers = getattr(core, "outputs_queue", None)
    resources: Any = getattr(core, "resources", None)
    if answers is None or not hasattr(resources, "engine_dead"):
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            if resources.engine_dead:
                answers.put_nowait(RuntimeError("a process of vllm ended, or was killed"))
                return

    thread = threading.Thread(target=watch, name="vllm-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
