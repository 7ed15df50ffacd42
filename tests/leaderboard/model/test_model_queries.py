"""What the model page reads, against the tables themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from ffr_eval.types import Outcome
from leaderboard.queries import model as queries
from leaderboard.site.reader import Site
from leaderboard.site.schema import BOARD_METRICS
from leaderboard.view import View, bucket_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def view(site: Site) -> View:
    return View(next(name for name in site.board_ids if not site.board(name).hidden_gold))


def rows(site: Site, name: str, **wanted: Any) -> list[dict[str, Any]]:
    found = pq.read_table(site.path / "public" / f"{name}.parquet").to_pylist()
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def unranked(site: Site, board: str) -> set[str]:
    found = rows(site, "runs", board_id=board)
    return {row["run_id"] for row in found if row["ceiling"] or row["incomplete"] is not None}


@pytest.mark.parametrize("code", ["all", "long", "image", "language.zh"])
@pytest.mark.parametrize("protocol", ["strict", "official"])
def test_figures_are_those_of_the_table(site: Site, view: View, code: str, protocol: str) -> None:
    grouping, bucket = bucket_of(code)
    asked = View(view.board, protocol=protocol, grouping=grouping, bucket=bucket)
    none = unranked(site, view.board)
    for run_id in site.labels(view.board):
        found = queries.figures(site, asked, run_id)
        assert set(found) == set(BOARD_METRICS)
        for row in rows(
            site,
            "figures",
            board_id=view.board,
            protocol=protocol,
            grouping=grouping,
            bucket=bucket,
            run_id=run_id,
        ):
            figure = found[row["metric"]]
            assert (figure.value, figure.lo, figure.hi) == (row["value"], row["lo"], row["hi"])
            rank = None if run_id in none else row["rank"]
            assert figure.rank == rank
            assert figure.n_samples == row["n_samples"]


def test_groups_have_the_best_of_those_that_are_ranked(site: Site, view: View) -> None:
    run_id = next(iter(site.labels(view.board)))
    found = queries.groups(site, view, run_id)
    assert [figure.bucket for figure in found][:4] == ["all", "short", "medium", "long"]
    assert len(found) == len(site.buckets(view.board))
    none = unranked(site, view.board)
    key = {"board_id": view.board, "protocol": view.protocol, "metric": view.metric}
    for figure in found:
        grouping, bucket = bucket_of(figure.bucket)
        here = rows(site, "figures", **key, grouping=grouping, bucket=bucket)
        own = next(row for row in here if row["run_id"] == run_id)
        assert (figure.value, figure.n_samples) == (own["value"], own["n_samples"])
        values = [row["value"] for row in here if row["run_id"] not in none]
        assert figure.best == max((value for value in values if value is not None), default=None)
        floors = rows(site, "floors", **key, grouping=grouping, bucket=bucket)
        assert figure.floor == max(
            (row["value"] for row in floors if row["value"] is not None), default=None
        )


def test_no_rank_for_who_knows_the_gold_or_is_incomplete(
    changed_site: Callable[..., Path], view: View
) -> None:
    def ranked(row: dict[str, Any]) -> None:
        row["rank"] = row["rank_lo"] = row["rank_hi"] = row["tier"] = 1

    site = Site(changed_site(figures=ranked))
    none = unranked(site, view.board)
    assert len(none) == 2
    for run_id in none:
        found = queries.figures(site, view, run_id)
        assert all(figure.rank is None and figure.tier is None for figure in found.values())
        groups = queries.groups(site, view, run_id)
        assert all(figure.rank_lo is None for figure in groups)
        assert queries.standing(site, view, run_id).above is None


def test_standing_has_the_neighbours_in_rank(site: Site, view: View) -> None:
    key = {"board_id": view.board, "protocol": "strict", "metric": view.metric}
    ranked = sorted(
        (row["rank"], row["run_id"])
        for row in rows(site, "figures", **key, grouping="all")
        if row["rank"] is not None and row["run_id"] not in unranked(site, view.board)
    )
    order = [run_id for _, run_id in ranked]
    assert len(order) == 10
    for at, run_id in enumerate(order):
        found = queries.standing(site, view, run_id)
        assert found.n_ranked == len(order)
        assert found.leader == (order[1] if at == 0 else order[0])
        assert found.above == (order[at - 1] if at else None)
        assert found.below == (order[at + 1] if at + 1 < len(order) else None)
    outsider = next(iter(unranked(site, view.board)))
    assert queries.standing(site, view, outsider) == queries.Standing(len(order), order[0])


@pytest.mark.parametrize("code", ["all", "short", "negative", "language.en"])
def test_worst_samples_are_those_with_the_lowest_f1(site: Site, view: View, code: str) -> None:
    view = view.with_bucket(code)
    run_id = list(site.labels(view.board))[2]
    column = {"turns": "bucket", "kind": "kind", "language": "language"}.get(view.grouping)
    wanted = {} if column is None else {column: view.bucket}
    own = rows(site, "samples", board_id=view.board, run_id=run_id, **wanted)
    failed = sorted(row["f1"] for row in own if row["f1"] is not None and row["f1"] < 1)
    found = queries.worst(site, view, run_id)
    assert [sample.f1 for sample in found] == failed[: queries.WORST]
    texts = {row["sample_id"]: row["query"] for row in rows(site, "queries", board_id=view.board)}
    for sample in found:
        assert sample.query == texts[sample.sample_id]
        assert sample.n_wrong + sample.n_missed > 0 or sample.outcome != "ok"


def test_hidden_gold_has_no_worst_sample(site: Site) -> None:
    hidden = next(name for name in site.board_ids if site.board(name).hidden_gold)
    run_id = next(iter(site.labels(hidden)))
    assert queries.worst(site, View(hidden), run_id) == []


def test_outcomes_are_all_named_and_add_up(site: Site, view: View) -> None:
    for run_id in site.labels(view.board):
        run = queries.record(site, view.board, run_id)
        found = queries.outcomes(run)
        assert [outcome for outcome, *_ in found] == list(Outcome)
        assert sum(number for _, number, _ in found) == run["n_samples"]
    with pytest.raises(KeyError):
        queries.record(site, view.board, "nobody")


def test_entries_of_json_are_flat_and_never_fail() -> None:
    nested = json.dumps({"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": {}, "f": None})
    assert queries.entries(nested) == [
        ("a", "1"),
        ("b.c", "[1, 2]"),
        ("b.d", "x"),
        ("e", "{}"),
        ("f", "null"),
    ]
    assert queries.entries(None) == queries.entries("") == queries.entries("{}") == []
    assert queries.entries("[1]") == [("", "[1]")]
    assert queries.entries("no JSON {") == [("", "no JSON {")]
    assert queries.entries("[" * 100_000)[0][0] == ""
    assert queries.entries('{"n": 1' + "0" * 5000 + "}")[0][0] == ""
    many = queries.entries(json.dumps({str(number): number for number in range(1000)}))
    assert len(many) == queries.MOST_ENTRIES + 1
    assert many[-1] == ("…", "+ 940")
