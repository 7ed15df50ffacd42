"""What the Compare page reads, against the tables themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from leaderboard.queries import compare
from leaderboard.site.reader import Site
from leaderboard.view import View, bucket_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


@pytest.fixture(scope="module")
def view(site: Site) -> View:
    board = next(name for name in site.board_ids if not site.board(name).hidden_gold)
    return View(board, models=tuple(list(site.labels(board))[:3]))


def rows(site: Site, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(
        site.path / "public" / f"{name}.parquet"
    ).to_pylist()
    return found


def test_differences_are_those_of_the_tables(site: Site, view: View) -> None:
    stored = {
        (row["grouping"], row["bucket"], row["a"], row["b"]): row
        for row in rows(site, "pairs")
        if (row["board_id"], row["protocol"], row["metric"])
        == (view.board, view.protocol, view.metric)
    }
    found = compare.differences(site, view)
    assert len(found) == len(site.buckets(view.board)) * 3
    for difference in found:
        row = stored[(*bucket_of(difference.bucket), difference.a, difference.b)]
        assert difference.delta == row["delta"]
        assert (difference.lo, difference.hi) == (row["lo"], row["hi"])
        assert (difference.wins, difference.losses) == (row["wins"], row["losses"])
        if difference.delta is not None:
            assert difference.value_a is not None
            assert difference.value_b is not None
            assert difference.delta == pytest.approx(difference.value_a - difference.value_b)


def test_a_pair_seen_from_the_other_side_is_its_opposite(site: Site, view: View) -> None:
    turned = replace(view, models=tuple(reversed(view.models)))
    there = {(d.bucket, d.a, d.b): d for d in compare.differences(site, view)}
    back = {(d.bucket, d.b, d.a): d for d in compare.differences(site, turned)}
    assert there.keys() == back.keys()
    assert any(d.lo != d.hi for d in there.values())
    for key, one in there.items():
        other = back[key]
        if one.delta is not None:
            assert other.delta == -one.delta
        if one.lo is not None and one.hi is not None:
            assert (other.lo, other.hi) == (-one.hi, -one.lo)
        assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
        assert (one.p, one.p_holm) == (other.p, other.p_holm)
        assert one.better(0.05) == other.better(0.05)


def test_a_metric_without_tests_has_differences_only(site: Site, view: View) -> None:
    found = compare.differences(site, replace(view, metric="micro.joint.recall"))
    assert not compare.is_tested("micro.joint.recall")
    assert {d.p_holm for d in found} == {None}
    assert any(d.delta is not None for d in found)
    assert {d.better(0.05) for d in found} == {None}


@pytest.mark.parametrize("code", ["all", "long", "utterance", "language.en"])
def test_disagreements_are_the_largest(site: Site, view: View, code: str) -> None:
    view = view.with_bucket(code)
    grouping, bucket = bucket_of(code)
    column = {"turns": "bucket", "kind": "kind", "language": "language"}.get(grouping)
    of_run = {
        run: {
            row["sample_id"]: row["f1"]
            for row in rows(site, "samples")
            if (row["board_id"], row["run_id"]) == (view.board, run)
            and (column is None or row[column] == bucket)
        }
        for run in view.models
    }
    for a, b in combinations(view.models, 2):
        sizes = sorted(
            (
                abs(of_run[a][name] - of_run[b][name])
                for name in of_run[a]
                if of_run[a][name] is not None
                and of_run[b][name] is not None
                and of_run[a][name] != of_run[b][name]
            ),
            reverse=True,
        )
        found = compare.disagreements(site, view, a, b)
        assert [abs(d.f1_a - d.f1_b) for d in found] == sizes[: compare.SHOWN]
        assert all(d.f1_a == of_run[a][d.sample_id] for d in found)


def test_leaders_leave_out_ceilings_and_incomplete_runs(site: Site, view: View) -> None:
    left_out = {row["run_id"] for row in rows(site, "runs") if row["ceiling"] or row["incomplete"]}
    assert left_out
    best = compare.leaders(site, view, 50)
    assert best
    assert not left_out & set(best)
    values = {
        row["run_id"]: row["value"]
        for row in rows(site, "figures")
        if (row["board_id"], row["protocol"], row["metric"], row["grouping"])
        == (view.board, view.protocol, view.metric, "all")
    }
    shown = [values[name] for name in best]
    assert shown == sorted(shown, reverse=True)
