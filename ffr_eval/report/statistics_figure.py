"""A benchmark's statistics as one figure of six panels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.metrics.groups import TURN_EDGES
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.benchmark.statistics import Measurements

_MOST_TICKS: Final = 12
_FEW_BINS: Final = 4
_SUFFIXES: Final = (".png", ".svg", ".pdf")
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # Okabe-Ito


def expect_figure_file(path: Path) -> None:
    """Check a figure's file name before work is done for it.

    Raises:
        InputError: If its suffix is not one of .png, .svg and .pdf, or there is no such folder.
        MissingExtraError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        message = f"cannot draw a {path.suffix or 'file without suffix'}"
        raise InputError(message, file=path, remedy=f"use one of {', '.join(_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        remedy = "give a file in an existing folder"
        raise InputError("there is no such folder", file=path, remedy=remedy)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("--plot", "report") from None


def draw_statistics(values: Measurements, name: str, path: Path) -> None:
    """Draw measurements; the file is replaced in one step.

    Raises:
        InputError: If the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "svg.fonttype": "none",
        "svg.hashsalt": "ffr",
    }
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of the benchmark's name
        figure = Figure(figsize=(10.5, 6.0), layout="constrained")
        FigureCanvasAgg(figure)
        _draw_panels(figure.subplots(2, 3), values)
        shown = "".join(char for char in name if char.isprintable()).replace("$", r"\$")
        figure.suptitle(
            f"{shown}: {len(values.turns):,} dialogues, {len(values.gold_utts):,} queries",
            fontsize=11,
        )
        kind = path.suffix.lower()[1:]
        meta = {} if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata=meta)


def _draw_panels(axes: Any, values: Measurements) -> None:
    lengths, images, words, gold, position, dispersion = axes.flat
    _histogram(lengths, values.turns, _BLUE)
    low, high = lengths.get_xlim()
    crowded = TURN_EDGES[1] - TURN_EDGES[0] < 0.06 * (high - low)
    for edge, label in zip(TURN_EDGES, ("" if crowded else "medium", "long"), strict=True):
        if values.turns.max(initial=0) >= edge:
            lengths.axvline(edge - 0.5, color=_GREY, linewidth=1, linestyle="--")
            place = (edge - 0.5, 1.0)
            lengths.annotate(
                f" {label} ",
                place,
                xycoords=("data", "axes fraction"),
                fontsize=7,
                color=_GREY,
                va="top",
                ha="left",
                rotation=90,
                annotation_clip=False,
            )
    _label(lengths, "Length", "turns per dialogue", "dialogues")
    _histogram(images, values.images, _BLUE)
    _label(images, "Images", "images per dialogue", "dialogues")
    _histogram(words, values.words, _BLUE, cut=99)
    _label(words, "Turns", "words per turn", "turns")
    _gold_sizes(gold, values)
    _label(gold, "Gold", "gold ids per query", "queries")
    position.hist(values.position, bins=np.linspace(0, 1, 11), color=_GREEN, edgecolor="white")
    position.set_xlim(0, 1)
    _label(position, "Where gold is", "place in the dialogue (0 begin, 1 end)", "gold utterances")
    _dispersion(dispersion, values.dispersion)
    _label(dispersion, "How far gold is scattered", "gold span / gold size (log scale)", "queries")


def _label(axes: Any, title: str, x: str, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if not axes.has_data():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=_GREY)


def _histogram(axes: Any, values: NDArray[np.int64], colour: str, cut: int = 100) -> None:
    """Whole numbers; those above the percentile ``cut`` are left out, and it says how many."""
    if not len(values):
        return
    top = int(np.percentile(values, cut))
    bins = _whole_bins(min(int(values.min()), top), top)
    axes.hist(values, bins=bins, color=colour, edgecolor="white", linewidth=0.5)
    _whole_ticks(axes)
    if len(bins) <= _FEW_BINS:
        axes.set_xticks((bins[:-1] + bins[1:]) / 2)
    beyond = int((values >= bins[-1]).sum())
    if beyond:
        note = f"{beyond:,} above {top:,} not shown"
        axes.annotate(
            note,
            (0.98, 0.98),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=7,
            color=_GREY,
        )


def _whole_ticks(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def _whole_bins(low: int, high: int, most: int = 30) -> NDArray[np.float64]:
    """Bins of equal whole width that begin between whole numbers."""
    width = -(-(high - low + 1) // most)
    count = -(-(high - low + 1) // width)
    return low - 0.5 + width * np.arange(count + 1, dtype=np.float64)


def _gold_sizes(axes: Any, values: Measurements) -> None:
    """Utterances and images side by side; told apart by colour and by hatching."""
    top = int(max(values.gold_utts.max(initial=0), values.gold_imgs.max(initial=0)))
    if not len(values.gold_utts):
        return
    edges = _whole_bins(0, top, 12)
    axes.hist(
        [values.gold_utts, values.gold_imgs],
        bins=edges,
        color=[_BLUE, _ORANGE],
        label=["utterances", "images"],
        edgecolor="white",
        hatch=["", "///"],
    )
    axes.legend(frameon=False, fontsize=8)
    first, last = np.ceil(edges[:-1]).astype(int), np.floor(edges[1:]).astype(int)
    names = [str(a) if a == b else f"{a}\u2013{b}" for a, b in zip(first, last, strict=True)]
    step = -(-len(names) // (_MOST_TICKS if max(map(len, names)) < 3 else _MOST_TICKS // 2))
    axes.set_xticks(((edges[:-1] + edges[1:]) / 2)[::step], names[::step])


def _dispersion(axes: Any, values: NDArray[np.float64]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if not len(values):
        return
    top = max(float(values.max()), 2.0)
    axes.hist(values, bins=np.geomspace(1, top * 1.001, 13), color=_GREEN, edgecolor="white")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
