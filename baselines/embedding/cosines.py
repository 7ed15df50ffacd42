"""The cosines of queries with what their dialogues hold, from the vectors of one encoder."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from baselines.embedding.elements import (
    Reader,
    Reading,
    count_elements,
    dialogues_of,
    each_element,
    present,
)
from baselines.embedding.embedder import fill
from baselines.embedding.image_files import ImageCounts, ImageFiles, require_image_files
from baselines.encoders.registry import make_encoder
from ffr_eval.embeddings.store import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from baselines.embedding.elements import Element
    from baselines.encoders.encoder import Encoder
    from baselines.machine import Machine
    from baselines.selection import BoolArray, FloatArray
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.embeddings.store import Space
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Dialogue, Sample

LOWEST: Final = -1.0
"""The score of everything in a list in which nothing has a vector: the lowest cosine."""

_BELOW: Final = 1e-6
_DECIMALS: Final = 12  # equal vectors have equal cosines, however the sums are grouped
_KEPT_DIALOGUES: Final = 8


@dataclass(frozen=True, slots=True)
class Cosines:
    """The cosine of a query with each turn or each image of a dialogue.

    Attributes:
        values: Shape ``(n,)``, float64; 0 where there is no vector.
        known: Whether there is a vector, shape ``(n,)``; nowhere, if the query has none.
    """

    values: FloatArray
    known: BoolArray

    def scores(self) -> FloatArray:
        """Finite scores: what has no vector comes just below the lowest of those that have one.

        If nothing has a vector, all scores are ``LOWEST``.
        """
        if not self.known.any():
            return np.full(len(self.values), LOWEST)
        return np.where(self.known, self.values, self.values[self.known].min() - _BELOW)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The vectors of a list of elements, float64, shape ``(n, d)``; zero where there is none."""

    values: FloatArray
    known: BoolArray

    def cosines(self, query: _Vectors) -> Cosines:
        if not query.known[0]:
            n = len(self.known)
            return Cosines(np.zeros(n), np.zeros(n, dtype=np.bool_))
        return Cosines(np.round(self.values @ query.values[0], _DECIMALS), self.known)

    def overlaid(self, other: _Vectors) -> _Vectors:
        """These vectors, with those of the other list where it has some."""
        values = np.where(other.known[:, None], other.values, self.values)
        return _Vectors(values, self.known | other.known)


