"""Dividing a benchmark into splits, whole dialogues at a time."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from ffr_eval.benchmark.content_hash import ContentHash
from ffr_eval.benchmark.reader import INFO, QUERIES, iter_dialogues, iter_queries, read_benchmark
from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import InputError
from ffr_eval.jsonl import encode_line
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def parse_fractions(text: str) -> dict[str, float]:
    """Parse ``dev=0.3,test=0.7``.

    Raises:
        InputError: If it has another form, or the fractions do not add up to 1.
    """
    fractions: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            fractions[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name or not fractions[name] > 0:  # not NaN either
            remedy = "write NAME=FRACTION,…, for example dev=0.3,test=0.7"
            raise InputError(f"cannot read {part!r}", field="--fractions", remedy=remedy)
    total = sum(fractions.values())
    if abs(total - 1) > 1e-6:
        message = f"the fractions add up to {total:g}, not to 1"
        raise InputError(message, field="--fractions", remedy="every dialogue goes to one split")
    return fractions


def assign_splits(
    dialogue_ids: Sequence[str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Give each dialogue a split by seeded shuffle; equal arguments give equal splits.

    Split sizes are the fractions of the number of dialogues, rounded on the running total, and
    every split gets at least one dialogue.

    Raises:
        InputError: If there are fewer dialogues than splits.
    """
    if len(dialogue_ids) < len(fractions):
        message = f"{len(dialogue_ids)} dialogues cannot make {len(fractions)} splits"
        raise InputError(message, field="--fractions", remedy="ask for fewer splits")
    order = sorted(dialogue_ids)
    random.Random(seed).shuffle(order)  # noqa: S311  # reproducible, not secret
    count, parts = len(order), len(fractions)
    ends = [round(total * count) for total in accumulate(fractions.values())]
    ends[-1] = count  # whatever the rounding of the sum
    for i in range(parts):  # at least one dialogue for each, also for those still to come
        ends[i] = min(max(ends[i], (ends[i - 1] if i else 0) + 1), count - (parts - 1 - i))
    starts = [0, *ends[:-1]]
    return {
        dialogue: name
        for name, start, end in zip(fractions, starts, ends, strict=True)
        for dialogue in order[start:end]
    }


def split_benchmark(folder: Path, fractions: Mapping[str, float], seed: int) -> dict[str, int]:
    """Rewrite the splits of a benchmark folder in place; the content hash changes with them.

    Returns:
        The number of dialogues in each split.

    Raises:
        InputError: If the benchmark is not valid, or too small.
    """
    if not folder.is_dir():  # a bundled benchmark, found by name, is not to be changed
        remedy = "check the path; a bundled benchmark keeps the splits that it has"
        raise InputError("no such benchmark folder", file=folder, remedy=remedy)
    benchmark = read_benchmark(folder)
    with_queries = {benchmark.dialogues.dialogue_id[row] for row in benchmark.queries.dialogue}
    split_of = assign_splits(sorted(with_queries), fractions, seed)
    digest = ContentHash()
    for dialogue in iter_dialogues(folder):
        digest.add_dialogue(dialogue.record)
    with replacing(folder / QUERIES) as temporary, temporary.open("wb") as stream:
        for query in iter_queries(folder):
            record = msgspec.structs.replace(query.record, split=split_of[query.record.dialogue_id])
            digest.add_query(record)
            stream.write(encode_line(record))
    info = msgspec.structs.replace(benchmark.info, splits=tuple(fractions), hash=digest.hexdigest())
    write_json(folder / INFO, info)
    return {name: list(split_of.values()).count(name) for name in fractions}
