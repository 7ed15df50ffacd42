"""The board's queries against the same counted by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from leaderboard.pages.board_runs import picked
from leaderboard.queries import board as queries
from leaderboard.site.reader import Site
from leaderboard.site.schema import FIGURES, FLOORS, PAIR_METRICS, PAIRS, RUNS
from leaderboard.view import View
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(path: Path, table: Any, **wanted: str) -> list[dict[str, Any]]:
    """Rows of a table with these values, read without DuckDB."""
    rows: list[dict[str, Any]] = pq.read_table(path / table.file).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def views(site: Site) -> list[View]:
    board = site.board_ids[0]
    first = View(board)
    return [
        first,
        replace(first, protocol="official", metric="macro.joint.f1"),
        replace(first, metric="micro.image.f1", grouping="turns", bucket="long"),
        replace(first, metric="micro.joint.mcc", grouping="language", bucket="zh"),
        replace(first, metric="exact", grouping="kind", bucket="negative"),
        View(site.board_ids[1], metric="micro.utterance.f1"),
    ]


def key(view: View) -> dict[str, str]:
    return {
        "board_id": view.board,
        "protocol": view.protocol,
        "metric": view.metric,
        "grouping": view.grouping,
        "bucket": view.bucket,
    }


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


@pytest.mark.parametrize("number", range(6))
def test_the_table_has_every_run_in_order(site: Site, number: int) -> None:
    view = views(site)[number]
    runs = {row["run_id"]: row for row in rows_of(site.path, RUNS, board_id=view.board)}
    figures = {row["run_id"]: row for row in rows_of(site.path, FIGURES, **key(view))}
    found = queries.board_table(site, view).to_pylist()
    assert sorted(row["run_id"] for row in found) == sorted(runs)
    for row in found:
        run, figure = runs[row["run_id"]], figures[row["run_id"]]
        assert row["value"] == figure["value"]
        assert (row["lo"], row["hi"]) == (figure["lo"], figure["hi"])
        assert row["answered"] == pytest.approx(run["n_answered"] / run["n_samples"])
        assert row["date"] == (run["date"] and run["date"][:10])
        assert (row["setting"], row["provenance"]) == (run["setting"], run["provenance"])
    roles = [row["role"] for row in found]
    assert roles[-1] == "ceiling"
    assert roles.count("incomplete") == roles.count("ceiling") == 1
    ranks = [row["rank"] for row in found if row["rank"] is not None]
    assert ranks == sorted(ranks)
    assert all(row["rank"] is None for row in found if row["role"] != "run")
    ranked = [row for row in found if row["role"] == "run" and row["value"] is not None]
    by_value = sorted((row["value"] for row in ranked), reverse=True)
    assert [row["rank"] for row in ranked] == [1 + by_value.index(row["value"]) for row in ranked]


@pytest.mark.parametrize("number", range(6))
def test_the_leader_is_the_best_honest_run(site: Site, number: int) -> None:
    view = views(site)[number]
    table = queries.board_table(site, view).to_pylist()
    best, second, *_ = (r for r in table if r["role"] == "run" and r["value"] is not None)
    found = queries.leader(site, view)
    assert found is not None
    assert (found.a, found.b) == (best["run_id"], second["run_id"])
    assert found.delta == best["value"] - second["value"]
    if view.metric not in PAIR_METRICS:
        assert found.p_holm is None
        assert found.n_inseparable is None
        return
    a, b = sorted((best["run_id"], second["run_id"]))
    (pair,) = rows_of(site.path, PAIRS, a=a, b=b, **key(view))
    sign = 1 if a == best["run_id"] else -1
    assert found.p_holm == pair["p_holm"]
    assert found.delta == pytest.approx(sign * pair["delta"])
    assert sorted((found.lo or 0, found.hi or 0)) == pytest.approx(
        sorted((sign * pair["lo"], sign * pair["hi"]))
    )
    assert (found.lo or 0) <= (found.delta or 0) <= (found.hi or 0)


def test_who_is_not_separable_is_counted_by_the_tests(site: Site) -> None:
    view = View(site.board_ids[0])
    found = queries.leader(site, view)
    assert found is not None
    honest = {
        row["run_id"] for row in queries.board_table(site, view).to_pylist() if row["role"] == "run"
    }
    level = 0
    for a, b in combinations(sorted(honest), 2):
        if found.a in (a, b):
            (pair,) = rows_of(site.path, PAIRS, a=a, b=b, **key(view))
            level += pair["p_holm"] > site.manifest.alpha
    assert found.n_inseparable == level
    assert found.n_ranked == len(honest)


def test_a_ceiling_is_not_among_those_not_separable(tmp_path: Path) -> None:
    """Also if the published ranks count it."""
    path = write_site(tmp_path / "site", n_runs=8)
    figures = pq.read_table(path / FIGURES.file)
    before = queries.leader(Site(path), View(Site(path).board_ids[0]))
    for name in ("rank", "rank_lo", "rank_hi"):
        place = figures.column_names.index(name)
        counted = pc.if_else(pc.equal(figures["run_id"], "oracle"), 1, pc.add(figures[name], 1))
        figures = figures.set_column(place, name, counted.cast(pa.int64()))
    pq.write_table(figures, path / FIGURES.file)
    site = Site(path, verify=False)
    assert queries.leader(site, View(site.board_ids[0])) == before
    table = queries.board_table(site, View(site.board_ids[0])).to_pylist()
    assert table[-1]["role"] == "ceiling"
    assert table[-1]["rank"] is None


def test_lengths_are_those_of_the_bucket(site: Site) -> None:
    view = View(site.board_ids[0], grouping="kind", bucket="image")
    found = queries.by_length(site, view)
    assert list(found) == ["short", "medium", "long"]
    for bucket, best in found.items():
        assert best == queries.leader(site, replace(view, grouping="turns", bucket=bucket))


def test_a_metric_without_values_has_no_leader(tmp_path: Path) -> None:
    path = write_site(tmp_path / "site", n_runs=4, n_samples=12, n_dialogues=3, images=False)
    site = Site(path)
    view = View(site.board_ids[0], metric="micro.image.f1")
    assert queries.leader(site, view) is None
    assert queries.by_length(site, view) == {}
    assert queries.board_table(site, view)["value"].null_count == 4


@pytest.mark.parametrize(
    ("n_dialogues", "n_pairs", "too_few"),
    [(None, 1, False), (5, 1, True), (6, 1, False), (6, 2, True), (12, 66, False), (11, 66, True)],
)
def test_dialogues_can_be_too_few(n_dialogues: int | None, n_pairs: int, too_few: bool) -> None:
    found = queries.Difference(
        *("a", "b", 0.5, 0.4, 0.1, 0.0, 0.2, 1.0, 1, 1, 12), n_pairs, n_dialogues
    )
    assert found.too_few(0.05) is too_few


def test_the_tests_of_the_leader_are_counted(site: Site) -> None:
    view = View(site.board_ids[0])
    found = queries.leader(site, view)
    pairs = rows_of(site.path, PAIRS, **key(view))
    table = queries.board_table(site, view).to_pylist()
    ranked = {row["run_id"] for row in table if row["role"] == "run"}
    assert found is not None
    assert found.n_dialogues == pairs[0]["n_dialogues"] == queries.n_dialogues(site, view.board)
    assert found.n_pairs == sum({pair["a"], pair["b"]} <= ranked for pair in pairs)
    assert queries.n_dialogues(site, "none") is None


def test_floors(site: Site) -> None:
    view = views(site)[2]
    wanted = {row["name"]: row["value"] for row in rows_of(site.path, FLOORS, **key(view))}
    found = queries.floors(site, view)
    assert dict(found) == wanted
    assert [value for _, value in found] == sorted(wanted.values())
    assert queries.floors(site, replace(view, metric="exact")) == []


def test_values_of_all_buckets(site: Site) -> None:
    view = views(site)[1]
    runs = list(site.labels(view.board))[2:4]
    found = queries.bucket_values(site, view, runs)
    wanted = [
        row
        for row in rows_of(site.path, FIGURES, board_id=view.board, protocol=view.protocol)
        if row["metric"] == view.metric and row["run_id"] in runs
    ]
    assert len(found) == len(wanted)
    assert {(r["run_id"], r["grouping"], r["bucket"], r["value"]) for r in found} == {
        (r["run_id"], r["grouping"], r["bucket"], r["value"]) for r in wanted
    }
    assert [(r["grouping"], r["bucket"]) for r in found if r["run_id"] == runs[0]] == list(
        site.buckets(view.board)
    )
    assert queries.bucket_values(site, view, []) == []


def test_a_quote_in_an_id_is_no_sql(site: Site) -> None:
    view = View("x' OR '1'='1", grouping="turns", bucket="' OR 1=1 --")
    assert queries.board_table(site, view).num_rows == 0
    assert queries.leader(site, view) is None
    assert queries.bucket_values(site, view, ["' OR 1=1 --"]) == []


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(1, 0.5), (2, 0.6), (3, 0.55)], [True, True, False]),
        ([(1, 0.5), (1, 0.6), (1, 0.6)], [False, True, True]),
        ([(2, 0.5), (1, 0.5)], [False, True]),
        ([(None, 0.9), (1, None), (1, 0.1)], [False, False, True]),
        ([(0, 0.0)], [True]),
        ([], []),
    ],
)
def test_the_frontier(points: list[tuple[Any, Any]], best: list[bool]) -> None:
    assert queries.frontier(points) == best


def test_nobody_beats_the_frontier(site: Site) -> None:
    rows = queries.board_table(site, View(site.board_ids[0])).to_pylist()
    points = [(row["latency_s"], row["value"]) for row in rows]
    for point, best in zip(points, queries.frontier(points), strict=True):
        beaten = any(
            x <= point[0] and y >= point[1] and (x, y) != point
            for x, y in points
            if None not in (x, y) and None not in point
        )
        assert best == (None not in point and not beaten)


@pytest.mark.parametrize(
    ("before", "selected", "after"),
    [
        ((), [1, 0], ("p", "q")),
        (("q",), [1, 0], ("q", "p")),
        (("p", "q"), [1], ("q",)),
        (("elsewhere", "p"), [], ("elsewhere",)),
        (("elsewhere",), [2], ("elsewhere", "r")),
        ((), [7, -1], ()),
    ],
)
def test_picking(before: tuple[str, ...], selected: list[int], after: tuple[str, ...]) -> None:
    assert picked(before, ["p", "q", "r"], selected) == after


def test_a_board_without_runs_gives_empty_tables(site: Site) -> None:
    table = queries.board_table(site, View("none"))
    assert isinstance(table, pa.Table)
    assert table.num_rows == 0
