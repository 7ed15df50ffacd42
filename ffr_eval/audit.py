"""From ``official`` to ``strict``, one rule after the other, and the errors that remain."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.error_classes import ErrorClass, decompose
from ffr_eval.metrics.named import HEADLINE, parse_metric
from ffr_eval.metrics.protocols import OFFICIAL_1, STRICT_1, Evaluation, Protocol, evaluate
from ffr_eval.sources import Request, load_under

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.metric import Metric
    from ffr_eval.ragged import Ragged

    BoolArray = NDArray[np.bool_]

ALSO: Final = (HEADLINE, "micro.joint.mcc", "macro.joint.f1")
"""What every step says beside the metric that was asked for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in which the protocols differ.

    Attributes:
        name: A few words.
        what: What strict does otherwise, as a sentence.
        fields: The fields of :class:`~ffr_eval.metrics.protocols.Protocol` that say so.
        touches: The evaluations before and after it to the samples that it is about; shape of the
            one after.
        nothing: Why nothing moves where it is about no sample.
        in_vain: Why nothing moves though it is about some.
    """

    name: str
    what: str
    fields: tuple[str, ...]
    touches: Callable[[Evaluation, Evaluation], BoolArray]
    nothing: str
    in_vain: str


@dataclass(frozen=True, slots=True)
class Step:
    """A rule applied on top of those before it.

    Attributes:
        rule: The rule's name; ``official`` for the first step, which applies none.
        what: What it does, as a sentence.
        value: The metric with it; ``None`` where it is undefined.
        change: The value less that of the step before; ``None`` in the first step, and where one of
            the two is undefined.
        also: The metrics of :data:`ALSO` with it.
        n_samples: How many samples count.
        n_touched: How many samples the rule is about.
        why: Why it does not move the metric; empty where it does.
    """

    rule: str
    what: str
    value: float | None
    change: float | None
    also: dict[str, float | None]
    n_samples: int
    n_touched: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """How a set of predictions gets from one protocol to the other, and where it errs.

    Attributes:
        file: As it was given.
        benchmark, split: What it was scored on; ``None`` for an inference file, for all samples.
        metric: In full.
        steps: From ``official`` to ``strict``; the last value is that under ``strict``.
        headline: ``micro.joint.f1`` under ``strict``, which the gains are gains of.
        errors: The errors under ``strict`` by class.
        notes: Sentences that a reader of the figures should know.
        folder: Where the benchmark is, as it was given or as the run says.
    """

    file: str
    benchmark: str | None
    split: str | None
    metric: str
    steps: tuple[Step, ...]
    headline: float | None
    errors: tuple[ErrorClass, ...]
    notes: tuple[str, ...]
    folder: str | None = None

    @property
    def official(self) -> float | None:
        """The metric under ``official``."""
        return self.steps[0].value

    @property
    def strict(self) -> float | None:
        """The metric under ``strict``."""
        return self.steps[-1].value

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr audit --json`` writes them; values unrounded."""
        return {
            "file": self.file,
            "benchmark": self.benchmark,
            "split": self.split,
            "metric": self.metric,
            "official": self.official,
            "strict": self.strict,
            "change": _change(self.official, self.strict),
            "steps": [asdict(step) for step in self.steps],
            "headline": self.headline,
            "errors": [found.to_dict() for found in self.errors],
            "notes": list(self.notes),
        }


def audit(
    path: str | Path,
    benchmark: Benchmark | str | Path | None = None,
    *,
    split: str | None = None,
    metric: str = HEADLINE,
    workers: int = 1,
) -> Audit:
    """Say what each rule of the protocols does to a metric, and what kinds of errors there are.

    Args:
        path: A run folder, a prediction file, or an ms-swift inference file.
        benchmark: A benchmark, its folder, or the name of a bundled one. A run folder names its
            own; an inference file carries its own gold.
        split: Only this split; by default the split of a run, else all samples.
        metric: What the rules move, such as ``micro.joint.mcc``.
        workers: Processes for large inference files.

    Raises:
        InputError: If something given is wrong; says where, and what to do.
    """
    wanted = parse_metric(metric)
    protocols = waterfall()
    request = Request(benchmark=benchmark, split=split, workers=workers)
    sources = load_under(Path(path), protocols, request)
    evaluations = [evaluate(source.table, source.protocol) for source in sources]
    steps = _steps(evaluations, wanted)
    notes = dict.fromkeys(note for source in sources for note in source.table.notes)
    if steps[-1].value is None:
        notes[f"{wanted.name} is undefined under strict: there is nothing to count"] = None
    found, run = sources[-1].benchmark, sources[-1].run
    folder = benchmark if isinstance(benchmark, str | Path) else run and run.benchmark.path
    return Audit(
        file=str(path),
        benchmark=None if found is None else found.name,
        split=sources[-1].split,
        metric=wanted.name,
        steps=steps,
        headline=steps[-1].also[HEADLINE],
        errors=decompose(evaluations[-1]),
        notes=tuple(notes),
        folder=None if folder is None else str(folder),
    )


