"""Pilot rollouts: which samples have anything to learn from.

GRPO compares the rollouts of a sample with each other. Where all have the same reward there is no
gradient, and the sample only costs time. A pilot samples a few rollouts of each sample before the
training and says which are worth keeping; the model changes, so it is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ffr_eval.errors import FfrError, InputError
from ffr_eval.jsonl import encode_line, read_records
from ffr_eval.markup import answer_text
from ffr_eval.runs import read_run
from ffr_eval.sources import Request, load_source
from ffr_eval.types import ANSWERED, Outcome
from ffr_eval.window_answers import read_answer
from ffr_eval.writing import replacing
from ffr_train.curriculum.measuring import require_complete, require_run_of
from ffr_train.rewards.laboratory import stage_of
from ffr_train.rewards.scoring import score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.types import Prediction
    from ffr_train.rewards.profile import Profile

EQUAL: Final = 1e-9
"""Rewards that differ by no more are equal: sums of the same terms may differ in the last digit."""


class PilotRecord(msgspec.Struct, frozen=True):
    """A line of ``pilot.jsonl``.

    Attributes:
        rewards: One a rollout; null where it failed or cannot be computed.
        std: Their standard deviation; null with fewer than two.
        keep: Whether they differ; also with fewer than two, which say nothing.
    """

    sample_id: str
    rewards: tuple[float | None, ...]
    std: float | None
    keep: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pilot:
    """Rewards of the rollouts of n samples.

    Attributes:
        sample_id: In the order of the benchmark.
        profile: What rewards were computed by.
        rewards: Samples × rollouts; NaN where a rollout failed or cannot be computed.
        f1: The F1 term alone, of the same shape.
        notes: Sentences that the user should know.
    """

    sample_id: Sequence[str]
    profile: Profile
    rewards: FloatArray
    f1: FloatArray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sample_id)

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Which samples are kept, shape ``(n,)``."""
        known = ~np.isnan(self.rewards)
        most = np.where(known, self.rewards, -np.inf).max(axis=1)
        least = np.where(known, self.rewards, np.inf).min(axis=1)
        flags: NDArray[np.bool_] = (known.sum(axis=1) < 2) | (most - least > EQUAL)
        return flags

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Samples by what came of them: kept; else all rollouts right, all wrong, or equal."""
        keep = self.keep
        unknown = np.isnan(self.f1)
        right = ~keep & (unknown | (self.f1 >= 1 - EQUAL)).all(axis=1)
        wrong = ~keep & ~right & (unknown | (self.f1 <= EQUAL)).all(axis=1)
        return {
            "kept": keep,
            "all right": right,
            "all wrong": wrong,
            "equal otherwise": ~keep & ~right & ~wrong,
        }

    def records(self) -> list[PilotRecord]:
        """One a sample, in order."""
        keep = self.keep.tolist()
        rows = self.rewards.tolist()
        found = []
        for sample_id, row, kept in zip(self.sample_id, rows, keep, strict=True):
            rewards = tuple(None if np.isnan(value) else value for value in row)
            known = [value for value in rewards if value is not None]
            std = float(np.std(known)) if len(known) > 1 else None
            found.append(PilotRecord(sample_id, rewards, std, kept))
        return found


def judge(
    runs: Sequence[Path],
    benchmark: Benchmark,
    split: str | None,
    profile: Profile,
    embeddings: str = "none",
) -> Pilot:
    """Compute the rewards of rollouts.

    Args:
        runs: A run folder for each rollout.
        benchmark: What they were made on.
        split: Which samples; ``None`` for all.
        profile: The reward.
        embeddings: A folder with ``DIALOGUE_ID.npz`` for each dialogue; ``none`` leaves terms that
            need vectors out.

    Raises:
        InputError: If a run is of another benchmark, or not complete.
        FfrError: If no rollout has an answer.
    """
    queries = "query_sim" in profile.weights
    stage = stage_of(benchmark, split, embeddings, queries=queries)
    names = [sample.sample_id for sample in stage.samples]
    columns, terms, failed = [], [], 0
    notes: list[str] = []
    for path in runs:
        answers = _answers(path, benchmark, split, names)
        there = np.array([text is not None for text in answers], dtype=np.bool_)
        failed += int((~there).sum())
        batch = stage.batch([text or "" for text in answers])
        rewards = score(batch, profile, tuple(dict.fromkeys((*profile.weights, "f1"))))
        columns.append(np.where(there, rewards.total, np.nan))
        terms.append(np.where(there, rewards.terms["f1"], np.nan))
        if not notes and rewards.left_out:
            left_out = ", ".join(rewards.left_out)
            notes.append(
                f"without embeddings, {left_out} is left out of the reward; --embeddings DIR gives"
                " them"
            )
    rewards_of = np.stack(columns, axis=1)
    if failed == rewards_of.size:
        raise FfrError(f"{runs[0].parent}: no rollout has an answer of the model")
    if failed:
        notes.append(f"{failed} of {rewards_of.size} rollouts failed; their reward is null")
    if few := int(((~np.isnan(rewards_of)).sum(axis=1) < 2).sum()):
        notes.append(f"{few} samples have fewer than two rewards and are kept")
    return Pilot(names, profile, rewards_of, np.stack(terms, axis=1), tuple(notes))


def write(pilot: Pilot, path: Path) -> None:
    """Write ``pilot.jsonl``; what is there is replaced in one step.

    Raises:
        InputError: If it cannot be written.
        FfrError: If the disk is full.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for record in pilot.records():
            stream.write(encode_line(record))


def read_pilot(path: Path) -> dict[str, bool]:
    """Which samples are kept, by sample id.

    Raises:
        InputError: If the file cannot be read, or a line is no such record.
    """
    found = {
        located.record.sample_id: located.record.keep for located in read_records(path, PilotRecord)
    }
    if not found:
        remedy = "`ffr train pilot BENCH --model …` writes one"
        raise InputError("no records", file=path, remedy=remedy)
    return found


def _answers(
    path: Path, benchmark: Benchmark, split: str | None, names: Sequence[str]
) -> list[str | None]:
    """The completion of each sample in a run; ``None`` where the model has not answered."""
    run = read_run(path)
    require_run_of(benchmark, split, run, path)
    request = Request(benchmark=benchmark, split=split, parse="strict", keep_predictions=True)
    source = load_source(path, request)
    require_complete(source.table, run, path, split)
    predictions: Mapping[str, Prediction] = source.predictions or {}
    return [_completion(predictions[name]) for name in names]


def _completion(prediction: Prediction) -> str | None:
    """What a reward is computed of; the answers of windows are one answer."""
    if prediction.response is not None:
        return prediction.response
    answer = read_answer(prediction, "strict")
    if answer.outcome in ANSWERED:
        return answer_text(answer.utt_ids, answer.img_ids)
    unreadable = answer.outcome in {Outcome.PARSE_ERROR, Outcome.TRUNCATED}
    return "" if unreadable else None
