"""Where, how fast and at what expense a model computes: never what it answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """Settings of a session; another session of the same run may have others.

    Attributes:
        device: ``auto`` (a GPU if there is one), or a device as torch names it: ``cpu``,
            ``cuda:1``, ``mps``.
        batch_size: At most so many items at once; ``None`` for the model's own figure.
        python: The interpreter to run an encoder in; ``None`` for this one.
        store: The folder of the embedding store; ``None`` for the default one.
        concurrency: At most so many requests at once; ``None`` for the model's own figure.
        requests_per_minute: Requests a minute, at most.
        tokens_per_minute: Tokens a minute, at most, in prompts and answers together.
        max_cost: What the whole run may cost, in the currency of the price table.
        timeout_s: Seconds until a request is given up.
        max_retries: How often a request that failed on the way is tried again.
        prices: A price table in the place of the bundled one.
        cache: The file of the response cache; ``None`` for the default one.
        no_cache: Neither read nor write the response cache.
        refresh: Ask again what the response cache knows, and keep the new answers.
    """

    device: str = "auto"
    batch_size: int | None = None
    python: Path | None = None
    store: Path | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_cost: float | None = None
    timeout_s: float | None = None
    max_retries: int | None = None
    prices: Path | None = None
    cache: Path | None = None
    no_cache: bool = False
    refresh: bool = False

    def given(self) -> dict[str, str]:
        """The flag of each setting that differs from its default, by the setting's name."""
        return {
            setting.name: "--" + setting.name.removesuffix("_s").replace("_", "-")
            for setting in fields(self)
            if getattr(self, setting.name) != setting.default
        }


EMBEDDING_SETTINGS: Final = frozenset({"device", "batch_size", "python", "store"})
"""What models that compute embeddings take."""
