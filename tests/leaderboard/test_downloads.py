"""Downloads: the same rows in every format, text that is text in each, and where it came from."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard import downloads
from leaderboard.context import Context
from leaderboard.site.reader import Site
from leaderboard.texts import texts
from leaderboard.view import View

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = {"board": "@board\n%x", "metric": "micro.joint.f1"}
TABLE = pa.table(
    {
        "name": ["=1+1", "a_b & c", "模型", None],
        "value": [0.123456789, None, 1.0, -0.5],
        "n": pa.array([1, 2, None, 4], pa.int64()),
        "ids": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int64())),
        "flag": [True, False, None, True],
    }
)


def test_csv() -> None:
    rows = list(csv.reader(io.StringIO(downloads.csv_bytes(TABLE, ABOUT).decode())))
    assert rows[0] == ["name", "value", "n", "ids", "flag", "board", "metric"]
    assert rows[1] == ["'=1+1", "0.123456789", "1", "[1, 2]", "True", "'@board %x", ABOUT["metric"]]
    assert rows[4][:3] == ["", "-0.5", "4"]  # a number below zero is no formula
    assert len(rows) == 5


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_no_cell_of_a_csv_is_a_formula(cells: list[str]) -> None:
    table = pa.table({"name": pa.array(cells, pa.string())})
    written = downloads.csv_bytes(table, {"board": cells[0]}).decode()
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert len(rows) == len(cells) + 1
    for row, cell in zip(rows[1:], cells, strict=True):
        assert row[0] in (cell, f"'{cell}")
        for shown in row:
            assert not re.match(r" *[=+\-@\t\r\n＝＋－＠]", shown)


def test_json() -> None:
    content = json.loads(downloads.json_bytes(TABLE, ABOUT))
    assert content["about"] == ABOUT
    assert content["rows"] == TABLE.to_pylist()


def test_parquet() -> None:
    read = pq.read_table(io.BytesIO(downloads.parquet_bytes(TABLE, ABOUT)))
    assert read.equals(TABLE)
    assert json.loads(read.schema.metadata[downloads.METADATA]) == ABOUT


def test_latex() -> None:
    lines = downloads.latex_bytes(TABLE, ABOUT).decode().splitlines()
    assert lines[0] == "% board: @board %x"  # one line: nothing gets out of the comment
    assert lines[2] == r"\begin{tabular}{lrrll}"
    assert r"a\_b \& c & -- & 2 & {[}{]} & no \\" in lines
    assert r"=1+1 & $0.1235$ & 1 & {[}1, 2{]} & yes \\" in lines
    assert lines[-1] == r"\end{tabular}"


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_latex_has_a_row_a_row(cells: list[str]) -> None:
    table = pa.table({"name": pa.array(cells, pa.string()), "n": [1] * len(cells)})
    text = downloads.latex_bytes(table, {"board": cells[0]}).decode()
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].split("\n")[:-1]
    assert len(body) == len(cells)
    assert all(line.endswith(r" & 1 \\") for line in body)
    assert all(line.startswith("% ") for line in text.split("\\begin{tabular}")[0].split("\n")[:-1])


@given(st.text(), st.text())
def test_file_names_are_plain(name: str, board: str) -> None:
    stem = downloads.file_stem(name, {"board": board, "metric": "micro.joint.f1"})
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", stem)


def test_file_names_say_what_it_is() -> None:
    about = {"board": "qmsum-test-1a2b", "protocol": "strict-1", "metric": "exact"}
    assert downloads.file_stem("ffr-board", about) == "ffr-board-qmsum-test-1a2b-strict-1-exact"


@pytest.mark.parametrize("board", [0, 1])
def test_provenance(synthetic_site: Path, board: int) -> None:
    site = Site(synthetic_site)
    view = View(site.board_ids[board], "official", "exact", "turns", "long")
    context = Context(site, view, texts("en"), "en", None, {})  # type: ignore[arg-type]
    said = downloads.provenance(context)
    record = site.board(view.board)
    assert said["benchmark_hash"] == record.hash
    assert said["protocol"] == "official-1"
    assert (said["metric"], said["samples_of"]) == ("exact", "long")
    assert said["site_manifest"] == f"sha256:{site.key}"
    assert said["published"] == site.manifest.created
