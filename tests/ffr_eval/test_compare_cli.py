"""``ffr compare`` as a user calls it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
    split_benchmark,
)
from tests.conftest import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = [
    *("metric", "better", "protocol", "benchmark", "hash", "split", "group", "common"),
    *("n_samples", "n_dialogues", "method", "replicates", "seed", "alpha"),
    *("pairs", "ranks", "floors", "disagreements", "notes"),
]


@pytest.fixture
def make_run(cli: Any, tmp_path: Path) -> Callable[..., Path]:
    def make(model: str, benchmark: object, *options: object, name: str | None = None) -> Path:
        path = tmp_path / "runs" / (name or model)
        cli("run", model, benchmark, "--out", path, *options)
        return path

    return make


@pytest.fixture
def runs(make_run: Callable[..., Path]) -> list[Path]:
    """Three baselines on the 104 test samples of the bundled benchmark."""
    return [make_run(model, "ffr-sample", "--split", "test") for model in ("none", "oracle", "all")]


def compared(cli: Any, *args: object) -> Any:
    """The JSON of a comparison with few replicates."""
    options = () if "--replicates" in args else ("--replicates", "300")
    return cli("compare", *args, *options, "--json", "-").json


def test_json_has_the_promised_keys(cli: Any, runs: list[Path], tmp_path: Path) -> None:
    found = compared(cli, *runs)
    assert list(found) == KEYS
    assert (found["metric"], found["protocol"], found["split"]) == (
        "micro.joint.f1",
        "strict-1",
        "test",
    )
    assert (found["benchmark"], found["hash"]) == (
        "ffr-sample",
        read_benchmark("ffr-sample").content_hash,
    )
    assert (found["n_samples"], found["n_dialogues"], found["replicates"]) == (104, 20, 300)
    keys = ["a", "b", "delta", "ci95", "p", "p_holm", "n_dialogues", "dialogues_needed"]
    assert [list(pair) for pair in found["pairs"]] == [keys] * 3
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [
        ("none", "oracle"),
        ("none", "all"),
        ("oracle", "all"),
    ]
    keys = ["model", "value", "ci95", "rank_lo", "rank_hi", "tier", "incomplete"]
    assert [list(run) for run in found["ranks"]] == [keys] * 3
    ranks = [(run["model"], run["rank_lo"], run["rank_hi"], run["tier"]) for run in found["ranks"]]
    assert ranks == [("oracle", 1, 1, 1), ("all", 2, 2, 2), ("none", 3, 3, 3)]
    assert list(found["disagreements"]) == ["a", "b", "metric", "n_samples", "samples"]
    assert len(found["disagreements"]["samples"]) == 10
    keys = ["sample_id", "a", "b", "delta", "query"]
    assert list(found["disagreements"]["samples"][0]) == keys
    file = tmp_path / "comparison.json"
    cli("compare", *runs, "--replicates", "300", "--json", file)
    assert json.loads(file.read_text()) == found


def test_values_are_those_of_rank_and_score(cli: Any, runs: list[Path]) -> None:
    for metric in ("micro.joint.f1", "macro.image.recall", "over_retrieval"):
        found = compared(cli, *runs, "--metric", metric)
        ranked = cli("rank", *runs, "--metric", metric, "--json", "-").json["rows"]
        values = {row["run"]: row["value"] for row in ranked}
        assert {run["model"]: run["value"] for run in found["ranks"]} == pytest.approx(values)
        for pair in found["pairs"]:
            assert pair["delta"] == pytest.approx(values[pair["a"]] - values[pair["b"]])


def test_the_terminal_shows_tiers_pairs_samples_and_the_next_command(
    cli: Any, runs: list[Path]
) -> None:
    shown = cli("compare", *runs, "--replicates", "300").out
    lines = shown.splitlines()
    assert lines[0] == ("ffr-sample, split test, protocol strict-1, 104 samples on 20 dialogues")
    assert lines[1] == "by micro.joint.f1 (higher is better)"
    (best,) = (line for line in lines if " oracle   1.0000 " in line)
    assert best.split()[:3] == ["1", "1", "oracle"]
    assert "[1.0000, 1.0000]" in best
    assert best.rstrip().endswith("●")
    assert lines[lines.index(best) + 1].strip().startswith("───")  # a new tier
    assert "dialogues needed" in shown
    assert shown.count(" *") == 3
    floors = cli("rank", *runs, "--no-ci", "--json", "-").json["floors"]
    assert compared(cli, *runs)["floors"] == floors
    assert "floors: none 0.0000, all 0." in shown
    assert "* significant: p adjusted for 3 pairs (Holm) is at most 0.05" in shown
    assert "where all (a) and none (b) disagree most, by macro.joint.f1" in shown
    found = compared(cli, *runs)["disagreements"]["samples"][0]["sample_id"]
    (hint,) = (line for line in lines if line.startswith("ffr diff "))
    assert hint == f"ffr diff {runs[2]} {runs[0]} --sample '{found}'"
    assert cli("diff", runs[2], runs[0], "--sample", found).out


def test_many_pairs_are_cut_to_neighbours(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    files = [
        jsonl([{"sample_id": "b#0", "utt_ids": list(range(3, 3 + n)), "img_ids": []}], f"{n}.jsonl")
        for n in range(1, 7)
    ]
    shown = cli("compare", *files, "--benchmark", lengths, "--replicates", "50").out
    assert "neighbours in rank; --json has all 15 pairs" in shown
    table = shown.split("neighbours")[1].split("where ")[0]
    assert table.count(".jsonl") == 10
    assert f"--benchmark {lengths} --sample" in shown


def test_bca_seed_and_replicates_are_options(cli: Any, runs: list[Path]) -> None:
    plain = compared(cli, *runs)
    bca = compared(cli, *runs, "--interval", "bca", "--seed", "1", "--replicates", "200")
    assert (bca["method"], bca["seed"], bca["replicates"]) == ("bca", 1, 200)
    assert plain["pairs"][1]["ci95"] != bca["pairs"][1]["ci95"]
    assert plain["pairs"][1]["delta"] == bca["pairs"][1]["delta"]


def test_a_group_is_compared_alone(cli: Any, runs: list[Path]) -> None:
    found = compared(cli, *runs, "--group", "kind=image", "--metric", "macro.joint.f1")
    scores = cli("score", runs[2], "--group-by", "kind", "--json", "-").json
    group = scores["groups"]["kind"]["image"]
    assert (found["group"], found["n_samples"]) == ("kind=image", group["n_samples"])
    (value,) = (run["value"] for run in found["ranks"] if run["model"] == "all")
    assert value == pytest.approx(group["macro"]["joint"]["f1"])
    assert "only kind=image" in cli("compare", *runs, "--group", "kind=image").out


def test_a_metric_undefined_for_all_ends_well(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    two = [make_run(model, lengths, "--split", "dev") for model in ("none", "oracle")]
    found = compared(cli, *two, "--metric", "micro.image.f1")
    assert [(run["value"], run["tier"]) for run in found["ranks"]] == [(None, None)] * 2
    assert found["pairs"][0]["delta"] is None
    assert "undefined" in found["notes"][0]
    shown = cli("compare", *two, "--metric", "micro.image.f1").out
    assert "note: micro.image.f1 is undefined" in shown
    assert "no pair could be tested" in shown
    assert "one dialogue" in shown


def test_what_a_run_lacks_is_said_or_left_out(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    two = [make_run("oracle", lengths, "--limit", "2"), make_run("all", lengths)]
    found = compared(cli, *two)
    assert found["n_samples"] == 5
    assert (
        "oracle lacks 3 of 5 samples, which count as without an answer (--common leaves them out)"
    ) in found["notes"]
    found = compared(cli, *two, "--common")
    assert (found["common"], found["n_samples"], found["n_dialogues"]) == (True, 2, 1)
    assert found["ranks"][0]["value"] == 1
    assert "3 of 5 samples are left out because a run lacks them (--common)" in found["notes"]
    complete = [two[1], make_run("none", lengths)]
    assert (
        "no run lacks a sample: --common changes nothing"
        in compared(cli, *complete, "--common")["notes"]
    )


def test_without_a_common_sample_it_is_refused(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    files = [
        jsonl([{"sample_id": name, "utt_ids": [1], "img_ids": []}], f"{name[0]}.jsonl")
        for name in ("a#0", "b#0")
    ]
    error = cli.refused("compare", *files, "--benchmark", lengths, "--common")
    assert "--common: there is no sample that all runs have a prediction of" in error


def test_text_of_users_does_not_control_the_terminal(
    cli: Any, jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    with BenchmarkWriter(tmp_path / "odd", InfoRecord(name="odd\x1b[2J")) as writer:
        turns = tuple(TurnRecord(i, "S", "text") for i in range(3))
        for name in ("d", "e"):
            writer.add_dialogue(DialogueRecord(name, turns))
            query = f"\x1b[31m[red]:smile: {'long ' * 40}"
            writer.add_query(QueryRecord(f"{name}\x07", name, query, (1,), ()))
    files = [
        jsonl([{"sample_id": f"{name}\x07", "utt_ids": [1], "img_ids": []}], f"[b]{name}.jsonl")
        for name in ("d", "e")
    ]
    shown = cli("compare", *files, "--benchmark", tmp_path / "odd", "--replicates", "20").out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\\x1b[31m[red]:smile: long" in shown
    assert "…" in shown
    assert "[b]d.jsonl" in shown


# Inference files ----------------------------------------------------------------------------------


def answer(ids: list[int]) -> str:
    from ffr_eval.markup import answer_text

    return answer_text(ids, [])


def test_inference_files_of_the_same_samples_are_compared(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    names = [f"d{number}" for number in range(8)]
    right = [inference(answer([1, 2]), dialogue_id=name) for name in names]
    wrong = [inference(answer([1, 3]), dialogue_id=name) for name in names]
    files = [jsonl(right, "right.jsonl"), jsonl(wrong[::-1], "wrong.jsonl")]
    found = compared(cli, *files, "--metric", "micro.utterance.f1")
    assert (found["protocol"], found["benchmark"], found["n_dialogues"]) == ("official-1", "", 8)
    assert found["pairs"][0]["delta"] == 0.5
    assert "ffr diff" not in cli("compare", *files).out
    strict = compared(cli, *files, "--protocol", "strict", "--metric", "micro.utterance.f1")
    assert (strict["protocol"], strict["pairs"][0]["delta"]) == ("strict-1", 0.5)


def test_inference_records_without_a_dialogue_are_taken_singly(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    def records(ids: list[int]) -> list[Any]:
        return [
            {k: v for k, v in inference(answer(ids)).items() if k != "dialogue_id"}
            for _ in range(6)
        ]

    files = [jsonl(records([1, 2]), "right.jsonl"), jsonl(records([4]), "wrong.jsonl")]
    found = compared(cli, *files)
    assert (found["n_samples"], found["n_dialogues"]) == (6, 6)
    assert sum("dialogues of their own" in note for note in found["notes"]) == 1


def test_inference_files_of_other_samples_are_refused(
    cli: Any,
    make_run: Callable[..., Path],
    jsonl: Callable[..., Path],
    inference: Callable[..., Any],
    lengths: Path,
) -> None:
    first = jsonl([inference(answer([1])), inference(answer([2]))], "first.jsonl")
    gold = jsonl([inference(answer([1])), inference(answer([2]), ((4,), ()))], "gold.jsonl")
    error = cli.refused("compare", first, gold)
    assert "gold.jsonl: sample_id: sample 'd#1' has other gold (utterance ids)" in error
    more = jsonl([inference(answer([1]), utts=range(9)), inference("x")], "more.jsonl")
    error = cli.refused("compare", first, more)
    assert "another number of utterance ids" in error
    fewer = jsonl([inference(answer([1]))], "fewer.jsonl")
    assert "lacks sample 'd#1'" in cli.refused("compare", first, fewer)
    file = jsonl([{"sample_id": "b#0", "utt_ids": [], "img_ids": []}], "predictions.jsonl")
    assert "name the benchmark: --benchmark DIR" in cli.refused("compare", first, file)
    run = make_run("none", lengths)
    for two in ((first, run), (run, first)):
        error = cli.refused("compare", *two)
        assert f"{first}: an inference file cannot be compared with runs of a benchmark" in error


# What cannot be compared --------------------------------------------------------------------------


def test_other_benchmarks_splits_and_hashes_are_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    first = make_run("none", lengths, "--split", "test")
    sample = make_run("none", "ffr-sample", "--split", "test", name="sample")
    error = cli.refused("compare", first, sample)
    assert f"{sample}: benchmark: {first} is of benchmark lengths" in error
    dev = make_run("none", lengths, "--split", "dev", name="dev")
    error = cli.refused("compare", first, dev)
    assert "of split test, this is of split dev" in error
    assert "compare runs of one benchmark and split" in error
    changed = tmp_path / "changed" / "lengths"
    shutil.copytree(lengths, changed)
    split_benchmark(changed, {"dev": 0.5, "test": 0.5}, 1)
    other = make_run("none", changed, "--split", "test", name="other")
    error = cli.refused("compare", first, other)
    assert f"of hash {read_benchmark(lengths).content_hash}" in error
    assert f"of hash {read_benchmark(changed).content_hash}" in error


def test_a_later_run_needs_no_benchmark_folder_of_its_own(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy" / "lengths"
    shutil.copytree(lengths, copy)
    two = [make_run("none", lengths), make_run("all", copy)]
    shutil.rmtree(copy)
    assert compared(cli, *two)["n_samples"] == 5
    assert "--benchmark DIR" in cli.refused("compare", *two[::-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "micro.joint.f2"), "did you mean 'micro.joint.f1'?"),
        (("--metric", "cardinality_ratio"), "no value is better"),
        (("--group", "image"), "'image' names no group"),
        (("--group", "kind=imgae"), "did you mean 'image'?"),
        (("--group", "knid=image"), "unknown grouping 'knid'"),
        (("--replicates", "0"), "--replicates"),
        (("--seed", "-1"), "a seed is not negative"),
        (("--split", "nope"), "no split 'nope'"),
        (("--interval", "normal"), "'percentile', 'bca'"),
        (("--json", "/nowhere/x.json"), "/nowhere"),
    ],
)
def test_wrong_options_are_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path, options: tuple[str, str], message: str
) -> None:
    two = [make_run(model, lengths) for model in ("none", "all")]
    result = cli.run("compare", *two, *options)
    assert result.code == 2
    assert message in result.err


def test_one_run_or_the_same_twice_is_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    run = make_run("none", lengths)
    assert "1 run to compare" in cli.refused("compare", run)
    assert "give two or more" in cli.refused("compare", run)
    assert "is given twice" in cli.refused("compare", run, run)
    assert "is given twice" in cli.refused("compare", run, run / ".." / "none")
    again = make_run("none", lengths, name="again/none")
    found = compared(cli, run, again)
    assert {row["model"] for row in found["ranks"]} == {str(run), str(again)}
    assert found["pairs"][0]["delta"] == 0


@pytest.mark.shared
def test_baselines_on_real_meetings(
    cli: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark, data = tmp_path / "meetings", SHARED / "data"
    sources = (data / "qmsum" / "data" / "ALL" / "val", data / "qmsum_evidence" / "val")
    cli("data", "import", "qmsum-evidence", *sources, "--out", benchmark)
    every = [make_run(model, benchmark) for model in ("all", "none", "random", "oracle")]
    found = compared(cli, *every, "--replicates", "1000")
    ranks = {run["model"]: (run["rank_lo"], run["rank_hi"]) for run in found["ranks"]}
    assert (ranks["oracle"], ranks["none"]) == ((1, 1), (4, 4))
    assert found["n_samples"] > found["n_dialogues"] > 20
