"""Reward terms by name; the built-in ones are registered as a third party registers its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ffr_eval import plugins
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile

TERMS: Final = "ffr.rewards"
"""The entry-point group: a :class:`Term`."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a reward.

    Attributes:
        name: As it is registered.
        summary: What it is, in a sentence.
        embedded: Whether it needs vectors: without any in the batch it is left out.
        compute: A batch of n completions and a profile to values of shape ``(n,)``, unweighted; NaN
            where it cannot be computed, with the reason given to :meth:`Batch.cannot`.
    """

    name: str
    summary: str
    compute: Callable[[Batch, Profile], FloatArray]
    embedded: bool = False


def term_named(name: str) -> Term:
    """The term of a name.

    Raises:
        InputError: If there is none; suggests the nearest.
    """
    points = _registered()
    if name not in points:
        remedy = plugins.nearest(name, points)
        raise InputError(f"unknown reward term {name!r}", field="term", remedy=remedy)
    found: Any = plugins.load(TERMS, name, points)
    if not isinstance(found, Term):
        raise plugins.broken(TERMS, name, "is not a Term")
    return found


def term_names() -> tuple[str, ...]:
    """All registered terms."""
    return tuple(_registered())


@lru_cache(maxsize=1)
def _registered() -> dict[str, Any]:
    return plugins.registered(TERMS)
