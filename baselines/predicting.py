"""Predictions of any model, checked; what goes wrong with a sample is recorded as its outcome."""

from __future__ import annotations

import operator
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from baselines.model import ScoringModel, answer, checked_scores, hidden
from ffr_eval.errors import FfrError
from ffr_eval.prediction_file import encode_prediction
from ffr_eval.types import ANSWERED, Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from baselines.hindsight import Hindsight
    from baselines.model import Model, Scores
    from baselines.session import Session
    from ffr_eval.types import Sample

_LARGEST_ID: Final = 2**63 - 1


def predictions(
    model: Model,
    samples: Iterator[Sample],
    session: Session,
    *,
    save_scores: bool = False,
    hindsight: Hindsight | None = None,
) -> Generator[Prediction, None, None]:
    """A prediction for each sample, as soon as it is there; samples are drawn lazily.

    A model that raises for a sample, or gives something that is not an answer, has failed it: the
    prediction has the outcome ``request_error``. When ``session.stop`` is set, what is under way is
    finished, and the rest is not answered.

    Args:
        model: Prepared, and with what it has learned.
        samples: With gold; it is hidden from the model unless the model needs it.
        session: Where to report, and whether to stop.
        save_scores: Keep the scores of scoring models.
        hindsight: Gathers the scores of a scoring model.

    Raises:
        FfrError: If the model fails as a whole.
    """
    asked: dict[str, Sample] = {}

    def shown() -> Iterator[Sample]:
        for sample in samples:
            if session.stop.is_set():
                return
            asked[sample.sample_id] = sample
            yield sample if model.capabilities.needs_gold else hidden(sample)

    many = None if isinstance(model, ScoringModel) else model.predict_many(shown(), session)
    if many is None:
        for sample in samples:
            yield _predicted(model, sample, save_scores, hindsight)
            if session.stop.is_set():
                return
        return
    for prediction in many:
        if prediction.sample_id not in asked:
            message = f"the model answered for {prediction.sample_id!r}, which it was not asked for"
            raise FfrError(message)
        sample = asked.pop(prediction.sample_id)
        try:
            yield _checked(prediction, sample)
        except Exception as error:  # noqa: BLE001 - a bad rollout is data, not a crash
            yield replace(_failed(sample, error), cost=prediction.cost)
    if asked and not session.stop.is_set():
        first = next(iter(asked))
        raise FfrError(f"the model left {len(asked)} samples without an answer, first {first!r}")


def _predicted(
    model: Model, sample: Sample, save_scores: bool, hindsight: Hindsight | None
) -> Prediction:
    """The model's answer, or the record of its failure."""
    shown = sample if model.capabilities.needs_gold else hidden(sample)
    start = time.perf_counter()
    try:
        if isinstance(model, ScoringModel):
            scores = checked_scores(model.score(shown), sample)
            prediction = answer(sample, model.select(scores, sample.dialogue))
            if save_scores:
                prediction = replace(prediction, scores=_kept(scores))
            if hindsight is not None:
                hindsight.add(sample, scores)
        else:
            prediction = _checked(model.predict(shown), sample)
    except Exception as error:  # noqa: BLE001 - a bad rollout is data, not a crash
        prediction = _failed(sample, error)
    if prediction.latency_s is not None:
        return prediction
    return replace(prediction, latency_s=round(time.perf_counter() - start, 6))


def _failed(sample: Sample, error: Exception) -> Prediction:
    text = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
    return Prediction(sample.sample_id, Outcome.REQUEST_ERROR, meta={"error": text})


def _kept(scores: Scores) -> dict[str, tuple[float, ...]]:
    return {
        "utterance": tuple(scores.utterance.tolist()),
        "image": tuple(scores.image.tolist()),
    }


def _checked(prediction: Prediction, sample: Sample) -> Prediction:
    """A model's own prediction, made fit for the prediction file.

    Raises:
        FfrError: If it is for another sample, or an id is not an integer.
        Exception: If it cannot be encoded.
    """
    if prediction.sample_id != sample.sample_id:
        raise FfrError(f"the model answered for sample {prediction.sample_id!r}")
    fragment = Fragment(
        _integers(prediction.payload.utt_ids), _integers(prediction.payload.img_ids)
    )
    outcome = prediction.outcome
    if prediction.response is None and outcome in ANSWERED:
        outcome = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
    checked = replace(prediction, payload=fragment, outcome=outcome)
    encode_prediction(checked)
    return checked


def _integers(ids: Iterable[Any]) -> tuple[int, ...]:
    integers = []
    for number in ids:
        if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__"):
            raise FfrError(f"an id is {number!r}, not an integer")
        integers.append(operator.index(number))
        if not -_LARGEST_ID <= integers[-1] <= _LARGEST_ID:
            raise FfrError(f"an id is {number}, which does not fit into 64 bits")
    return tuple(integers)
