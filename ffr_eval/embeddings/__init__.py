"""Embeddings: the store they are kept in, and what of a benchmark is embedded under which keys.

Nothing here computes an embedding; that is what ``baselines.encoders`` does. Names are loaded when
they are first used: ``ffr_eval.embeddings.keys`` needs nothing but the standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ffr_eval.embeddings.elements import BenchmarkElements
    from ffr_eval.embeddings.keys import Role, image_key, mixed_key, text_key
    from ffr_eval.embeddings.space import SpaceRecord
    from ffr_eval.embeddings.store import (
        EmbeddingStore,
        Entry,
        Failure,
        FailureReason,
        Space,
        default_store,
    )

__all__ = [
    "BenchmarkElements",
    "EmbeddingStore",
    "Entry",
    "Failure",
    "FailureReason",
    "Role",
    "Space",
    "SpaceRecord",
    "default_store",
    "image_key",
    "mixed_key",
    "text_key",
]

_HOME: Final = {
    "BenchmarkElements": "elements",
    "EmbeddingStore": "store",
    "Entry": "store",
    "Failure": "store",
    "FailureReason": "store",
    "Role": "keys",
    "Space": "store",
    "SpaceRecord": "space",
    "default_store": "store",
    "image_key": "keys",
    "mixed_key": "keys",
    "text_key": "keys",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ffr_eval.embeddings.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ffr_eval.embeddings' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
