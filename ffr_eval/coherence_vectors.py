"""The fragments of a prediction table, and the vectors of its dialogues from the store."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.embeddings.keys import KEY_LENGTH
from ffr_eval.errors import InputError
from ffr_eval.metrics.coherence import modality_sums
from ffr_eval.metrics.element_order import KnownIds, Layout
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.embeddings.elements import DialogueElements
    from ffr_eval.embeddings.space import SpaceRecord
    from ffr_eval.embeddings.store import Space
    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.ragged import IntArray

    BoolArray = NDArray[np.bool_]

THERE: Final = "there"
BLANK: Final = "blank text"
TEXT_ONLY: Final = "image under a text-only encoder"
_KINDS: Final = ("utterances", "images", "queries")
_KEPT_BYTES: Final = 256 << 20  # of vectors of the first pass that the second need not read again
_QUERY: Final = 2  # the modality of queries, beside utterances (0) and images (1)


class SampleFragments:
    """The elements of predictions and gold, dialogue by dialogue.

    Args:
        table: The predictions.
        benchmark: What they were made on.
        protocol: For which the table is coded.

    Attributes:
        query: Row of each sample's query in the benchmark, shape ``(n,)``.
        has_gold: Which samples have gold, shape ``(n,)``.
        layout: The elements of all dialogues.
        rows: The rows of the dialogues that the samples are on, ascending.
        first_asked: Which samples are the first with their query, shape ``(n,)``.
    """

    def __init__(self, table: PredictionTable, benchmark: Benchmark, protocol: Protocol) -> None:
        dialogues = benchmark.dialogues
        rows = [benchmark.row_of(name) for name in table.sample_id]
        self.query: IntArray = np.array(rows, dtype=np.int64)
        self._dialogue = benchmark.queries.dialogue[self.query]
        self._known = KnownIds(dialogues.utt_ids), KnownIds(dialogues.img_ids)
        self._coded = protocol.real_ids
        self.has_gold: BoolArray = (table.utterance.gold.lengths + table.image.gold.lengths) > 0
        everyone = np.arange(len(dialogues), dtype=np.int64)
        shown_in = benchmark.turn_index.images(dialogues.img_ids, everyone)
        self.layout = Layout(*self._known, self._known[0].within(), shown_in.values)
        self._order = np.argsort(self._dialogue, kind="stable")
        self.rows, starts = np.unique(self._dialogue[self._order], return_index=True)
        self._starts = np.append(starts, len(self._order))
        in_order = [columns.take(self._order) for columns in (table.utterance, table.image)]
        self._gold = [columns.gold for columns in in_order]
        self._predicted = [columns.predicted for columns in in_order]
        texts: dict[str, int] = {}
        for sample in self._order.tolist():
            texts.setdefault(benchmark.queries.query[rows[sample] or 0], sample)
        self.first_asked: BoolArray = np.zeros(len(rows), dtype=np.bool_)
        self.first_asked[list(texts.values())] = True

    def by_dialogue(self, part: slice) -> Iterator[tuple[int, IntArray]]:
        """The row of each dialogue of a part of :attr:`rows`, and its samples in order."""
        for place in range(part.start, part.stop):
            yield int(self.rows[place]), self._order[self._starts[place] : self._starts[place + 1]]

    def elements(self, part: slice) -> Iterator[tuple[int, int, IntArray, IntArray, IntArray]]:
        """The fragments of each dialogue of a part.

        Yields:
            Its place in :attr:`rows`, and its row; its ``k`` samples that have gold; and fragment
            and place in the dialogue of each element, once, sorted: fragments 0 … k - 1 are what is
            predicted, k … 2k - 1 gold.
        """
        for place, (row, index) in enumerate(self.by_dialogue(part), part.start):
            which = self.has_gold[index]
            k = int(which.sum())
            if not k:
                continue
            here = slice(*self._starts[place : place + 2].tolist())
            kept = np.flatnonzero(np.tile(which, 2))
            dialogue = np.full(2 * k, row)
            utterances, images = (
                self._codes(
                    modality,
                    dialogue,
                    Ragged.concatenate([_part(predicted, here), _part(gold, here)]).take(kept),
                )
                for modality, (predicted, gold) in enumerate(
                    zip(self._predicted, self._gold, strict=True)
                )
            )
            fragment, element = self.layout.elements(dialogue, utterances, images)
            yield place, row, index[which], fragment, element - self.layout.bounds[row]

    def invented(self) -> int:
        """How many distinct predicted ids of samples with gold the dialogues do not have."""
        kept = np.flatnonzero(self.has_gold[self._order])
        dialogue = self._dialogue[self._order][kept]
        total = 0
        for modality, predicted in enumerate(self._predicted):
            codes = self._codes(modality, dialogue, predicted.take(kept))
            rows, values = codes.rows, codes.values
            sizes = self._known[modality].universe.sizes
            outside = (values < 0) | (values >= sizes[dialogue[rows]])
            total += len(set(zip(rows[outside].tolist(), values[outside].tolist(), strict=True)))
        return total

    def _codes(self, modality: int, dialogue: IntArray, lists: Ragged) -> Ragged:
        if self._coded:
            return lists
        return self._known[modality].universe.encode(lists, dialogue)


def _part(lists: Ragged, rows: slice) -> Ragged:
    offsets = lists.offsets[rows.start : rows.stop + 1]
    return Ragged(lists.values[offsets[0] : offsets[-1]], offsets - offsets[0])


@dataclass(frozen=True, slots=True)
class Totals:
    """What the first pass over dialogues finds.

    Attributes:
        sums: Of the vectors of utterances, of images, and of distinct queries, shape ``(3, d)``.
        numbers: How many those are, shape ``(3,)``.
        missing: How many of each are not in the store yet, shape ``(3,)``.
    """

    sums: FloatArray
    numbers: IntArray
    missing: IntArray

    def __add__(self, other: Totals) -> Totals:
        known = [each.sums for each in (self, other) if each.sums.size]
        sums = known[0] + known[1] if len(known) > 1 else (*known, self.sums)[0]
        return Totals(sums, self.numbers + other.numbers, self.missing + other.missing)

    def require_all(self, benchmark: Benchmark, record: SpaceRecord, store: object = None) -> None:
        """Refuse to go on if something was never given to the encoder.

        Args:
            benchmark: The benchmark.
            record: What the embeddings are of.
            store: The folder of the store, if it is not the usual one.

        Raises:
            InputError: Says how much, and how to get it.
        """
        kinds = zip(_KINDS, self.missing.tolist(), strict=True)
        lacking = [f"{number:,} {what}" for what, number in kinds if number]
        if not lacking:
            return
        where = str(benchmark.root) if benchmark.root is not None else benchmark.name
        command = ["ffr", "embed", where, "--encoder", record.label]
        command += [] if store is None else ["--store", str(store)]
        message = (
            f"{', '.join(lacking)} of {benchmark.name} have no embedding of {record.label} yet"
        )
        remedy = f"compute them: `{shlex.join(command)}`"
        raise InputError(message, field="--coherence", remedy=remedy)


class StoredVectors:
    """The vectors of dialogues that samples are on, and of the samples' queries.

    Args:
        benchmark: The benchmark.
        space: The embeddings, open for reading.
        samples: The samples.

    Attributes:
        reasons: :data:`THERE`, then why elements have no vector.
        state: Place among :attr:`reasons` of each element of the layout; of the dialogues added.
        has_query: Which of the samples added have a vector of their query, shape ``(n,)``.
    """

    def __init__(self, benchmark: Benchmark, space: Space, samples: SampleFragments) -> None:
        self._benchmark = benchmark
        self._space = space
        self._samples = samples
        self._layout = samples.layout
        self._elements = BenchmarkElements(benchmark, space.record.roles)
        self._reads_images = "image" in space.record.modalities
        self._keys: dict[int, bytes] = {}
        self._kept: dict[int, NDArray[Any]] = {}
        self._room = _KEPT_BYTES
        self._query_keys: dict[int, bytes] = {}
        self.reasons = [THERE]
        self.state: NDArray[np.int8] = np.zeros(len(samples.layout.entry), dtype=np.int8)
        self.has_query: BoolArray = np.zeros(len(samples.query), dtype=np.bool_)
        self._missing = np.zeros(3, dtype=np.int64)
        self._sums = np.zeros((3, 0))
        self._numbers = np.zeros(3, dtype=np.int64)
        self._means: NDArray[np.float32] = np.zeros((3, 0), dtype=np.float32)

    @property
    def totals(self) -> Totals:
        """Of the dialogues added."""
        return Totals(self._sums, self._numbers, self._missing)

    def add(self, row: int, index: IntArray) -> None:
        """Look up a dialogue and the queries of some samples on it."""
        self._add_dialogue(row, self._elements.dialogue(row))
        keys = [self._elements.query(q)[1] for q in self._samples.query[index].tolist()]
        self._add_queries(index, keys)

    def centre_with(self, totals: Totals) -> None:
        """Take the means of what all parts have found."""
        means = totals.sums / np.maximum(totals.numbers, 1)[:, None]
        self._means = means.astype(np.float32)  # as exact as the vectors are

    def read(self, row: int) -> NDArray[Any]:
        """The vectors of the elements of a dialogue that have one, in its order; once."""
        kept = self._kept.pop(row, None)
        if kept is not None:
            return kept
        keys = self._keys[row]
        return self._vectors([keys[i : i + KEY_LENGTH] for i in range(0, len(keys), KEY_LENGTH)])

    def read_queries(self, index: IntArray) -> NDArray[Any]:
        """The vectors of the queries of some samples; 0 where there is none."""
        there = self.has_query[index]
        found = self._vectors([self._query_keys[i] for i in index[there].tolist()])
        if there.all():
            return found
        queries = np.zeros((len(index), self._means.shape[1]), dtype=np.float32)
        queries[there] = found
        return queries

    def centred(
        self, vectors: NDArray[Any], image: BoolArray, queries: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Vectors of elements and of queries, each minus the mean of its modality.

        They are :func:`ffr_eval.metrics.coherence.centred`; in the store all have length 1.
        """
        moved = vectors - self._means[image.astype(np.int64)]
        there: BoolArray = np.any(queries, axis=1)
        asking = np.where(there[:, None], queries - self._means[_QUERY], np.float32(0))
        return moved, asking

    def _vectors(self, keys: Sequence[bytes]) -> NDArray[Any]:
        if not keys:
            return np.zeros((0, self._means.shape[1]), dtype=np.float32)
        vectors, _ = self._space.read(keys)
        return vectors

    def _add_dialogue(self, row: int, found: DialogueElements) -> None:
        """Look up the elements of a dialogue, and add them to the means."""
        start, stop = self._layout.bounds[row : row + 2].tolist()
        image = self._layout.image[start:stop]
        places = self._layout.entry[start:stop] - self._first(row, image)
        keys = [*found.text_keys, *found.image_keys]
        reasons = [BLANK] * len(found.text_keys) + [str(why) for why in found.absences]
        if not self._reads_images:
            none = [None] * len(found.image_keys)
            keys = [*found.text_keys, *none]
            reasons = [BLANK] * len(found.text_keys) + [TEXT_ONLY] * len(none)
        in_order = [keys[place] for place in places.tolist()]
        for place, key in enumerate(in_order):
            if key is None:
                self.state[start + place] = self._code(reasons[int(places[place])])
        wanted = [place for place, key in enumerate(in_order) if key is not None]
        asked = [key for key in in_order if key is not None]
        vectors, there = self._space.read(asked)
        kind = image[wanted].astype(np.int64)
        usable = vectors if there.all() else vectors[there]
        self._add_to_means(usable, kind[there])
        if usable.nbytes <= self._room:
            self._kept[row] = usable
            self._room -= usable.nbytes
        self._keys[row] = b"".join(asked[i] for i in np.flatnonzero(there).tolist())
        absent = np.flatnonzero(~there).tolist()
        failures = self._space.failures([asked[i] for i in absent]) if absent else {}
        for i in absent:
            failure = failures.get(asked[i])
            if failure is None:
                self._missing[kind[i]] += 1
            else:
                reason = failure.reason.value.replace("_", " ")
                self.state[start + wanted[i]] = self._code(reason)

    def _add_queries(self, index: IntArray, keys: Sequence[bytes | None]) -> None:
        """Look up the queries of some samples, and add each distinct one once to their mean."""
        known = [(i, key) for i, key in zip(index.tolist(), keys, strict=True) if key is not None]
        asked = [key for _, key in known]
        vectors, there = self._space.read(asked)
        absent = [key for key, found in zip(asked, there.tolist(), strict=True) if not found]
        failed = self._space.failures(absent) if absent else {}
        self._missing[_QUERY] += sum(key not in failed for key in absent)
        fresh = []
        for place, (i, key) in enumerate(known):
            if there[place]:
                self.has_query[i] = True
                self._query_keys[i] = key
                if self._samples.first_asked[i]:
                    fresh.append(place)
        self._add_to_means(vectors[fresh], np.full(len(fresh), _QUERY))

    def _add_to_means(self, vectors: NDArray[Any], kind: IntArray) -> None:
        if len(vectors):
            sums = modality_sums(vectors, kind, len(self._numbers))
            self._sums = self._sums + sums if self._sums.size else sums
            self._numbers += np.bincount(kind, minlength=len(self._numbers))

    def _first(self, row: int, image: BoolArray) -> IntArray:
        """What the places of a dialogue's elements among all entries are counted from."""
        utterances, images = self._benchmark.dialogues.utt_ids, self._benchmark.dialogues.img_ids
        of_utterances = int(utterances.offsets[row])
        before = len(utterances.values) + int(images.offsets[row])
        n_utterances = int(utterances.offsets[row + 1]) - of_utterances
        return np.where(image, before - n_utterances, of_utterances)

    def _code(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)