class EmbeddedDialogues:
    """Fills the store with what a run needs, and reads the vectors of one dialogue after another.

    Args:
        encoder: The registered name.
        options: The encoder's options.
        context: With a turn, so many turns before and after are embedded.
        captions: Images that the encoder cannot read are found by their captions.
        interleaved: A turn's text is embedded together with the turn's images.
    """

    def __init__(
        self,
        encoder: str,
        options: Mapping[str, Any],
        *,
        context: int = 0,
        captions: bool = False,
        interleaved: bool = False,
    ) -> None:
        self._name = encoder
        self._options = options
        self._context = context
        self._captions = captions
        self._interleaved = interleaved
        self._opened: Space | None = None
        self._kept: dict[str, tuple[Dialogue, _Vectors, _Vectors]] = {}

    def use(self, machine: Machine) -> str:
        """Take up the machine; gives the revision of the weights.

        Raises:
            InputError: If the encoder cannot be had with these options.
        """
        self._encoder: Encoder = make_encoder(self._name, self._options, machine)
        self._record = self._encoder.describe()
        self._store = EmbeddingStore(machine.store)
        reading = Reading(
            images="image" in self._record.modalities,
            roles=self._record.roles,
            context=self._context,
            captions=self._captions,
            interleaved=self._interleaved,
        )
        self._reader = Reader(reading, ImageFiles())
        return self._record.revision

    def prepare(
        self,
        benchmark: Benchmark,
        rows: IntArray,
        progress: bool,
        note: Callable[[str], None],
    ) -> None:
        """Embed what the store lacks of the dialogues and queries of samples.

        Raises:
            InputError: If the encoder reads images, and there are images but no image file.
            FfrError: If the encoder fails.
        """
        self._kept.clear()
        reading, dialogues = self._reader.reading, dialogues_of(benchmark, rows)
        if reading.images:
            if not reading.captions:
                require_image_files(benchmark, self._record.label)
            instead = ": found by the caption, if there is one" if reading.captions else ""
            for text in ImageCounts.of(benchmark, dialogues).notes(instead):
                note(text)
        total = count_elements(benchmark, rows)
        report = fill(
            self._encoder,
            each_element(benchmark, rows, self._reader),
            self._store,
            total=total,
            progress=progress,
        )
        notes = report.notes()
        if reading.images and (reading.captions or reading.interleaved):
            more = self._secondary(benchmark, dialogues)
            secondary = fill(self._encoder, more, self._store, progress=progress)
            what = "turns with their images" if reading.interleaved else "captions"
            notes += [f"of {what}: {text}" for text in secondary.notes()]
        for text in notes:
            note(text)

    def cosines(self, sample: Sample) -> tuple[Cosines, Cosines]:
        """The cosines of a sample's query with the turns, and with the images, of its dialogue.

        Raises:
            InputError: If the store has nothing of this encoder; see :meth:`prepare`.
        """
        space, dialogue = self._space(), sample.dialogue
        kept = self._kept.pop(dialogue.dialogue_id, None)
        if kept is None or (kept[0] is not dialogue and kept[0] != dialogue):
            kept = (dialogue, *self._read_dialogue(space, dialogue))
        self._kept[dialogue.dialogue_id] = kept
        if len(self._kept) > _KEPT_DIALOGUES:
            del self._kept[next(iter(self._kept))]
        query = _read(space, [self._reader.query(sample.query)])
        return kept[1].cosines(query), kept[2].cosines(query)

    def _secondary(self, benchmark: Benchmark, dialogues: Sequence[int]) -> Iterator[Element]:
        """What depends on which images could be embedded."""
        for row in dialogues:
            dialogue = benchmark.dialogue(row)
            if not dialogue.images:
                continue
            images = _read(self._space(), self._reader.images(dialogue))
            yield from present(self._reader.interleaved(dialogue, images.known.tolist()))
            yield from present(self._captions_instead(dialogue, images))

    def _read_dialogue(self, space: Space, dialogue: Dialogue) -> tuple[_Vectors, _Vectors]:
        """The vectors of a dialogue's turns, and those of its images."""
        reader = self._reader
        turns = _read(space, reader.turns(dialogue))
        images = _read(space, reader.images(dialogue))
        if reader.reading.interleaved:
            usable: list[bool] = images.known.tolist()
            turns = turns.overlaid(_read(space, reader.interleaved(dialogue, usable)))
        captions = self._captions_instead(dialogue, images)
        return turns, images.overlaid(_read(space, captions))

    def _captions_instead(self, dialogue: Dialogue, images: _Vectors) -> list[Element | None]:
        """The captions of the images that have no vector of their own."""
        captions = self._reader.captions(dialogue)
        pairs = zip(captions, images.known.tolist(), strict=True)
        return [None if known else caption for caption, known in pairs]

    def _space(self) -> Space:
        """The space, which stays open as long as this object lives."""
        if self._opened is None:
            self._opened = self._store.open(self._record)
            weakref.finalize(self, self._opened.close)
        return self._opened


def _read(space: Space, elements: Sequence[Element | None]) -> _Vectors:
    keys = [element[0] for element in present(elements)]
    there = np.array([element is not None for element in elements], dtype=np.bool_)
    vectors, found = space.read(keys)
    values = np.zeros((len(there), vectors.shape[1]))
    values[there] = vectors
    known = np.zeros(len(there), dtype=np.bool_)
    known[there] = found
    return _Vectors(values, known)
