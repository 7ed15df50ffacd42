"""A store to write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ffr_eval.embeddings.store import EmbeddingStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")
