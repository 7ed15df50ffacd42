"""A metric is a value: a name, what each sample adds, and a function of the sum.

Every metric of FFR is *additive*: each sample adds a row of numbers, its terms, and the metric is a
function of the summed row. Micro F1 adds up tp, fp and fn of both modalities; a macro mean adds up
values and the number of samples that count. So a group is a sum over fewer rows, and a bootstrap
replicate a weighted one, and no metric needs code of its own for either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray

AVERAGES: Final = ("micro", "macro")
MODALITIES: Final = ("utterance", "image", "joint")

Better: TypeAlias = Literal["higher", "lower", "none"]
Terms: TypeAlias = "Callable[[Evaluation], FloatArray]"
Value: TypeAlias = "Callable[[FloatArray], FloatArray]"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with everything chosen.

    Attributes:
        name: In full, such as ``micro.joint.f_beta(0.5)``.
        summary: What it is, in a sentence.
        terms: What each sample adds: an evaluation of n samples to an array of shape ``(n, k)``,
            float64 and finite.
        value: Sums of terms, shape ``(..., k)``, to values, shape ``(...)``; NaN where undefined.
        better: Which values are better; ``none`` for what can be reported, but not ranked by.
        parts: Of a joint metric: how many modalities it is of, from the same sums.
    """

    name: str
    summary: str = field(compare=False)
    terms: Terms = field(compare=False, repr=False)
    value: Value = field(compare=False, repr=False)
    better: Better = field(default="higher", compare=False)
    parts: Value | None = field(default=None, compare=False, repr=False)

    def resampled(self, sums: FloatArray) -> Value:
        """The value in resamples of these clusters, shape ``(c, k)``, and in parts of them.

        A joint figure is of the modalities that count. In a resample that has lost one of them it
        would be another figure: there it is undefined.
        """
        if self.parts is None:
            return self.value
        parts, value, least = self.parts, self.value, self.parts(sums.sum(axis=0))

        def same(resampled: FloatArray) -> FloatArray:
            return np.where(parts(resampled) >= least, value(resampled), np.nan)

        return same

    def of(self, evaluation: Evaluation, rows: IntArray | None = None) -> float | None:
        """The value over some samples (all without ``rows``); ``None`` where it is undefined."""
        return self.of_terms(self.terms(evaluation), rows)

    def of_terms(self, terms: FloatArray, rows: IntArray | None = None) -> float | None:
        """The value of samples' terms, shape ``(n, k)``, or of some rows; ``None``: undefined."""
        if rows is None or len(rows) == len(terms):
            sums = terms.sum(axis=0)
        else:  # a product is faster than gathering rows
            sums = np.bincount(rows, minlength=len(terms)).astype(np.float64) @ terms
        value = float(self.value(sums))
        return None if np.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a metric takes.

    Attributes:
        integer: Whether it must be a whole number.
        above: Whether it must be more than 0; at least 0 otherwise.
        choices: Words of which it must be one, instead of a number.
    """

    name: str
    summary: str
    integer: bool = False
    above: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A metric before average, modality and parameters are chosen.

    What is registered in the entry-point group ``ffr.metrics`` is one of these.

    Attributes:
        name: As it stands in a metric's name.
        summary: What it is, in a sentence.
        build: ``(average, modality, *parameters)`` to the ``terms`` and ``value`` of a
            :class:`Metric`.
        averages, modalities: Those that it has; the first ones are chosen where none is named.
        parameters: What stands in brackets behind the name.
        better: Which values are better.
    """

    name: str
    summary: str
    build: Callable[..., tuple[Terms, Value]] = field(repr=False)
    averages: tuple[str, ...] = AVERAGES
    modalities: tuple[str, ...] = ("joint", "utterance", "image")
    parameters: tuple[Parameter, ...] = ()
    better: Better = "higher"

    def metric(self, average: str | None, modality: str | None, *arguments: Any) -> Metric:
        """The metric with everything chosen."""
        average = average or self.averages[0]
        modality = modality or self.modalities[0]
        shown = ",".join(f"{a:.15g}" if isinstance(a, float) else str(a) for a in arguments)
        name = f"{average}.{modality}.{self.name}" + (f"({shown})" if arguments else "")
        terms, value = self.build(average, modality, *arguments)
        parts = getattr(value, "parts", None)
        return Metric(name, self.summary, terms, value, self.better, parts)


def side_by_side(*columns: Any) -> FloatArray:
    """Columns of shape ``(n,)`` as float64 terms, shape ``(n, k)``; each is contiguous."""
    terms = np.empty((len(columns), len(columns[0])))
    for place, column in enumerate(columns):
        terms[place] = column
    return terms.T


def mean_of(values: Callable[[Evaluation], FloatArray]) -> tuple[Terms, Value]:
    """The mean of a value that each sample has; NaN where a sample does not count.

    Args:
        values: An evaluation of n samples to their values, shape ``(n,)``.
    """

    def terms(evaluation: Evaluation) -> FloatArray:
        found = values(evaluation)
        counts = ~np.isnan(found)
        return side_by_side(np.where(counts, found, 0.0), counts)

    return terms, _ratio


def ratio_of(
    parts: Callable[[Evaluation], tuple[Any, Any]], undefined: float = np.nan
) -> tuple[Terms, Value]:
    """The sum of one number over the sum of another.

    Args:
        parts: An evaluation of n samples to two arrays of shape ``(n,)``.
        undefined: The value where the second sum is 0.
    """

    def terms(evaluation: Evaluation) -> FloatArray:
        return side_by_side(*parts(evaluation))

    return terms, partial(_ratio, undefined=undefined)


def _ratio(sums: FloatArray, undefined: float = np.nan) -> FloatArray:
    below = sums[..., 1]
    defined = below > 0
    return np.where(defined, sums[..., 0] / np.where(defined, below, 1.0), undefined)
