"""The whole way: import, check, run, score, rank, on real data and on the bundled benchmark."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).resolve().parents[3] / "shared/data"
MODELS = ("none", "all", "random", "bm25", "oracle")
DEMO = {"none", "all", "random", "window", "bm25", "tfidf", "oracle"}


@pytest.mark.shared
def test_qmsum_evidence_end_to_end(ffr: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    sources = (DATA / "qmsum/data/ALL/val", DATA / "qmsum_evidence/val")
    imported = ffr("data", "import", "qmsum-evidence", *sources, "--out", folder)
    assert imported.code == 0, imported.err
    checked = ffr("data", "check", folder, "--json", "-")
    assert checked.code == 0
    assert checked.json == {"ok": True, "errors": []}
    for line in ("dialogues     35", "queries       237", "mean turns    574.9"):
        assert line in checked.err
    assert "6.2 utterances" in checked.err

    runs = {model: tmp_path / "runs" / model for model in MODELS}
    for model, out in runs.items():
        done = ffr("run", model, folder, "--out", out)
        assert done.code == 0, done.err
        assert "237 of 237 predictions (237 new)" in done.out
    rows = ffr("rank", *runs.values(), "--json", "-").json["rows"]
    values = {row["run"]: row["value"] for row in rows}
    assert values["oracle"] == 1.0
    assert (
        values["oracle"] > values["bm25"] > max(values[name] for name in ("random", "all", "none"))
    )
    scores = ffr("score", runs["bm25"], "--group-by", "turns,kind", "--json", "-").json
    assert scores["micro"]["joint"]["f1"] == values["bm25"]
    assert scores["micro"]["image"] is None
    assert scores["n_samples"] == sum(
        group["n_samples"] for group in scores["groups"]["turns"].values()
    )


@pytest.mark.shared
def test_qmsum_spans_import_and_check(ffr: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "spans"
    imported = ffr("data", "import", "qmsum", DATA / "qmsum/data/ALL/val", "--out", folder)
    assert imported.code == 0, imported.err
    checked = ffr("data", "check", folder)
    assert checked.code == 0, checked.err
    assert "queries       237" in checked.out
    assert "56.7 utterances" in checked.out


def test_the_bundled_benchmark_is_sound(ffr: Callable[..., Any]) -> None:
    checked = ffr("data", "check", "ffr-sample", "--json", "-")
    assert (checked.code, checked.json) == (0, {"ok": True, "errors": []})
    assert "queries       144" in checked.err
    for kind in ("multimodal", "utterance", "image", "negative"):
        assert f"{kind} " in checked.err


def test_the_demo_ranks_all_models(ffr: Callable[..., Any], tmp_path: Path) -> None:
    done = ffr("demo", "--out", tmp_path / "demo", cwd=tmp_path)
    assert done.code == 0, done.err
    runs = sorted((tmp_path / "demo").iterdir())
    assert {run.name for run in runs} == DEMO
    for run in runs:
        lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
        record = json.loads((run / "run.json").read_text())
        assert len({line["sample_id"] for line in lines}) == len(lines) == record["n_samples"]
        assert {line["outcome"] for line in lines} <= {"ok", "empty"}
        assert (record["split"], record["status"]) == ("test", "finished")
    ranking = ffr("rank", *runs, "--json", "-").json
    assert (ranking["rows"][0]["run"], ranking["rows"][0]["value"]) == ("oracle", 1.0)
    values = {row["run"]: row["value"] for row in ranking["rows"]}
    order = ("oracle", "bm25", "tfidf", "window", "all", "random", "none")
    assert sorted(values, key=lambda name: -values[name]) == list(order)
    steps = [values[a] - values[b] for a, b in pairwise(order)]
    assert min(steps) > 0.03, values  # it tells them apart
    assert values["bm25"] < 0.6
    shown = [
        line.split()[1] for line in done.out.splitlines() if line.strip()[:1] in set("1234567")
    ]
    assert shown[0] == "oracle"
    assert set(shown) == DEMO
    assert f"board {tmp_path / 'demo'}" in done.out

    again = ffr("demo", "--out", tmp_path / "demo")  # resumes: nothing is left to do
    assert again.code == 0
    assert "(0 new)" in again.out
    assert "(104 new)" not in again.out


def test_scoring_in_memory_agrees_with_the_command(ffr: Callable[..., Any], tmp_path: Path) -> None:
    import ffr_eval

    out = tmp_path / "random"
    assert ffr("run", "random", "ffr-sample", "--split", "test", "--out", out).code == 0
    by_command = ffr("score", out, "--group-by", "kind", "--no-ci", "--json", "-").json
    assert ffr_eval.score(out, group_by=["kind"]).to_dict() == by_command
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    answers = {line["sample_id"]: (line["utt_ids"], line["img_ids"]) for line in lines}
    scores = ffr_eval.score(answers, "ffr-sample", split="test")
    assert scores.to_dict()["micro"] == by_command["micro"]
    frame = scores.to_frame()
    assert len(frame) == 104
    assert frame["utterance.tp"].sum() == by_command["micro"]["utterance"]["tp"]
