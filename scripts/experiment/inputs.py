"""What the experiment is about: dialogues, a model with random weights, and vectors of elements."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.benchmark import read_benchmark
from ffr_eval.embeddings import BenchmarkElements, EmbeddingStore, Entry, SpaceRecord
from ffr_train.toy.benchmark import THINGS, ToyOptions, build_benchmark
from ffr_train.toy.model import ToySize, build_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from experiment.sizes import Size

ENCODER: Final = "toy:things"
DIMENSION: Final = 32
NOISE: Final = 0.6
"""Length of the noise on a vector whose thing has length 1: two of one thing have cosine 0.74."""
_THING: Final = re.compile("|".join(THINGS))


def make_benchmark(folder: Path, size: Size, seed: int) -> None:
    """Draw the dialogues of all splits."""
    options = ToyOptions(size.splits, size.kinds, size.turns, size.things, seed=seed)
    build_benchmark(folder, options)


def make_model(folder: Path, benchmark: Path, size: Size, seed: int) -> None:
    """Write the model, weights drawn at random."""
    build_model(folder, benchmark, ToySize(size.width, size.layers, size.heads, seed=seed))


def make_vectors(store: Path, benchmark: Path, seed: int) -> None:
    """Give every utterance and image the direction of its thing, and noise of its own content.

    A picture's thing is the one whose colour it has, which its turn need not be about.
    """
    data = read_benchmark(benchmark)
    record = SpaceRecord(
        encoder=ENCODER.partition(":")[0],
        model=ENCODER.partition(":")[2],
        revision=f"{seed}",
        options={"noise": NOISE},
        modalities=("text", "image"),
        roles=False,
    )
    elements = BenchmarkElements(data, roles=False)
    table = data.dialogues
    found: dict[bytes, NDArray[np.float32]] = {}
    for row in range(len(elements)):
        dialogue = elements.dialogue(row)
        first, end = table.img_ids.offsets[row : row + 2].tolist()
        pairs = (
            *zip(dialogue.text_keys, dialogue.texts, strict=True),
            *zip(dialogue.image_keys, table.caption[first:end], strict=True),
        )
        for key, text in pairs:
            if key is not None and text is not None and key not in found:
                found[key] = vector_of(text, key, seed)
    with EmbeddingStore(store).open(record, write=True) as space:
        space.write([Entry(key, vector) for key, vector in found.items()])


def vector_of(text: str, key: bytes, seed: int) -> NDArray[np.float32]:
    """The vector of an element whose text, or caption, names its thing."""
    thing = _THING.search(text)
    if thing is None:
        raise ValueError(f"no thing is named: {text!r}")
    digest = hashlib.sha256(b"%d " % seed + key).digest()
    noise = np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(size=DIMENSION)
    vector = NOISE * noise / np.linalg.norm(noise)
    vector[sorted(THINGS).index(thing[0])] += 1
    return vector.astype(np.float32)
