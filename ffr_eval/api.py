"""The functions that :mod:`ffr_eval` offers at its top."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ffr_eval.scoring import ALSO, Scores, score_table
from ffr_eval.sources import Request, load_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import ProtocolName
    from ffr_eval.sources import PredictionsLike
    from ffr_eval.uncertainty import Resampling


def score(
    predictions: PredictionsLike,
    benchmark: Benchmark | str | Path | None = None,
    *,
    protocol: ProtocolName | None = None,
    parse: Literal["strict", "lenient"] | None = None,
    split: str | None = None,
    group_by: Sequence[str] = (),
    metrics: Sequence[str] = ALSO,
    resampling: Resampling | None = None,
    merge_windows: bool = False,
    workers: int = 1,
    coherence: Sequence[str] = (),
    store: str | Path | None = None,
) -> Scores:
    """Score predictions.

    Args:
        predictions: A run folder; a prediction file; an ms-swift inference file; or, in memory,
            :class:`~ffr_eval.types.Prediction` objects, dictionaries of that form, or a mapping of
            sample id to ``(utt_ids, img_ids)``.
        benchmark: A benchmark, its folder, or the name of a bundled one. A run folder names its
            own; an inference file carries its own gold.
        protocol: ``official`` (the default for inference files) or ``strict`` (for all others), or
            a version of them, such as ``strict-1``.
        parse: How raw responses are read under ``strict``; ``lenient`` by default.
        split: Only this split; by default the split of a run, else all samples.
        group_by: Groupings to break figures down by: ``turns``, ``turns(20,50)``, ``kind``,
            ``language``, ``dispersion``, ``position``, ``meta.FIELD``, crossings ``turns*kind``.
        metrics: Names of the metrics reported beside the table, such as ``f_beta(0.5)``.
        resampling: How 95% intervals are computed, ``Resampling()`` for the usual way; without it
            there are none.
        merge_windows: Merge the windows of split dialogues in an inference file.
        workers: Processes for large inference files and for coherence; with more than 1, call it
            from a script guarded by ``if __name__ == "__main__"``.
        coherence: Encoders under which fragments are compared, ``NAME`` or ``NAME:MODEL``; their
            embeddings must be in the store (``ffr embed``).
        store: The folder of the embedding store; by default the usual one.

    Returns:
        Figures in 0-1 (MCC in -1 to 1), unrounded; ``.to_dict()`` and ``.to_frame()`` give them as
        plain data.

    Raises:
        InputError: If something given is wrong; says where, and what to do.
    """
    request = Request(
        benchmark=benchmark,
        split=split,
        protocol=protocol,
        parse=parse,
        merge_windows=merge_windows,
        workers=workers,
    )
    asked = None
    if coherence:
        from ffr_eval.coherence import CoherenceRequest

        asked = CoherenceRequest(coherence, None if store is None else Path(store))
    source = load_source(predictions, request)
    scores = score_table(source.table, source.protocol, group_by, metrics, resampling)
    if asked is None:
        return scores
    found = asked.of(source.table, source.benchmark, source.protocol, workers=workers)
    return replace(scores, coherence=found)
