"""Encoding many items in batches that fit into memory.

Texts go by length, the longest first, so that a batch holds little padding and the largest batch
comes first; images are read when their batch is due, and a batch holds a bounded number of pixels.
Where memory runs out, the batch is halved and stays so.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.errors import FfrError
from ffr_eval.image_reading import ImageProblem, image_pixels, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from baselines.encoders.encoder import FloatArray, Item, LoadedEncoder
    from ffr_eval.embeddings.keys import Role

MAX_BATCH_PIXELS: Final = 64_000_000
"""A batch of several images never holds more decoded pixels than this."""
NOT_ENCODED: Final = "not_encoded"
"""The encoder refused the item."""

_REFUSALS: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    OSError,
)
"""What encoders raise for input that they cannot take."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What encoding came to.

    Attributes:
        vectors: One row an item, float32, as the encoder gave them; zeros where it failed.
        failures: Reason and message of each item that failed, by its position.
        cut: The full length in tokens of each text that was cut, by its item's position.
    """

    vectors: FloatArray
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    cut: dict[int, int] = field(default_factory=dict)


def encode_items(
    loaded: LoadedEncoder,
    items: Sequence[Item],
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Encoded:
    """Encode items; the results are in their order.

    Args:
        loaded: The encoder.
        items: Any mixture of texts, images and texts with images.
        batch_size: At most so many at once; ``None`` for the encoder's own figure.
        progress: Called with the number of items that were just finished.

    Raises:
        FfrError: If a single item does not fit into memory, or the encoder fails for every item.
    """
    return _Run(loaded, items, batch_size or loaded.batch_size, progress).encoded()


class _Kind(Enum):
    TEXT = auto()
    IMAGE = auto()
    MIXED = auto()


@dataclass(frozen=True, slots=True)
class _Ready:
    """An item whose images are decoded."""

    place: int
    text: str
    images: list[Image]


class _Run:
    """One call of :func:`encode_items`."""

    def __init__(
        self,
        loaded: LoadedEncoder,
        items: Sequence[Item],
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._loaded = loaded
        self._items = items
        self._batch_size = max(1, batch_size)
        self._progress = progress
        self._result = Encoded(np.zeros((len(items), loaded.dimension), dtype=np.float32))
        self._n_encoded = 0
        self._refusals: list[Exception] = []

    def encoded(self) -> Encoded:
        groups: dict[tuple[_Kind, Role], list[int]] = {}
        for place, item in enumerate(self._items):
            groups.setdefault((_kind(item), item.role), []).append(place)
        for (kind, role), places in groups.items():
            ordered = places if kind is _Kind.IMAGE else self._longest_first(places, role)
            self._encode_group(ordered, kind, role)
        if self._refusals and not self._n_encoded:
            raise FfrError(f"the encoder fails: {_words(self._refusals[0])}")
        return self._result

    def _longest_first(self, places: list[int], role: Role) -> list[int]:
        texts = [_whole(self._items[place].text) for place in places]
        lengths = dict(zip(places, self._loaded.lengths(texts, role), strict=True))
        limit = self._loaded.max_tokens
        if limit is not None:
            self._result.cut.update({i: n for i, n in lengths.items() if n > limit})
        return sorted(places, key=lambda place: -lengths[place])

    def _encode_group(self, places: list[int], kind: _Kind, role: Role) -> None:
        done = 0
        while done < len(places):
            end = self._batch_end(places, done)
            if self._encode_batch(places[done:end], kind, role):
                if self._progress is not None:
                    self._progress(end - done)
                done = end
            elif end - done == 1:
                raise _does_not_fit(self._items[places[done]])
            else:
                self._batch_size = (end - done) // 2

    def _batch_end(self, places: list[int], start: int) -> int:
        """Where the batch that starts at a position ends."""
        pixels = 0
        for end in range(start, min(start + self._batch_size, len(places))):
            for path in self._items[places[end]].images:
                try:
                    pixels += image_pixels(path)
                except ImageProblem:
                    continue  # recorded when the batch is read
            if pixels > MAX_BATCH_PIXELS and end > start:
                return end
        return min(start + self._batch_size, len(places))

    def _encode_batch(self, places: list[int], kind: _Kind, role: Role) -> bool:
        """Encode items of one kind; ``False`` if memory ran out."""
        try:
            ready = self._read(places)
        except MemoryError:
            return False
        if not ready:
            return True
        error = self._attempt(ready, kind, role)
        if error is None:
            return True
        if _out_of_memory(error):
            _free_memory()
            return False
        for one in ready:
            alone = self._attempt([one], kind, role) if len(ready) > 1 else error
            if alone is None:
                continue
            if _out_of_memory(alone):
                raise _does_not_fit(self._items[one.place])
            self._refusals.append(alone)
            self._result.failures[one.place] = (NOT_ENCODED, _words(alone))
        return True

    def _read(self, places: list[int]) -> list[_Ready]:
        ready = []
        for place in places:
            item = self._items[place]
            try:
                images = [read_image(path) for path in item.images]
            except ImageProblem as problem:
                self._result.failures[place] = (problem.reason, problem.message)
                continue
            ready.append(_Ready(place, _whole(item.text), images))
        return ready

    def _attempt(self, ready: list[_Ready], kind: _Kind, role: Role) -> Exception | None:
        """Encode a batch; what the encoder raised is returned, without the memory it refers to."""
        loaded = self._loaded
        try:
            if kind is _Kind.TEXT:
                vectors = loaded.encode_texts([one.text for one in ready], role)
            elif kind is _Kind.IMAGE:
                vectors = loaded.encode_images([one.images[0] for one in ready])
            else:
                vectors = loaded.encode_mixed([(one.text, one.images) for one in ready], role)
        except FfrError:
            raise
        except (MemoryError, *_REFUSALS) as error:
            return error.with_traceback(None)
        expected = (len(ready), loaded.dimension)
        if vectors.shape != expected:
            raise FfrError(f"the encoder gave vectors of shape {vectors.shape} for {expected}")
        self._result.vectors[[one.place for one in ready]] = vectors
        self._n_encoded += len(ready)
        return None


def _kind(item: Item) -> _Kind:
    if item.text is None and not item.images:
        raise ValueError("an item has neither text nor images")
    if not item.images:
        return _Kind.TEXT
    return _Kind.IMAGE if item.text is None and len(item.images) == 1 else _Kind.MIXED


def _whole(text: str | None) -> str:
    """A text without halves of surrogate pairs, which JSON may hold and no tokenizer takes."""
    if not text or text.isascii():
        return text or ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _out_of_memory(error: Exception) -> bool:
    """Whether this is what Python, or torch on any device, raises where memory runs out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _does_not_fit(item: Item) -> FfrError:
    what = item.images[0].name if item.images else f"a text of {len(item.text or '')} characters"
    return FfrError(
        f"out of memory with a single item: {what}\n"
        "  → use another device (device=cpu), a smaller model, or free memory"
    )


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
