"""What a benchmark holds, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffr_eval.benchmark.validation import kind_of
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from ffr_eval.benchmark.schema import DialogueRecord, QueryRecord
    from ffr_eval.benchmark.tables import Benchmark
    from ffr_eval.ragged import Ragged


@dataclass(frozen=True, slots=True)
class Summary:
    """A benchmark in numbers.

    Attributes:
        mean_turns: Turns of a dialogue, mean over the dialogues.
        n_images: Images of all dialogues, with and without a file.
        mean_gold_utts, mean_gold_imgs: Gold ids of a query, mean over the queries.
        kinds: Number of queries of each kind; kinds without queries are left out.
        splits: Number of queries in each split.
    """

    n_dialogues: int
    n_queries: int
    mean_turns: float
    n_images: int
    mean_gold_utts: float
    mean_gold_imgs: float
    kinds: dict[str, int]
    splits: dict[str, int]
    content_hash: str


def summarise(benchmark: Benchmark) -> Summary:
    """Count what a benchmark holds."""
    dialogues, queries = benchmark.dialogues, benchmark.queries
    kinds = Counter(queries.kind)
    return Summary(
        n_dialogues=len(dialogues),
        n_queries=len(queries),
        mean_turns=_mean_length(dialogues.utt_ids),
        n_images=len(dialogues.img_ids.values),
        mean_gold_utts=_mean_length(queries.gold_utt_ids),
        mean_gold_imgs=_mean_length(queries.gold_img_ids),
        kinds={kind.value: kinds[kind] for kind in Kind if kinds[kind]},
        splits=dict(Counter(queries.split)),
        content_hash=benchmark.content_hash,
    )


class SummaryCounter:
    """Counts dialogues and queries as they are written; equal to :func:`summarise` at the end."""

    def __init__(self) -> None:
        self.splits: Counter[str] = Counter()
        self._kinds: Counter[tuple[bool, bool]] = Counter()
        self._n_dialogues = self._n_turns = self._n_images = 0
        self._n_gold_utts = self._n_gold_imgs = 0

    def add_dialogue(self, record: DialogueRecord) -> None:
        """Count a dialogue."""
        self._n_dialogues += 1
        self._n_turns += len(record.turns)
        self._n_images += len(record.images)

    def add_query(self, record: QueryRecord) -> None:
        """Count a query."""
        self.splits[record.split] += 1
        n_utts, n_imgs = len(set(record.gold_utt_ids)), len(set(record.gold_img_ids))
        self._kinds[n_utts > 0, n_imgs > 0] += 1
        self._n_gold_utts += n_utts
        self._n_gold_imgs += n_imgs

    def summary(self, content_hash: str) -> Summary:
        """What was counted."""
        n_queries = self.splits.total()
        kinds = {kind_of(range(utts), range(imgs)): n for (utts, imgs), n in self._kinds.items()}
        return Summary(
            n_dialogues=self._n_dialogues,
            n_queries=n_queries,
            mean_turns=self._n_turns / (self._n_dialogues or 1),
            n_images=self._n_images,
            mean_gold_utts=self._n_gold_utts / (n_queries or 1),
            mean_gold_imgs=self._n_gold_imgs / (n_queries or 1),
            kinds={kind.value: kinds[kind] for kind in Kind if kind in kinds},
            splits=dict(self.splits),
            content_hash=content_hash,
        )


def _mean_length(lists: Ragged) -> float:
    return len(lists.values) / len(lists) if len(lists) else 0.0
