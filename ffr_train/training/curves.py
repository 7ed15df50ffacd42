"""A picture of a training: loss, rewards, and held-out figures with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ffr_eval.writing import replacing
from ffr_train.rewards.adapters.trl import PREFIX
from ffr_train.training.held_out import FIGURES, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CURVES: Final = "curves.png"
_REWARD: Final = f"rewards/{PREFIX}"
_COLOURS: Final = {"strict": "#0b6e99", "official": "#c2571a"}


def draw_curves(out: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw ``curves.png`` into the folder of a training.

    Args:
        out: The folder.
        history: What the trainer logged, one mapping a step.
    """
    from matplotlib.figure import Figure

    rewards = sorted(
        {
            name
            for entry in history
            for name in entry
            if name.startswith(_REWARD) and name.endswith("/mean")
        }
    )
    evaluations = _evaluations(out)
    panels = ["loss", *(["reward"] if rewards else []), *(["held out"] if evaluations else [])]
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_title(panel, loc="left", fontsize=11)
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        if panel == "loss":
            axis.plot(*_series(history, "loss"), color="#444444", linewidth=1.2)
        elif panel == "reward":
            axis.plot(*_series(history, "reward"), color="black", linewidth=1.8, label="total")
            for name in rewards:
                label = name.removeprefix(_REWARD).removesuffix("/mean")
                axis.plot(*_series(history, name), linewidth=1, label=label)
            axis.legend(frameon=False, fontsize=8)
        else:
            _held_out(axis, evaluations)
    with replacing(out / CURVES) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _held_out(axis: Any, evaluations: Sequence[Mapping[str, Any]]) -> None:
    name = FIGURES[0]
    steps = [entry["step"] for entry in evaluations]
    for protocol in PROTOCOLS:
        values = [entry[protocol][name] for entry in evaluations]
        bands = [entry[protocol]["ci95"][name] or [None, None] for entry in evaluations]
        colour = _COLOURS[protocol]
        # The two are often equal: one is thick and pale, the other thin above it.
        style = {"linewidth": 4, "alpha": 0.45} if protocol == "strict" else {"linewidth": 1.2}
        axis.plot(
            steps, _numbers(values), "o-", color=colour, markersize=3, label=protocol, **style
        )
        low, high = (_numbers([band[end] for band in bands]) for end in (0, 1))
        axis.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_title(f"held out: {name}, 95% intervals", loc="left", fontsize=11)
    axis.set_ylim(0, 1)
    axis.legend(frameon=False, fontsize=8)


def _series(history: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    points = [
        (int(entry["step"]), float(entry[name])) for entry in history if entry.get(name) is not None
    ]
    return [step for step, _ in points], [value for _, value in points]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _evaluations(out: Path) -> list[dict[str, Any]]:
    path = out / "evaluation.jsonl"
    if not path.is_file():
        return []
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
