"""How the figures of a report look, and how they become files; no figure of its own."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind: TypeAlias = Literal["svg", "png", "pdf"]

COLOURS: Final = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7A7A7A",
)  # fmt: skip
"""Okabe and Ito's, which differ for the colour-blind too; yellow, too faint on white, is grey."""

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
HATCHES: Final = ("", "////", "\\\\\\\\", "xxx", "--", "+++", "||", "..")
GREY: Final = "#555555"
WIDTH: Final = 7.2  # inches

_LONGEST_NAME: Final = 26
_DPI: Final = 150
_PNG_COLOURS: Final = 256
_CJK_FONTS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Noto Sans CJK JP",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "Arial Unicode MS",
)
"""Fonts with Chinese glyphs; those that are installed are used where the first has no glyph."""


def plain(text: str) -> str:
    """Text as it stands, for matplotlib, to which ``$`` begins a formula."""
    return visible(text).replace("$", r"\$")


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """A name that fits beside an axis: a long one loses its middle."""
    shown = visible(text)
    if len(shown) > most:
        half = (most - 1) // 2
        shown = f"{shown[: most - 1 - half]}…{shown[-half:]}"
    return shown.replace("$", r"\$")


def colour(place: int) -> str:
    """The colour of the run at a place."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Its marker; colour and marker together repeat after 88 runs."""
    return MARKERS[place % len(MARKERS)]


def dashes(place: int) -> Any:
    """The dashes of its line."""
    return DASHES[place % len(DASHES)]


def render(draw: Callable[[Any], None], kind: Kind) -> bytes:
    """A figure as the bytes of a file; the same bytes for the same figure.

    Args:
        draw: Draws on a matplotlib figure, whose size it sets.
        kind: The format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        draw(figure)
        if kind == "png":
            figure.set_dpi(_DPI)
            canvas.draw()
            return _png(canvas)
        stream = io.BytesIO()
        if kind == "svg":
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Creator": None})
        return stream.getvalue()


def _png(canvas: Any) -> bytes:
    """A PNG of few colours, which is a third of the size and looks the same."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = image.quantize(_PNG_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, "PNG", optimize=True, dpi=(_DPI, _DPI))
    return stream.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    from matplotlib import rc_context

    style: Any = {
        "axes.axisbelow": True,
        "axes.edgecolor": "#888888",
        "axes.grid": False,
        "axes.labelsize": 9,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "font.family": list(_families()),
        "font.size": 9,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.6,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 5,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "ffr",
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
    }
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of users' names
        yield


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in _CJK_FONTS if name in known][:2])
