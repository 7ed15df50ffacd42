"""The charts of the model page: data and Vega-Lite spec, as :mod:`leaderboard.charts` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from leaderboard import charts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.charts import Chart, Row

BEST: Final = "#E69F00"
_STEP: Final = 26
_ROOM: Final = 1.3
"""The end of an axis of shares: room for the words beside a full bar."""


def group_intervals(rows: Sequence[Row], title: str) -> Chart:
    """A dot with its interval a group, and a tick where the best run of the board is.

    Args:
        rows: ``name``, ``value``, ``lo``, ``hi`` and ``best``.
        title: Of the axis.
    """
    table, spec = charts.score_intervals(rows, title)
    best = [row["best"] for row in rows if row["value"] is not None]
    table = table.append_column("best", pa.array(best, pa.float64()))
    tick = {
        "transform": [{"filter": "isValid(datum.best)"}],
        "mark": {"type": "tick", "color": BEST, "thickness": 3, "size": 18, "opacity": 1},
        "encoding": {
            "x": {"field": "best", "type": "quantitative"},
            "y": spec["layer"][0]["encoding"]["y"],
        },
    }
    return table, {**spec, "layer": [tick, *spec["layer"]]}


def outcome_bars(rows: Sequence[Row]) -> Chart:
    """A bar an outcome, with its number and share; those without a usable answer stand out.

    Args:
        rows: ``outcome``, ``share``, ``text`` and ``answered``.
    """
    kept = ("outcome", "share", "text", "answered")
    table = pa.Table.from_pylist([{name: row[name] for name in kept} for row in rows])
    y = {
        "field": "outcome",
        "type": "nominal",
        "title": None,
        "sort": None,
        "axis": {"ticks": False, "domain": False},
    }
    axis = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}
    scale = {"domain": [0, _ROOM], "nice": False}
    x = {"field": "share", "type": "quantitative", "title": None, "scale": scale, "axis": axis}
    colour = {"condition": {"test": "datum.answered", "value": charts.BLUE}, "value": charts.RED}
    words = {"field": "text", "type": "nominal"}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "bar", "cornerRadiusEnd": 3, "height": {"band": 0.66}},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": [y, words]},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 6, "color": charts.GREY},
            "encoding": {"x": x, "y": y, "text": words},
        },
    ]
    return table, {
        "$schema": charts.SCHEMA,
        "width": "container",
        "height": {"step": _STEP},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
        "config": {"view": {"stroke": None}, "background": None},
    }
