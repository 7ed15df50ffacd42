"""Metrics by name: ``micro.joint.f1``, ``exact``, ``f_beta(0.5)``, ``macro.tol_f1(1)``."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval import plugins
from ffr_eval.errors import FfrError, InputError
from ffr_eval.metrics.metric import AVERAGES, MODALITIES, Metric, MetricFamily

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ffr_eval.metrics.metric import Parameter
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray

HEADLINE: Final = "micro.joint.f1"
"""The metric that ranks use unless another is named."""

ADJUSTED: Final = "micro.joint.adjusted_f1"
"""What stands beside it in every ranking: the headline corrected for chance."""

FIGURES: Final = ("precision", "recall", "f1", "mcc")

ALL_FIGURES: Final = tuple(f"{a}.{m}.{f}" for a in AVERAGES for m in MODALITIES for f in FIGURES)
"""The names of all micro and macro figures."""

LARGEST: Final = 1_000_000
"""The largest number that a metric takes as a parameter."""

_NAME: Final = re.compile(
    r"(?:(?P<average>micro|macro)\.)?(?:(?P<modality>utterance|image|joint)\.)?"
    r"(?P<family>[A-Za-z][\w-]*)\s*(?:\((?P<arguments>[^()]*)\))?"
)
_FIELD: Final = "metric"


def parse_metrics(text: str) -> tuple[Metric, ...]:
    """Metrics named in a text, with commas between them.

    Raises:
        InputError: If one is unknown, or there is none.
    """
    names = split_names(text)
    if not names:
        raise InputError("no metric is named", field=_FIELD, remedy=_remedy(""))
    return tuple(parse_metric(name) for name in names)


def parse_metric(name: str) -> Metric:
    """The metric of a name: ``[micro|macro.][utterance|image|joint.]NAME[(PARAMETER,…)]``.

    Without them, average and modality are those that ``ffr metrics`` names first.

    Raises:
        InputError: If there is no such metric; suggests the nearest.
    """
    return _parsed(name.strip())


@lru_cache(maxsize=256)
def _parsed(name: str) -> Metric:
    found = _NAME.fullmatch(name)
    if found is None or found["family"] not in _registered():
        raise InputError(f"unknown metric {name!r}", field=_FIELD, remedy=_remedy(name))
    family = metric_family(found["family"])
    average, modality = found["average"], found["modality"]
    for kind, given, known in (
        ("average", average, family.averages),
        ("modality", modality, family.modalities),
    ):
        if given is not None and given not in known:
            message = f"{family.name} has no {kind} {given!r}"
            remedy = "it has " + ", ".join(known)
            raise InputError(f"{name!r}: {message}", field=_FIELD, remedy=remedy)
    metric = family.metric(average, modality, *_arguments(name, family, found["arguments"]))
    package = plugins.package_of(_registered()[found["family"]])
    return metric if package == plugins.OURS else _guarded(metric, found["family"])


def _guarded(metric: Metric, family: str) -> Metric:
    """A metric of another package; what goes wrong in it is said to be its fault."""

    def fault(why: str) -> FfrError:
        return plugins.broken(plugins.METRICS, family, why)

    def terms(evaluation: Evaluation) -> FloatArray:
        try:
            found = np.asarray(metric.terms(evaluation), dtype=np.float64)
        except Exception as error:  # whatever a plugin raises
            raise fault(f"fails: {type(error).__name__}: {error}") from error
        if found.ndim != 2 or len(found) != len(evaluation):
            raise fault(f"has terms of shape {found.shape} for {len(evaluation)} samples")
        if not np.isfinite(found).all():
            raise fault("has terms that are not finite; NaN leaves a sample out only in mean_of")
        return found

    def value(sums: FloatArray) -> FloatArray:
        try:
            found = np.asarray(metric.value(sums), dtype=np.float64)
        except Exception as error:
            raise fault(f"fails: {type(error).__name__}: {error}") from error
        if found.shape != sums.shape[:-1]:
            raise fault(f"has values of shape {found.shape} for sums of shape {sums.shape}")
        return found

    return replace(metric, terms=terms, value=value)


def metric_family(name: str) -> MetricFamily:
    """The registered family of a name.

    Raises:
        InputError: If there is none.
        FfrError: If what is registered cannot be loaded, or is no family.
    """
    family = plugins.load(plugins.METRICS, name, _registered())
    if not isinstance(family, MetricFamily):
        raise plugins.broken(plugins.METRICS, name, "is not a MetricFamily")
    return family


def metric_families() -> tuple[MetricFamily, ...]:
    """All registered families, by name."""
    return tuple(metric_family(name) for name in _registered())


@lru_cache(maxsize=1)
def _registered() -> dict[str, EntryPoint]:
    """Looked up once: finding entry points takes milliseconds, and a table names many metrics."""
    return plugins.registered(plugins.METRICS)


def split_names(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets."""
    names, depth, name = [], 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            names.append(name)
            name = ""
        else:
            name += character
    return [stripped for part in (*names, name) if (stripped := part.strip())]


def _arguments(name: str, family: MetricFamily, text: str | None) -> list[Any]:
    given = [part.strip() for part in text.split(",")] if text and text.strip() else []
    if len(given) != len(family.parameters):
        wanted = ", ".join(f"{p.name} ({p.summary})" for p in family.parameters)
        example = f"{family.name}({', '.join(p.name for p in family.parameters)})"
        takes = f"takes {wanted}: {example}" if wanted else "takes no parameters"
        raise InputError(f"{name!r}: {family.name} {takes}", field=_FIELD)
    return [
        _argument(name, parameter, value)
        for parameter, value in zip(family.parameters, given, strict=True)
    ]


def _argument(name: str, parameter: Parameter, text: str) -> float | int | str:
    if parameter.choices:
        if text not in parameter.choices:
            remedy = plugins.nearest(text, parameter.choices)
            message = f"{name!r}: unknown {parameter.name} {text!r}"
            raise InputError(message, field=_FIELD, remedy=remedy)
        return text
    try:
        value: float | int = int(text) if parameter.integer else float(text)
    except ValueError:
        value = math.nan
    low = value <= 0 if parameter.above else value < 0
    if not math.isfinite(value) or low or value > LARGEST:
        kind = "a whole number" if parameter.integer else "a number"
        bound = "above 0" if parameter.above else "of at least 0"
        most = f", at most {LARGEST:,}" if value > LARGEST else ""
        message = f"{name!r}: {parameter.name} must be {kind} {bound}{most}, not {text!r}"
        raise InputError(message, field=_FIELD)
    return value


def _remedy(name: str) -> str:
    close = plugins.close_match(name.lower(), [*ALL_FIGURES, *_registered()])
    hint = f"did you mean {close!r}? " if close else ""
    return hint + "`ffr metrics` lists them; for example " + ", ".join((HEADLINE, "tol_f1(1)"))
