"""What vLLM returns for a request, as a completion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from baselines.generative.chat import Completion
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_DIGITS: Final = 6
ABORTED: Final = "abort"
"""The finish reason of a request that vLLM gave up."""


def completion_of(
    output: Any,
    name: str,
    top_logprobs: int | None,
    decode: Callable[[Sequence[int]], str] | None,
) -> Completion:
    """The completion of a request.

    Args:
        output: A ``RequestOutput`` of vLLM, finished.
        name: The model's.
        top_logprobs: How many of the most likely tokens were asked for; ``None``: none.
        decode: Makes text of tokens; ``None`` takes vLLM's text.
    """
    written = output.outputs[0]
    reason = written.finish_reason
    usage = {
        "prompt_tokens": len(output.prompt_token_ids or ()),
        "completion_tokens": len(written.token_ids),
        "cached_tokens": output.num_cached_tokens or 0,
    }
    common: dict[str, Any] = {
        "finish_reason": reason,
        "model": name,
        "usage": usage,
        "latency_s": _latency(output.metrics),
    }
    if reason not in {"stop", "length"}:
        error = f"vllm gave the request up (finish reason {reason})"
        return Completion(None, outcome=Outcome.REQUEST_ERROR, error=error, **common)
    return Completion(
        written.text if decode is None else decode(written.token_ids),
        outcome=Outcome.TRUNCATED if reason == "length" else None,
        logprobs=None if top_logprobs is None else _logprobs(written, top_logprobs),
        **common,
    )


def _latency(metrics: Any) -> float | None:
    """Seconds from the first computation to the last token: not the time spent in the queue."""
    if metrics is None or not metrics.last_token_ts or not metrics.scheduled_ts:
        return None
    return round(float(metrics.last_token_ts - metrics.scheduled_ts), _DIGITS)


def _logprobs(written: Any, k: int) -> Mapping[str, Any]:
    """Log-probabilities, and the part of the entropy that the ``k`` most likely tokens have."""
    chosen, entropy = [], []
    for token, step in zip(written.token_ids, written.logprobs or (), strict=False):
        chosen.append(_number(step[token].logprob))
        likely = sorted((entry.logprob for entry in step.values()), reverse=True)[:k]
        entropy.append(_number(sum(-x * math.exp(x) for x in likely if math.isfinite(x))))
    return {"token_logprobs": chosen, "entropy": entropy, "entropy_kind": f"top-{k}"}


def _number(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None
