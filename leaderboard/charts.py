"""Charts as ready Vega-Lite specs: each function gives the data and the spec for them.

``st.vega_lite_chart(*charts.bucket_curves(rows, title))``. Specs hold our own words only; names of
models reach Vega as data, which it draws as plain text. Colours are those of Okabe and Ito, told
apart with any colour vision, on light and on dark, and never alone: shape or text says the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from leaderboard.chart_parts import (
    ALL_LABELS,
    BLUE,
    FLAG,
    GREY,
    LABEL_WIDTH,
    PALETTE,
    REAL,
    RED,
    SCHEMA,
    SHAPES,
    TEXT,
    Chart,
    Row,
    by_model,
    layered,
    name_axis,
    only,
    score_axis,
    told,
    value_columns,
    value_table,
)
from leaderboard.figures import interval_text, value_text
from leaderboard.tradeoff_chart import tradeoff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = [
    "BLUE",
    "GREY",
    "LENGTHS",
    "PALETTE",
    "RED",
    "SCHEMA",
    "SHAPES",
    "Chart",
    "Row",
    "bucket_curves",
    "difference_forest",
    "heat_map",
    "score_intervals",
    "tradeoff",
]

LENGTHS: Final = ("short", "medium", "long")

_STEP: Final = 24
_ALPHA: Final = 0.05
_APART: Final = 0.05  # between the whiskers of two models, in buckets


def score_intervals(rows: Sequence[Row], title: str, references: Sequence[Row] = ()) -> Chart:
    """Scores as dots with their 95% intervals, one line a model, in the order of the rows.

    Args:
        rows: ``name``, ``value``, ``lo``, ``hi``; ``picked`` for those that stand out, ``unranked``
            for those that are drawn grey and hollow.
        title: Of the axis.
        references: ``name`` and ``value`` of floors and ceilings, drawn as dashed lines.
    """
    data = [
        value_columns(row)
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
        value_columns(row)
        | {"name": row["name"], "picked": False, "unranked": True, "kind": "reference"}
        for row in references
        if row["value"] is not None
    ]
    for place, entry in enumerate(data):
        entry["place"] = place
    columns = {"name": TEXT, "picked": FLAG, "unranked": FLAG, "kind": TEXT}
    table = value_table(data, {**columns, "place": pa.int64()})
    runs, lines = only("kind", "run"), only("kind", "reference")
    x = score_axis("value", title)
    y = name_axis("name")
    tooltip = [told("name", "name"), told("text", title), told("interval", "95%")]
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
            "encoding": {"x": x, "tooltip": tooltip[:2]},
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
            "encoding": {
                "x": score_axis("lo", title),
                "x2": {"field": "hi"},
                "y": y,
                "color": colour,
            },
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
                "tooltip": tooltip,
            },
        },
        {
            "transform": runs,
            "mark": {"type": "text", "align": "left", "dx": 7, "color": GREY},
            "encoding": {
                "x": score_axis("end", title),
                "y": y,
                "text": {"field": "text", "type": "nominal"},
            },
        },
    ]
    return table, layered(layers if references else layers[2:], height={"step": _STEP})


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
        value_columns(row)
        | {
            "model": row["model"],
            "bucket": (buckets or {}).get(row["bucket"], row["bucket"]),
            "at": shown.index(row["bucket"])
            + _APART * (models.index(row["model"]) - (len(models) - 1) / 2),
        }
        for row in rows
        if row["bucket"] in shown and row["value"] is not None
    ]
    table = value_table(data, {"model": TEXT, "bucket": TEXT, "at": REAL})
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
    # The same in all layers: one without a legend takes it from the others, too.
    colour, shape = by_model(models)
    y = score_axis("value", title)
    tooltip = [told("model", "model"), told("bucket", "bucket"), told("text", title)]
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
            "encoding": {
                "x": x,
                "y": score_axis("lo", title),
                "y2": {"field": "hi"},
                "color": colour,
            },
        },
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"x": x, "y": y, "color": colour}},
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "shape": shape,
                "tooltip": [*tooltip, told("interval", "95%")],
            },
        },
    ]
    return table, layered(layers, height=320)


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
    columns = {"model": TEXT, "bucket": TEXT, "value": REAL, "text": TEXT, "dark": FLAG}
    table = pa.Table.from_pylist(
        data, pa.schema({**columns, "place": pa.int64(), "column": pa.int64()})
    )
    axis = {"orient": "top", "labelAngle": -30, "labelLimit": LABEL_WIDTH, **ALL_LABELS}
    x = {
        "field": "bucket",
        "type": "nominal",
        "title": None,
        "sort": {"field": "column", "op": "min"},
        "axis": axis,
    }
    y = name_axis("model")
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
    tooltip = [told("model", "model"), told("bucket", "bucket"), told("text", title)]
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": "isValid(datum.value)"}],
            "mark": {"type": "rect", "stroke": GREY, "strokeWidth": 0.4},
            "encoding": {"x": x, "y": y, "color": fill, "tooltip": tooltip},
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
    return table, layered(layers, height={"step": _STEP + 2})


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
    columns = {"name": TEXT, "value": REAL, "lo": REAL, "hi": REAL, "text": TEXT}
    columns |= {"interval": TEXT, "significant": FLAG, "verdict": TEXT, "pair": TEXT}
    table = pa.Table.from_pylist(data, pa.schema({**columns, "place": pa.int64()}))
    y = name_axis("name")
    colour = {"condition": {"test": "datum.significant", "value": RED}, "value": BLUE}
    fill = {"condition": {"test": "datum.significant", "value": RED}, "value": "transparent"}
    tooltip = [told("name", "samples"), told("pair", "pair"), told("text", title)]
    layers = [
        {
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": GREY},
            "encoding": {"x": {"datum": 0, "type": "quantitative"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.7},
            "encoding": {
                "x": score_axis("lo", title),
                "x2": {"field": "hi"},
                "y": y,
                "color": colour,
            },
        },
        {
            "mark": {"type": "point", "size": 80, "strokeWidth": 2, "opacity": 1},
            "encoding": {
                "x": score_axis("value", title),
                "y": y,
                "fill": fill,
                "stroke": colour,
                "tooltip": [*tooltip, told("interval", "95%"), told("verdict", "verdict")],
            },
        },
    ]
    return table, layered(layers, height={"step": _STEP + 4})
