"""Only what is new or has changed is computed; runs keep their ids."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import FfrError, InputError
from ffr_eval.uncertainty import Resampling
from leaderboard import names
from leaderboard.publishing import publish
from leaderboard.publishing.identities import is_id
from leaderboard.site.manifest import read_manifest
from leaderboard.site.reader import Site
from tests.leaderboard.publishing.conftest import REPLICATES, World, make_benchmark, make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CELLS = 2 * 4 * (1 + 3 + 3 + 2)  # protocols, metrics, buckets


def _bytes(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in site.rglob("*")
        if path.is_file() and "parts" not in path.parts
    }


def test_what_is_unchanged_is_not_computed_again(world: World) -> None:
    first = world.publish()
    assert first.computed == ("run-0", "run-1", "run-2")
    assert first.pairs_computed == 3 * _CELLS
    before = _bytes(world.site)
    parts = {path: path.stat().st_mtime_ns for path in (world.site / "private/parts").rglob("*")}
    second = world.publish()
    assert second.computed == ()
    assert second.unchanged == ("run-0", "run-1", "run-2")
    assert second.pairs_computed == 0
    assert _bytes(world.site) == before  # the manifest too: who reads the site keeps its caches
    assert all(path.stat().st_mtime_ns == time for path, time in parts.items() if path.is_file())


def test_a_changed_run_is_computed_again_with_its_pairs_only(world: World) -> None:
    world.publish()
    old = {(r["a"], r["b"], r["metric"], r["protocol"], r["grouping"], r["bucket"]): r["p"]
           for r in world.table("pairs")}  # fmt: skip
    world.run("run-1", seed=77, keep=0.2)
    done = world.publish()
    assert done.computed == ("run-1",)
    assert done.unchanged == ("run-0", "run-2")
    assert done.pairs_computed == 2 * _CELLS
    fresh = World(world.path / "again")
    shutil.copytree(world.runs, fresh.runs)
    fresh.publish()
    for name in ("figures", "pairs", "samples"):
        assert world.table(name) == fresh.table(name), name
    new = world.table("pairs", a="run-0", b="run-2")
    assert new
    key = ("a", "b", "metric", "protocol", "grouping", "bucket")
    assert all(old[tuple(row[name] for name in key)] == row["p"] for row in new)


def test_a_new_run_changes_what_depends_on_all(world: World) -> None:
    shutil.move(world.runs / "run-2", world.path / "later")
    world.publish()
    before = world.table("pairs")
    done = world.publish(world.path / "later")
    assert done.computed == ("later",)
    assert done.unchanged == ("run-0", "run-1")  # kept, though they were not given
    after = world.table("pairs", a="run-0", b="run-1")
    assert [row["p"] for row in after] == [row["p"] for row in before]
    assert all(row["p_holm"] == row["p"] for row in before)  # one pair; there are three now
    assert any((row["p_holm"] or 0) > (row["p"] or 0) for row in after)


def test_runs_are_removed_only_when_asked(world: World) -> None:
    world.publish()
    kept = world.publish(world.runs / "run-0")
    assert len(kept.manifest.runs) == 3
    pruned = world.publish(world.runs / "run-0", prune=True)
    assert [run.run_id for run in pruned.manifest.runs] == ["run-0"]
    assert pruned.removed == ("run-1", "run-2")
    assert {path.name for path in (world.site / "public/raw").iterdir()} == {
        "run-0.jsonl.gz",
        "run-0.run.json",
    }
    parts = list((world.site / "private/parts/runs").iterdir())
    assert len(parts) == 1


def test_other_settings_compute_kept_runs_from_what_is_kept(world: World) -> None:
    world.publish()
    shutil.rmtree(world.runs / "run-2")
    shutil.rmtree(world.bench)  # there is a copy
    done = world.publish(world.runs / "run-0", resampling=Resampling(50, 9))
    assert set(done.computed) == {"run-0", "run-1", "run-2"}
    assert (done.manifest.replicates, done.manifest.seed) == (50, 9)
    assert not done.manifest.unscored


def test_settings_of_the_site_are_kept(world: World) -> None:
    world.publish(resampling=Resampling(50, 9))
    manifest = publish([world.runs], world.site)
    assert (manifest.replicates, manifest.seed) == (50, 9)


def test_ids_stay_when_folders_move(world: World) -> None:
    world.publish()
    moved = world.path / "moved"
    shutil.move(world.runs, moved)
    done = world.publish(moved)
    assert [run.run_id for run in done.manifest.runs] == ["run-0", "run-1", "run-2"]
    assert done.computed == ()


def test_a_folder_of_the_same_name_elsewhere_is_another_run(world: World) -> None:
    world.publish()
    other = make_run(world.path / "other" / "run-0", world.bench, seed=5)
    done = world.publish(other.parent)
    assert [run.run_id for run in done.manifest.runs] == ["run-0", "run-0-2", "run-1", "run-2"]
    labels = {row["run_id"]: row["label"] for row in world.table("runs")}
    assert labels["run-0"] == "run-0"
    assert labels["run-0-2"] == "run-0 (2)"
    again = world.publish(world.runs, other.parent)
    assert again.computed == ()
    assert {row["run_id"]: row["label"] for row in world.table("runs")} == labels


def test_boards_are_by_benchmark_and_split(world: World) -> None:
    make_benchmark(world.path / "other-bench", "other")
    make_run(world.runs / "x" / "on-other", world.path / "other-bench")
    world.run("x/on-dev", split="dev")
    world.run("x/on-all", split=None)
    done = world.publish()
    ids = [board.board_id for board in done.manifest.boards]
    digits = {board.hash.removeprefix("sha256:")[:8] for board in done.manifest.boards}
    assert len(digits) == 1  # the content is the same: the name is no part of it
    assert len(ids) == 3
    assert {board_id.rpartition("-")[0] for board_id in ids} >= {"small-dev", "small-all"}
    again = world.publish()
    assert [board.board_id for board in again.manifest.boards] == ids


def test_a_reader_goes_on_while_the_site_is_replaced(world: World) -> None:
    world.publish()
    site = Site(world.site)
    count = "SELECT count(*) AS n FROM runs"
    assert site.query(count).to_pylist() == [{"n": 3}]
    world.run("run-9", seed=9)
    world.publish()
    assert site.query(count).to_pylist() == [{"n": 4}]
    assert Site(world.site).key != site.key


def test_progress_is_told(world: World) -> None:
    told: list[tuple[str, int, int]] = []
    world.publish(progress=lambda *step: told.append(step))
    assert ("runs", 3, 3) in told
    assert {what for what, _, _ in told} == {"runs", "boards", "pairs", "dialogues", "tables"}


def test_processes_compute_the_same(world: World) -> None:
    world.publish()
    other = World(world.path / "two")
    shutil.copytree(world.runs, other.runs)
    other.publish(workers=2)
    for name in ("figures", "pairs", "floors", "samples", "answers"):
        assert world.table(name) == other.table(name), name


def test_the_board_of_200_pairs_the_best(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.publishing import pairs

    monkeypatch.setattr(pairs, "MOST_PAIRED", 2)
    world.publish()
    figures = world.table("figures", protocol="strict", metric="micro.joint.f1", grouping="all")
    best = sorted(figures, key=lambda row: -row["value"])
    assert [row["rank"] for row in best] == [1, 2, 3]
    assert [row["rank_lo"] is None for row in best] == [False, False, True]
    ids = tuple(sorted(row["run_id"] for row in best[:2]))
    assert {(row["a"], row["b"]) for row in world.table("pairs", protocol="strict")} == {ids}


def test_the_cli_says_what_was_done(
    world: World, publish_cli: Callable[..., Any], cli: Any
) -> None:
    first = publish_cli(world.runs, "--site", world.site)
    assert "3 computed, 0 kept" in first.out
    world.run("new", seed=8)
    (world.runs / "broken").mkdir()
    (world.runs / "broken" / "run.json").write_text("{")
    second = publish_cli(world.runs, "--site", world.site, "--json")
    assert second.json["computed"] == ["new"]
    assert second.json["kept"] == ["run-0", "run-1", "run-2"]
    assert second.json["unscored"][0]["label"] == "broken"
    assert "warning: broken is not scored: run.json" in second.err
    third = cli("publish", world.runs / "new", "--site", world.site, "--prune")
    assert "3 removed (run-0, run-1, run-2)" in third.out
    assert read_manifest(world.site).replicates == REPLICATES


def test_unscored_folders_stay_listed(world: World) -> None:
    (world.runs / "half").mkdir()
    (world.runs / "half" / "predictions.jsonl").write_text("")
    world.publish()
    done = world.publish(world.runs / "run-0")
    assert [record.label for record in done.manifest.unscored] == ["half"]
    shutil.rmtree(world.runs / "half")
    done = world.publish(world.runs / "run-0")
    assert done.manifest.unscored == ()


def test_a_run_that_breaks_is_no_longer_shown(world: World) -> None:
    world.publish()
    (world.runs / "run-1" / "predictions.jsonl").write_text(
        '{"sample_id": "unknown", "utt_ids": [], "img_ids": []}\n'
    )
    done = world.publish()
    assert [run.run_id for run in done.manifest.runs] == ["run-0", "run-2"]
    assert "no sample 'unknown'" in done.manifest.unscored[0].reason
    assert str(world.path) not in json.dumps([r.reason for r in done.manifest.unscored])


def test_nothing_is_left_if_nothing_can_be_scored(world: World) -> None:
    for file in world.runs.glob("*/run.json"):
        file.write_text("{")
    with pytest.raises(InputError, match="none of the runs can be scored"):
        world.publish()
    assert not world.site.exists()


def test_a_copy_of_a_run_ties_with_it(world: World) -> None:
    shutil.copytree(world.runs / "run-1", world.runs / "a-copy")
    done = world.publish()
    assert len(done.manifest.runs) == 4
    (row,) = world.table(
        "pairs", a="a-copy", b="run-1", protocol="strict", metric="macro.joint.f1", grouping="all"
    )
    assert (row["delta"], row["p"], row["wins"], row["losses"]) == (0, 1, 0, 0)
    mirrored = [
        {
            (r["metric"], r["bucket"]): r["delta"] * sign
            for r in world.table("pairs", protocol="strict", a=a, b=b)
            if r["delta"] is not None
        }
        for a, b, sign in (("a-copy", "run-0", 1), ("run-0", "run-1", -1))
    ]
    assert mirrored[0] == mirrored[1] != {}


def test_a_full_disk_is_no_fault_of_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.publishing import run_part

    world.publish()
    before = _bytes(world.site)
    world.run("new", seed=9)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_part, "save", full)
    with pytest.raises(FfrError, match="No space left on device") as caught:
        world.publish()
    assert caught.value.exit_code == 1
    assert _bytes(world.site) == before


def test_folders_of_any_name_are_published(world: World) -> None:
    folder = os.fsencode(world.runs) + b"/\xff\xfe"
    os.rename(world.runs / "run-2", folder)  # noqa: PTH104
    os.rename(world.runs / "run-1", world.runs / "![x](http:x)\u202e<b>")  # noqa: PTH104
    done = world.publish()
    assert len(done.manifest.runs) == 3
    assert all(is_id(run.run_id) for run in done.manifest.runs)
    assert all(names.is_plain(row["label"]) for row in world.table("runs"))
    again = world.publish()
    assert again.manifest == done.manifest


def test_parts_of_what_is_gone_are_removed(world: World) -> None:
    world.run("dev", split="dev")
    world.publish()
    world.publish(world.runs / "run-0", prune=True)
    parts = world.site / "private" / "parts"
    kinds = {kind.name: len(list(kind.iterdir())) for kind in parts.iterdir()}
    assert kinds == {"runs": 1, "boards": 1, "dialogues": 1, "pairs": 2 * 9}  # of the one board
