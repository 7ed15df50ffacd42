"""Writes of several threads to one disk, with one wait for the disk for all that come together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from ffr_eval.errors import FfrError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Put(Generic[T]):
    """An item on its way to the disk; ``turn`` is set when it is there, or is to be written."""

    item: T
    turn: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    error: FfrError | None = None


class SharedWrites(Generic[T]):
    """One of the threads that wait writes for all of them, and lets one of the next do the same.

    Args:
        write: Brings items to the disk, all or none; called in one thread at a time.
    """

    def __init__(self, write: Callable[[list[T]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._queue: list[_Put[T]] = []
        self._led = False  # whether a thread writes, or was told to

    def put(self, item: T) -> None:
        """Write an item; it is on the disk when this returns.

        Raises:
            FfrError: What ``write`` raised for the items that it was given together.
        """
        put = _Put(item)
        with self._lock:
            self._queue.append(put)
            leads, self._led = not self._led, True
        if not leads:
            self._wait(put)
        if not put.done:
            self._lead(put)
        if put.error is not None:
            raise put.error

    def _wait(self, put: _Put[T]) -> None:
        try:
            put.turn.wait()
        except BaseException:  # Ctrl-C
            with self._lock:
                if put in self._queue:
                    self._queue.remove(put)
                if put.turn.is_set() and not put.done:
                    self._pass_on()
            raise

    def _lead(self, own: _Put[T]) -> None:
        with self._lock:
            batch, self._queue = self._queue, []
        error: FfrError | None = None
        try:
            self._write([put.item for put in batch])
        except FfrError as caught:
            error = caught
        except BaseException:  # Ctrl-C here is not the others' end: one of them writes the rest
            with self._lock:
                self._queue[:0] = [put for put in batch if put is not own]
                self._pass_on()
            raise
        for put in batch:
            put.error, put.done = error, True
            put.turn.set()
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the first of those that wait write next."""
        self._led = bool(self._queue)
        if self._led:
            self._queue[0].turn.set()
