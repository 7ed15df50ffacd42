"""Keeping this process from waiting for vLLM's processes once they are gone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY_S: Final = 1.0


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