def waterfall() -> tuple[Protocol, ...]:
    """``official``, with one rule of ``strict`` after the other, and ``strict``.

    Answers are read as strict does before ids are: an inference file that is read as the original
    does keeps too few of them.
    """
    protocols = [OFFICIAL_1]
    for rule in RULES:
        changes = {name: getattr(STRICT_1, name) for name in rule.fields}
        protocols.append(replace(protocols[-1], name=f"official, {rule.name}", **changes))
    protocols[-1] = replace(protocols[-1], name=STRICT_1.name)
    return tuple(protocols)


def _steps(evaluations: list[Evaluation], metric: Metric) -> tuple[Step, ...]:
    also = {name: parse_metric(name) for name in ALSO}
    first = "what the original release computes"
    steps = [_step("official", first, evaluations[0], metric, also)]
    for rule, before, after in zip(RULES, evaluations, evaluations[1:], strict=False):
        step = _step(rule.name, rule.what, after, metric, also)
        change = _change(steps[-1].value, step.value)
        touched = int(np.count_nonzero(rule.touches(before, after)))
        moves = change != 0 and steps[-1].value != step.value
        why = "" if moves else rule.in_vain if touched else rule.nothing
        steps.append(replace(step, change=change, n_touched=touched, why=why))
    return tuple(steps)


def _step(
    name: str, what: str, evaluation: Evaluation, metric: Metric, also: dict[str, Metric]
) -> Step:
    values = {key: found.of(evaluation) for key, found in also.items()}
    return Step(name, what, metric.of(evaluation), None, values, len(evaluation), 0)


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


# --- what the rules are about ---------------------------------------------------------------------


def _read_otherwise(before: Evaluation, after: Evaluation) -> BoolArray:
    old, new = before.table, after.table
    found: BoolArray = old.outcome != new.outcome
    found |= _differ(old.utterance.predicted, new.utterance.predicted)
    found |= _differ(old.image.predicted, new.image.predicted)
    return found


def _differ(a: Ragged, b: Ragged) -> BoolArray:
    """Which lists of two arrays differ, shape ``(n,)``."""
    found: BoolArray = a.lengths != b.lengths
    same = np.flatnonzero(~found)
    a, b = a.take(same), b.take(same)
    found[same[a.rows[a.values != b.values]]] = True
    return found


def _other_negatives(before: Evaluation, after: Evaluation) -> BoolArray:
    old, new = before.table, after.table
    utterance = old.utterance.universe != new.utterance.universe
    found: BoolArray = utterance | (old.image.universe != new.image.universe)
    return found


def _outside(_: Evaluation, after: Evaluation) -> BoolArray:
    found = np.zeros(len(after), dtype=np.bool_)
    for counts in (after.utterance_counts, after.image_counts):
        found |= counts.fp_outside + counts.fn_outside > 0
    return found


def _absent(_: Evaluation, after: Evaluation) -> BoolArray:
    return ~(after.counted("utterance") & after.counted("image"))


def _failed(_: Evaluation, after: Evaluation) -> BoolArray:
    return ~after.table.answered


def _undefined(before: Evaluation, after: Evaluation) -> BoolArray:
    found = np.zeros(len(after), dtype=np.bool_)
    for old, new in ((before.utterance, after.utterance), (before.image, after.image)):
        found |= ~np.isnan(old.mcc) & np.isnan(new.mcc)
    return found


RULES: Final = (
    Rule(
        "parsing",
        "answers are read leniently, not by the original's regular expression",
        ("parse", "fixed_parse"),
        _read_otherwise,
        "all answers read alike",
        "the same in sum",
    ),
    Rule(
        "phantom negatives",
        "only ids that the dialogue has are true negatives, not all from 0 to the largest",
        ("real_ids",),
        _other_negatives,
        "no gaps in the ids",
        "moves true negatives only",
    ),
    Rule(
        "invented ids",
        "ids that the dialogue does not have count in a sample's MCC too",
        ("outside_in_sample_mcc",),
        _outside,
        "no ids are invented",
        "moves macro MCC only",
    ),
    Rule(
        "absent modality",
        "a modality with nothing to count is left out, not 0 or 1",
        ("absent_is_null",),
        _absent,
        "both modalities everywhere",
        "moves macro of that modality",
    ),
    Rule(
        "failed requests",
        "samples without a usable answer all count, and never as right silence",
        ("unanswered_counts", "failures_score_zero"),
        _failed,
        "all samples answered",
        "they count already",
    ),
    Rule(
        "undefined MCC",
        "a sample's MCC is left out where the gold is nothing or everything, not 0",
        ("undefined_mcc_left_out",),
        _undefined,
        "defined everywhere",
        "moves macro MCC only",
    ),
)
"""The rules in which ``strict`` differs from ``official``, in the order of the waterfall."""
