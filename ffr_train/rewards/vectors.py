"""Vectors without an encoder: hashed character n-grams, for the laboratory and for tests.

They know nothing of meaning or of what an image shows. They only make texts that share wording
more alike than others, which is enough to see how a reward behaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_train.rewards.embeddings import DialogueEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ffr_eval.types import Dialogue

    HashArray = NDArray[np.uint64]

LABEL: Final = "hashed character n-grams, not an encoder"
DIMENSIONS: Final = 256

_LENGTHS: Final = (2, 3, 4)  # of the n-grams; two characters of Chinese are a word
_BEGIN, _END = "\x02", "\x03"  # so that no text is without n-grams


def hashed_vectors(texts: Sequence[str], seed: int = 0) -> NDArray[np.float32]:
    """A vector of length 1 for each text, shape ``(n, DIMENSIONS)``.

    An n-gram goes with a random sign to a random dimension, weighted by
    ``(1 + log tf) · log(1 + n / df)``.
    """
    n = len(texts)
    padded = [f"{_BEGIN}{' '.join(text.casefold().split())}{_END}" for text in texts]
    encoded = [text.encode("utf-32-le", "surrogatepass") for text in padded]
    rows = np.repeat(np.arange(n), [len(data) // 4 for data in encoded])
    points = np.frombuffer(b"".join(encoded), dtype="<u4").astype(np.uint64)
    grams: list[HashArray] = []
    places: list[NDArray[np.int64]] = []
    for length in _LENGTHS:
        if len(points) < length:
            continue
        last = len(points) - length + 1
        code = np.full(last, length, dtype=np.uint64)
        for step in range(length):
            code = _mixed(code ^ points[step : step + last], seed)
        inside = rows[:last] == rows[length - 1 :]
        grams.append(code[inside])
        places.append(rows[:last][inside])
    vectors = np.zeros((n, DIMENSIONS))
    if grams:
        _fill(vectors, np.concatenate(grams), np.concatenate(places))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


def hashed_embeddings(
    dialogue: Dialogue, queries: Sequence[str] = (), seed: int = 0
) -> tuple[DialogueEmbeddings, ...]:
    """Vectors of a dialogue, once for each query, or once without a query.

    A turn is its text, an image its caption or, without one, the text of the turn that shows it.
    """
    shown = {i: turn.text for turn in dialogue.turns for i in turn.img_ids}
    texts = [turn.text for turn in dialogue.turns]
    texts += [image.caption or shown.get(image.img_id, "") for image in dialogue.images]
    vectors = hashed_vectors([*texts, *queries], seed)
    utterances = {turn.utt_id: row for row, turn in enumerate(dialogue.turns)}
    first = len(dialogue.turns)
    images = {image.img_id: first + row for row, image in enumerate(dialogue.images)}
    if not queries:
        return (DialogueEmbeddings(vectors, utterances, images),)
    return tuple(
        DialogueEmbeddings(vectors, utterances, images, len(texts) + place)
        for place in range(len(queries))
    )


def _fill(vectors: NDArray[np.float64], grams: HashArray, rows: NDArray[np.int64]) -> None:
    distinct, code = np.unique(grams, return_inverse=True)
    pairs, tf = np.unique(code * len(vectors) + rows, return_counts=True)
    code, row = np.divmod(pairs, len(vectors))
    df = np.bincount(code, minlength=len(distinct))
    weight = (1 + np.log(tf)) * np.log1p(len(vectors) / df[code])
    found = distinct[code]
    sign = np.where((found >> np.uint64(32)) & np.uint64(1), 1.0, -1.0)
    dimension = (found % np.uint64(DIMENSIONS)).astype(np.int64)
    np.add.at(vectors, (row, dimension), sign * weight)


def _mixed(code: HashArray, seed: int) -> HashArray:
    """SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = code + np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**32)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
