"""Pictures of the experiment: curves of the arms, and the final figures with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from experiment.results import HEADLINE
from experiment.sizes import REWARDS, START
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CURVES: Final = "curves.png"
FOREST: Final = "forest.png"
_COLOURS: Final = {False: "#555555", True: "#c2571a"}
_LABELS: Final = {False: "shuffled", True: "curriculum"}
_PROTOCOLS: Final = {"strict": "#0b6e99", "official": "#c2571a"}
_SMOOTH: Final = 9
_DPI: Final = 100


def draw_curves(results: Mapping[str, Any], path: Path) -> None:
    """Mean reward and held-out F1 over the steps, a column for each reward."""
    from matplotlib.figure import Figure

    arms = [model for name, model in results["models"].items() if name != START]
    rewards = [name for name in REWARDS if any(arm["reward"] == name for arm in arms)]
    figure = Figure(figsize=(3.6 * len(rewards), 5.6), layout="constrained")
    axes = figure.subplots(2, len(rewards), squeeze=False, sharex=True, sharey="row")
    for column, reward in enumerate(rewards):
        above, below = axes[0][column], axes[1][column]
        above.set_title(REWARDS[reward].title, loc="left", fontsize=11)
        for arm in arms:
            if arm["reward"] == reward:
                _arm(above, below, arm)
        below.set_xlabel("step")
        below.set_ylim(0.3, 1)
        for axis in (above, below):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", alpha=0.3)
    axes[0][0].set_ylabel(f"mean reward / sum of weights\n(mean of {_SMOOTH} steps)")
    axes[1][0].set_ylabel("held-out F1, strict\n(95% intervals)")
    axes[1][0].legend(frameon=False, fontsize=9, loc="lower right")
    _save(figure, path)


def _arm(above: Any, below: Any, arm: Mapping[str, Any]) -> None:
    colour, label = _COLOURS[arm["curriculum"]], _LABELS[arm["curriculum"]]
    shares = [point["share"] for point in arm["curve"]]
    steps = [point["step"] for point in arm["curve"]]
    above.plot(steps, shares, color=colour, alpha=0.2, linewidth=0.8)
    above.plot(steps, _smoothed(shares), color=colour, linewidth=1.6)
    points = [(point["step"], point["strict"]) for point in arm["held_out"]]
    places = [step for step, _ in points]
    below.plot(
        places,
        [_number(found["value"]) for _, found in points],
        "o-",
        color=colour,
        markersize=3,
        label=label,
    )
    low, high = (
        [_number(None if found["ci95"] is None else found["ci95"][end]) for _, found in points]
        for end in (0, 1)
    )
    below.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)


def draw_forest(results: Mapping[str, Any], path: Path) -> None:
    """Joint F1 of each model on the test split, with intervals, under both protocols."""
    from matplotlib.figure import Figure

    models = list(results["models"].values())
    figure = Figure(figsize=(7, 0.45 * len(models) + 1.1), layout="constrained")
    axis = figure.subplots()
    for row, model in enumerate(models):
        for shift, (protocol, colour) in zip((-0.13, 0.13), _PROTOCOLS.items(), strict=True):
            value = model[protocol][HEADLINE]
            interval = model[protocol]["ci95"][HEADLINE]
            place = row + shift
            if interval is not None:
                axis.plot(interval, [place, place], color=colour, linewidth=1.6)
            label = protocol if not row else None
            axis.plot([value], [place], "o", color=colour, markersize=5, label=label)
    start = results["models"][START]["strict"][HEADLINE]
    axis.axvline(start, color="#999999", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(models)), [model["title"] for model in models])
    axis.invert_yaxis()
    axis.set_xlabel(f"{HEADLINE} on the test split, 95% intervals over dialogues")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(frameon=False, fontsize=9)
    _save(figure, path)


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean of the steps around each."""
    half = _SMOOTH // 2
    parts = [values[max(0, place - half) : place + half + 1] for place in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
