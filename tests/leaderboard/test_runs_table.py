"""Rows of the board: the same figures as ``ffr score``, and a reason where there are none."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ffr_eval.errors import InputError
from ffr_eval.published import published_papers
from leaderboard.reported import DATASETS, reported_rows
from leaderboard.run_folders import RunPlace, benchmark_stamp, find_runs, require_runs, run_stamp
from leaderboard.runs_table import (
    ScoredRun,
    UnscoredRun,
    View,
    benchmarks_of,
    board_rows,
    groups_of,
    score_run,
    splits_of,
    status_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


def scored(root: Path, protocol: Any = "strict") -> list[ScoredRun]:
    found = [score_run(place, protocol) for place in find_runs(root)]
    assert all(isinstance(run, ScoredRun) for run in found), found
    return found  # type: ignore[return-value]


def unscored(path: Path) -> UnscoredRun:
    found = score_run(RunPlace(path, "x"), "strict")
    assert isinstance(found, UnscoredRun)
    return found


def view_of(runs: list[ScoredRun], **more: Any) -> View:
    (benchmark,) = benchmarks_of(runs).values()
    return View(benchmark, "test", **more)


def change(run: Path, **fields: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | fields))


def shown_on_the_board(scores: dict[str, Any]) -> dict[str, Any]:
    """What ``ffr score`` writes, without the metrics that the board does not show."""
    for part in (
        scores,
        scores["answered"],
        *(g for by in scores["groups"].values() for g in by.values()),
    ):
        part["metrics"] = {}
    return scores


@pytest.mark.parametrize("protocol", ["strict", "official"])
@pytest.mark.parametrize("model", ["none", "all", "random", "oracle"])
def test_figures_are_those_of_ffr_score(cli: Cli, runs: Path, model: str, protocol: str) -> None:
    grouping = ("--group-by", "turns,kind,language", "--no-ci")
    told = cli("score", runs / model, "--protocol", protocol, *grouping, "--json", "-").json
    (run,) = [run for run in scored(runs, protocol) if run.label == model]
    assert told["metrics"]
    assert json.loads(msgspec.json.encode(run.scores)) == shown_on_the_board(told)


@pytest.mark.parametrize("metric", ["micro.joint.f1", "macro.image.mcc", "micro.utterance.recall"])
def test_ranks_are_those_of_ffr_rank(cli: Cli, runs: Path, metric: str) -> None:
    shutil.copytree(runs / "random", runs / "twin")
    told = cli("rank", *sorted(runs.iterdir()), "--metric", metric, "--json", "-").json["rows"]
    average, modality, figure = metric.split(".")
    loaded = scored(runs)
    rows = board_rows(loaded, view_of(loaded, average=average, modality=modality, figure=figure))
    ours = {row.run.label: (row.rank, row.value) for row in rows}
    assert ours == {row["run"]: (row["rank"], row["value"]) for row in told}
    assert ours["twin"] == ours["random"]


def test_groups_have_their_own_figures(runs: Path) -> None:
    loaded = scored(runs)
    groups = groups_of(loaded, view_of(loaded))
    assert "all samples" in groups
    by_label = {label: group for label, group in groups.items() if group is not None}
    assert ("kind", "negative") in by_label.values()
    random = next(run for run in loaded if run.label == "random")
    sizes = [random.figures("micro", "joint", group).n_samples for group in by_label.values()]
    assert sum(sizes) == 3 * random.scores["n_samples"]  # each of three groupings has all samples


def test_undefined_is_no_zero_and_no_rank(runs: Path) -> None:
    loaded = scored(runs)
    rows = board_rows(loaded, view_of(loaded, group=("kind", "negative")))
    none = next(row for row in rows if row.run.label == "none")
    assert (none.value, none.rank) == (None, None)
    assert rows[-1].value is None


def test_options_that_differ_are_told(runs: Path) -> None:
    shutil.copytree(runs / "random", runs / "random-2")
    options = json.loads((runs / "random" / "run.json").read_text())["options"]
    change(runs / "random-2", options=options | {"seed": 7})
    loaded = scored(runs)
    options_of = {row.run.label: row.options for row in board_rows(loaded, view_of(loaded))}
    assert options_of["random-2"] == "seed=7"
    assert options_of["none"] == ""


def test_a_growing_run(runs: Path) -> None:
    file = runs / "oracle" / "predictions.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    before = run_stamp(runs / "oracle")
    file.write_text("".join(lines[:5]) + lines[5][:20])  # the sixth line is being written
    change(runs / "oracle", status="running")
    assert run_stamp(runs / "oracle") != before
    (run,) = [run for run in scored(runs) if run.label == "oracle"]
    assert run.n_missing == len(lines) - 5
    assert status_of(run) == f"running, 5 of {len(lines)}"


def fail_requests(run: Path, number: int) -> int:
    """Make the first samples of a run request errors; how many samples it has."""
    file = run / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[:number]:
        line |= {"utt_ids": [], "img_ids": [], "outcome": "request_error"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return len(lines)


def test_a_run_with_too_many_request_errors_has_no_rank(cli: Cli, runs: Path) -> None:
    n_samples = fail_requests(runs / "oracle", 10)
    fail_requests(runs / "random", n_samples // 20)  # not above 5%
    told = cli("rank", *sorted(runs.iterdir()), "--no-ci", "--json", "-").json["rows"]
    loaded = scored(runs)
    rows = board_rows(loaded, view_of(loaded))
    assert [(row.run.label, row.rank) for row in rows] == [(r["run"], r["rank"]) for r in told]
    assert [row.rank for row in rows] == [1, 2, 3, None]
    last = rows[-1]
    assert last.run.label == "oracle"
    assert last.value is not None
    assert last.value > (rows[0].value or 0)
    mark = f"incomplete: {10 / n_samples:.1%} request errors"
    assert (last.run.incomplete, status_of(last.run)) == (mark, mark)
    assert [row.run.incomplete for row in rows[:3]] == [None] * 3


def test_runs_of_several_splits_are_kept_apart(runs: Path) -> None:
    change(runs / "none", split="dev")
    change(runs / "all", split=None)
    loaded = scored(runs)
    (benchmark,) = benchmarks_of(loaded).values()
    assert splits_of(loaded, benchmark) == {"test": "test", "all samples": None, "dev": "dev"}
    assert [row.run.label for row in board_rows(loaded, View(benchmark, "dev"))] == ["none"]


class TestReasons:
    def test_no_record(self, runs: Path) -> None:
        (runs / "none" / "run.json").unlink()
        assert "no such file" in unscored(runs / "none").reason
        assert "none" in [place.label for place in find_runs(runs)]

    def test_a_broken_record(self, runs: Path) -> None:
        (runs / "none" / "run.json").write_text('{"model": 3}')
        assert "model" in unscored(runs / "none").reason

    def test_a_deeply_nested_record(self, runs: Path) -> None:
        (runs / "none" / "run.json").write_text('{"options":' + "[" * 100_000)
        assert unscored(runs / "none").reason

    def test_a_broken_prediction(self, runs: Path) -> None:
        file = runs / "none" / "predictions.jsonl"
        file.write_text("{}\n" + file.read_text())
        assert "line 1" in unscored(runs / "none").reason

    def test_a_benchmark_that_is_gone(self, runs: Path) -> None:
        record = json.loads((runs / "none" / "run.json").read_text())
        change(runs / "none", benchmark=record["benchmark"] | {"path": "/nowhere"})
        found = unscored(runs / "none")
        assert "/nowhere" in found.reason
        assert found.remedy
        assert found.record is not None
        assert benchmark_stamp("/nowhere") == ()

    def test_a_benchmark_that_changed(self, runs: Path) -> None:
        record = json.loads((runs / "none" / "run.json").read_text())
        change(runs / "none", benchmark=record["benchmark"] | {"hash": "sha256:0"})
        assert "sha256:0" in unscored(runs / "none").reason

    @pytest.mark.parametrize("place", ["a\0b", "x" * 5000])
    def test_an_impossible_path(self, runs: Path, place: str) -> None:
        record = json.loads((runs / "none" / "run.json").read_text())
        change(runs / "none", benchmark=record["benchmark"] | {"path": place})
        assert unscored(runs / "none").reason
        assert benchmark_stamp(place) == ()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_is_not_read(self, runs: Path) -> None:
        (runs / "none" / "predictions.jsonl").unlink()
        os.mkfifo(runs / "none" / "predictions.jsonl")
        assert "not an ordinary file" in unscored(runs / "none").reason


class TestFinding:
    def test_depths(self, runs: Path) -> None:
        (runs / "deep" / "deeper").mkdir(parents=True)
        shutil.copytree(runs / "none", runs / "group" / "none")
        shutil.copytree(runs / "none", runs / "deep" / "deeper" / "too-deep")
        shutil.copytree(runs / "none", runs / ".hidden")
        labels = [place.label for place in find_runs(runs)]
        assert labels == ["all", "group/none", "none", "oracle", "random"]

    def test_one_run_folder(self, runs: Path) -> None:
        assert [place.label for place in find_runs(runs / "all")] == ["all"]

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="ffr run"):
            require_runs(tmp_path)

    def test_labels_are_safe_and_unique(self, runs: Path) -> None:
        for name in ("![x](a)", "!!x!(a)"):
            shutil.copytree(runs / "none", runs / name)
        labels = [place.label for place in find_runs(runs)]
        assert len(set(labels)) == 6
        assert not [label for label in labels if "[" in label or "!" in label]


@pytest.mark.parametrize("dataset", DATASETS)
def test_reported_figures_are_the_papers_over_100(dataset: str) -> None:
    (paper,) = published_papers()
    rows = reported_rows(paper, dataset)
    there = [getattr(row, DATASETS[dataset]) for row in paper.table2_main]
    assert len(rows) == sum(scores is not None for scores in there)
    assert sorted(row.f1 * 100 for row in rows) == pytest.approx(
        sorted(scores.f1 for scores in there if scores is not None)
    )
    assert all(0 <= row.precision <= 1 for row in rows)
