"""The samples on which two sets of predictions disagree most, and what each said there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval import plugins
from ffr_eval.errors import InputError
from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import FIGURES, metric_family, parse_metric
from ffr_eval.predictions import OUTCOMES
from ffr_eval.types import ANSWERED, Fragment
from ffr_eval.window_answers import read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ffr_eval.metrics.metric import Metric
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_eval.same_samples import LoadedRuns

SHOWN: Final = 10
"""How many samples are named."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One sample.

    Attributes:
        a, b: The metric of this sample alone.
        delta: ``a - b``.
        query: What was asked, where it is known.
    """

    sample_id: str
    a: float
    b: float
    delta: float
    query: str | None = None


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Where two runs disagree most, the largest difference first.

    Attributes:
        a, b: Their names.
        metric: What the samples are compared by: the metric's per-sample (macro) form if it has
            one.
        n_samples: On how many samples the two differ at all.
    """

    a: str
    b: str
    metric: str
    n_samples: int
    samples: tuple[Disagreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries; values unrounded."""
        return asdict(self) | {"samples": [asdict(sample) for sample in self.samples]}


def disagreements(
    names: tuple[str, str],
    evaluations: tuple[Evaluation, Evaluation],
    rows: tuple[IntArray, IntArray],
    metric: Metric,
    query_of: Callable[[str], str | None] | None = None,
) -> Disagreements:
    """The samples on which two runs disagree most; samples that do not count are not among them.

    Args:
        names: Of the two runs.
        evaluations: Of the two runs.
        rows: The rows of the same samples in both.
        metric: Whose values of single samples are compared.
        query_of: The query of a sample id.
    """
    single = per_sample(metric)
    a, b = (
        _values(single, evaluation, chosen)
        for evaluation, chosen in zip(evaluations, rows, strict=True)
    )
    delta = a - b
    size = np.nan_to_num(np.abs(delta))
    order = np.argsort(-size, kind="stable")[:SHOWN]
    ids = evaluations[0].table.sample_id
    samples = []
    for place in order[size[order] > 0].tolist():
        sample_id = ids[rows[0][place]]
        query = None if query_of is None else query_of(sample_id)
        values = float(a[place]), float(b[place]), float(delta[place])
        samples.append(Disagreement(sample_id, *values, query))
    differing = int(np.count_nonzero(size))
    return Disagreements(*names, single.name, differing, tuple(samples))


def per_sample(metric: Metric) -> Metric:
    """The macro form of a metric: that of one sample alone says what metrics.md says of samples.

    Metrics without one are returned as they are.
    """
    average, _, rest = metric.name.partition(".")
    family = rest.partition(".")[2].partition("(")[0]
    known = average == "micro" and family in plugins.registered(plugins.METRICS)
    if not known or "macro" not in metric_family(family).averages:
        return metric
    return parse_metric(f"macro.{rest}")


def _values(metric: Metric, evaluation: Evaluation, rows: IntArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return metric.value(metric.terms(evaluation)[rows])


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """What a run said to one sample.

    Attributes:
        run: Its name.
        outcome: How asking ended.
        fragment: The ids that count as its answer, as they were given; none without an answer.
        figures: By modality, then figure; ``None`` where the sample does not count.
    """

    run: str
    outcome: str
    fragment: Fragment
    figures: Mapping[str, Mapping[str, float | None]]


def answers_to(loaded: LoadedRuns, sample_id: str) -> tuple[RunAnswer, ...]:
    """What each run said to one sample; the predictions must have been kept.

    Raises:
        InputError: If the runs are not on this sample.
    """
    return tuple(_answer_to(loaded, place, sample_id) for place in range(len(loaded.names)))


def _answer_to(loaded: LoadedRuns, place: int, sample_id: str) -> RunAnswer:
    evaluation = loaded.evaluations[place]
    table = evaluation.table
    if sample_id not in table.sample_id:
        message = f"sample {sample_id!r} is not of split {loaded.split}, which the runs are on"
        raise InputError(message, field="--sample", remedy="name its split with --split")
    row = list(table.sample_id).index(sample_id)
    outcome = OUTCOMES[table.outcome[row]]
    prediction = (loaded.predictions[place] or {}).get(sample_id)
    fragment = Fragment()
    if prediction is not None and outcome in ANSWERED:
        answer = read_answer(prediction, evaluation.protocol.parse)  # as it was for the table
        fragment = Fragment(answer.utt_ids, answer.img_ids)
    figures = {
        modality: {name: _of(getattr(getattr(evaluation, modality), name), row) for name in FIGURES}
        for modality in MODALITIES
    }
    return RunAnswer(loaded.names[place], outcome.value, fragment, figures)


def _of(values: FloatArray, row: int) -> float | None:
    return None if np.isnan(values[row]) else float(values[row])
