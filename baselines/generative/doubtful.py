"""Telling a request that fails from an engine that is broken: only the first is an outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import FfrError

if TYPE_CHECKING:
    from baselines.generative.chat import ChatRequest, Completion

FAILURES: Final = 8
"""After so many failures in a row the engine is taken to be broken."""
FEW: Final = 2
"""So many failures are no proof of that, if there is nothing else."""
MOST: Final = 256
"""So many failures are never kept back without an end."""


@dataclass(slots=True)
class Doubtful:
    """Failures that may be the engine's: kept back until another request succeeds.

    Attributes:
        what: What has failed, for messages.
        waiting: What is kept back.
        in_a_row: Failures without a success between, those for want of memory aside.
        succeeded: Whether any request ever did.
    """

    what: str
    waiting: list[tuple[ChatRequest, Completion]] = field(default_factory=list)
    in_a_row: int = 0
    succeeded: bool = False

    def failed(
        self, request: ChatRequest, completion: Completion, *, memory: bool = False
    ) -> list[tuple[ChatRequest, Completion]]:
        """Take up a failure, and give what need not be kept back.

        Memory is short for the longest requests, and these come first: shorter ones may succeed.

        Raises:
            FfrError: If there were so many in a row that it cannot be the requests.
        """
        if memory and self.succeeded:
            return [(request, completion)]
        self.waiting.append((request, completion))
        self.in_a_row += not memory
        if self.in_a_row >= FAILURES or len(self.waiting) >= MOST:
            raise self._broken()
        return []

    def success(self) -> list[tuple[ChatRequest, Completion]]:
        """What was kept back: it was the requests."""
        released, self.waiting = self.waiting, []
        self.in_a_row, self.succeeded = 0, True
        return released

    def end(self, *, stopped: bool) -> list[tuple[ChatRequest, Completion]]:
        """What is left when there are no more requests.

        Raises:
            FfrError: If nothing ever succeeded.
        """
        if self.succeeded or not self.waiting:
            return self.waiting
        if stopped:
            return []  # nobody knows; they are tried again
        if len(self.waiting) > FEW:
            raise self._broken()
        return self.waiting

    def _broken(self) -> FfrError:
        request, completion = self.waiting[-1]
        return FfrError(
            f"{self.what} failed for {len(self.waiting)} requests in a row, last for sample "
            f"{request.sample_id!r}: {completion.error}\n  → they were not recorded; the same "
            "command tries them again"
        )
