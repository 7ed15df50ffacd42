"""What a benchmark holds, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffr_eval.types import Kind

if TYPE_CHECKING:
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


def _mean_length(lists: Ragged) -> float:
    return len(lists.values) / len(lists) if len(lists) else 0.0
