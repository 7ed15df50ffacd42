"""Which samples are trained on: those of a split that are not evaluation data as well."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError
from ffr_train.data.overlap import evaluation_set, find_overlap, other_splits, training_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_train.data.overlap import Overlap
    from ffr_train.data.progress import Progress
    from ffr_train.data.request import DataRequest

_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """The samples to train on.

    Attributes:
        rows: Of the query table.
        n_dropped: Samples that were left out.
        overlap: What was found, for the manifest.
    """

    rows: list[int]
    n_dropped: int
    overlap: dict[str, Any]


def rows_of_split(benchmark: Benchmark, split: str) -> list[int]:
    """The samples of a split that may be trained on.

    Raises:
        InputError: If there is none of that name, or it is for tests.
    """
    if split.casefold().startswith("test"):
        raise InputError(
            f"{split!r} is a test split: a model that was trained on it cannot be tested",
            file=benchmark.root,
            field="--split",
            remedy="train on another split; `ffr data split` makes some",
        )
    if split not in benchmark.splits:
        where = benchmark.root or benchmark.name
        known = ", ".join(benchmark.splits)
        remedy = f"splits here: {known}; give one with --split, or divide the benchmark: "
        remedy += f"`ffr data split {where} --fractions train=0.8,dev=0.1,test=0.1`"
        raise InputError(f"no split {split!r}", file=benchmark.root, field="--split", remedy=remedy)
    return [int(row) for row in benchmark.rows(split)]


def without_overlap(
    benchmark: Benchmark, request: DataRequest, rows: Sequence[int], progress: Progress
) -> Chosen:
    """Compare the samples of a split with evaluation data.

    Raises:
        InputError: If some are in it, and that is to be refused.
        MissingExtraError: If datasketch is not installed.
    """
    given = [
        evaluation_set(other)
        for other in request.check_against
        if other.content_hash != benchmark.content_hash
    ]
    own = other_splits(benchmark, request.split)
    others = [other for other in (own, *given) if other.rows]
    train = training_set(benchmark, request.split)
    n_dialogues = sum(len(known.rows) for known in (train, *others))
    progress.begin("comparing with evaluation data", n_dialogues)
    found = find_overlap(train, others, request.similarity, progress.advance)
    dialogue_of = benchmark.queries.dialogue
    inside = [row for row in rows if int(dialogue_of[row]) in found.rows]
    if inside and request.overlap == "refuse":
        raise _in_evaluation_data(benchmark, found, len(inside))
    dropped = set(inside) if request.overlap == "drop" else set()
    ids = benchmark.dialogues.dialogue_id
    gone = {ids[int(dialogue_of[row])] for row in dropped}
    images = [pair for pair in found.images if pair.dialogue_id not in gone]
    record = {
        "policy": request.overlap,
        "similarity": request.similarity,
        "against": [
            {
                "benchmark": other.benchmark.name,
                "hash": other.benchmark.content_hash,
                "splits": list(other.splits),
                "dialogues": len(other.rows),
            }
            for other in others
        ],
        "dialogues": len(found.rows),
        "samples": len(inside),
        "pairs": [asdict(pair) for pair in found.pairs[:_NAMED]],
        "images_compared": found.n_images,
        "images": len(images),
        "image_pairs": [asdict(pair) for pair in images[:_NAMED]],
    }
    return Chosen([row for row in rows if row not in dropped], len(dropped), record)


def _in_evaluation_data(benchmark: Benchmark, found: Overlap, n_samples: int) -> InputError:
    pair = found.pairs[0]
    splits = ", ".join(pair.splits)
    return InputError(
        f"{len(found.rows)} dialogues with {n_samples} samples are in the evaluation data;"
        f" first {pair.dialogue_id!r}, which is {pair.other_dialogue_id!r} of"
        f" {pair.benchmark} ({splits}), similarity {pair.similarity:.2f}",
        file=benchmark.root,
        field="--overlap",
        remedy="leave such samples out (--overlap drop), or keep them (--overlap keep)",
    )
