"""Which folders are published, where to, and what is left of this machine in them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from leaderboard.publishing import publish
from leaderboard.publishing.identities import board_id_of, is_id, run_id_of
from leaderboard.publishing.private_text import path_free, public_line
from leaderboard.site.manifest import MANIFEST

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.leaderboard.publishing.conftest import World


def test_no_runs(world: World, cli: Cli) -> None:
    (world.path / "empty").mkdir()
    assert "no run folders in here" in cli.refused(
        "publish", world.path / "empty", "--site", world.site
    )
    assert "no such folder" in cli.refused("publish", world.path / "no", "--site", world.site)
    assert "Missing argument" in cli.refused("publish", "--site", world.site)
    assert not world.site.exists()


def test_a_foreign_folder_is_refused_and_left_alone(world: World, cli: Cli) -> None:
    world.site.mkdir()
    (world.site / "thesis.txt").write_text("years of work")
    assert "not empty, and not a site" in cli.refused("publish", world.runs, "--site", world.site)
    assert [path.name for path in world.site.iterdir()] == ["thesis.txt"]
    (world.site / MANIFEST).write_text('{"name": "a web app"}')
    assert "manifest.json" in cli.refused("publish", world.runs, "--site", world.site)
    assert sorted(path.name for path in world.site.iterdir()) == [MANIFEST, "thesis.txt"]
    assert "is a file" in cli.refused("publish", world.runs, "--site", world.site / "thesis.txt")


def test_runs_lie_up_to_two_levels_deep(world: World) -> None:
    world.run("team/deep", seed=4)
    world.run("team/deeper/lost", seed=5)
    world.publish(world.runs, world.runs / "run-0")  # given twice, published once
    assert [row["run_id"] for row in world.table("runs")] == [
        *("run-0", "run-1", "run-2", "team-deep"),
    ]
    assert {row["label"] for row in world.table("runs")} >= {"team/deep", "run-0"}


def test_what_is_no_run_is_listed_with_reason_and_remedy(world: World) -> None:
    (world.runs / "no-record").mkdir()
    (world.runs / "no-record" / "predictions.jsonl").write_text("")
    world.run("gone", seed=3)
    record = json.loads((world.runs / "gone" / "run.json").read_text())
    record["benchmark"] |= {"hash": "sha256:" + "0" * 64, "path": str(world.path / "nowhere")}
    (world.runs / "gone" / "run.json").write_text(json.dumps(record))
    world.run("pipe", seed=3)
    (world.runs / "pipe" / "predictions.jsonl").unlink()
    os.mkfifo(world.runs / "pipe" / "predictions.jsonl")
    done = world.publish()
    found = {record.label: record for record in done.manifest.unscored}
    assert set(found) == {"no-record", "gone", "pipe"}
    assert found["no-record"].reason == "run.json: no such file"
    assert "not an ordinary file" in found["pipe"].reason
    assert all(record.remedy for record in found.values())
    assert str(world.path) not in (world.site / MANIFEST).read_text()


def test_a_run_without_predictions_is_published(world: World) -> None:
    (world.runs / "run-2" / "predictions.jsonl").unlink()
    world.publish()
    (row,) = world.table("runs", run_id="run-2")
    assert row["n_missing"] == row["n_samples"]


def test_facts_of_a_run(world: World) -> None:
    world.run("limited", limit=5, seed=2, keep=0.0)
    file = world.runs / "limited" / "predictions.jsonl"
    lines = file.read_text().splitlines()[:5]
    file.write_text("\n".join(lines) + '\n{"sample_id": "d1')
    world.publish()
    (row,) = world.table("runs", run_id="limited")
    assert row["date"] == "2026-05-01T08:05:00+00:00"
    assert (row["n_missing"], row["n_samples"], row["limit"]) == (16, 21, 5)
    latencies = [json.loads(line)["latency_s"] for line in lines]
    assert row["latency_s"] == pytest.approx(sum(latencies) / 5)
    assert row["cost"] is None
    assert any("limited to 5 samples" in note for note in row["notes"])
    assert any("truncated last line" in note for note in row["notes"])
    answers = world.table("answers", run_id="limited")
    assert (
        sum(row["prompt_note"] == "there is no prediction for the sample" for row in answers) == 16
    )


def test_paths_of_this_machine_are_removed(world: World) -> None:
    home = "/home/alice/hidden"
    options = {
        "model": f"{home}/qwen2_vl",
        "adapter": "C:\\Users\\alice\\lora",
        "system": f"@{home}/prompt.txt",
        "prompt": "zero-shot",
        "base_url": "https://alice:pw1234@api.example.org/v1",
        "extra": {"api_key": "abc", "top_k": 5},
    }
    run = world.run("private", seed=6, options=options, selection={"file": f"{home}/x.json"})
    file = run / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0] |= {"model": f"{home}/qwen2_vl", "meta": {"error": f"no {home}/x.bin and more"}}
    lines[1] |= {"response": "and/or /home/nobody/kept"}
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    world.publish()
    raw = world.site / "public" / "raw"
    record = json.loads((raw / "private.run.json").read_text())
    assert record["benchmark"]["path"] == "bench"
    assert record["options"] == {
        "model": "qwen2_vl",
        "adapter": "lora",
        "system": "prompt.txt",
        "prompt": "zero-shot",
        "base_url": "https://api.example.org/v1",
        "extra": {"api_key": "…", "top_k": 5},
    }
    public = gzip.decompress((raw / "private.jsonl.gz").read_bytes())
    assert b"/home/nobody/kept" in public  # what a model wrote stays as it is
    everything = b"".join(
        [public, (world.site / MANIFEST).read_bytes(), (raw / "private.run.json").read_bytes()]
    )
    for table in (world.site / "public").glob("*.parquet"):
        import pyarrow.parquet as pq

        everything += json.dumps(pq.read_table(table).to_pylist(), default=str).encode()
    for text in ("alice", "hidden/", "pw1234", str(world.path)):
        assert text.encode() not in everything, text
    (answer,) = world.table("answers", run_id="private", sample_id=lines[0]["sample_id"])
    assert answer["error"] == "no x.bin and more"


def test_raw_outputs_are_the_same_bytes_each_time(world: World) -> None:
    world.publish()
    first = (world.site / "public/raw/run-0.jsonl.gz").read_bytes()
    shutil.rmtree(world.site)
    world.publish()
    assert (world.site / "public/raw/run-0.jsonl.gz").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/a/b.txt", "b.txt"),
        ("see /home/a/b.txt, please", "see b.txt, please"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("and/or", "and/or"),
        ("/no_think", "/no_think"),
        ("1/2 of 3/4", "1/2 of 3/4"),
        ("ViT-B-32//data/x/weights.pt", "ViT-B-32//weights.pt"),
        ("org/model", "org/model"),
        ("~/models/x", "x"),
        ("file:///srv/models/x", "x"),
        ("key sk-0123456789abcdefXYZ failed", "key … failed"),
    ],
)
def test_only_paths_are_shortened(text: str, expected: str) -> None:
    assert path_free(text) == expected


def test_lines_without_paths_stay_as_they_are() -> None:
    line = b'{"sample_id": "a/b",  "utt_ids": [1], "img_ids": []}'
    assert public_line(line + b"\r\n") == line + b"\n"


def test_prompts_are_stored_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.publishing import samples

    def render(record: Any, benchmark: Any, predictions: dict[str, Any]) -> Any:
        if record.prompt_hash is None:
            return
        for name in predictions:
            reason = "unlike" if name == "d1#0" else None
            text = "other" if name == "d1#0" else "same"
            requests = [] if name == "d2#0" else [{"messages": [{"role": "user", "parts": [text]}]}]
            yield {"sample_id": name, "requests": requests, "exact": not reason, "reason": reason,
                   "schema": None}  # fmt: skip

    monkeypatch.setattr(samples.plugins, "registered", lambda group: {"fake": None})
    monkeypatch.setattr(samples.plugins, "load", lambda *args: render)
    for name in ("a", "b"):
        world.run(name, seed=ord(name), prompt_hash="sha256:1")
    world.publish()
    prompts = world.table("prompts")
    assert {json.loads(row["requests"])[0]["messages"][0]["parts"][0] for row in prompts} == {
        "same",
        "other",
    }
    answers = {row["sample_id"]: row for row in world.table("answers", run_id="a")}
    ids = {row["prompt_id"] for row in prompts}
    assert answers["d0#0"]["prompt_id"] in ids
    assert answers["d0#0"]["prompt_exact"] is True
    assert answers["d1#0"]["prompt_note"] == "unlike"
    assert answers["d2#0"]["prompt_id"] is None
    plain = world.table("answers", run_id="run-0")
    assert {row["prompt_note"] for row in plain} == {"the model sends no prompt"}
    texts = {row["sample_id"]: row["response"] for row in plain}
    assert all("utt_ids" in text for text in texts.values())


def test_a_renderer_that_fails_is_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.publishing import samples

    def render(*_: Any) -> Any:
        raise RuntimeError("/home/alice/x broke")

    monkeypatch.setattr(samples.plugins, "registered", lambda group: {"fake": None})
    monkeypatch.setattr(samples.plugins, "load", lambda *args: render)
    world.publish()
    (note,) = {row["prompt_note"] for row in world.table("answers")}
    assert "fails: RuntimeError: x broke" in note


def test_ids() -> None:
    assert run_id_of("a/b c", ()) == "a-b-c"
    assert run_id_of("A-b-c", {"a-b-c"}) == "A-b-c-2"
    chinese = {run_id_of(text, ()) for text in ("模型一", "模型二")}
    assert len(chinese) == 2
    for text in ("../../etc/passwd", ".hidden", "-rf", "a" * 300, "模型", "", "x\0y", "CON"):
        found = run_id_of(text, ())
        assert is_id(found), text
        assert "/" not in found
        assert len(found) <= 80
    assert board_id_of("qmsum-evidence", "sha256:1a2b3c4d5e", "test", ()) == (
        "qmsum-evidence-test-1a2b3c4d"
    )
    assert len(board_id_of("x" * 100, "sha256:1a2b3c4d5e", None, ())) <= 80
    for text in ("", "..", ".x", "a/b", "a b", "a" * 81):
        assert not is_id(text)


def test_a_site_that_cannot_be_written(world: World) -> None:
    blocked = world.path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        publish([world.runs], Path(blocked) / "site")


def test_a_cut_last_line_is_warned_of(world: World) -> None:
    file = world.runs / "run-2" / "predictions.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    for _ in range(2):
        (warning,) = world.publish().warnings
        assert warning.startswith("run-2: predictions.jsonl: dropped a truncated last line")
    (row,) = world.table("runs", run_id="run-2")
    assert row["n_missing"] == 1


@pytest.mark.parametrize("content", ["", None])
def test_a_run_without_predictions_is_warned_of(world: World, content: str | None) -> None:
    file = world.runs / "run-2" / "predictions.jsonl"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    (warning,) = world.publish().warnings
    (row,) = world.table("runs", run_id="run-2")
    assert row["n_missing"] == row["n_samples"] > 0
    assert warning.startswith(f"run-2: {row['n_samples']} of {row['n_samples']} samples have no")
