"""Charts as ready Vega-Lite specs: each function gives the data and the spec for them.

``st.vega_lite_chart(*charts.bucket_curves(rows, title))``. Specs hold our own words only; names of
models reach Vega as data, which it draws as plain text. Colours are those of Okabe and Ito, told
apart with any colour vision, on light and on dark, and never alone: shape or text says the same.
"""

from __future__ import annotations

import json
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
LENGTHS: Final = ("short", "medium", "long")

_STEP: Final = 24
_LABEL_WIDTH: Final = 190
_ALPHA: Final = 0.05
_LOG_FROM: Final = 20  # largest to smallest value of an axis
_APART: Final = 0.05  # between the whiskers of two models, in buckets
_TEXT, _REAL, _FLAG = pa.string(), pa.float64(), pa.bool_()


def score_intervals(rows: Sequence[Row], title: str, references: Sequence[Row] = ()) -> Chart:
    """Scores as dots with their 95% intervals, one line a model, in the order of the rows.

    Args:
        rows: ``name``, ``value``, ``lo``, ``hi``; ``picked`` for those that stand out, ``unranked``
            for those that are drawn grey and hollow.
        title: Of the axis.
        references: ``name`` and ``value`` of floors and ceilings, drawn as dashed lines.
    """
    data = [
        _shared(row)
        | {
            "name": row["name"],
            "picked": bool(row.get("picked")),
            "unranked": bool(row.get("unranked")),
            "kind": "run",
        }
        for row in rows
        if row["value"] is not None
    ]
    data += [
        _shared(row) | {"name": row["name"], "picked": False, "unranked": True, "kind": "reference"}
        for row in references
        if row["value"] is not None
    ]
    for place, entry in enumerate(data):
        entry["place"] = place
    columns = {"name": _TEXT, "picked": _FLAG, "unranked": _FLAG, "kind": _TEXT}
    table = _table(data, {**columns, "place": pa.int64()})
    runs, lines = _only("kind", "run"), _only("kind", "reference")
    x = _score("value", title)
    y = _names("name")
    told = [_said("name", "name"), _said("text", title), _said("interval", "95%")]
    stands_out = {"test": "datum.picked", "value": RED}
    unranked = {"test": "datum.unranked", "value": GREY}
    colour = {"condition": [stands_out, unranked], "value": BLUE}
    hollow = {"test": "datum.unranked", "value": "transparent"}
    fill = {"condition": [hollow, stands_out], "value": BLUE}
    shape = {"condition": {"test": "datum.picked", "value": "diamond"}, "value": "circle"}
    layers: list[dict[str, Any]] = [
        {
            "transform": lines,
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": GREY},
            "encoding": {"x": x, "tooltip": told[:2]},
        },
        {
            "transform": lines,
            "mark": {
                "type": "text",
                "angle": 315,
                "align": "left",
                "dx": 4,
                "color": GREY,
                "y": -2,
            },
            "encoding": {"x": x, "text": {"field": "name", "type": "nominal"}},
        },
        {
            "transform": runs,
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.55},
            "encoding": {"x": _score("lo", title), "x2": {"field": "hi"}, "y": y, "color": colour},
        },
        {
            "transform": runs,
            "mark": {"type": "point", "size": 70, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "stroke": colour,
                "fill": fill,
                "shape": shape,
                "tooltip": told,
            },
        },
        {
            "transform": runs,
            "mark": {"type": "text", "align": "left", "dx": 7, "color": GREY},
            "encoding": {
                "x": _score("end", title),
                "y": y,
                "text": {"field": "text", "type": "nominal"},
            },
        },
    ]
    return table, _spec(layers if references else layers[2:], height={"step": _STEP})


