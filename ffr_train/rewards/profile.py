"""Profiles: which terms a reward has, their weights and constants, as data."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from ffr_eval import plugins
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "fixed"
PROFILES: Final = ("fixed", "paper", "released")

Weight = Annotated[float, Meta(ge=0)]


class TermSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weight and constants of a term; a term reads those that it has.

    Attributes:
        weight: In the total.
        lambdas: Shares of utterances and images in F1.
        gamma: Base of the size penalty of F1.
        relative: Whether the size penalty is relative to the size of the gold.
        negative_all_or_nothing: Whether F1 on a query without gold is 1 for the empty answer and 0
            for any other; otherwise each modality is judged by itself.
        few: The order of fewer than two elements.
    """

    weight: Weight = 0.0
    lambdas: tuple[float, float] = msgspec.field(default=(0.5, 0.5), name="lambda")
    gamma: Annotated[float, Meta(gt=0, le=1)] = 1.0
    relative: bool = False
    negative_all_or_nothing: bool = False
    few: float = 0.5


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reward: its terms with their weights and constants.

    Attributes:
        gated: ``order`` and ``query_sim`` are multiplied into F1 and relative to the gold's, and an
            answer that does not parse gets 0 in every term.
        released: Terms are those of the original plugin where it has them.
        terms: By name.
    """

    name: str
    summary: str
    terms: dict[str, TermSettings]
    gated: bool = False
    released: bool = False

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term that has one above 0."""
        return {name: term.weight for name, term in self.terms.items() if term.weight > 0}

    def settings(self, term: str) -> TermSettings:
        """What the profile says of a term; the defaults where it says nothing."""
        return self.terms.get(term, TermSettings())

    def with_weights(self, weights: Mapping[str, float]) -> Profile:
        """The profile with other weights.

        Raises:
            InputError: If a term is unknown, or a weight is not a number of at least 0.
        """
        from ffr_train.rewards.registry import term_named

        terms = dict(self.terms)
        for name, weight in weights.items():
            term_named(name)
            if not 0 <= weight < float("inf"):
                message = f"the weight of {name} is {weight}"
                raise InputError(message, field="--weight", remedy="give a number of at least 0")
            terms[name] = msgspec.structs.replace(self.settings(name), weight=float(weight))
        return msgspec.structs.replace(self, terms=terms)


@lru_cache(maxsize=8)
def read_profile(name: str) -> Profile:
    """A profile by name.

    Raises:
        InputError: If there is none.
    """
    if name not in PROFILES:
        remedy = plugins.nearest(name, PROFILES)
        raise InputError(f"unknown profile {name!r}", field="--profile", remedy=remedy)
    data: Any = files("ffr_train.rewards").joinpath(f"profiles/{name}.json").read_bytes()
    return msgspec.json.decode(data, type=Profile)
