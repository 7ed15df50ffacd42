"""The charts: valid Vega-Lite that draws, with names as data only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import altair
import pytest

from ffr_eval.errors import FfrError
from leaderboard import charts
from leaderboard.downloads import png_bytes, svg_bytes, whole_spec

if TYPE_CHECKING:
    import pyarrow as pa

NASTY = "![x](https://tracker.example/a.png) <img src=x> datum.value"
MODELS = ["bm25", "模型 二", NASTY]


def all_charts() -> dict[str, charts.Chart]:
    scores = [
        {"name": name, "value": 0.5 - n / 10, "lo": 0.4 - n / 10, "hi": 0.6, "picked": n == 1}
        for n, name in enumerate(MODELS)
    ]
    undefined = {"name": "undefined", "value": None, "lo": None, "hi": None}
    floors = [{"name": NASTY, "value": 0.1}, {"name": "none", "value": None}]
    curves = [
        {"model": name, "bucket": bucket, "value": 0.3 + n / 10, "lo": 0.2, "hi": 0.7}
        for n, name in enumerate(MODELS)
        for bucket in charts.LENGTHS
    ]
    cells = [
        {"model": name, "bucket": bucket, "value": None if n == 1 else n / 4}
        for n, name in enumerate(MODELS)
        for bucket in ("all samples", "long dialogues (> 65 turns)")
    ]
    points = [
        {
            "name": name,
            "x": x,
            "value": 0.3,
            "lo": 0.2,
            "hi": 0.4,
            "frontier": n == 0,
            "group": NASTY,
        }
        for n, (name, x) in enumerate(zip(MODELS, (0.01, 3.0, 90.0), strict=True))
    ]
    pairs = [
        {"bucket": b, "pair": NASTY, "delta": d, "lo": -0.1, "hi": 0.3, "p_holm": p, "verdict": ""}
        for b, d, p in (("all", 0.1, 0.01), ("short", -0.02, None), ("long", None, None))
    ]
    return {
        "scores": charts.score_intervals([*scores, undefined], "micro.joint.f1", floors),
        "scores without floors": charts.score_intervals(scores, "micro.joint.f1"),
        "curves": charts.bucket_curves(curves, "F1", {"short": 'sho"rt', "long": "长"}),
        "heat map": charts.heat_map(cells, "F1"),
        "tradeoff": charts.tradeoff(points, "cost", "F1"),
        "tradeoff with zero": charts.tradeoff([points[0] | {"x": 0.0}, *points], "params", "F1"),
        "forest": charts.difference_forest(pairs, "difference"),
        "nothing": charts.score_intervals([], "F1"),
        "no curves": charts.bucket_curves([], "F1"),
        "no cells": charts.heat_map([], "F1"),
        "no points": charts.tradeoff([], "cost", "F1"),
        "no pairs": charts.difference_forest([], "difference"),
    }


CHARTS = all_charts()


@pytest.mark.parametrize("name", CHARTS)
def test_specs_are_valid(name: str) -> None:
    table, spec = CHARTS[name]
    with_data = {**spec, "data": {"values": table.to_pylist()}}
    altair.LayerChart.from_dict(with_data)  # validates against the schema of Vega-Lite


@pytest.mark.parametrize("name", CHARTS)
def test_fields_are_columns(name: str) -> None:
    table, spec = CHARTS[name]
    assert fields_of(spec) <= set(table.column_names)


def fields_of(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(fields_of, node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*map(fields_of, node.values()))
    return found | ({node["field"]} if isinstance(node.get("field"), str) else set())


@pytest.mark.parametrize("name", CHARTS)
def test_no_name_is_in_a_spec(name: str) -> None:
    table, spec = CHARTS[name]
    written = json.dumps(spec, ensure_ascii=False)
    assert "tracker.example" not in written
    assert "模型" not in written
    assert "url" not in fields_of(spec)
    assert table.num_rows == 0 or "data" not in spec


@pytest.mark.parametrize("name", CHARTS)
def test_charts_draw(name: str) -> None:
    picture = drawn(name)
    assert picture.startswith("<svg")
    assert "<img" not in picture
    assert "<image" not in picture
    assert "NaN" not in picture


def drawn(name: str) -> str:
    """The chart as SVG; drawn in this process, which is quicker."""
    import vl_convert

    picture: str = vl_convert.vegalite_to_svg(whole_spec(*CHARTS[name], {"board": NASTY}))
    return picture


def test_values_and_names_are_printed() -> None:
    scores = drawn("scores")
    assert all(text in scores for text in ("0.500", "0.400", "bm25", "模型 二"))
    assert "undefined<" not in scores  # a run without a value has no dot
    assert all(text in drawn("heat map") for text in ("0.000", "0.500", "–"))
    assert 'sho"rt' in drawn("curves") or "sho&quot;rt" in drawn("curves")
    assert "+0.100" not in drawn("scores")


def test_curves_have_a_legend() -> None:
    """Layers whose legends differ can end up with none, depending on the version of Vega-Lite."""
    layers = CHARTS["curves"][1]["layer"]
    assert len({json.dumps(layer["encoding"]["color"]) for layer in layers}) == 1
    assert layers[0]["encoding"]["color"]["legend"]["orient"] == "bottom"
    assert not any("stroke" in layer["encoding"] for layer in layers)
    assert all(name in drawn("curves") for name in ("bm25", "模型 二"))


def test_colour_never_stands_alone() -> None:
    table, spec = CHARTS["curves"]
    points = spec["layer"][-1]["encoding"]
    assert points["color"]["field"] == points["shape"]["field"] == "model"
    assert len(set(charts.PALETTE)) == len(set(charts.SHAPES)) == len(charts.PALETTE)
    assert table["at"].to_pylist() != [0, 1, 2] * 3  # whiskers do not cover each other


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tradeoff", "log"), ("tradeoff with zero", "symlog"), ("no points", "linear")],
)
def test_axis_fits_the_values(name: str, kind: str) -> None:
    spec = CHARTS[name][1]
    assert spec["layer"][0]["encoding"]["x"]["scale"]["type"] == kind


def test_what_is_significant_is_filled() -> None:
    table: pa.Table = CHARTS["forest"][0]
    assert table["significant"].to_pylist() == [True, False]
    assert charts.difference_forest(
        [{"bucket": "b", "pair": "p", "delta": 1.0, "lo": None, "hi": None, "p_holm": 0.03}],
        "d",
        alpha=0.01,
    )[0]["significant"].to_pylist() == [False]


def test_png() -> None:
    assert png_bytes(*CHARTS["scores"], {}).startswith(b"\x89PNG")


def test_nothing_is_fetched() -> None:
    """A spec with an address is not drawn."""
    table, spec = CHARTS["heat map"]
    layer = {"data": {"url": "http://127.0.0.1:9/x.json"}, "mark": "point", "encoding": {}}
    with pytest.raises(FfrError, match="could not be drawn"):
        svg_bytes(table, {**spec, "height": 10, "layer": [layer]}, {})
    with pytest.raises(FfrError, match="could not be drawn"):
        png_bytes(table, {**spec, "height": 10, "layer": [layer]}, {})


@pytest.mark.parametrize("name", CHARTS)
def test_no_mark_is_an_image_or_a_link(name: str) -> None:
    """Pictures named by data would be fetched, here and in the browser."""
    for layer in CHARTS[name][1]["layer"]:
        assert layer["mark"]["type"] in {"rule", "point", "text", "line", "rect"}
        assert not {"href", "url"} & (set(layer["encoding"]) | set(layer["mark"]))
