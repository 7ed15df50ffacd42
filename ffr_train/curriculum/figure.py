"""The plane of difficulty: F1 against entropy, a colour a level, with both distributions."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.writing import replacing
from ffr_train.curriculum.levels import LEVELS, thresholds

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_train.curriculum.difficulty_file import Difficulty
    from ffr_train.curriculum.levels import FloatArray, Rule

_STYLE: Final[dict[str, Any]] = {
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "ffr",
}
_COLOURS: Final = ("#56B4E9", "#999999", "#D55E00", "#000000")  # Okabe-Ito, and a grey
_MARKERS: Final = ("o", "s", "^", "D")
_CELLS: Final = (72, 48)  # of the plane: entropy, F1
_BINS: Final = (72, 32)
_SPARSE: Final = 1000  # samples below which each has a marker of a fair size
_MOST: Final = 42.0  # the largest marker, in points squared
_SHOWN: Final = 99.5  # the percentile of entropy up to which the axis goes
_LINE: Final[dict[str, Any]] = {"color": "#000000", "linewidth": 0.8, "zorder": 3}


def draw(difficulty: Difficulty, rule: Rule, title: str, path: Path) -> None:
    """Draw the measured samples; the file is replaced in one step.

    Samples of one level that are close to each other are one marker, larger the more they are.

    Args:
        difficulty: What was measured.
        rule: Which thresholds are drawn.
        title: Stands above.
        path: A .png, .svg or .pdf.

    Raises:
        InputError: If the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = difficulty.level >= 0
    f1, entropy, level = difficulty.f1[known], difficulty.entropy[known], difficulty.level[known]
    style: Any = _STYLE
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of the benchmark's name
        figure = Figure(figsize=(8.0, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        _panels(figure, f1, entropy, level, rule, difficulty)
        figure.suptitle(_printable(title), fontsize=10)
        kind = path.suffix.lower()[1:]
        meta = {} if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=110, metadata=meta)


def _panels(
    figure: Any,
    f1: FloatArray,
    entropy: FloatArray,
    level: NDArray[np.int8],
    rule: Rule,
    difficulty: Difficulty,
) -> None:
    axes = figure.subplot_mosaic(
        [["top", "legend"], ["plane", "side"]],
        width_ratios=(4, 1.25),
        height_ratios=(1.1, 4),
    )
    plane, top, side = axes["plane"], axes["top"], axes["side"]
    shown = _SHOWN if len(entropy) >= _SPARSE else 100.0
    far = max(float(np.percentile(entropy, shown)) if len(entropy) else 0.0, 1e-3)
    handles = _scatter(plane, f1, np.minimum(entropy, far), level, far)
    _lines(plane, top, side, f1, entropy, rule)
    counted = [(level == code) for code in range(len(LEVELS))]
    shared = {"stacked": True, "color": _COLOURS, "edgecolor": "none"}
    entropies = [np.minimum(entropy[rows], far) for rows in counted]
    top.hist(entropies, bins=np.linspace(0, far, _BINS[0] + 1), **shared)
    side.hist(
        [f1[rows] for rows in counted],
        bins=np.linspace(0, 1, _BINS[1] + 1),
        orientation="horizontal",
        **shared,
    )
    beyond = int((entropy > far).sum())
    more = f"; at the edge, {beyond:,} larger ones" if beyond else ""
    kinds = ", ".join(sorted({kind for kind in difficulty.entropy_kind if kind is not None}))
    plane.set_xlabel(f"entropy of the answer, {kinds or 'none'}, in nats{more}")
    plane.set_ylabel("F1, mean of utterances and images")
    plane.set_xlim(-0.03 * far, 1.03 * far)
    plane.set_ylim(-0.04, 1.04)
    top.set_xlim(plane.get_xlim())
    side.set_ylim(plane.get_ylim())
    top.set_ylabel("samples")
    side.set_xlabel("samples")
    top.tick_params(labelbottom=False)
    side.tick_params(labelleft=False)
    for each in (plane, top, side):
        each.spines[["top", "right"]].set_visible(False)
    for axis in (top.yaxis, side.xaxis):
        axis.get_major_locator().set_params(nbins=3, integer=True)
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes["legend"].axis("off")
    axes["legend"].legend(handles=handles, loc="center", frameon=False, fontsize=9)


def _scatter(
    plane: Any, f1: FloatArray, entropy: FloatArray, level: NDArray[np.int8], far: float
) -> list[Any]:
    """A marker for each cell of the plane and level; what stands in the legend."""
    from matplotlib.lines import Line2D

    wide, high = _CELLS
    x = np.minimum((entropy / far * wide).astype(np.int64), wide - 1)
    y = np.rint(f1 * high).astype(np.int64)
    handles = []
    cells = (y * wide + x) * len(LEVELS) + level
    found, place, counts = np.unique(cells, return_inverse=True, return_counts=True)
    where = (
        np.bincount(place, weights=entropy, minlength=len(found)) / counts,
        np.bincount(place, weights=f1, minlength=len(found)) / counts,
    )
    least = 16.0 if len(level) < _SPARSE else 2.5
    sizes = least + (_MOST - least) * np.sqrt((counts - 1) / max(counts.max(initial=1) - 1, 1))
    for code, name in enumerate(LEVELS):
        rows = found % len(LEVELS) == code
        plane.scatter(
            where[0][rows],
            where[1][rows],
            s=sizes[rows],
            color=_COLOURS[code],
            marker=_MARKERS[code],
            alpha=0.75,
            linewidths=0,
            zorder=2,
            clip_on=False,
        )
        number, share = (
            int((level == code).sum()),
            float((level == code).mean() if len(level) else 0),
        )
        handles.append(
            Line2D(
                [], [], linestyle="", marker=_MARKERS[code], color=_COLOURS[code],
                label=f"{name}\n{number:,} ({share:.0%})",
            )
        )  # fmt: skip
    return handles


def _lines(
    plane: Any, top: Any, side: Any, f1: FloatArray, entropy: FloatArray, rule: Rule
) -> None:
    """Lines at the percentiles that the rule has."""
    if not len(f1):
        return
    from matplotlib.patheffects import withStroke

    line = {**_LINE, "path_effects": [withStroke(linewidth=2.4, foreground="white")]}
    found = thresholds(f1, entropy)
    names = ("25%", "50%", "75%")
    dashes = (":", "-.", "--")
    for place, name in enumerate(names):
        if name == "50%" and rule == "eq4":
            continue
        for axes in (plane, top):
            axes.axvline(found.entropy[place], linestyle=dashes[place], **line)
        for axes in (plane, side):
            axes.axhline(found.f1[place], linestyle=dashes[place], **line)
        top.text(
            found.entropy[place], 1.02, name, transform=top.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=8,
        )  # fmt: skip
        side.text(
            1.02, found.f1[place], name, transform=side.get_yaxis_transform(),
            ha="left", va="center", fontsize=8,
        )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).replace("$", r"\$")
