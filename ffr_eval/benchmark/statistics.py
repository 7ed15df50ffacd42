"""What a benchmark looks like: lengths, gold and its places, counts.

:func:`measure` takes every value once, :func:`describe` sums them up; both are pure.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.benchmark.reader import DIALOGUES
from ffr_eval.jsonl import read_records
from ffr_eval.metrics.groups import TURN_EDGES
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.benchmark.tables import Benchmark
    from ffr_eval.ragged import IntArray

    FloatArray = NDArray[np.float64]

LENGTHS: Final = ("short", "medium", "long")
"""Length buckets of the paper: short < 35 turns, medium 35-65, long > 65."""
_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+(?:['’-](?:(?![{_CJK}])\w)+)*")


@dataclass(frozen=True, slots=True)
class Measurements:
    """The values behind the statistics, one array each.

    Attributes:
        turns, images, speakers: One value a dialogue.
        topics: One value a dialogue that is tagged with topics.
        words, characters: One value a turn. A word is a run of letters and digits; a Chinese or
            Japanese character is a word of its own.
        gold_utts, gold_imgs: One value a query.
        dispersion: One value a query with gold utterances: turns from the first to the last of
            them, both included, over the number of them; 1 where they stand together.
        position: One value a gold utterance: where in the dialogue the middle of its turn is, from
            0 (begin) to 1 (end).
        kinds, splits: Number of queries by kind and by split.
        languages: Number of dialogues by language, the benchmark's where a dialogue has none.
    """

    turns: IntArray
    images: IntArray
    speakers: IntArray
    topics: IntArray
    words: IntArray
    characters: IntArray
    gold_utts: IntArray
    gold_imgs: IntArray
    dispersion: FloatArray
    position: FloatArray
    kinds: dict[str, int]
    splits: dict[str, int]
    languages: dict[str, int]


@dataclass(frozen=True, slots=True)
class Spread:
    """A set of values summed up; all ``None`` if there are none."""

    n: int
    mean: float | None
    median: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """A benchmark in numbers; the names are those of :class:`Measurements`.

    Attributes:
        topics_per_dialogue: ``None`` if no dialogue is tagged with topics.
    """

    n_dialogues: int
    n_queries: int
    n_turns: int
    n_images: int
    turns_per_dialogue: Spread
    lengths: dict[str, int]
    images_per_dialogue: Spread
    speakers_per_dialogue: Spread
    topics_per_dialogue: Spread | None
    words_per_turn: Spread
    characters_per_turn: Spread
    gold_utterances_per_query: Spread
    gold_images_per_query: Spread
    gold_dispersion: Spread
    gold_position: Spread
    kinds: dict[str, int]
    splits: dict[str, int]
    languages: dict[str, int]


def measure(
    benchmark: Benchmark,
    split: str | None = None,
    topics: Mapping[str, int] | None = None,
) -> Measurements:
    """Take the values of a benchmark, or of the queries of one split and their dialogues.

    Args:
        benchmark: The benchmark.
        split: A split.
        topics: Number of topics by dialogue id, as :func:`topic_counts` finds them.

    Raises:
        InputError: If there is no such split.
    """
    table, queries = benchmark.dialogues, benchmark.queries
    rows = benchmark.rows(split)
    if split is None:
        dialogues = np.arange(len(table), dtype=np.int64)
    else:
        dialogues = np.unique(queries.dialogue[rows])
    names = [table.dialogue_id[i] for i in dialogues.tolist()]
    texts = [table.text[i] for i in _turn_rows(benchmark, dialogues)]
    dispersion, position = _gold_places(benchmark, rows)
    kinds = Counter(queries.kind[row] for row in rows.tolist())
    language = benchmark.info.language
    default = language if isinstance(language, str) else "unknown"
    return Measurements(
        turns=table.utt_ids.lengths[dialogues],
        images=table.img_ids.lengths[dialogues],
        speakers=_integers(_n_speakers(benchmark, row) for row in dialogues.tolist()),
        topics=_integers(topics[name] for name in names if topics and name in topics),
        words=_integers(map(count_words, texts)),
        characters=_integers(map(len, texts)),
        gold_utts=queries.gold_utt_ids.lengths[rows],
        gold_imgs=queries.gold_img_ids.lengths[rows],
        dispersion=dispersion,
        position=position,
        kinds={kind.value: kinds[kind] for kind in Kind if kinds[kind]},
        splits=dict(Counter(queries.split[row] for row in rows.tolist())),
        languages=dict(Counter(table.language[i] or default for i in dialogues.tolist())),
    )


def describe(values: Measurements) -> Statistics:
    """Sum up measurements."""
    buckets = np.searchsorted(TURN_EDGES, values.turns, side="right")
    counts = np.bincount(buckets, minlength=len(LENGTHS)).tolist()
    return Statistics(
        n_dialogues=len(values.turns),
        n_queries=len(values.gold_utts),
        n_turns=int(values.turns.sum()),
        n_images=int(values.images.sum()),
        turns_per_dialogue=_spread(values.turns),
        lengths=dict(zip(LENGTHS, counts, strict=True)),
        images_per_dialogue=_spread(values.images),
        speakers_per_dialogue=_spread(values.speakers),
        topics_per_dialogue=_spread(values.topics) if len(values.topics) else None,
        words_per_turn=_spread(values.words),
        characters_per_turn=_spread(values.characters),
        gold_utterances_per_query=_spread(values.gold_utts),
        gold_images_per_query=_spread(values.gold_imgs),
        gold_dispersion=_spread(values.dispersion),
        gold_position=_spread(values.position),
        kinds=values.kinds,
        splits=values.splits,
        languages=values.languages,
    )


def count_words(text: str) -> int:
    """Words of a text; a Chinese or Japanese character is a word of its own."""
    return len(_WORD.findall(text))


class _Tagged(msgspec.Struct, frozen=True):
    dialogue_id: str
    meta: dict[str, Any] | None = None


def topic_counts(folder: Path) -> dict[str, int]:
    """Number of topics of each dialogue that is tagged with them, by dialogue id.

    A dialogue is tagged if its ``meta`` has ``topics``, a list of ``{"title", "utt_ids"}``.

    Raises:
        InputError: If the file cannot be read.
    """
    counts = {}
    for located in read_records(folder / DIALOGUES, _Tagged):
        topics = (located.record.meta or {}).get("topics")
        if isinstance(topics, list) and all(
            isinstance(topic, dict) and {"title", "utt_ids"} <= topic.keys() for topic in topics
        ):
            counts[located.record.dialogue_id] = len(topics)
    return counts


def _turn_rows(benchmark: Benchmark, dialogues: IntArray) -> Iterator[int]:
    offsets = benchmark.dialogues.utt_ids.offsets
    for row in dialogues.tolist():
        yield from range(int(offsets[row]), int(offsets[row + 1]))


def _n_speakers(benchmark: Benchmark, row: int) -> int:
    table = benchmark.dialogues
    first, end = table.utt_ids.offsets[row : row + 2].tolist()
    return len(set(table.speaker[first:end]) - {""})


def _gold_places(benchmark: Benchmark, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Dispersion of each query with gold utterances, and position of each gold utterance."""
    queries = benchmark.queries
    places_of = _places(benchmark)
    dispersion: list[float] = []
    position: list[float] = []
    for row in rows[np.argsort(queries.dialogue[rows], kind="stable")].tolist():
        gold = queries.gold_utt_ids[row].tolist()
        if not gold:
            continue
        places = places_of(int(queries.dialogue[row]))
        found = [places[utt_id] for utt_id in gold]
        dispersion.append((max(found) - min(found) + 1) / len(found))
        position.extend((place + 0.5) / len(places) for place in found)
    return np.array(dispersion, dtype=np.float64), np.array(position, dtype=np.float64)


def _places(benchmark: Benchmark) -> Callable[[int], dict[int, int]]:
    """Gives the places of a dialogue's utterance ids; the last dialogue asked for is kept."""
    last: tuple[int, dict[int, int]] = (-1, {})

    def places(dialogue: int) -> dict[int, int]:
        nonlocal last
        if last[0] != dialogue:
            ids = benchmark.dialogues.utt_ids[dialogue].tolist()
            last = (dialogue, {utt_id: place for place, utt_id in enumerate(ids)})
        return last[1]

    return places


def _integers(values: Any) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _spread(values: NDArray[Any]) -> Spread:
    if not len(values):
        return Spread(0, None, None, None, None)
    mean, median = float(values.mean()), float(np.median(values))
    return Spread(len(values), mean, median, float(values.min()), float(values.max()))
