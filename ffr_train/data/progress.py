"""How far the work is, for whoever shows that."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows how far the work is."""

    def begin(self, what: str, total: int) -> None:
        """Another part of the work begins."""

    def advance(self, number: int) -> None:
        """So much more of it is done."""


class Quiet:
    """Shows nothing."""

    def begin(self, what: str, total: int) -> None:
        """Another part of the work begins."""

    def advance(self, number: int) -> None:
        """So much more of it is done."""
