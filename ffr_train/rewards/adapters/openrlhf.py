"""OpenRLHF: ``--remote_rm_url FILE`` with ``from … import reward_func``.

A label is the gold, or a JSON object with ``solution`` and other columns. OpenRLHF has no way to
skip a sample, so a reward that cannot be computed raises. Written to its documentation.
"""

from __future__ import annotations

import json
from typing import Any

from ffr_train.rewards.columns import shared_reward


def columns_of(label: str) -> dict[str, Any]:
    """The columns of a sample from its label."""
    return dict(json.loads(label)) if label.startswith("{") else {"solution": label}


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict[str, Any]:
    """Totals as ``rewards``; ``queries`` are prompts with their completions."""
    import torch

    texts = [query.removeprefix(prompt) for query, prompt in zip(queries, prompts, strict=True)]
    pairs = zip(texts, labels, strict=True)
    values = [shared_reward().one(text, columns_of(label)) for text, label in pairs]
    totals = torch.tensor([value["total"] for value in values])
    return {"rewards": totals, "scores": totals, "extra_logs": {"ffr_total": totals}}
