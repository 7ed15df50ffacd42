"""Figures, intervals, ranks and pairs of a synthetic site, computed from counts of samples.

The figures are those of the counts; intervals and tests are normal approximations over samples,
enough for pages (what is significant, is so everywhere), not what ``ffr publish`` computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from leaderboard.site.schema import BOARD_METRICS, FIGURES, FLOORS, PAIR_METRICS, PAIRS, PROTOCOLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.leaderboard.synthetic_dialogues import Gold

    Reals = NDArray[np.float64]

ALPHA: Final = 0.05
FLOOR_NAMES: Final = ("all", "none", "random", "window")
OFFICIAL: Final = 0.985
"""The official figures of a synthetic site are the strict ones by this factor."""


@dataclass(frozen=True)
class Counts:
    """Counts of a modality: one row a run, one column a sample."""

    tp: Reals
    fp: Reals
    fn: Reals
    tn: Reals


def of_samples(counts: Counts, answered: NDArray[np.bool_]) -> dict[str, Reals]:
    """Precision, recall, F1 and MCC of each sample; NaN where the dialogue lacks the modality."""
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    both_empty = (tp + fp + fn) == 0
    without = (tp + fp + fn + tn) == 0
    found = _fractions(tp, fp, fn, tn)
    for values in found.values():
        values[both_empty] = answered[both_empty]
        values[without] = np.nan
    return found


def _fractions(tp: Reals, fp: Reals, fn: Reals, tn: Reals) -> dict[str, Reals]:
    def share(up: Reals, down: Reals) -> Reals:
        return np.divide(up, down, out=np.zeros(np.broadcast(up, down).shape), where=down > 0)

    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
        "mcc": share(tp * tn - fp * fn, spread),
    }


def joint(utterance: dict[str, Reals], image: dict[str, Reals]) -> dict[str, Reals]:
    """Both modalities: harmonic means of precision and recall, arithmetic of F1 and MCC."""
    found = {}
    for name, left in utterance.items():
        right = image[name]
        if name in ("precision", "recall"):
            total = left + right
            both = np.divide(2 * left * right, total, out=np.zeros_like(total), where=total > 0)
            both[np.isnan(total)] = np.nan
        else:
            both = (left + right) / 2
        found[name] = np.where(np.isnan(left), right, np.where(np.isnan(right), left, both))
    return found


def buckets_of(gold: Gold) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Grouping, bucket, and which samples are in it."""
    found = [("all", "all", np.ones(len(gold.sample_ids), bool))]
    for grouping, column in (
        ("kind", gold.kind),
        ("language", gold.language),
        ("turns", gold.bucket),
    ):
        found += [(grouping, str(name), column == name) for name in np.unique(column)]
    return sorted(found, key=lambda entry: entry[:2])


@dataclass(frozen=True)
class Scored:
    """What the tables of a board are made of, by run and sample."""

    utterance: Counts
    image: Counts
    of_samples: dict[str, dict[str, Reals]]  # by modality and figure
    answered: NDArray[np.bool_]


def bucket_values(scored: Scored, rows: NDArray[np.bool_]) -> dict[str, Reals]:
    """Each of the board's metrics of each run, over some samples, protocol strict."""
    values: dict[str, Reals] = {}
    micro = {}
    for modality, counts in (("utterance", scored.utterance), ("image", scored.image)):
        sums = [part[:, rows].sum(axis=1) for part in (counts.tp, counts.fp, counts.fn, counts.tn)]
        micro[modality] = _fractions(*sums)
        for figure in micro[modality].values():
            figure[(sums[0] + sums[1] + sums[2]) == 0] = np.nan
    micro["joint"] = joint(micro["utterance"], micro["image"])
    for modality, figures in micro.items():
        values |= {f"micro.{modality}.{figure}": found for figure, found in figures.items()}
    for modality, figures in scored.of_samples.items():
        for figure, found in figures.items():
            here = found[:, rows]
            counted = ~np.isnan(here)
            values[f"macro.{modality}.{figure}"] = np.divide(
                np.nansum(here, axis=1),
                counted.sum(axis=1),
                out=np.full(len(here), np.nan),
                where=counted.any(axis=1),
            )
    values["micro.joint.adjusted_f1"] = (values["micro.joint.f1"] - 0.08) / 0.92
    wrong = [
        part[:, rows]
        for counts in (scored.utterance, scored.image)
        for part in (counts.fp, counts.fn)
    ]
    values["exact"] = (sum(wrong) == 0).mean(axis=1)
    values["answered_rate"] = scored.answered[:, rows].mean(axis=1)
    return values


