"""The oracle gap: how far tuned policies stay behind the best ones in hindsight.

A bound for the reader of a run, taken from the gold of the predicted samples once all of them are
answered. No answer ever depends on it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from baselines.model import checked_scores, gold_positions, hidden
from baselines.selection import ScoreLists, micro_f1, tune
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from baselines.model import Scores, ScoringModel
    from baselines.selection import FloatArray
    from ffr_eval.types import Sample


class Hindsight:
    """Gathers the scores and the gold of a run's samples, eight bytes a score.

    Args:
        model: The model that gives the scores.
    """

    def __init__(self, model: ScoringModel) -> None:
        self._model = model
        self._known: set[str] = set()
        self._utterance = _Gathered()
        self._image = _Gathered()

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._known

    def add(self, sample: Sample, scores: Scores) -> None:
        """Take up a sample, with its gold, and its scores."""
        self._known.add(sample.sample_id)
        self._utterance.add(scores.utterance, gold_positions(sample, "utt_ids"))
        self._image.add(scores.image, gold_positions(sample, "img_ids"))

    def complete(self, samples: Iterable[Sample]) -> Iterator[None]:
        """Score samples that an earlier session answered, one a step.

        Raises:
            FfrError: If the scores are none.
            Exception: Whatever the model raises.
        """
        for sample in samples:
            self.add(sample, checked_scores(self._model.score(hidden(sample)), sample))
            yield

    def oracle_gap(self) -> dict[str, Any]:
        """For each modality with gold: the policy in use and the best one, with their micro F1.

        As ``run.json`` records it: ``policy``, ``f1``, ``best_policy``, ``best_f1`` and ``gap``,
        the difference. The best one is the one that tuning on the samples themselves would choose,
        if it is better than the one in use.
        """
        policies = self._model.policies
        record: dict[str, Any] = {"n_samples": len(self._known)}
        for name, gathered, policy in (
            ("utterance", self._utterance, policies.utterance),
            ("image", self._image, policies.image),
        ):
            scores, gold = gathered.packed()
            f1 = micro_f1(scores, gold, policy)
            if f1 is None:
                continue
            best, best_f1 = policy, f1
            tuned = tune(scores, gold, policy)  # tries only so many thresholds: may be worse
            if tuned.f1 is not None and tuned.f1 > f1:
                best, best_f1 = tuned.policy, tuned.f1
            record[name] = {
                "policy": msgspec.to_builtins(policy),
                "f1": f1,
                "best_policy": msgspec.to_builtins(best),
                "best_f1": best_f1,
                "gap": best_f1 - f1,
            }
        return record


class _Gathered:
    """Scores and gold positions of one modality, in flat buffers."""

    def __init__(self) -> None:
        self._scores, self._n_scores = array("d"), array("q")
        self._gold, self._n_gold = array("q"), array("q")

    def add(self, scores: FloatArray, gold: list[int]) -> None:
        self._scores.frombytes(np.ascontiguousarray(scores, dtype=np.float64).tobytes())
        self._n_scores.append(len(scores))
        self._gold.extend(gold)
        self._n_gold.append(len(gold))

    def packed(self) -> tuple[ScoreLists, Ragged]:
        offsets = np.zeros(len(self._n_scores) + 1, dtype=np.int64)
        np.cumsum(np.array(self._n_scores, dtype=np.int64), out=offsets[1:])
        gold = Ragged.from_lengths(
            np.array(self._gold, dtype=np.int64), np.array(self._n_gold, dtype=np.int64)
        )
        return ScoreLists(np.array(self._scores, dtype=np.float64), offsets), gold
