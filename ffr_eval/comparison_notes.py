"""What a reader of a comparison should know beside its figures, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.predictions import OUTCOMES
from ffr_eval.scoring import ASK_AGAIN, INCOMPLETE_ABOVE, incomplete_mark
from ffr_eval.statistics.values import ROUNDING
from ffr_eval.uncertainty import FEW_DIALOGUES, RARE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.pairs import Pair, RankedRun
    from ffr_eval.ragged import IntArray
    from ffr_eval.uncertainty import Resampling

_ONE_DIALOGUE: Final = (
    "one dialogue: nothing can be said about how sure the figures are, as dialogues are what is"
    " drawn; no intervals, no p-values"
)


def incomplete_notes(
    names: Sequence[str], outcomes: Sequence[NDArray[np.integer]], repeatable: Collection[str]
) -> dict[str, str]:
    """What is said of runs of which too many requests failed, by name; nothing of others.

    Args:
        names: Of the runs.
        outcomes: How the samples of each run that are compared ended, as codes of ``OUTCOMES``.
        repeatable: Names of runs whose samples can be asked again.
    """
    notes = {}
    for name, codes in zip(names, outcomes, strict=True):
        numbers = np.bincount(codes, minlength=len(OUTCOMES)).tolist()
        mark = incomplete_mark(dict(zip(OUTCOMES, numbers, strict=True)), len(codes))
        if mark is not None:
            again = f"; {ASK_AGAIN}" if name in repeatable else ""
            without = "there is no rank, and no test against other runs"
            notes[name] = f"{name}: {mark}; above {INCOMPLETE_ABOVE:.0%} {without}{again}"
    return notes


def undefined_notes(
    names: Sequence[str],
    metric: Metric,
    evaluations: Sequence[Evaluation],
    rows: Sequence[IntArray],
    sums: FloatArray,
) -> list[str]:
    """Why the metric is undefined, where it is."""
    modality = next((m for m in ("utterance", "image") if f".{m}." in metric.name), "")
    modalities = (modality,) if modality else ("utterance", "image")
    notes: dict[str, list[str]] = {}
    for name, evaluation, chosen, of_run in zip(names, evaluations, rows, sums, strict=True):
        if metric.of_terms(of_run) is not None:
            continue
        columns = [evaluation.columns(each) for each in modalities]
        ids = sum(
            int(part.lengths[chosen].sum())
            for column in columns
            for part in (column.gold, column.predicted)
        )
        which = f"{modality} ids" if modality else "ids"
        why = "no sample counts" if ids else f"no {which} in the gold or its predictions"
        notes.setdefault(why, []).append(name)
    return [
        f"{metric.name} is undefined, and nothing compared with it, for {_listed(affected)}: {why}"
        for why, affected in notes.items()
    ]


def unusual_notes(
    pairs: Sequence[Pair],
    ranks: Sequence[RankedRun],
    n_dialogues: int,
    resampling: Resampling,
    alpha: float,
) -> list[str]:
    """What a reader would stumble over in intervals and p-values."""
    if n_dialogues < 2:
        return [_ONE_DIALOGUE]
    tested = sum(pair.p is not None for pair in pairs)
    notes = _too_few(tested, n_dialogues, resampling, alpha)
    if n_dialogues < FEW_DIALOGUES:
        notes.append(
            f"{n_dialogues} dialogues: below {FEW_DIALOGUES} intervals come out somewhat too narrow"
        )
    points = [pair for pair in pairs if pair.ci95 and pair.ci95.hi - pair.ci95.lo <= ROUNDING]
    if equal := [f"{pair.a} and {pair.b}" for pair in points if pair.delta == 0]:
        notes.append(f"no difference, in whatever dialogues: {_listed(equal)}")
    if constant := [f"{pair.a} and {pair.b}" for pair in points if pair.delta != 0]:
        notes.append(
            "the difference is the same in every resample of dialogues, so its interval is a"
            f" point: {_listed(constant)}"
        )
    intervals = [(run.model, run.ci95) for run in ranks]
    intervals += [(f"{pair.a} and {pair.b}", pair.ci95) for pair in pairs]
    rare = {name: found.undefined for name, found in intervals if found and found.undefined > RARE}
    if rare:
        notes.append(
            f"undefined in up to {max(rare.values()):.1%} of the resamples of dialogues, which the"
            f" intervals leave out: {_listed(rare)}"
        )
    return notes


def _too_few(pairs: int, dialogues: int, resampling: Resampling, alpha: float) -> list[str]:
    """Notes where no difference, however large, can be significant."""
    least = 2.0 ** (1 - dialogues)  # all swapped, or none
    if least * pairs > alpha:
        why = f"with {dialogues} dialogues no p-value is below {least:.2g}"
        if pairs > 1:
            why += f", adjusted for {pairs} pairs {min(least * pairs, 1):.2g}"
    elif pairs / (resampling.replicates + 1) > alpha:
        enough = math.ceil(2 * pairs / alpha)
        why = f"{pairs} pairs need more replicates (--replicates {enough} would do)"
    else:
        return []
    return [f"no difference can be significant: {why}"]


def _listed(names: Iterable[str], most: int = 5) -> str:
    every = list(names)
    more = f"; and {len(every) - most} more" if len(every) > most else ""
    return "; ".join(every[:most]) + more
