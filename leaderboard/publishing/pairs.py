"""Pairs of runs: differences, intervals and tests, computed once for each two parts of runs.

A pair is computed from the parts of its two runs and nothing else, so it stays when other runs
come or go. What does depend on them, the adjusted p-values and the ranks, is computed whenever the
tables are written (:mod:`leaderboard.publishing.tables`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from ffr_eval.metrics.named import parse_metric
from ffr_eval.pairs import pairs_of
from ffr_eval.writing import temporary_name
from leaderboard.publishing.code_version import code_version
from leaderboard.publishing.figures import protocols, single_metric
from leaderboard.publishing.parquet import from_rows, load, save
from leaderboard.site.schema import PAIR_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.uncertainty import Resampling
    from leaderboard.publishing.run_part import Sums
    from leaderboard.publishing.store import Store

MOST_PAIRED: Final = 200
"""Of a board with more runs only so many, the best by the headline, are compared in pairs."""

_FORMAT: Final = 1
_AT_ONCE: Final = 20_000  # pairs that are computed before they are saved
_REAL, _INT = pa.float64(), pa.int64()
STORED: Final = pa.schema(
    {
        "a_part": pa.string(),
        "b_part": pa.string(),
        "metric": pa.string(),
        "delta": _REAL,
        "lo": _REAL,
        "hi": _REAL,
        "p": _REAL,
        "wins": _INT,
        "ties": _INT,
        "losses": _INT,
        "n_samples": _INT,
        "n_dialogues": _INT,
        "dialogues_needed": _INT,
    }
)
"""Pairs of one board, protocol and bucket, by the parts of the two runs."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A run that is compared with others.

    Attributes:
        part: The name of its part.
        incomplete: By protocol, grouping and bucket: whether it is tested at all.
    """

    run_id: str
    part: str
    incomplete: Mapping[tuple[str, str, str], bool]


@dataclass(frozen=True, slots=True)
class PairFile:
    """The pairs of a board, a protocol and a bucket."""

    path: Path
    protocol: str
    grouping: str
    bucket: str

    def read(self) -> pa.Table:
        """Those that are known."""
        return load(self.path) if self.path.exists() else STORED.empty_table()


def pair_files(
    store: Store,
    content_hash: str,
    split: str | None,
    buckets: Sequence[tuple[str, str]],
    resampling: Resampling,
) -> list[PairFile]:
    """Where the pairs of a board are kept."""
    settings = [
        *(_FORMAT, content_hash, split, code_version()),
        *(resampling.replicates, resampling.seed, resampling.method),
    ]
    files = []
    for protocol in protocols():
        for grouping, bucket in buckets:
            place = [*settings, protocol.name, grouping, bucket]
            name = hashlib.sha256(msgspec.json.encode(place)).hexdigest()
            path = store.part("pairs", f"{name}.parquet")
            files.append(PairFile(path, protocol.family, grouping, bucket))
    return files


def complete(
    file: PairFile,
    runs: Sequence[Paired],
    sums_of: Callable[[str], Sums],
    resampling: Resampling,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Compute the pairs of some runs that are not known, and forget those of others.

    Args:
        file: Where they are kept.
        runs: In the order of their ids; the first of two is ``a``.
        sums_of: What pairs are computed from, by the name of a part.
        resampling: How uncertainty is computed.
        progress: Called with the number of pairs that were computed since the last call.

    Returns:
        How many were computed.
    """
    wanted = {(a.part, b.part): None for n, a in enumerate(runs) for b in runs[n + 1 :]}
    known = file.read()
    there = {
        (a, b, metric)
        for a, b, metric in zip(
            *(known[name].to_pylist() for name in ("a_part", "b_part", "metric")), strict=True
        )
    }
    keep = [
        (a, b) in wanted
        for a, b in zip(known["a_part"].to_pylist(), known["b_part"].to_pylist(), strict=True)
    ]
    kept = known.filter(pa.array(keep, pa.bool_()))
    place = (file.protocol, file.grouping, file.bucket)
    incomplete = {run.part: run.incomplete[place] for run in runs}
    done = 0
    for metric in PAIR_METRICS:
        missing = [(a, b) for a, b in wanted if (a, b, metric) not in there]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            rows = list(_computed(file, metric, some, incomplete, sums_of, resampling))
            kept = pa.concat_tables([kept, from_rows(STORED, rows)])
            _save(kept, file.path)
            done += len(some)
            progress(len(some))
    if not done and len(kept) != len(known):
        _save(kept, file.path)
    return done


def pair_rows(
    file: PairFile,
    metric: str,
    couples: Sequence[tuple[str, str]],
    incomplete: Mapping[str, bool],
    sums_of: Callable[[str], Sums],
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Some pairs of a metric, computed; by the names of parts."""
    return list(_computed(file, metric, couples, incomplete, sums_of, resampling))


def _computed(
    file: PairFile,
    name: str,
    couples: Sequence[tuple[str, str]],
    incomplete: Mapping[str, bool],
    sums_of: Callable[[str], Sums],
    resampling: Resampling,
) -> Iterator[dict[str, Any]]:
    metric = parse_metric(name)
    single = single_metric(name).name
    parts = list(dict.fromkeys(part for couple in couples for part in couple))
    place = {part: number for number, part in enumerate(parts)}
    found = [sums_of(part) for part in parts]
    sums = np.stack([each[file.protocol, file.grouping, file.bucket, name] for each in found])
    values = [each["sample", file.protocol, file.grouping, file.bucket, single] for each in found]
    pairs = pairs_of(
        parts,
        sums,
        metric,
        [(place[a], place[b]) for a, b in couples],
        resampling,
        [incomplete[part] for part in parts],
    )
    direction = 1 if metric.better == "higher" else -1
    for pair in pairs:
        delta = direction * (values[place[pair.a]] - values[place[pair.b]])
        yield {
            "a_part": pair.a,
            "b_part": pair.b,
            "metric": name,
            "delta": pair.delta,
            "lo": None if pair.ci95 is None else pair.ci95.lo,
            "hi": None if pair.ci95 is None else pair.ci95.hi,
            "p": pair.p,
            "wins": int(np.count_nonzero(delta > 0)),
            "ties": int(np.count_nonzero(delta == 0)),
            "losses": int(np.count_nonzero(delta < 0)),
            "n_samples": len(delta),
            "n_dialogues": pair.n_dialogues,
            "dialogues_needed": pair.dialogues_needed,
        }


def paired_runs(headline: Mapping[str, float | None]) -> set[str]:
    """The runs of a board that are compared in pairs.

    Args:
        headline: The headline of each run by its id.
    """
    if len(headline) <= MOST_PAIRED:
        return set(headline)
    values = {name: math.nan if value is None else value for name, value in headline.items()}
    best = sorted(values, key=lambda name: (math.isnan(values[name]), -values[name], name))
    return set(best[:MOST_PAIRED])


def _save(rows: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    save(rows, temporary)
    temporary.replace(path)
