"""Charts; names reach Vega as data, which it draws as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.runs_table import BoardRow, Figures

# From the palette of Okabe and Ito: told apart with any colour vision, on light and on dark.
BAR: Final = "#0072B2"
SELECTED: Final = "#D55E00"
TEXT: Final = "#808891"

_BAR_HEIGHT: Final = 26
_LABEL_WIDTH: Final = 150
_UNDEFINED: Final = "–"


def run_bars(rows: Sequence[BoardRow], title: str, selected: str | None) -> alt.LayerChart:
    """One bar a run, best first; the selected one stands out."""
    frame = pd.DataFrame(
        {
            "name": [row.run.label for row in rows],
            "value": pd.Series([row.value for row in rows], dtype="float64"),
            "text": [_text(row.value) for row in rows],
            "selected": [row.run.label == selected for row in rows],
        }
    )
    return _bars(frame, title, title)


def group_bars(groups: Sequence[tuple[str, Figures, float | None]], title: str) -> alt.LayerChart:
    """One bar a group of samples, with its number of samples; the caller writes the title."""
    frame = pd.DataFrame(
        {
            "name": [f"{name} ({figures.n_samples})" for name, figures, _ in groups],
            "value": pd.Series([value for _, _, value in groups], dtype="float64"),
            "text": [_text(value) for _, _, value in groups],
            "selected": False,
        }
    )
    return _bars(frame, title, None)


def _bars(frame: pd.DataFrame, title: str, axis_title: str | None) -> alt.LayerChart:
    lowest = min(0.0, float(frame["value"].min())) if frame["value"].notna().any() else 0.0
    scale = alt.Scale(domain=[lowest, 1.12], nice=False)  # room for the figure beside a full bar
    axis = alt.Axis(values=_ticks(lowest), format="~g")
    x = alt.X("value:Q", title=axis_title, scale=scale, axis=axis)
    y = alt.Y(
        "name:N", title=None, sort=frame["name"].tolist(), axis=alt.Axis(labelLimit=_LABEL_WIDTH)
    )
    tooltip = [alt.Tooltip("name:N", title="name"), alt.Tooltip("text:N", title=title)]
    colour: Any = alt.condition("datum.selected", alt.value(SELECTED), alt.value(BAR))
    base = alt.Chart(frame).encode(y=y)
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.72}).encode(
        x=x, color=colour, tooltip=tooltip
    )
    beside = alt.X("at:Q", scale=scale)
    figures = (
        base.transform_calculate(at="isValid(datum.value) ? max(datum.value, 0) : 0")
        .mark_text(align="left", dx=5, color=TEXT)
        .encode(x=beside, text="text:N")
    )
    layers: alt.LayerChart = (bars + figures).properties(height=alt.Step(_BAR_HEIGHT))
    return layers


def _ticks(lowest: float) -> list[float]:
    ticks = [0.0, 0.5, 1.0]
    return ticks if lowest >= 0 else [-1.0, -0.5, *ticks]


def _text(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"
