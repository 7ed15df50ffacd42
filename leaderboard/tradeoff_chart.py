"""Score against cost, latency or parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from leaderboard.chart_parts import (
    FLAG,
    GREY,
    REAL,
    TEXT,
    by_model,
    layered,
    score_axis,
    told,
    value_columns,
    value_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.chart_parts import Chart, Row

LOG_FROM: Final = 20  # largest to smallest value of an axis


def tradeoff(rows: Sequence[Row], x_title: str, y_title: str, legend: str = "weights") -> Chart:
    """Score against what it costs, with the Pareto frontier as steps.

    Args:
        rows: ``name``, ``x``, ``value``, ``frontier``, and ``group``: what colour and shape show.
        x_title: What less of is better.
        y_title: The metric.
        legend: What the groups are.
    """
    data = [
        {
            "name": row["name"],
            "x": row["x"],
            "frontier": bool(row["frontier"]),
            "group": row.get("group") or "",
        }
        | value_columns(row)
        for row in rows
        if row["value"] is not None and row["x"] is not None
    ]
    table = value_table(data, {"name": TEXT, "x": REAL, "frontier": FLAG, "group": TEXT})
    groups = sorted({row["group"] for row in data})
    kind = spread_scale([row["x"] for row in data])
    x = {
        "field": "x",
        "type": "quantitative",
        "title": x_title,
        "scale": kind | {"nice": True, "zero": False},
        "axis": {"format": "~g", "tickCount": 6, "labelOverlap": True},
    }
    y = score_axis("value", y_title)
    colour, shape = by_model(groups, "group", legend)
    tooltip = [told("name", "name"), told("x", x_title), told("text", y_title)]
    best = [{"filter": "datum.frontier"}]
    layers: list[dict[str, Any]] = [
        {
            "transform": best,
            "mark": {"type": "line", "interpolate": "step-after", "color": GREY},
            "encoding": {"x": x, "y": y, "order": {"field": "x", "type": "quantitative"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "shape": shape,
                "opacity": {"condition": {"test": "datum.frontier", "value": 1}, "value": 0.5},
                "tooltip": [*tooltip, told("interval", "95%")],
            },
        },
        {
            "transform": best,
            "mark": {"type": "text", "align": "left", "dx": 7, "dy": 12, "color": GREY}
            | {"limit": 150},
            "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
        },
    ]
    return table, layered(layers, height=380)


def spread_scale(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis where values are far apart; one that has a zero where there is one."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) / min(positive) < LOG_FROM:
        return {"type": "linear"}
    if len(positive) == len(values):
        return {"type": "log"}
    return {"type": "symlog", "constant": min(positive)}
