"""What happens at each step of a generation: probabilities are noted, and tokens are drawn.

Both are used as logits processors of transformers, which call them with the raw logits of the next
token of each row. They keep a few numbers a step, and of whole distributions only the last.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Noted:
    """Of one row, for each step.

    Attributes:
        usable: Whether all logits were numbers.
        token_logprobs: Natural logarithms of the probabilities of the tokens that were chosen.
        entropy: Of the whole distribution, in nats.
    """

    usable: list[bool]
    token_logprobs: list[float]
    entropy: list[float]


class Notes:
    """Notes the model's own distributions, before temperature and top-p.

    Args:
        logprobs: Whether log-probabilities and entropies are wanted.
    """

    def __init__(self, *, logprobs: bool) -> None:
        self._wanted = logprobs
        self._last: Any = None
        self._usable: list[Any] = []
        self._logprobs: list[Any] = []
        self._entropy: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Note a step; the scores are returned as they are."""
        import torch

        self._usable.append(~torch.isnan(scores).any(dim=-1))
        if self._wanted:
            self._settle(input_ids[:, -1])
            self._last = torch.log_softmax(scores.float(), dim=-1)
            self._entropy.append(torch.special.entr(self._last.exp()).sum(dim=-1))
        return scores

    def rows(self, last_tokens: Any) -> list[Noted]:
        """The notes of each row, after the last token was chosen."""
        import torch

        if self._wanted:
            self._settle(last_tokens)
        usable = torch.stack(self._usable, dim=1).tolist()
        if not self._wanted:
            return [Noted(row, [], []) for row in usable]
        chosen = torch.stack(self._logprobs, dim=1).tolist()
        entropy = torch.stack(self._entropy, dim=1).tolist()
        return [Noted(*row) for row in zip(usable, chosen, entropy, strict=True)]

    def _settle(self, tokens: Any) -> None:
        if self._last is not None:
            self._logprobs.append(self._last.gather(1, tokens[:, None])[:, 0])
            self._last = None


class Draws:
    """Draws tokens by temperature and top-p; a row's draws do not depend on the other rows.

    Args:
        seeds: One a row.
        temperature: Greater than 0.
        top_p: Of the most likely tokens, as many as have so much probability together.
    """

    def __init__(self, seeds: Sequence[str], temperature: float, top_p: float) -> None:
        self._random = [random.Random(seed) for seed in seeds]  # noqa: S311 - to be repeated
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002 - an interface
        """Scores that leave one token in each row."""
        import torch

        # Apple's devices have no such precise numbers.
        exact = scores.cpu().double() if scores.device.type == "mps" else scores.double()
        probabilities = torch.softmax(exact / self._temperature, dim=-1)
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        reached = ordered.cumsum(dim=-1)
        ordered = ordered.masked_fill(reached - ordered >= self._top_p, 0.0)
        ordered[:, 0] = ordered[:, 0].clamp(min=torch.finfo(ordered.dtype).tiny)
        reached = ordered.cumsum(dim=-1)
        drawn = torch.tensor([[row.random()] for row in self._random], dtype=reached.dtype)
        places = torch.searchsorted(reached, drawn.to(reached.device) * reached[:, -1:], right=True)
        # Rounding must not lead to a token that was left out.
        places = places.clamp(max=(ordered > 0).sum(dim=-1, keepdim=True) - 1)
        left = torch.full_like(scores, float("-inf"))
        return left.scatter(1, tokens.gather(1, places).to(left.device), 0.0)


def seed_of(seed: int, sample_id: str, part: int) -> str:
    """The seed of a request."""
    return hashlib.sha256(f"{seed}\0{sample_id}\0{part}".encode()).hexdigest()
