"""What the charts have in common: colours, columns, axes, and the frame of a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa

from leaderboard.figures import interval_text, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row: TypeAlias = "Mapping[str, Any]"
Chart: TypeAlias = "tuple[pa.Table, dict[str, Any]]"

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
BLUE: Final = "#0072B2"
RED: Final = "#D55E00"
GREY: Final = "#7A7F87"
PALETTE: Final = (BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES: Final = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down")
LABEL_WIDTH: Final = 190
ALL_LABELS: Final = {"labelOverlap": False, "labelFlush": False}
TEXT, REAL, FLAG = pa.string(), pa.float64(), pa.bool_()


def value_columns(row: Row) -> dict[str, Any]:
    """A value with its interval, as numbers and as text."""
    value, lo, hi = row["value"], row.get("lo"), row.get("hi")
    return {
        "value": value,
        "lo": lo,
        "hi": hi,
        "end": value if hi is None else max(value, hi),
        "text": value_text(value),
        "interval": interval_text(lo, hi),
    }


def value_table(data: list[dict[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """The table of rows with :func:`value_columns` and other columns."""
    shared = {"value": REAL, "lo": REAL, "hi": REAL, "end": REAL}
    schema = pa.schema({**columns, **shared, "text": TEXT, "interval": TEXT})
    return pa.Table.from_pylist(data, schema)


def score_axis(field: str, title: str) -> dict[str, Any]:
    """An axis of scores; it need not begin at zero."""
    scale = {"zero": False, "nice": True}
    axis = {"tickCount": 6, "format": "~g", "labelOverlap": True}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        "axis": axis,
    }


def name_axis(field: str) -> dict[str, Any]:
    """An axis of names, in the order of the column ``place``."""
    axis = {"labelLimit": LABEL_WIDTH, "ticks": False, "domain": False, **ALL_LABELS}
    sort = {"field": "place", "op": "min", "order": "ascending"}
    return {"field": field, "type": "nominal", "title": None, "sort": sort, "axis": axis}


def by_model(
    models: Sequence[str], field: str = "model", title: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Colour and shape of each model; one legend for both."""
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 220, "symbolOpacity": 1}
    shared = {"field": field, "type": "nominal", "title": title, "sort": None, "legend": legend}
    n = len(models)
    # By range only: the models are in the data, in this order.
    colours = [PALETTE[at % len(PALETTE)] for at in range(max(n, 1))]
    shapes = [SHAPES[at % len(SHAPES)] for at in range(max(n, 1))]
    return shared | {"scale": {"range": colours}}, shared | {"scale": {"range": shapes}}


def told(field: str, title: str) -> dict[str, Any]:
    """A line of what is shown beside the pointer."""
    kind = "quantitative" if field == "x" else "nominal"
    found = {"field": field, "type": kind, "title": title}
    return found | {"format": "~g"} if kind == "quantitative" else found


def only(field: str, value: str) -> list[dict[str, Any]]:
    """The rows with a value."""
    return [{"filter": {"field": field, "equal": value}}]


def layered(layers: list[dict[str, Any]], height: int | dict[str, int]) -> dict[str, Any]:
    """A spec of layers, as wide as there is room."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
        "config": {"view": {"stroke": None}},
    }
