"""Figures as text: how values, intervals and p-values are written, everywhere on the board."""

from __future__ import annotations

from typing import Final

from leaderboard.texts import Words

UNDEFINED: Final[str] = Words("–")
"""Stands where nothing was there to be counted; it is not a zero."""
_SMALLEST_P: Final = 0.0001
"""The smallest that is written; what rounds to it is it."""


def value_text(value: float | None, *, signed: bool = False) -> str:
    """A value with three digits: ``0.512``, ``+0.052``."""
    if value is None:
        return UNDEFINED
    return Words(f"{value:+.3f}" if signed else f"{value:.3f}")


def interval_text(lo: float | None, hi: float | None, *, signed: bool = False) -> str:
    """An interval: ``[0.478, 0.546]``."""
    if lo is None or hi is None:
        return UNDEFINED
    return Words(f"[{value_text(lo, signed=signed)}, {value_text(hi, signed=signed)}]")


def p_text(p: float | None) -> str:
    """A p-value: ``0.0312``, or ``< 0.0001``."""
    if p is None:
        return UNDEFINED
    return Words(f"< {_SMALLEST_P}" if p < _SMALLEST_P / 2 else f"{p:.4f}")


def rank_text(lo: int | None, hi: int | None) -> str:
    """A rank interval: ``2``, ``1-3``."""
    if lo is None or hi is None:
        return UNDEFINED
    return Words(f"{lo}" if lo == hi else f"{lo}-{hi}")