def bucket_curves(
    rows: Sequence[Row], title: str, buckets: Mapping[str, str] | None = None
) -> Chart:
    """A metric over short, medium and long dialogues, one curve a model, with 95% intervals.

    Args:
        rows: ``model``, ``bucket`` (short, medium, long), ``value``, ``lo``, ``hi``; up to six
            models.
        title: Of the axis.
        buckets: The words for the buckets; by default their names.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    shown = [bucket for bucket in LENGTHS if any(row["bucket"] == bucket for row in rows)]
    data = [
        _shared(row)
        | {
            "model": row["model"],
            "bucket": (buckets or {}).get(row["bucket"], row["bucket"]),
            "at": shown.index(row["bucket"])
            + _APART * (models.index(row["model"]) - (len(models) - 1) / 2),
        }
        for row in rows
        if row["bucket"] in shown and row["value"] is not None
    ]
    table = _table(data, {"model": _TEXT, "bucket": _TEXT, "at": _REAL})
    words = [(buckets or {}).get(bucket, bucket) for bucket in shown]
    axis = {
        "values": list(range(len(shown))),
        "labelExpr": f"{json.dumps(words, ensure_ascii=False)}[datum.value]",
        "grid": False,
        "labelFlush": False,
        "labelLimit": 140,
    }
    x = {
        "field": "at",
        "type": "quantitative",
        "title": None,
        "axis": axis,
        "scale": {"domain": [-0.4, max(len(shown) - 0.6, 0.6)], "nice": False, "zero": False},
    }
    colour, shape = _by_model(models)
    plain = colour | {"legend": None}  # the legend is that of the points, with their shapes
    y = _score("value", title)
    told = [_said("model", "model"), _said("bucket", "bucket"), _said("text", title)]
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
            "encoding": {"x": x, "y": _score("lo", title), "y2": {"field": "hi"}, "stroke": plain},
        },
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"x": x, "y": y, "stroke": plain}},
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "shape": shape,
                "tooltip": [*told, _said("interval", "95%")],
            },
        },
    ]
    return table, _spec(layers, height=320)


def heat_map(rows: Sequence[Row], title: str) -> Chart:
    """Models by buckets with the values printed; both in the order of the rows.

    Args:
        rows: ``model``, ``bucket`` (in words), ``value``.
        title: Of the colours.
    """
    known = [row["value"] for row in rows if row["value"] is not None]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    models = list(dict.fromkeys(row["model"] for row in rows))
    buckets = list(dict.fromkeys(row["bucket"] for row in rows))
    data = [
        {
            "model": row["model"],
            "bucket": row["bucket"],
            "value": row["value"],
            "text": value_text(row["value"]),
            "dark": row["value"] is not None and row["value"] < middle,
            "place": models.index(row["model"]),
            "column": buckets.index(row["bucket"]),
        }
        for row in rows
    ]
    columns = {"model": _TEXT, "bucket": _TEXT, "value": _REAL, "text": _TEXT, "dark": _FLAG}
    table = pa.Table.from_pylist(
        data, pa.schema({**columns, "place": pa.int64(), "column": pa.int64()})
    )
    axis = {"orient": "top", "labelAngle": -30, "labelLimit": _LABEL_WIDTH}
    x = {
        "field": "bucket",
        "type": "nominal",
        "title": None,
        "sort": {"field": "column", "op": "min"},
        "axis": axis,
    }
    y = _names("model")
    ink = {
        "condition": [
            {"test": "!isValid(datum.value)", "value": GREY},
            {"test": "datum.dark", "value": "white"},
        ],
        "value": "black",
    }
    fill = {
        "field": "value",
        "type": "quantitative",
        "scale": {"scheme": "cividis", "zero": False},
        "legend": None,
    }
    told = [_said("model", "model"), _said("bucket", "bucket"), _said("text", title)]
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": "isValid(datum.value)"}],
            "mark": {"type": "rect", "stroke": GREY, "strokeWidth": 0.4},
            "encoding": {"x": x, "y": y, "color": fill, "tooltip": told},
        },
        {
            "mark": {"type": "text", "fontSize": 12},
            "encoding": {
                "x": x,
                "y": y,
                "text": {"field": "text", "type": "nominal"},
                "color": ink,
            },
        },
    ]
    return table, _spec(layers, height={"step": _STEP + 2})


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
        | _shared(row)
        for row in rows
        if row["value"] is not None and row["x"] is not None
    ]
    table = _table(data, {"name": _TEXT, "x": _REAL, "frontier": _FLAG, "group": _TEXT})
    groups = sorted({row["group"] for row in data})
    kind = _axis_kind([row["x"] for row in data])
    x = {
        "field": "x",
        "type": "quantitative",
        "title": x_title,
        "scale": kind | {"nice": True, "zero": False},
        "axis": {"format": "~g", "tickCount": 6, "labelOverlap": True},
    }
    y = _score("value", y_title)
    colour, shape = _by_model(groups, "group", legend)
    told = [_said("name", "name"), _said("x", x_title), _said("text", y_title)]
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
                "tooltip": [*told, _said("interval", "95%")],
            },
        },
        {
            "transform": best,
            "mark": {"type": "text", "align": "left", "dx": 7, "dy": 12, "color": GREY}
            | {"limit": 150},
            "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
        },
    ]
    return table, _spec(layers, height=380)


def difference_forest(rows: Sequence[Row], title: str, alpha: float = _ALPHA) -> Chart:
    """Paired differences with their 95% intervals around zero; filled where significant.

    Args:
        rows: ``bucket`` (in words), ``pair``, ``delta``, ``lo``, ``hi``, ``p_holm``, ``verdict``.
        title: Of the axis.
        alpha: The level of the tests.
    """
    several = len({row["pair"] for row in rows}) > 1
    data: list[dict[str, Any]] = []
    for row in rows:
        if row["delta"] is None:
            continue
        p = row.get("p_holm")
        data.append(
            {
                "name": f"{row['bucket']}: {row['pair']}" if several else row["bucket"],
                "value": row["delta"],
                "lo": row["lo"],
                "hi": row["hi"],
                "text": value_text(row["delta"], signed=True),
                "interval": interval_text(row["lo"], row["hi"], signed=True),
                "significant": p is not None and p <= alpha,
                "verdict": row.get("verdict") or "",
                "pair": row["pair"],
                "place": len(data),
            }
        )
    columns = {"name": _TEXT, "value": _REAL, "lo": _REAL, "hi": _REAL, "text": _TEXT}
    columns |= {"interval": _TEXT, "significant": _FLAG, "verdict": _TEXT, "pair": _TEXT}
    table = pa.Table.from_pylist(data, pa.schema({**columns, "place": pa.int64()}))
    y = _names("name")
    colour = {"condition": {"test": "datum.significant", "value": RED}, "value": BLUE}
    fill = {"condition": {"test": "datum.significant", "value": RED}, "value": "transparent"}
    told = [_said("name", "samples"), _said("pair", "pair"), _said("text", title)]
    layers = [
        {
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": GREY},
            "encoding": {"x": {"datum": 0, "type": "quantitative"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.7},
            "encoding": {"x": _score("lo", title), "x2": {"field": "hi"}, "y": y, "color": colour},
        },
        {
            "mark": {"type": "point", "size": 80, "strokeWidth": 2, "opacity": 1},
            "encoding": {
                "x": _score("value", title),
                "y": y,
                "fill": fill,
                "stroke": colour,
                "tooltip": [*told, _said("interval", "95%"), _said("verdict", "verdict")],
            },
        },
    ]
    return table, _spec(layers, height={"step": _STEP + 4})


def _shared(row: Row) -> dict[str, Any]:
    value, lo, hi = row["value"], row.get("lo"), row.get("hi")
    return {
        "value": value,
        "lo": lo,
        "hi": hi,
        "end": value if hi is None else max(value, hi),
        "text": value_text(value),
        "interval": interval_text(lo, hi),
    }


def _table(data: list[dict[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    shared = {"value": _REAL, "lo": _REAL, "hi": _REAL, "end": _REAL}
    schema = pa.schema({**columns, **shared, "text": _TEXT, "interval": _TEXT})
    return pa.Table.from_pylist(data, schema)


def _score(field: str, title: str) -> dict[str, Any]:
    scale = {"zero": False, "nice": True}
    axis = {"tickCount": 6, "format": "~g", "labelOverlap": True}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        "axis": axis,
    }


def _names(field: str) -> dict[str, Any]:
    axis = {"labelLimit": _LABEL_WIDTH, "ticks": False, "domain": False}
    sort = {"field": "place", "op": "min", "order": "ascending"}
    return {"field": field, "type": "nominal", "title": None, "sort": sort, "axis": axis}


def _by_model(
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


def _said(field: str, title: str) -> dict[str, Any]:
    kind = "quantitative" if field == "x" else "nominal"
    found = {"field": field, "type": kind, "title": title}
    return found | {"format": "~g"} if kind == "quantitative" else found


def _only(field: str, value: str) -> list[dict[str, Any]]:
    return [{"filter": {"field": field, "equal": value}}]


def _axis_kind(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis where values are far apart; one that has a zero where there is one."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) / min(positive) < _LOG_FROM:
        return {"type": "linear"}
    if len(positive) == len(values):
        return {"type": "log"}
    return {"type": "symlog", "constant": min(positive)}


def _spec(layers: list[dict[str, Any]], height: int | dict[str, int]) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
        "config": {"view": {"stroke": None}},
    }
