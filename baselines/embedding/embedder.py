"""Filling the embedding store: what it lacks is encoded and written as it comes."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from baselines.embedding.progress import Bar
from baselines.embedding.report import EXAMPLES, FillReport
from baselines.encoders.encoder import Item
from baselines.encoders.running import open_encoder
from ffr_eval.embeddings.entries import Entry, Failure, FailureReason
from ffr_eval.embeddings.keys import Content, content_of
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from baselines.embedding.elements import Element
    from baselines.encoders.batches import Encoded
    from baselines.encoders.encoder import Encoder
    from baselines.encoders.running import RunningEncoder
    from ffr_eval.embeddings.space import SpaceRecord
    from ffr_eval.embeddings.store import EmbeddingStore, Space

_LOOKED_UP: Final = 2048  # elements that are looked up in the store at once
_FIRST_CHUNK: Final = 64
_SMALLEST_CHUNK: Final = 8
_LARGEST_CHUNK: Final = 8192
_MOST_CHARACTERS: Final = 8_000_000  # of the texts of a chunk
_SECONDS: Final = 4.0  # what a chunk should take: a kill loses no more
_GROWTH: Final = 8
_PROBE: Final = Item("probe")


def fill(
    encoder: Encoder,
    elements: Iterable[Element],
    store: EmbeddingStore,
    *,
    total: int | None = None,
    progress: bool = False,
    retry: bool = False,
) -> FillReport:
    """Encode those elements that the store lacks, and keep their vectors.

    Elements are taken as they come and let go of again, so that memory does not grow with their
    number (but for 9 bytes each, by which repetitions are counted). The encoder is loaded only if
    something is missing. What is encoded is written every few seconds: the same call after a kill
    goes on from there. Several processes may fill a store at once.

    Args:
        encoder: The encoder.
        elements: Keys, and what is encoded under them; repetitions are encoded once.
        store: The store.
        total: How many elements there are, if that is known, for the progress bar.
        progress: Show a progress bar on stderr, if that is a terminal and it takes long.
        retry: Try those again that an encoder refused (not those that cannot be read): what it
            refused may have been the fault of the moment, such as a device that failed.

    Raises:
        InputError: If the encoder's model is not to be had, or the store has vectors of another
            dimension.
        MissingExtraError: If a package that the encoder needs is not installed.
        FfrError: If the encoder fails.
    """
    start = time.monotonic()
    record = encoder.describe()
    with ExitStack() as stack:
        bar = stack.enter_context(Bar(f"embedding with {record.label}", total, progress))
        filler = _Filler(encoder, record, store, stack, bar, retry=retry)
        rest = iter(elements)
        while block := list(islice(rest, _LOOKED_UP)):
            filler.add(block)
        filler.finish()
        return filler.report(time.monotonic() - start)


class _Filler:
    """One call of :func:`fill`."""

    def __init__(
        self,
        encoder: Encoder,
        record: SpaceRecord,
        store: EmbeddingStore,
        stack: ExitStack,
        bar: Bar,
        *,
        retry: bool,
    ) -> None:
        self._encoder = encoder
        self._record = record
        self._store = store
        self._stack = stack
        self._bar = bar
        self._retry = retry
        self._retried: set[bytes] = set()
        self._running: RunningEncoder | None = None
        self._space = self._existing()
        self._pending: dict[bytes, Item] = {}
        self._chunk = _FIRST_CHUNK
        self._n_elements = 0
        self._n_new = 0
        self._seen = array("Q")
        self._seen_text = array("B")
        self._cut = array("Q")
        self._failed: dict[bytes, FailureReason] = {}
        self._examples: list[str] = []

    def add(self, block: Sequence[Element]) -> None:
        """Look elements up, and encode if enough are missing."""
        self._n_elements += len(block)
        self._seen.extend(_number(key) for key, _ in block)
        self._seen_text.extend(content_of(key) is not Content.IMAGE for key, _ in block)
        items = {key: item for key, item in reversed(block) if key not in self._pending}
        keys = list(reversed(items))
        unknown = {*self._unknown(keys), *self._refused(keys)}
        self._note_known([key for key in keys if key not in unknown], items)
        self._pending |= {key: items[key] for key in keys if key in unknown}
        self._bar.advance(len(block) - len(unknown))
        while len(self._pending) >= self._chunk or self._n_characters() > _MOST_CHARACTERS:
            self._encode_chunk()

    def finish(self) -> None:
        """Encode what is left."""
        while self._pending:
            self._encode_chunk()

    def report(self, seconds: float) -> FillReport:
        """What it came to."""
        seen, first = np.unique(np.asarray(self._seen), return_index=True)
        record = self._record if self._space is None else self._space.record
        counts = Counter(self._failed.values())
        return FillReport(
            encoder=record.label,
            space=record.id,
            revision=record.revision,
            dimension=record.dimension,
            n_elements=self._n_elements,
            n_distinct=len(seen),
            n_known=len(seen) - self._n_new,
            n_new=self._n_new,
            n_texts=int(np.asarray(self._seen_text)[first].sum()) if len(first) else 0,
            n_cut=len(np.unique(np.asarray(self._cut))),
            max_tokens=record.max_tokens,
            failures={reason: counts[reason] for reason in FailureReason if counts[reason]},
            examples=tuple(self._examples),
            seconds=seconds,
        )

    def _existing(self) -> Space | None:
        """The space as it is, for looking up alone; ``None`` if there is none yet."""
        if not (self._store.root / self._record.id).exists():
            return None
        try:
            return self._stack.enter_context(self._store.open(self._record))
        except InputError:  # another process is just making it; a damaged one is refused below
            return None

    def _load(self) -> tuple[Space, RunningEncoder]:
        """The space, to be written to, and the encoder, once something must be encoded."""
        if self._running is None or self._space is None:
            self._running = self._stack.enter_context(open_encoder(self._encoder))
            space = self._store.open(self._record, write=True)
            self._space = self._stack.enter_context(space)
            about = self._running
            space.complete(dtype=about.dtype, device=about.device, max_tokens=about.max_tokens)
        return self._space, self._running

    def _unknown(self, keys: Sequence[bytes]) -> list[bytes]:
        if self._space is None:
            return list(keys)
        unknown = self._space.unknown(keys).tolist()
        return [key for key, missing in zip(keys, unknown, strict=True) if missing]

    def _refused(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those that the encoder refused in an earlier session, to be tried again, once."""
        if self._space is None or not self._retry:
            return []
        found = self._space.failures(keys).items()
        refused = [k for k, failure in found if failure.reason is FailureReason.NOT_ENCODED]
        again = [key for key in refused if key not in self._retried]
        self._retried.update(again)
        return again

    def _note_known(self, keys: Sequence[bytes], items: dict[bytes, Item]) -> None:
        """Take up what the store says of elements that it knows."""
        if self._space is None or not keys:
            return
        self._cut.extend(_number(key) for key in self._space.cut(keys))
        for key, failure in self._space.failures(keys).items():
            if key not in self._failed and len(self._examples) < EXAMPLES:
                self._examples.append(f"{_named(items[key])} ({failure.message})")
            self._failed[key] = failure.reason

    def _n_characters(self) -> int:
        return sum(len(item.text or "") for item in self._pending.values())

    def _encode_chunk(self) -> None:
        """Encode and write the first of the elements that are missing."""
        space, running = self._load()
        chunk: dict[bytes, Item] = {}
        n_characters = 0
        for key, item in islice(self._pending.items(), self._chunk):
            n_characters += len(item.text or "")
            if chunk and n_characters > _MOST_CHARACTERS:
                break
            chunk[key] = item
        for key in chunk:
            del self._pending[key]
        missing = {*self._unknown(list(chunk)), *(chunk.keys() & self._retried)}
        # the store is asked again, as another process may have been faster
        todo = {key: item for key, item in chunk.items() if key in missing}
        self._bar.advance(len(chunk) - len(todo))
        if todo:
            start = time.monotonic()
            space.write(_entries(list(todo), self._encoded(running, list(todo.values()))))
            self._n_new += len(todo)
            self._adapt(len(todo), time.monotonic() - start)
        self._note_known(list(chunk), chunk)

    def _encoded(self, encode: RunningEncoder, items: Sequence[Item]) -> Encoded:
        """Encode items together with a probe.

        An encoder that refuses whatever it is given fails, and ends the run. One that can encode
        the probe works, and if it refuses all else that is due, the fault is with that.
        """
        encoded = encode([*items, _PROBE], self._bar.advance)
        self._bar.advance(-1)
        return encoded

    def _adapt(self, n_items: int, seconds: float) -> None:
        wanted = n_items / max(seconds, 1e-3) * _SECONDS
        largest = min(self._chunk * _GROWTH, _LARGEST_CHUNK)
        self._chunk = int(max(min(wanted, largest), _SMALLEST_CHUNK))


def _entries(keys: Sequence[bytes], encoded: Encoded) -> list[Entry]:
    return [
        _failed(key, *encoded.failures[place], encoded.cut.get(place))
        if place in encoded.failures
        else Entry(key, encoded.vectors[place], cut_tokens=encoded.cut.get(place))
        for place, key in enumerate(keys)
    ]


def _failed(key: bytes, reason: str, message: str, cut_tokens: int | None) -> Entry:
    return Entry(key, failure=Failure(FailureReason(reason), message), cut_tokens=cut_tokens)


def _number(key: bytes) -> int:
    """What tells keys apart, in 8 bytes."""
    return int.from_bytes(key[1:9], "little")


def _named(item: Item) -> str:
    if item.images:
        return " ".join(str(path) for path in item.images)
    text = " ".join((item.text or "").split())
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