def tables(
    board_id: str,
    gold: Gold,
    scored: Scored,
    run_ids: list[str],
    unranked: NDArray[np.bool_],
    most_in_pairs: int,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """``figures``, ``floors`` and ``pairs`` of a board.

    Args:
        unranked: Runs without ranks: incomplete ones and ceilings.
        most_in_pairs: So many runs, the best by the headline, are in ``pairs``.
    """
    order = np.argsort(-bucket_values(scored, np.ones(len(gold.sample_ids), bool))[PAIR_METRICS[0]])
    paired = np.sort(order[:most_in_pairs])
    figures: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    pairs: list[pa.Table] = []
    for grouping, bucket, rows in buckets_of(gold):
        strict = bucket_values(scored, rows)
        n_dialogues = len(np.unique(gold.dialogue[rows]))
        for protocol in PROTOCOLS:
            for metric in BOARD_METRICS:
                key = {"board_id": board_id, "protocol": protocol, "metric": metric}
                key |= {"grouping": grouping, "bucket": bucket}
                values = strict[metric] * (1 if protocol == "strict" else OFFICIAL)
                spread = _spread(scored, metric, rows)
                found, tests = _ranked(values, spread, unranked, metric in PAIR_METRICS)
                figures.append(key | {"n_samples": int(rows.sum()), **found})
                if tests is not None:
                    pairs.append(_pairs(key, run_ids, paired, values, tests, spread, n_dialogues))
                    floors += [
                        key | {"name": name, "value": _floor(name, values)} for name in FLOOR_NAMES
                    ]
    return (
        _table(figures, run_ids),
        pa.Table.from_pylist(floors, FLOORS.schema).sort_by(_order(FLOORS.order)),
        pa.concat_tables(pairs).sort_by(_order(PAIRS.order)),
    )


def _order(columns: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(column, "ascending") for column in columns]


def _floor(name: str, values: Reals) -> float | None:
    best = np.nanmax(values) if not np.isnan(values).all() else np.nan
    share = {"none": 0.0, "all": 0.16, "random": 0.12, "window": 0.2}[name]
    return None if np.isnan(best) else float(share * best)


def _spread(scored: Scored, metric: str, rows: NDArray[np.bool_]) -> Reals:
    """Values of each sample whose spread stands for that of the metric."""
    modality = metric.split(".")[1] if "." in metric else "joint"
    return np.nan_to_num(scored.of_samples[modality]["f1"][:, rows], nan=0.0)


def _ranked(
    values: Reals, spread: Reals, unranked: NDArray[np.bool_], in_pairs: bool
) -> tuple[dict[str, Any], dict[str, Reals] | None]:
    n_runs, n = spread.shape
    half = 1.96 * spread.std(axis=1) / np.sqrt(n)
    ranked = ~np.isnan(values) & ~unranked
    rank = np.full(n_runs, np.nan)
    ordered = np.sort(-values[ranked])
    rank[ranked] = 1 + np.searchsorted(ordered, -values[ranked], side="left")
    found: dict[str, Any] = {
        "value": values,
        "lo": values - half,
        "hi": values + half,
        "rank": rank,
        "rank_lo": np.full(n_runs, np.nan),
        "rank_hi": np.full(n_runs, np.nan),
        "tier": np.full(n_runs, np.nan),
    }
    if not in_pairs:
        return found, None
    tests = _tests(values, spread)
    better = (tests["p_holm"] <= ALPHA) & (tests["delta"] > 0) & ranked[:, None] & ranked
    found["rank_lo"][ranked] = 1 + better.sum(axis=0)[ranked]
    found["rank_hi"][ranked] = ranked.sum() - better.sum(axis=1)[ranked]
    tier, first = 0, -1
    for run in sorted(np.flatnonzero(ranked), key=lambda at: -values[at]):
        if first < 0 or better[first, run]:
            tier, first = tier + 1, run
        found["tier"][run] = tier
    return found, tests


def _tests(values: Reals, spread: Reals) -> dict[str, Reals]:
    """Differences of all pairs, rows less columns, with their errors and p-values."""
    from scipy.special import ndtr

    n_runs, n = spread.shape
    centred = spread - spread.mean(axis=1, keepdims=True)
    together = centred @ centred.T / n
    own = np.diag(together)
    error = np.sqrt(np.maximum(own[:, None] + own - 2 * together, 1e-12) / n)
    delta = values[:, None] - values
    p = 2 * ndtr(-np.abs(np.nan_to_num(delta)) / error)
    upper = np.triu_indices(n_runs, 1)
    flat = p[upper]
    place = np.argsort(flat, kind="stable")
    steps = np.minimum(1, np.maximum.accumulate(flat[place] * np.arange(len(flat), 0, -1)))
    adjusted = np.ones_like(p)
    holm = np.empty_like(flat)
    holm[place] = steps
    adjusted[upper] = holm
    adjusted.T[upper] = holm
    return {"delta": delta, "error": error, "p": p, "p_holm": adjusted}


def _pairs(
    key: dict[str, Any],
    run_ids: list[str],
    paired: NDArray[np.int64],
    values: Reals,
    tests: dict[str, Reals],
    spread: Reals,
    n_dialogues: int,
) -> pa.Table:
    left, right = np.triu_indices(len(paired), 1)
    a, b = paired[left], paired[right]
    kept = ~np.isnan(values[a]) & ~np.isnan(values[b])
    a, b = a[kept], b[kept]
    delta, error = tests["delta"][a, b], tests["error"][a, b]
    difference = spread[a] - spread[b]
    wins, losses = (difference > 1e-12).sum(axis=1), (difference < -1e-12).sum(axis=1)
    n = spread.shape[1]
    needed = np.ceil(n_dialogues * (2.8 * error / np.maximum(np.abs(delta), 1e-9)) ** 2)
    names = np.array(run_ids)
    found = {
        **{name: np.full(len(a), text) for name, text in key.items()},
        "a": names[a],
        "b": names[b],
        "delta": delta,
        "lo": delta - 1.96 * error,
        "hi": delta + 1.96 * error,
        "p": tests["p"][a, b],
        "p_holm": tests["p_holm"][a, b],
        "wins": wins,
        "ties": n - wins - losses,
        "losses": losses,
        "n_samples": np.full(len(a), n),
        "n_dialogues": np.full(len(a), n_dialogues),
        "dialogues_needed": pa.array(needed, mask=needed > 1e9).cast(pa.int64()),
    }
    arrays = [pa.array(found[field.name]).cast(field.type) for field in PAIRS.schema]
    return pa.Table.from_arrays(arrays, schema=PAIRS.schema)


def _table(blocks: list[dict[str, Any]], run_ids: list[str]) -> pa.Table:
    """The table of figures: a block is one metric, protocol and bucket, with a row a run."""
    n = len(run_ids)
    columns: dict[str, Any] = {}
    for field in FIGURES.schema:
        name = field.name
        if name == "run_id":
            column = pa.array(run_ids * len(blocks))
        elif pa.types.is_string(field.type):
            texts = pa.array([block[name] for block in blocks]).dictionary_encode()
            column = texts.take(pa.array(np.repeat(np.arange(len(blocks)), n)))
        elif name == "n_samples":
            column = pa.array(np.repeat([block[name] for block in blocks], n))
        else:
            flat = np.concatenate([block[name] for block in blocks])
            column = pa.array(flat, mask=np.isnan(flat))
        columns[name] = column.cast(field.type)
    table = pa.table(columns, schema=FIGURES.schema)
    return table.sort_by(_order(FIGURES.order))
