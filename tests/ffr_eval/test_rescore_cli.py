"""``ffr rescore``, as a user calls it."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import read_benchmark
from leaderboard.run_folders import find_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_run(cli: Any, tmp_path: Path, lengths: Path) -> Callable[..., Path]:
    def make(model: str, *options: object) -> Path:
        path = tmp_path / "runs" / model
        cli("run", model, lengths, "--split", "test", "--out", path, *options)
        return path

    return make


def stored(run: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in (run / "scores").iterdir()}


@pytest.mark.parametrize("protocol", ["official", "official-1", "strict", "strict-1", None])
def test_what_is_stored_is_what_score_says(
    cli: Any, make_run: Callable[..., Path], lengths: Path, protocol: str | None
) -> None:
    run = make_run("all")
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    options = () if protocol is None else ("--protocol", protocol)
    shown = cli("rescore", run, *options).out
    name = {"official": "official-1", "strict": "strict-1", None: "strict-1"}.get(
        protocol, protocol
    )
    file = run / "scores" / f"{name}.json"
    expected = cli("score", run, *options, "--json", "-").json
    assert stored(run) == {
        f"{name}.json": {
            **expected,
            "benchmark": "lengths",
            "hash": read_benchmark(lengths).content_hash,
            "split": "test",
            "ffr_version": version("ffr-eval"),
        }
    }
    headline = expected["micro"]["joint"]["f1"]
    assert shown == f"{run}: micro.joint.f1 {headline:.4f} under {name} ({file})\n"
    assert before == {path: path.read_bytes() for path in before}


def test_versions_stand_beside_each_other(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all")
    cli("rescore", run, "--protocol", "official")
    official = (run / "scores" / "official-1.json").read_bytes()
    cli("rescore", run, "--protocol", "strict")
    assert sorted(stored(run)) == ["official-1.json", "strict-1.json"]
    assert (run / "scores" / "official-1.json").read_bytes() == official
    assert stored(run)["official-1.json"]["protocol"] == "official-1"
    assert stored(run)["official-1.json"]["micro"] != stored(run)["strict-1.json"]["micro"]


def test_again_changes_nothing(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all")
    first = cli("rescore", run).out
    before = (run / "scores" / "strict-1.json").read_bytes()
    assert cli("rescore", run).out == first
    assert (run / "scores" / "strict-1.json").read_bytes() == before
    assert "note" not in first


def test_another_value_is_told(cli: Any, make_run: Callable[..., Path]) -> None:
    """More predictions since: the figures are those of the outputs as they are now."""
    run = make_run("oracle", "--limit", 2)
    shown = cli("rescore", run).out
    assert "note: 2 of 4 samples have no prediction" in shown
    old = stored(run)["strict-1.json"]["micro"]["joint"]["f1"]
    with (run / "predictions.jsonl").open("a") as stream:
        stream.write('{"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []}\n')
    result = cli("rescore", run, "--json", "-").json
    done = result["runs"][0]
    assert done["old_value"] == old
    assert done["value"] > old
    assert done["note"].startswith(f"what was stored by ffr-eval {version('ffr-eval')} is replaced")
    assert done["scores"] == stored(run)["strict-1.json"]
    with (run / "predictions.jsonl").open("a") as stream:
        stream.write('{"sample_id": "c#0", "utt_ids": [], "img_ids": [0]}\n')
    shown = cli("rescore", run).out
    assert f"micro.joint.f1 {done['value']:.4f} → 1.0000 under strict-1" in shown
    assert "  note: what was stored by" in shown


def test_a_change_beside_the_headline_is_told(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all")
    cli("rescore", run)
    file = run / "scores" / "strict-1.json"
    scores = json.loads(file.read_text())
    scores["macro"]["image"]["mcc"] = 0.9
    file.write_text(json.dumps(scores))
    assert "figures other than micro.joint.f1 differ" in cli("rescore", run).out
    assert "note" not in cli("rescore", run).out


def test_stored_figures_that_cannot_be_read_are_replaced(
    cli: Any, make_run: Callable[..., Path]
) -> None:
    run = make_run("all")
    cli("rescore", run)
    whole = stored(run)
    (run / "scores" / "strict-1.json").write_text('{"micro": 3')
    assert "what was stored was not readable and is replaced" in cli("rescore", run).out
    assert stored(run) == whole


def test_prediction_files_are_only_shown(
    cli: Any, jsonl: Callable[..., Path], lengths: Path, inference: Callable[..., Any]
) -> None:
    file = jsonl([{"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []}])
    result = cli("rescore", file, "--benchmark", lengths, "--json", "-").json
    (done,) = result["runs"]
    assert (result["protocol"], done["run"], done["file"]) == ("strict-1", str(file), None)
    assert done["scores"]["outcomes"]["missing"] == 4
    assert "(not stored: no run folder)" in cli("rescore", file, "--benchmark", lengths).out
    other = jsonl([inference("x")], "inference.jsonl")
    assert cli("rescore", other, "--protocol", "official", "--json", "-").json["runs"]
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "file.jsonl",
        "inference.jsonl",
        "lengths",
    ]


def test_one_bad_run_does_not_stop_the_others(
    cli: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    good, bad, last = make_run("all"), make_run("none"), make_run("oracle")
    (bad / "run.json").write_text("{}")
    report = tmp_path / "report.json"
    result = cli.run("rescore", good, bad, last, "--json", report)
    assert result.code == 2
    assert [line.split(":")[0] for line in result.out.splitlines()] == [str(good), str(last)]
    assert str(bad / "run.json") in result.err
    assert "1 of 3 could not be scored" in result.err
    written = json.loads(report.read_text())
    assert [done["run"] for done in written["runs"]] == [str(good), str(last)]
    assert [failed["run"] for failed in written["errors"]] == [str(bad)]
    assert not (bad / "scores").exists()
    assert (last / "scores").exists()


def test_a_moved_benchmark_is_named(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    run = make_run("all")
    moved = tmp_path / "moved"
    lengths.rename(moved)
    error = cli.refused("rescore", run)
    assert "say where it is: --benchmark DIR" in error
    assert not (run / "scores").exists()
    cli("rescore", run, "--benchmark", moved)
    assert stored(run)


def test_what_cannot_be_written_leaves_nothing(
    cli: Any, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("all")
    (run / "scores").write_text("")
    assert f"{run / 'scores'}: cannot be written" in cli.refused("rescore", run)
    (run / "scores").unlink()
    (run / "scores" / "strict-1.json").mkdir(parents=True)
    error = cli.refused("rescore", run)
    assert "strict-1.json" in error
    shutil.rmtree(run / "scores")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", full)
        result = cli.run("rescore", run)
    assert result.code == 1
    assert "free some space" in result.err
    assert not (run / "scores").exists()


def test_an_unknown_protocol_is_refused(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all")
    assert "strict-1" in cli.refused("rescore", run, "--protocol", "strict-2")
    assert not (run / "scores").exists()


def test_other_commands_do_not_mind(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all", "--limit", 2)
    cli("rescore", run)
    assert [place.path for place in find_runs(run.parent)] == [run]
    assert (
        "2 of 2 predictions (0 new)"
        in cli(
            "run",
            "all",
            run.parent.parent / "lengths",
            "--split",
            "test",
            "--out",
            run,
            "--limit",
            2,
        ).out
    )
    assert stored(run)
    assert cli("rank", run, "--json", "-").json["rows"]
