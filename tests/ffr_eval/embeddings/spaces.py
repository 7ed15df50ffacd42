"""Builders for the tests of the embedding store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ffr_eval.embeddings.keys import text_key
from ffr_eval.embeddings.store import (
    EmbeddingStore,
    Entry,
    SpaceRecord,
)

ROOT = Path(__file__).parents[3]
RECORD = SpaceRecord("open_clip", "ViT-B-32/openai", "r1", {"pool": "cls"}, ("text",), roles=False)


def other(**changes: Any) -> SpaceRecord:
    return msgspec.structs.replace(RECORD, **changes)


def keys_of(n: int, start: int = 0) -> list[bytes]:
    return [text_key(str(number)) for number in range(start, start + n)]


def vectors_of(n: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)


def fill(store: EmbeddingStore, n: int, record: SpaceRecord = RECORD, dimension: int = 8) -> None:
    with store.open(record, write=True) as space:
        space.write(
            [Entry(k, v) for k, v in zip(keys_of(n), vectors_of(n, dimension), strict=True)]
        )


def other_process(program: str, store: EmbeddingStore) -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "FFR_EMBEDDINGS": str(store.root)}
    command = [sys.executable, "-c", program]
    subprocess.run(command, env=variables, check=True, stdin=subprocess.DEVNULL)
