"""How hard samples are for a model: F1 and entropy from a run with log-probabilities."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import FfrError, InputError
from ffr_eval.metrics import retrieval
from ffr_eval.metrics.counts import count
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.runs import RECORD, read_run
from ffr_eval.sources import Request, load_source
from ffr_eval.types import Outcome
from ffr_train.curriculum.difficulty_file import Difficulty
from ffr_train.curriculum.entropy import UNKNOWN, entropy_of
from ffr_train.curriculum.levels import assign, thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.predictions import ModalityColumns, PredictionTable
    from ffr_eval.runs import RunRecord
    from ffr_train.curriculum.levels import Rule

NO_ANSWER: Final = (Outcome.REQUEST_ERROR, Outcome.CONTEXT_OVERFLOW)
"""Outcomes of samples that say nothing of the model: it has not answered."""

_RETRY: Final = "`ffr run … --retry-outcomes request_error` asks again"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run says of the difficulty of samples.

    Attributes:
        difficulty: In the order of the benchmark.
        failed: How many samples are request errors, which may be asked again.
        notes: Sentences that the user should know.
    """

    difficulty: Difficulty
    failed: int
    notes: tuple[str, ...]


def measure(path: Path, benchmark: Benchmark, split: str | None, rule: Rule) -> Measured:
    """Measure the samples of a split by a run, and assign levels.

    F1 is the mean of the two modalities' F1, a modality without gold and without an answer 1.
    Answers are read strictly; one that cannot be read has F1 0.

    Args:
        path: The run folder.
        benchmark: What the run must have been made on.
        split: Which samples; ``None`` for all.
        rule: How levels are assigned, and which entropy is taken.

    Raises:
        InputError: If the run is of another benchmark, has no log-probabilities, or is not
            complete.
        FfrError: If no sample has an answer.
    """
    run = read_run(path)
    require_run_of(benchmark, split, run, path)
    request = Request(
        benchmark=benchmark, split=split, protocol="strict", parse="strict", keep_predictions=True
    )
    source = load_source(path, request)
    require_complete(source.table, run, path, split)
    predictions = source.predictions or {}
    asked = ~np.isin(source.table.outcome, [OUTCOME_CODE[outcome] for outcome in NO_ANSWER])
    if not asked.any():
        raise FfrError(f"{path}: no sample has an answer of the model\n  → {_RETRY}")
    found = [
        entropy_of(predictions[name], rule) if there else UNKNOWN
        for name, there in zip(source.table.sample_id, asked.tolist(), strict=True)
    ]
    entropy = np.array([each.value for each in found], dtype=np.float64)
    if np.isnan(entropy).all():
        message = "the run has no log-probabilities"
        remedy = f"run again into a new folder: {run_command(run, split)}"
        raise InputError(message, file=path / RECORD, field="options.logprobs", remedy=remedy)
    f1 = np.where(asked, mean_f1(source.table), np.nan)
    kinds = [each.kind for each in found]
    difficulty = Difficulty(source.table.sample_id, f1, entropy, kinds, assign(f1, entropy, rule))
    notes = _notes(source.table, difficulty, run)
    failed = int((source.table.outcome == OUTCOME_CODE[Outcome.REQUEST_ERROR]).sum())
    return Measured(difficulty, failed, (*source.table.notes, *notes))


def mean_f1(table: PredictionTable) -> FloatArray:
    """The mean of the two modalities' F1 of each sample; 0 without a usable answer."""
    both = retrieval.arithmetic_mean(_f1(table.utterance), _f1(table.image))
    return np.where(table.answered, both, 0.0)


def require_run_of(benchmark: Benchmark, split: str | None, run: RunRecord, path: Path) -> None:
    """Refuse a run on other samples.

    Raises:
        InputError: If it was made on another benchmark, or on another split of it.
    """
    remedy = f"run it on this one: {run_command(run, split, benchmark.root)}"
    if run.benchmark.hash != benchmark.content_hash:
        message = (
            f"the run was made on {run.benchmark.name} {run.benchmark.hash}, this is"
            f" {benchmark.name} {benchmark.content_hash}"
        )
        raise InputError(message, file=path / RECORD, field="benchmark.hash", remedy=remedy)
    if run.split is not None and run.split != split:
        asked = f"split {split!r}" if split is not None else "all samples"
        message = f"the run was made on split {run.split!r}, asked for are {asked}"
        raise InputError(message, file=path / RECORD, field="split", remedy=remedy)


def require_complete(table: PredictionTable, run: RunRecord, path: Path, split: str | None) -> None:
    """Refuse a run that has not come to its end: percentiles of a part are others.

    Raises:
        InputError: If a sample has no prediction.
    """
    missing = int((table.outcome == OUTCOME_CODE[Outcome.MISSING]).sum())
    if not missing:
        return
    message = f"{missing} of {len(table)} samples have no prediction"
    if run.limit is not None:
        message += f" (the run was limited to {run.limit})"
        remedy = f"run all: {run_command(run, split)}"
    else:
        remedy = "give the command that made it once more: it goes on with the run"
    raise InputError(message, file=path, remedy=remedy)


def run_command(run: RunRecord, split: str | None, benchmark: Path | None = None) -> str:
    """A command that makes such a run with log-probabilities."""
    named = [(name, run.options.get(name)) for name in ("model", "adapter")]
    options = [part for name, value in named if value for part in ("-o", f"{name}={value}")]
    where = ["--split", split] if split is not None else []
    home = str(benchmark) if benchmark is not None else run.benchmark.path
    return shlex.join(
        ["ffr", "run", run.model, home, *options, *where, "--logprobs", "--out", "NEW-FOLDER"]
    )


def _f1(columns: ModalityColumns) -> FloatArray:
    counts = count(columns.gold, columns.predicted, columns.universe)
    nothing = counts.tp + counts.fp + counts.fn == 0
    return np.where(nothing, 1.0, retrieval.f1(counts.tp, counts.fp, counts.fn))


def _notes(table: PredictionTable, difficulty: Difficulty, run: RunRecord) -> list[str]:
    notes = []
    outcomes: Mapping[str, int] = table.outcome_counts()
    silent = {outcome.value: outcomes[outcome.value] for outcome in NO_ANSWER}
    if number := sum(silent.values()):
        each = ", ".join(f"{n} {name}" for name, n in silent.items() if n)
        notes.append(
            f"{number} samples without an answer of the model ({each}) have no level; a curriculum"
            " shows them last"
        )
    if cut := outcomes[Outcome.TRUNCATED.value]:
        notes.append(f"{cut} answers were cut off and have F1 0; allow more: -o max_tokens=N")
    low, _, high = thresholds(difficulty.f1, difficulty.entropy).f1
    if low == high:
        notes.append(
            f"at least half of the samples have F1 {low:.3f}: levels tell little apart but entropy"
        )
    unknown = int((np.isnan(difficulty.entropy) & ~np.isnan(difficulty.f1)).sum())
    if unknown:
        notes.append(f"{unknown} answers have no log-probabilities, and so no level")
    kinds = Counter(kind for kind in difficulty.entropy_kind if kind is not None)
    if len(kinds) > 1:
        each = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        notes.append(f"entropies of several kinds are compared with each other: {each}")
    temperature: Any = run.options.get("temperature")
    if temperature:
        notes.append(f"the run sampled its answers (temperature {temperature}); usual is 0")
    return notes
