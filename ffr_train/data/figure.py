"""``lengths.png``: how long samples are, and where the limit is."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIGURE: Final = "lengths.png"
_BINS: Final = 40
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#555555"  # Okabe-Ito


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_lengths(within: Sequence[int], longer: Sequence[int], limit: int, path: Path) -> None:
    """Draw the lengths of whole samples.

    Args:
        within: Tokens of the prompts of those that fit.
        longer: Tokens of the prompts of those that were divided or left out.
        limit: Tokens that a prompt may have, at most.
        path: The file to write.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    top = max(max(within, default=1), max(longer, default=1), limit) * 1.02
    edges = np.linspace(0, top, _BINS + 1).tolist()
    with rc_context(style):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.hist(within, edges, color=_BLUE, label=f"within the limit: {len(within):,}")
        if longer:
            axes.hist(longer, edges, color=_ORANGE, label=f"longer: {len(longer):,}")
        axes.axvline(limit, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"limit {limit:,}",
            (limit, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            color=_GREY,
        )
        axes.set_xlabel("tokens of the prompt of a whole sample")
        axes.set_ylabel("samples")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlim(0, top)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.15), ncols=2)
        figure.savefig(path, dpi=130, metadata={"Software": None})
