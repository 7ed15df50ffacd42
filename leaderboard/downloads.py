"""Downloads of what is on screen: tables as CSV, JSON, Parquet and LaTeX, charts as PNG and SVG.

Nothing is computed before somebody opens the menu, and no file is made before somebody clicks. All
formats say what they show: board, hash of the benchmark, protocol, metric, and the hash of the
site's manifest.
"""

from __future__ import annotations

import csv
import io
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from leaderboard import names
from leaderboard.context import current
from leaderboard.drawing import draw
from leaderboard.figures import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from leaderboard.context import Context

METADATA: Final = b"ffr"
"""The key of the Parquet metadata that holds, as JSON, what the table shows."""
EXPORT_WIDTH: Final = 760

_LONGEST_FILE_NAME: Final = 100
_NOT_IN_FILE_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


def download_menu(
    name: str,
    table: pa.Table | Callable[[], pa.Table],
    *,
    about: Mapping[str, object] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> None:
    """A menu of downloads.

    Args:
        name: What it is, of ours: the beginning of the file names, and unique on the page.
        table: Its rows, or what makes them; with ``spec`` the data of the chart.
        about: More about it than board, protocol, metric and bucket, which are there anyway.
        spec: Of the chart, as given to ``st.vega_lite_chart``: adds PNG and SVG.
    """
    text = current().text
    menu = st.popover(
        text("downloads.menu" if spec is None else "downloads.menu_chart"),
        icon=":material/download:",
        help=text("downloads.menu_help"),
        type="tertiary",
        key=f"download.{name}",
        on_change="rerun",
    )
    if not menu.open:
        return
    table = table() if callable(table) else table
    context = current()
    said = provenance(context) | {key: str(value) for key, value in (about or {}).items()}
    formats: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "csv": ("csv", "text/csv", partial(csv_bytes, table, said)),
        "json": ("json", "application/json", partial(json_bytes, table, said)),
        "parquet": (
            "parquet",
            "application/vnd.apache.parquet",
            partial(parquet_bytes, table, said),
        ),
        "latex": ("tex", "application/x-tex", partial(latex_bytes, table, said)),
    }
    if spec is not None:
        formats["png"] = ("png", "image/png", partial(png_bytes, table, spec, said))
        formats["svg"] = ("svg", "image/svg+xml", partial(svg_bytes, table, spec, said))
    helps = ("csv", "latex")
    stem = file_stem(name, said)
    with menu:
        for form, (ending, mime, made) in formats.items():
            st.download_button(
                text(f"downloads.{form}"),
                made,
                file_name=f"{stem}.{ending}",
                mime=mime,
                key=f"download.{name}.{form}",
                help=text(f"downloads.{form}_help") if form in helps else None,
                on_click="ignore",
                width="stretch",
            )


def provenance(context: Context) -> dict[str, str]:
    """What is on screen, and what it was computed from."""
    view, manifest = context.view, context.site.manifest
    board = context.site.board(view.board)
    return {
        "board": view.board,
        "benchmark": board.benchmark,
        "benchmark_hash": board.hash,
        "split": board.split or "all",
        "protocol": _full_name(view.protocol, manifest.protocols),
        "metric": view.metric,
        "samples_of": view.bucket_code,
        "site_manifest": f"sha256:{context.site.key}",
        "published": manifest.created,
    }


def _full_name(protocol: str, known: Sequence[str]) -> str:
    return next((name for name in known if name.startswith(f"{protocol}-")), protocol)


def file_stem(name: str, about: Mapping[str, str]) -> str:
    """A file name without its ending: only letters, digits, dots and hyphens of ASCII."""
    parts = [name, *(about.get(key, "") for key in ("board", "protocol", "metric", "samples_of"))]
    joined = _NOT_IN_FILE_NAMES.sub("-", "-".join(filter(None, parts)))
    return joined.strip("-._")[:_LONGEST_FILE_NAME].strip("-._") or "ffr"


def csv_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """The rows, and in each of them what they show; no cell is taken as a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(map(names.csv_cell, [*table.column_names, *about]))
    rest = [names.csv_cell(names.line(value)) for value in about.values()]
    for row in _rows(table):
        writer.writerow([*(names.csv_cell(_cell(value)) for value in row), *rest])
    return stream.getvalue().encode()


def json_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """``{"about": {…}, "rows": [{…}]}``."""
    content = {"about": dict(about), "rows": table.to_pylist()}
    return json.dumps(content, ensure_ascii=False, default=str, indent=1).encode()


def parquet_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """The table as it is; its metadata say what it shows."""
    import pyarrow.parquet as pq

    kept = dict(table.schema.metadata or {})
    said = json.dumps(dict(about), ensure_ascii=False).encode()
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**kept, METADATA: said}), stream)
    return stream.getvalue()


def latex_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """A booktabs table with what it shows in comments above; all text is escaped."""
    import pyarrow as pa

    kinds = [
        "r" if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) else "l"
        for field in table.schema
    ]
    lines = [f"% {names.line(key)}: {names.line(value)}" for key, value in about.items()]
    lines += [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule"]
    lines.append(" & ".join(names.latex(name) for name in table.column_names) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(map(_latex_cell, row)) + r" \\" for row in _rows(table)]
    lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines).encode()


def svg_bytes(table: pa.Table, spec: Mapping[str, Any], about: Mapping[str, str]) -> bytes:
    """The chart as SVG, on white."""
    return draw(whole_spec(table, spec, about), "svg")


def png_bytes(table: pa.Table, spec: Mapping[str, Any], about: Mapping[str, str]) -> bytes:
    """The chart as PNG, on white."""
    return draw(whole_spec(table, spec, about), "png")


def whole_spec(
    table: pa.Table, spec: Mapping[str, Any], about: Mapping[str, str]
) -> dict[str, Any]:
    """The spec with its data, and a width where the page would have given one."""
    footer = " · ".join(
        names.line(about[key])
        for key in ("board", "benchmark_hash", "protocol", "metric", "samples_of", "published")
        if key in about
    )
    small = {"text": footer, "anchor": "start", "orient": "bottom", "fontSize": 8}
    return {
        **spec,
        "data": {"values": table.to_pylist()},
        "width": EXPORT_WIDTH,
        "background": "white",
        "title": small | {"fontWeight": "normal", "color": "#666666", "offset": 12},
    }


def _rows(table: pa.Table) -> zip[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _latex_cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"${value:.4f}$"
    if isinstance(value, int):
        return str(value)
    return names.latex(UNDEFINED if value is None else str(_cell(value)))
