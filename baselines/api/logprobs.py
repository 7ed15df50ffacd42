"""Log-probabilities as servers give them, in the form of a completion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST: Final = -9999.0
"""Stands for probability zero, which JSON cannot write as a logarithm; servers use it, too."""


def token_logprobs(logprobs: Any, n_top: int) -> dict[str, Any] | None:
    """Log-probabilities of a choice; ``None`` if there are none.

    The entropy of a token is that of the most likely ones, as many as the server names, made to
    sum to one: the entropy over the whole vocabulary is larger. It is left out if the server does
    not name them.

    Args:
        logprobs: The field of a choice; anything.
        n_top: How many were asked for at each token.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    tokens = [token for token in content if isinstance(token, dict)]
    given: dict[str, Any] = {"token_logprobs": [_logprob(token.get("logprob")) for token in tokens]}
    tops = [_top(token.get("top_logprobs")) for token in tokens]
    if all(tops):
        given["entropy"] = [entropy(top) for top in tops]
        given["entropy_kind"] = f"top-{n_top}"
    return given


def entropy(logprobs: Sequence[float]) -> float:
    """The entropy of probabilities that are made to sum to one, in nats."""
    largest = max(logprobs)
    weights = [math.exp(value - largest) for value in logprobs]
    total = sum(weights)
    return max(0.0, -sum(w / total * math.log(w / total) for w in weights if w > 0))


def _top(top: Any) -> list[float]:
    items = top if isinstance(top, list) else ()
    return [_logprob(item.get("logprob")) for item in items if isinstance(item, dict)]


def _logprob(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return LEAST
    return max(float(value), LEAST)
