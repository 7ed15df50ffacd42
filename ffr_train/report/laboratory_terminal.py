"""What the laboratory found, in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from ffr_eval.report.console import open_console
from ffr_train.rewards.bandit import METRICS, ROLLOUTS
from ffr_train.rewards.laboratory import (
    AT_LEAST_HALF,
    MORE_THAN_GOLD,
    PAID_ON_NEGATIVE,
    UNDESERVED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.bandit import Course, Simulation
    from ffr_train.rewards.laboratory import Check, PolicyResult, ProfileResult, Stage

_SIGNS: Final = (
    (MORE_THAN_GOLD, "!!", "bold red"),
    (UNDESERVED, "!", "yellow"),
    (AT_LEAST_HALF, "+", "green"),
)
_NEGATIVE_SIGN: Final = "°"
_MOST_ARMS: Final = 3
_LEAST_SHARE: Final = 0.05
_TITLES: Final = {
    "strict_f1": "strict F1",
    "mcc": "MCC",
    "empty_rate": "empty",
    "size_ratio": "size ratio",
}


def print_check(check: Check, console: Console | None = None) -> None:
    """Print what each profile pays the policies."""
    console = console or open_console()
    negative = int(check.stage.negative.sum())
    console.print(_head(check.stage))
    console.print(
        f"{len(check.stage.samples)} queries, {negative} of them without gold; seed {check.seed}"
    )
    for name, found in check.profiles.items():
        console.print()
        console.print(f"profile {name}: {_weights(found.weights)}", style="bold")
        console.print(_policy_table(found))
        for term in found.left_out:
            console.print(f"{term}: not computed, no embeddings; not in the total")
        nulls = max(result.n_null for result in found.policies.values())
        if nulls:
            console.print(f"up to {nulls} samples of a policy have no total: left out of means")
        style = "bold red" if found.pays_for else "green"
        what = "; ".join(found.pays_for) or "right ids, as far as these policies show"
        console.print(f"pays for: {what}", style=style)
        for term, value in found.constant.items():
            console.print(f"{term}: {value:.3g} for every answer, which teaches nothing")
        if found.one_edit is not None:
            console.print(
                "a set one id away from the gold earns more than the gold on"
                f" {found.one_edit:.1%} of the queries with gold"
            )
    console.print()
    console.print(
        "!! earns more than the gold   ! earns at least a random half of the gold's reward with a"
        " lower strict F1\n"
        "+ earns as much with as good a strict F1   ° a wrong answer to a query without gold earns"
        " something\n"
        "terms are unweighted means; strict F1: micro.joint.f1 of protocol strict"
    )


def _policy_table(found: ProfileResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy")
    for heading in (*found.weights, "total", "with gold", "no gold", "beats gold", "strict F1"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for name, result in found.policies.items():
        share = result.beats_gold
        sign, style = _sign(result)
        cells = (
            *(_number(result.terms.get(term)) for term in found.weights),
            *map(_number, (result.total, result.total_with_gold, result.total_negative)),
            "–" if share is None else f"{share:.0%}",
            _number(result.strict_f1),
        )
        table.add_row(Text(name, style), *(Text(cell, style) for cell in cells), Text(sign, style))
    return table


def _sign(result: PolicyResult) -> tuple[str, str]:
    sign, style = next(
        ((sign, style) for flag, sign, style in _SIGNS if flag in result.flags), ("", "")
    )
    if PAID_ON_NEGATIVE in result.flags:
        sign = f"{sign} {_NEGATIVE_SIGN}".strip()
        style = style if style in {"bold red", "yellow"} else "magenta"
    return sign, style


def print_simulation(simulation: Simulation, console: Console | None = None) -> None:
    """Print where training leads under each profile."""
    console = console or open_console()
    console.print(_head(simulation.stage))
    console.print(
        f"{simulation.steps} steps, {simulation.seeds} seeds, {ROLLOUTS} rollouts a prompt; the"
        f" honest arm gets {simulation.skill:.0%} of the ids right"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("profile")
    table.add_column("hidden metric")
    for heading in ("begin", "end", "least", "most"):
        table.add_column(heading, justify="right")
    table.add_column("policy at the end")
    table.add_column("honesty pays from")
    for name, course in simulation.profiles.items():
        arms, honest = _arms(course), _honest(course)
        for place, metric in enumerate(METRICS):
            first = place == 0
            table.add_row(
                name if first else "",
                _TITLES[metric],
                *_begin_and_end(course.metrics[metric]),
                arms if first else "",
                honest if first else "",
                end_section=place == len(METRICS) - 1,
            )
    console.print(table)
    console.print(
        "end: mean over seeds, with the least and most of them. honesty pays from: the share of ids"
        " that the honest arm\nmust get right to earn more than every other arm; below it, training"
        " leads away from it. None of these figures\nis seen by the training."
    )


def _begin_and_end(values: FloatArray) -> tuple[str, ...]:
    end = values[:, -1]
    return tuple(
        f"{value:.3f}" for value in (values[:, 0].mean(), end.mean(), end.min(), end.max())
    )


def _arms(course: Course) -> str:
    ranked = sorted(course.final.items(), key=lambda item: -item[1])[:_MOST_ARMS]
    shown = [(name, share) for name, share in ranked if share >= _LEAST_SHARE]
    return "\n".join(f"{name} {share:.0%}" for name, share in shown) or "spread over all"


def _honest(course: Course) -> str:
    return "never" if course.honest_from is None else f"{course.honest_from:.0%} right"


def _head(stage: Stage) -> str:
    split = f", split {stage.split}" if stage.split is not None else ""
    return f"{stage.name}{split}; vectors: {stage.vectors}"


def _weights(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items()) or "no term"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
