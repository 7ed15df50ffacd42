"""Filters, order, pages and neighbours, against the same in plain Python."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from leaderboard.queries import samples as queries
from leaderboard.queries.samples import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leaderboard.site.reader import Site

    Row = Mapping[str, Any]

NOTHING: Row = {"f1": None, "outcome": None}


def compare(a: Row, b: Row, by: Callable[[float, float], bool]) -> bool:
    return a["f1"] is not None and b["f1"] is not None and by(a["f1"], b["f1"])


ANSWERS: dict[str | None, Callable[[Row, Row], bool]] = {
    None: lambda a, b: True,
    "right": lambda a, b: a["f1"] == 1,
    "wrong": lambda a, b: a["f1"] is not None and a["f1"] < 1,
    "a_right": lambda a, b: compare(a, b, lambda x, y: x == 1 and y < 1),
    "b_right": lambda a, b: compare(a, b, lambda x, y: x < 1 and y == 1),
    "both_wrong": lambda a, b: compare(a, b, lambda x, y: x < 1 and y < 1),
    "differ": lambda a, b: compare(a, b, operator.ne),
    "a_better": lambda a, b: compare(a, b, operator.gt),
    "b_better": lambda a, b: compare(a, b, operator.lt),
}
LAST = float("inf")
SORTS: dict[str, Callable[[Row, Row], Any]] = {
    "difference": lambda a, b: -abs(a["f1"] - b["f1"]) if compare(a, b, lambda *_: True) else LAST,
    "low": lambda a, b: LAST if a["f1"] is None else a["f1"],
    "high": lambda a, b: LAST if a["f1"] is None else -a["f1"],
    "turns": lambda a, b: -a["turns"],
    "order": lambda a, b: 0,
}
TEXTS = st.one_of(
    st.just(""),
    st.sampled_from(
        ["%", "_", "'", "' OR 1=1 --", "\\", "?", "1_", "TRAVEL", "旅行", "$1", "\x00"]
    ),
    st.text("abcdefgTHE 0123456789,.%_'\";-\\?对话消息", max_size=5),
)


@pytest.fixture(scope="module")
def tables(odd_site: Site) -> dict[str, list[dict[str, Any]]]:
    return {name: odd_site.query(f"FROM {name}").to_pylist() for name in ("samples", "queries")}


def reference(tables: dict[str, list[dict[str, Any]]], filters: Filters) -> list[int]:
    def of(run: str | None) -> dict[int, dict[str, Any]]:
        rows = tables["samples"]
        here = [row for row in rows if (row["board_id"], row["run_id"]) == (filters.board, run)]
        return {row["row"]: row for row in here}

    a, b = of(filters.a), of(filters.b)
    text = {
        row["row"]: row["query"] for row in tables["queries"] if row["board_id"] == filters.board
    }
    column = {"all": None, "turns": "bucket", "kind": "kind", "language": "language"}[
        filters.grouping
    ]
    fitting = [
        row
        for row, one in a.items()
        if (column is None or one[column] == filters.bucket)
        and (filters.kind is None or one["kind"] == filters.kind)
        and (filters.outcome is None or one["outcome"] == filters.outcome)
        and ANSWERS[filters.answers](one, b.get(row, NOTHING))
        and filters.text.lower() in text[row].lower()
    ]
    key = SORTS[filters.sort]
    return sorted(fitting, key=lambda row: (key(a[row], b.get(row, NOTHING)), row))


@given(data=st.data())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_filters_and_orders(
    data: st.DataObject, odd_site: Site, board: str, tables: dict[str, list[dict[str, Any]]]
) -> None:
    site = odd_site
    runs = list(site.labels(board))
    a = data.draw(st.sampled_from(runs))
    b = data.draw(st.sampled_from([None, *(run for run in runs if run != a)]))
    grouping, bucket = data.draw(st.sampled_from([*site.buckets(board), ("language", "x' OR 1")]))
    filters = Filters(
        board=board,
        a=a,
        b=b,
        grouping=grouping,
        bucket=bucket,
        kind=data.draw(st.sampled_from([None, None, *queries.KINDS])),
        outcome=data.draw(st.sampled_from([None, None, "ok", "refusal", "'; DROP"])),
        answers=data.draw(st.sampled_from([None, *queries.answers_of(two=b is not None)])),
        text=data.draw(TEXTS),
        sort=data.draw(st.sampled_from(queries.sorts_of(two=b is not None))),
    )
    assert queries.matching(site, filters).rows.tolist() == reference(tables, filters)


@given(text=st.text(max_size=8))
@example(text="%")
@example(text="_")
@example(text="' OR '1'='1")
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_can_be_looked_for(
    text: str, site: Site, board: str, tables: dict[str, list[dict[str, Any]]]
) -> None:
    run = next(iter(site.labels(board)))
    found = queries.matching(site, Filters(board, run, text=text)).rows
    if text.isascii():
        containing = [
            row["row"]
            for row in tables["queries"]
            if row["board_id"] == board and text.lower() in row["query"].lower()
        ]
        assert found.tolist() == containing


def test_codes_that_there_are_not_are_refused(site: Site, board: str) -> None:
    run = next(iter(site.labels(board)))
    for wrong in ({"sort": "1; DROP TABLE samples"}, {"answers": "1=1"}, {"grouping": "x"}):
        with pytest.raises(KeyError):
            queries.matching(site, Filters(board, run, **wrong))
    with pytest.raises(KeyError):  # B's conditions need B
        queries.matching(site, Filters(board, run, answers="a_right"))


def test_what_is_listed(
    odd_site: Site, board: str, tables: dict[str, list[dict[str, Any]]]
) -> None:
    site = odd_site
    a, b = "gpt-4o-zero-shot", "qwen2.5-vl-7b-zero-shot"
    filters = Filters(board, a, b, sort="difference")
    matching = queries.matching(site, filters)
    assert len(matching) > queries.PAGE_ROWS
    page = matching.rows[queries.PAGE_ROWS : 2 * queries.PAGE_ROWS]
    found = queries.listed(site, board, matching, 2).to_pylist()
    assert [row["row"] for row in found] == page.tolist()
    by_key = {(row["run_id"], row["row"]): row for row in tables["samples"]}
    query = {row["row"]: row for row in tables["queries"] if row["board_id"] == board}
    for row in found:
        one, other = by_key[a, row["row"]], by_key.get((b, row["row"]), NOTHING)
        assert row["f1"] == one["f1"]
        assert row["f1_b"] == other["f1"]
        assert row["outcome_b"] == other["outcome"]
        assert row["query"] == query[row["row"]]["query"]
        assert row["sample_id"] == query[row["row"]]["sample_id"]
        if one["f1"] is not None and other["f1"] is not None:
            assert row["delta"] == pytest.approx(one["f1"] - other["f1"])
    alone = queries.listed(site, board, queries.matching(site, Filters(board, a)), 2).to_pylist()
    assert [row["row"] for row in alone] == list(range(50, 100))
    assert {row["f1_b"] for row in alone} == {None}


def test_neighbours() -> None:
    rows = np.array([7, 3, 9], dtype=np.int32)
    found = queries.Matching(rows, pa.table({"row": rows}))
    assert found.neighbours(7) == (0, None, 3)
    assert found.neighbours(3) == (1, 7, 9)
    assert found.neighbours(9) == (2, 3, None)
    assert found.neighbours(4) == (None, None, 7)
    assert found.neighbours(None) == (None, None, 7)
    assert queries.Matching(rows[:0], pa.table({})).neighbours(4) == (None, None, None)


def test_outcomes(odd_site: Site, board: str, tables: dict[str, list[dict[str, Any]]]) -> None:
    run = "outage"
    found = queries.outcomes_of(odd_site, board, run)
    rows = [row for row in tables["samples"] if (row["board_id"], row["run_id"]) == (board, run)]
    assert sum(found.values()) == len(rows)
    for outcome, number in found.items():
        assert number == sum(row["outcome"] == outcome for row in rows)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_only_the_row_groups_of_a_run_are_read(site: Site, board: str) -> None:
    """The order of the file is of use: one of many row groups holds a run."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(site.path / "public" / "samples.parquet")
    assert file.num_row_groups > 1
    sql = "EXPLAIN ANALYZE SELECT row FROM samples WHERE board_id = ? AND run_id = ?"
    run = next(iter(site.labels(board)))
    told = str(site.query(sql, (board, run)).to_pylist())
    assert f"Row Groups Scanned: 1 / {file.num_row_groups}" in told
