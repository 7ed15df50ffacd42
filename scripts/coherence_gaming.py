"""What coherence gives to answers that game it: the table of docs/coherence.md.

python scripts/coherence_gaming.py BENCHMARK --encoder ENCODER [--split SPLIT] [--store DIR]

The benchmark's embeddings must be in the store (`ffr embed BENCHMARK --encoder ENCODER`). Only
samples with gold are answered; the others get the answer that nothing matches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import ffr_eval
from ffr_eval.benchmark import read_benchmark
from ffr_eval.embeddings import BenchmarkElements, EmbeddingStore
from ffr_eval.errors import FfrError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.embeddings import Space

    FloatArray = NDArray[np.float64]
    Answer = tuple[tuple[int, ...], tuple[int, ...]]
    Strategy = Callable[["Known"], Answer]

COLUMNS: Final = ("order", "query_sim", "order_centered", "query_sim_centered", "random_order")


class Known:
    """What strategies know of a sample: the vectors of its dialogue's utterances and of its query.

    Attributes:
        sample: The sample.
        gold: Its gold.
        rng: Of random numbers.
        utt_ids: The utterances that have a vector.
        vectors: Theirs, shape ``(m, d)``.
        query: Of the query; ``None`` without one.
        others: The gold of the other queries of the dialogue.
    """

    def __init__(
        self, benchmark: Benchmark, elements: BenchmarkElements, space: Space, row: int
    ) -> None:
        self.sample = sample = benchmark.sample(row)
        self.rng = np.random.default_rng(row)
        self.gold: Answer = ((), ())
        if sample.gold is not None:
            self.gold = sample.gold.utt_ids, sample.gold.img_ids
        dialogue = int(benchmark.queries.dialogue[row])
        keys = elements.dialogue(dialogue).text_keys
        ids = [turn.utt_id for turn in sample.dialogue.turns]
        pairs = [(i, key) for i, key in zip(ids, keys, strict=True) if key is not None]
        vectors, found = space.read([key for _, key in pairs])
        self.utt_ids = [i for (i, _), there in zip(pairs, found.tolist(), strict=True) if there]
        self.vectors = vectors[found].astype(np.float64)
        query, asked = space.read([key for key in (elements.query(row)[1],) if key is not None])
        self.query = query[0].astype(np.float64) if asked.any() else None
        gold = benchmark.queries.gold_utt_ids, benchmark.queries.gold_img_ids
        same = np.flatnonzero(benchmark.queries.dialogue == dialogue).tolist()
        golds = [(tuple(gold[0][i].tolist()), tuple(gold[1][i].tolist())) for i in same]
        mine = self.gold
        self.others = [other for other in golds if any(other) and other != mine]


def gold(known: Known) -> Answer:
    """The gold itself."""
    return known.gold


def spam(known: Known) -> Answer:
    """The most similar two utterances, and then what is most similar to those taken so far."""
    n = min(len(known.gold[0]) + len(known.gold[1]), len(known.utt_ids))
    if n < 2:
        return tuple(known.utt_ids[:n]), ()
    alike = known.vectors @ known.vectors.T
    np.fill_diagonal(alike, -np.inf)
    taken = list(map(int, np.unravel_index(int(alike.argmax()), alike.shape)))
    while len(taken) < n:
        total = alike[taken].sum(axis=0)
        total[taken] = -np.inf
        taken.append(int(total.argmax()))
    return tuple(known.utt_ids[i] for i in taken), ()


def wrong_topic(known: Known) -> Answer:
    """The gold of another query of the dialogue; nothing where there is no other."""
    if not known.others:
        return (), ()
    return known.others[int(known.rng.integers(len(known.others)))]


def single(known: Known) -> Answer:
    """The one utterance that is most similar to the query."""
    if known.query is None or not known.utt_ids:
        return (), ()
    return (known.utt_ids[int((known.vectors @ known.query).argmax())],), ()


def everything(known: Known) -> Answer:
    """All utterances and images."""
    dialogue = known.sample.dialogue
    return (
        tuple(turn.utt_id for turn in dialogue.turns),
        tuple(image.img_id for image in dialogue.images),
    )


def random(known: Known) -> Answer:
    """As many utterances and images as the gold has, drawn once."""
    every = everything(known)
    sizes = len(known.gold[0]), len(known.gold[1])
    utts, imgs = (
        tuple(known.rng.choice(ids, size, replace=False).tolist()) if size else ()
        for ids, size in zip(every, sizes, strict=True)
    )
    return utts, imgs


STRATEGIES: Final[dict[str, Strategy]] = {
    "gold": gold,
    "near-duplicate spam": spam,
    "wrong topic": wrong_topic,
    "single turn": single,
    "select-all": everything,
    "random": random,
}


def table(name: str, encoder: str, split: str | None, store_folder: Path | None) -> str:
    """The figures of each strategy as a Markdown table."""
    benchmark = read_benchmark(name)
    store = EmbeddingStore(store_folder)
    lines = [
        f"{benchmark.name}, {encoder}",
        "",
        f"| answers | {' | '.join(COLUMNS)} | n | left out | micro joint F1 |",
        f"|---|{'---:|' * (len(COLUMNS) + 3)}",
    ]
    answers: dict[str, dict[str, Answer]] = {strategy: {} for strategy in STRATEGIES}
    with store.open(store.find(encoder)) as space:
        elements = BenchmarkElements(benchmark, space.record.roles)
        for row in benchmark.rows(split).tolist():
            known = Known(benchmark, elements, space, row)
            for place, (strategy, answer) in enumerate(STRATEGIES.items()):
                known.rng = np.random.default_rng([row, place])
                silent = not any(known.gold)
                found = ((), ()) if silent else answer(known)
                answers[strategy][known.sample.sample_id] = found
    for strategy, given in answers.items():
        scores = ffr_eval.score(
            given, benchmark, split=split, metrics=(), coherence=(encoder,), store=store.root
        )
        found = scores.to_dict()["coherence"][encoder]
        f1 = scores.metric("micro.joint.f1")
        cells = [*(_cell(found[column]) for column in COLUMNS), str(found["n"])]
        lines.append(f"| {strategy} | {' | '.join(cells)} | {found['n_skipped']} | {_cell(f1)} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("benchmark")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--split")
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    try:
        print(table(given.benchmark, given.encoder, given.split, given.store))
    except FfrError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
