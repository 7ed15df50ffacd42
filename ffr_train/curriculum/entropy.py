"""How uncertain a model was of an answer, from the log-probabilities of its prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.window_answers import window_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ffr_eval.types import Prediction
    from ffr_train.curriculum.levels import Rule

FULL: Final = "full"
"""The kind of an entropy over the whole vocabulary."""
RELEASED: Final = "released"
"""The kind of what the released code calls entropy."""

_TOP: Final = "top-"


@dataclass(frozen=True, slots=True)
class Entropy:
    """The entropy of an answer, in nats.

    Attributes:
        value: ``None`` where the log-probabilities do not say.
        kind: ``full``; ``top-K`` if only the K most likely tokens were known, then it is at most
            the full one; or ``released``.
    """

    value: float | None
    kind: str | None


UNKNOWN: Final = Entropy(None, None)


def entropy_of(prediction: Prediction, rule: Rule = "eq4") -> Entropy:
    """The entropy of an answer; of one that was asked in windows, over the tokens of all windows.

    Args:
        prediction: With ``logprobs``: ``{"token_logprobs", "entropy", "entropy_kind"}``, or the
            ``{"content": [{"logprob", "top_logprobs"}]}`` of a server.
        rule: ``eq4`` is the mean entropy of the predicted token distributions. ``released`` is the
            entropy of the probabilities of the chosen tokens, made to sum to one over the T
            positions: it is log T where all are equally probable, so it tells the length above all.
    """
    if rule == "released":
        return _released(_parts(prediction))
    return _mean(_parts(prediction))


def released_entropy(token_logprobs: Iterable[float]) -> float:
    """The entropy over positions of the chosen tokens' probabilities, 0 for a single token."""
    values = list(token_logprobs)
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    total = math.fsum(weights)
    return max(0.0, -math.fsum(w / total * math.log(w / total) for w in weights if w > 0))


def _mean(parts: Sequence[Mapping[str, Any]]) -> Entropy:
    values: list[float] = []
    kinds: set[str] = set()
    for part in parts:
        entropies, kind = _entropies(part)
        if kind is None:
            return UNKNOWN
        values += entropies
        kinds.add(kind)
    if not values:
        return UNKNOWN
    return Entropy(math.fsum(values) / len(values), min(kinds, key=_known_tokens))


def _released(parts: Sequence[Mapping[str, Any]]) -> Entropy:
    values: list[float] = []
    for part in parts:
        found = _numbers(part.get("token_logprobs"))
        values += found if found is not None else _numbers(_column(part, "logprob")) or []
    return Entropy(released_entropy(values), RELEASED) if values else UNKNOWN


def _parts(prediction: Prediction) -> list[Mapping[str, Any]]:
    """The log-probabilities of an answer, or of each window that has text; none if some lack."""
    windows = window_records(prediction)
    found: list[Any] = [prediction.logprobs]
    if windows:
        found = [window.logprobs for window in windows if window.response]
    parts: list[Mapping[str, Any]] = [part for part in found if isinstance(part, dict)]
    return parts if len(parts) == len(found) else []


def _entropies(part: Mapping[str, Any]) -> tuple[list[float], str | None]:
    """The entropy of each token, and of which kind they are; ``None`` if they are not known."""
    entropies = _numbers(part.get("entropy"))
    if entropies is not None:
        kind = part.get("entropy_kind")
        return entropies, kind if isinstance(kind, str) else None
    tops = [_numbers(_logprobs_of(top)) for top in _column(part, "top_logprobs")]
    if not tops or not all(tops):
        return [], None
    known = [top for top in tops if top]
    largest = max(map(len, known))
    return [math.fsum(-x * math.exp(x) for x in top) for top in known], f"{_TOP}{largest}"


def _column(part: Mapping[str, Any], name: str) -> list[Any]:
    """A field of each token as servers write them."""
    content = part.get("content")
    tokens = content if isinstance(content, list) else []
    return [token.get(name) for token in tokens if isinstance(token, dict)]


def _logprobs_of(top: Any) -> list[Any]:
    items = top if isinstance(top, list) else []
    return [item.get("logprob") for item in items if isinstance(item, dict)]


def _numbers(values: Any) -> list[float] | None:
    """The finite numbers of a list; what is not finite was written as null."""
    if not isinstance(values, list | tuple):
        return None
    return [
        float(value)
        for value in values
        if isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
    ]


def _known_tokens(kind: str) -> float:
    """How much of the vocabulary a kind knows."""
    number = kind.removeprefix(_TOP)
    return int(number) if number.isdigit() else math.inf
