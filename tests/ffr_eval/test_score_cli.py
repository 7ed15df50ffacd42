"""``ffr score``: the JSON contract, and what can be scored, as a user calls it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = {"precision", "recall", "f1", "mcc"}
COUNTS = {"tp", "fp", "fn", "tn"}
OUTCOMES = [
    *("ok", "empty", "parse_error", "refusal", "truncated", "context_overflow"),
    *("request_error", "missing"),
]
ANSWERS: list[dict[str, Any]] = [
    {"sample_id": "a#0", "utt_ids": [2, 3], "img_ids": [0]},
    {"sample_id": "a#1", "utt_ids": [], "img_ids": []},
    {"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []},
]
"""Of split ``test`` all but ``c#0``."""


@pytest.fixture
def answers(jsonl: Callable[..., Path]) -> Path:
    return jsonl(ANSWERS, "answers.jsonl")


def check_figures(scores: dict[str, Any]) -> None:
    """The keys of ``micro`` and ``macro``."""
    assert list(scores["micro"]) == list(scores["macro"]) == ["utterance", "image", "joint"]
    for modality in ("utterance", "image"):
        if scores["micro"][modality] is not None:
            assert set(scores["micro"][modality]) == FIGURES | COUNTS
    if scores["micro"]["joint"] is not None:
        assert set(scores["micro"]["joint"]) == FIGURES
    for figures in scores["macro"].values():
        assert FIGURES | {"n"} <= set(figures)
        assert not COUNTS & set(figures)


# The contract ------------------------------------------------------------------------------------


def test_json_has_the_promised_keys_and_known_figures(
    cli: Any, answers: Path, lengths: Path
) -> None:
    options = ("--benchmark", lengths, "--split", "test", "--group-by", "turns,kind")
    scores = cli("score", answers, *options, "--json", "-").json
    assert scores["protocol"] == "strict-1"
    assert (scores["n_samples"], scores["n_scored"]) == (4, 3)
    assert list(scores["outcomes"]) == OUTCOMES
    assert {name: n for name, n in scores["outcomes"].items() if n} == {
        "ok": 2,
        "empty": 1,
        "missing": 1,
    }
    check_figures(scores)
    utterance, image, joint = scores["micro"].values()
    assert [utterance[name] for name in ("tp", "fp", "fn", "tn")] == [4, 1, 1, 124]
    assert [image[name] for name in ("tp", "fp", "fn", "tn")] == [1, 0, 1, 3]
    assert joint["f1"] == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-15)
    assert joint["recall"] == pytest.approx(2 * 0.8 * 0.5 / 1.3, abs=1e-15)
    # Of c#0 the utterances were not asked for, but nobody said so: 0. Dialogue b has no images.
    macro = scores["macro"]
    assert (macro["utterance"]["f1"], macro["utterance"]["n"]) == (0.625, 4)
    assert (macro["image"]["f1"], macro["image"]["n"]) == (2 / 3, 3)
    assert list(scores["groups"]) == ["turns", "kind"]
    turns, kinds = scores["groups"]["turns"], scores["groups"]["kind"]
    assert {name: group["n_samples"] for name, group in turns.items()} == {
        "short": 2,
        "medium": 1,
        "long": 1,
    }
    assert list(kinds) == ["multimodal", "utterance", "image", "negative"]
    for group in (*turns.values(), *kinds.values()):
        assert set(group) == {"n_samples", "micro", "macro", "metrics", "ci95"}
        check_figures(group)


def test_what_has_nothing_to_count_is_null(cli: Any, answers: Path, lengths: Path) -> None:
    options = ("--benchmark", lengths, "--split", "test", "--group-by", "turns,kind")
    groups = cli("score", answers, *options, "--json", "-").json["groups"]
    medium = groups["turns"]["medium"]
    assert medium["micro"]["image"] is None
    assert medium["micro"]["joint"]["f1"] == medium["micro"]["utterance"]["f1"] == 1.0
    assert medium["macro"]["image"]["n"] == 0
    assert medium["macro"]["image"]["f1"] is None
    negative = groups["kind"]["negative"]
    assert set(negative["micro"].values()) == {None}
    assert negative["macro"]["joint"]["f1"] == 1.0


def test_json_goes_to_a_file_beside_the_table(
    cli: Any, answers: Path, lengths: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    command = ("score", answers, "--benchmark", lengths, "--split", "test")
    shown = cli(*command, "--json", out).out
    assert "micro.joint.f1 = 0.7333" in shown
    assert "3 of 4 answered (2 ok, 1 empty, 1 missing)" in shown
    assert "over answered samples only (3): 0.9000" in shown
    assert json.loads(out.read_text()) == cli(*command, "--json", "-").json
    assert json.loads(out.read_text())["groups"] == {}


def test_json_goes_where_a_link_leads_and_leaves_devices_alone(
    cli: Any, ffr: Callable[..., Any], answers: Path, lengths: Path, tmp_path: Path
) -> None:
    link, target = tmp_path / "link.json", tmp_path / "target.json"
    link.symlink_to(target)
    cli("score", answers, "--benchmark", lengths, "--json", link)
    assert link.is_symlink()
    assert json.loads(target.read_text())["n_samples"] == 5
    shown = ffr("score", answers, "--benchmark", lengths, "--json", "/dev/stdout").out
    assert '"protocol": "strict-1"' in shown
    assert "micro.joint.f1" in shown
    assert Path("/dev/stdout").is_symlink()


def test_answered_only_figures_stand_beside_the_headline(
    cli: Any, answers: Path, lengths: Path
) -> None:
    scores = cli("score", answers, "--benchmark", lengths, "--split", "test", "--json", "-").json
    assert scores["answered"]["n_samples"] == 3
    assert scores["answered"]["micro"]["image"]["f1"] == 1.0
    assert scores["answered"]["micro"]["joint"]["f1"] == pytest.approx(0.9)


def test_missing_predictions_count_and_are_said(
    cli: Any, jsonl: Callable[..., Path], cli_benchmark_of_100: Path
) -> None:
    file = jsonl({"sample_id": f"d#{i}", "utt_ids": [1], "img_ids": []} for i in range(97))
    command = ("score", file, "--benchmark", cli_benchmark_of_100)
    assert "97 of 100 answered (97 ok, 3 missing)" in cli(*command).out
    scores = cli(*command, "--json", "-").json
    assert (scores["n_samples"], scores["n_scored"]) == (100, 97)
    assert scores["outcomes"]["missing"] == 3
    assert scores["micro"]["utterance"]["recall"] == 0.97


@pytest.fixture
def cli_benchmark_of_100(tmp_path: Path) -> Path:
    folder = tmp_path / "hundred"
    folder.mkdir()
    (folder / "benchmark.json").write_text('{"name": "hundred"}')
    turns = [{"utt_id": i, "speaker": "S", "text": "t"} for i in range(3)]
    (folder / "dialogues.jsonl").write_text(json.dumps({"dialogue_id": "d", "turns": turns}) + "\n")
    query = {"dialogue_id": "d", "query": "q", "gold_utt_ids": [1], "gold_img_ids": []}
    lines = [json.dumps({"sample_id": f"d#{i}", **query}) + "\n" for i in range(100)]
    (folder / "queries.jsonl").write_text("".join(lines))
    return folder


# Prediction files and runs -----------------------------------------------------------------------


def test_without_a_split_all_samples_count_and_a_likely_slip_is_noted(
    cli: Any, answers: Path, lengths: Path
) -> None:
    scores = cli("score", answers, "--benchmark", lengths, "--json", "-").json
    assert (scores["n_samples"], scores["outcomes"]["missing"]) == (5, 2)
    assert "did you mean --split test?" in scores["notes"][0]


def test_the_last_line_of_a_sample_wins(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    wrong = {"sample_id": "b#0", "utt_ids": [0], "img_ids": []}
    options = ("--benchmark", lengths, "--split", "test", "--json", "-")
    first = cli("score", jsonl([wrong, *ANSWERS]), *options).json
    last = cli("score", jsonl([*ANSWERS, wrong]), *options).json
    assert first["micro"]["utterance"]["tp"] == 4
    assert last["micro"]["utterance"]["tp"] == 1


def test_the_raw_response_wins_over_the_stored_ids(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    line = {"sample_id": "b#0", "response": answer_text([3], []), "utt_ids": [9], "img_ids": [9]}
    scores = cli("score", jsonl([line]), "--benchmark", lengths, "--json", "-").json
    assert scores["micro"]["utterance"]["tp"] == 1
    assert scores["micro"]["utterance"]["fp"] == 0


@pytest.mark.parametrize(
    ("response", "strict", "lenient"),
    [
        (answer_text([3], []), "ok", "ok"),
        (f"Here you are: {answer_text([3], [])}", "parse_error", "ok"),
        ("I could not find anything.", "parse_error", "parse_error"),
        (answer_text([], []), "empty", "empty"),
    ],
)
def test_parse_says_how_responses_are_read(
    cli: Any, jsonl: Callable[..., Path], lengths: Path, response: str, strict: str, lenient: str
) -> None:
    command = ("score", jsonl([{"sample_id": "b#0", "response": response}]), "--benchmark", lengths)
    assert cli(*command, "--parse", "strict", "--json", "-").json["outcomes"][strict] == 1
    assert cli(*command, "--parse", "lenient", "--json", "-").json["outcomes"][lenient] == 1
    assert cli(*command, "--json", "-").json["outcomes"][lenient] == 1


def test_a_truncated_last_line_is_dropped_with_a_note(
    cli: Any, answers: Path, lengths: Path
) -> None:
    line = '{"sample_id": "c#0", "utt_ids": [1], "meta": {"say": "héé'
    with answers.open("ab") as stream:
        stream.write(line.encode()[:-1])  # cut within a character
    command = ("score", answers, "--benchmark", lengths, "--split", "test")
    assert f"note: {answers}:4: dropped a truncated last line" in cli(*command).out
    scores = cli(*command, "--json", "-").json
    assert scores["n_samples"] == 4
    assert "dropped a truncated last line" in scores["notes"][0]


def test_failures_keep_their_outcome_and_count_as_nothing_found(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    names = ["a#0", "a#1", "b#0", "c#0", "c#1"]
    outcomes = ["refusal", "truncated", "context_overflow", "request_error", "parse_error"]
    lines = [
        {
            "sample_id": name,
            "outcome": outcome,
            "response": "<cut>" if outcome == "parse_error" else None,
        }
        for name, outcome in zip(names, outcomes, strict=True)
    ]
    scores = cli("score", jsonl(lines), "--benchmark", lengths, "--json", "-").json
    assert scores["n_scored"] == 0
    assert [scores["outcomes"][name] for name in outcomes] == [1] * 5
    assert scores["macro"]["joint"]["f1"] == 0.0  # a#1 too: an outage is not wise silence


def test_a_packed_file_is_read(cli: Any, answers: Path, lengths: Path, tmp_path: Path) -> None:
    packed = tmp_path / "answers.jsonl.gz"
    packed.write_bytes(gzip.compress(answers.read_bytes()))
    options = ("--benchmark", lengths, "--json", "-")
    assert cli("score", packed, *options).json == cli("score", answers, *options).json


def test_odd_characters_in_ids_survive(
    cli: Any, jsonl: Callable[..., Path], cli_benchmark_of_100: Path
) -> None:
    odd = "d‮ #\x1b[31m\n[bold]𝔡é"
    queries = cli_benchmark_of_100 / "queries.jsonl"
    queries.write_text(queries.read_text().replace('"d#99"', json.dumps(odd)))
    file = jsonl([{"sample_id": odd, "utt_ids": [1], "img_ids": []}])
    scores = cli("score", file, "--benchmark", cli_benchmark_of_100, "--json", "-").json
    assert scores["outcomes"]["ok"] == 1


def test_a_run_names_its_own_benchmark_and_split(cli: Any, lengths: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("run", "oracle", lengths, "--split", "test", "--out", run)
    shown = cli("score", run).out
    assert "run on lengths, split test, protocol strict" in shown
    scores = cli("score", run, "--json", "-").json
    assert (scores["n_samples"], scores["micro"]["joint"]["f1"]) == (4, 1.0)
    other = cli("score", run, "--split", "dev", "--json", "-").json
    assert (other["n_samples"], other["outcomes"]["missing"]) == (1, 1)
    official = cli("score", run, "--protocol", "official", "--json", "-").json
    assert official["protocol"] == "official-1"
    assert official["micro"]["image"]["tn"] == 2 + 2 + 21 + 1 - 2  # b has 21 phantom images


def test_a_limited_run_says_that_the_rest_is_missing(
    cli: Any, lengths: Path, tmp_path: Path
) -> None:
    cli("run", "oracle", lengths, "--limit", "2", "--out", tmp_path / "run")
    shown = cli("score", tmp_path / "run").out
    assert "2 of 5 answered" in shown
    assert "note: the run was limited to 2 samples; the others count as missing" in shown


def test_the_table_prints_in_an_encoding_without_bars(
    ffr: Callable[..., Any], answers: Path, lengths: Path
) -> None:
    result = ffr("score", answers, "--benchmark", lengths, PYTHONIOENCODING="ascii")
    assert result.code == 0, result.err
    assert "micro.joint.f1" in result.out


# Metrics, groups, parsing ------------------------------------------------------------------------


def test_metrics_by_name_stand_in_the_table_and_in_the_json(
    cli: Any, answers: Path, lengths: Path
) -> None:
    names = ["micro.joint.f1", "micro.utterance.mcc", "exact", "f_beta(0.5)", "tol_f1(1)"]
    command = ("score", answers, "--benchmark", lengths, "--split", "test")
    command = (*command, "--metrics", ", ".join(names), "--group-by", "kind*turns")
    scores = cli(*command, "--json", "-").json
    assert list(scores["metrics"]) == names
    assert scores["metrics"]["micro.joint.f1"] == scores["micro"]["joint"]["f1"]
    assert scores["metrics"]["micro.utterance.mcc"] == scores["micro"]["utterance"]["mcc"]
    for group in scores["groups"]["kind*turns"].values():
        assert list(group["metrics"]) == names
    shown = cli(*command).out
    for name in names:
        assert f"{name}  " in shown
    assert "multimodal*" in shown


def test_a_wrong_metric_is_refused_before_anything_is_read(cli: Any, tmp_path: Path) -> None:
    for metrics, message in {
        "f2": "unknown metric 'f2'",
        "exact(1)": "exact takes no parameters",
        "f_beta": "f_beta takes beta (weight of recall): f_beta(beta)",
        "f_beta(0)": "beta must be a number above 0",
        "tol_f1(1.5)": "k must be a whole number of at least 0",
        "tol_f1(-1)": "k must be a whole number of at least 0",
        "outcome_rate(good)": "unknown outcome 'good'",
        "micro.exact": "exact has no average 'micro'",
        "image.tol_f1(1)": "tol_f1 has no modality 'image'",
        "micro.joint.f2": "did you mean 'micro.joint.f1'",
    }.items():
        told = cli.refused("score", tmp_path / "nowhere", "--metrics", metrics)
        assert message in told, metrics


def test_both_ways_of_reading_side_by_side(
    cli: Any, lengths: Path, jsonl: Callable[..., Path]
) -> None:
    texts = ["Here: <|utt_ids_start|>[0]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|> bye"]
    file = jsonl([{"sample_id": "a#0", "outcome": "ok", "response": text} for text in texts])
    command = ("score", file, "--benchmark", lengths, "--parse", "both")
    scores = cli(*command, "--json", "-").json
    assert scores["parse"]["strict"]["outcomes"]["parse_error"] == 1
    assert scores["parse"]["lenient"]["outcomes"]["parse_error"] == 0
    assert scores["parse"]["lenient"]["micro"] == scores["micro"]
    alone = cli("score", file, "--benchmark", lengths, "--parse", "strict", "--json", "-").json
    assert scores["parse"]["strict"]["micro"] == alone["micro"]
    assert "responses read" in cli(*command).out
    assert "parse" not in alone


def test_versions_of_protocols(cli: Any, answers: Path, lengths: Path) -> None:
    command = ("score", answers, "--benchmark", lengths, "--json", "-")
    assert cli(*command, "--protocol", "strict-1").json == cli(*command).json
    assert "strict-1" in cli.refused(*command, "--protocol", "strict-2")
    with pytest.raises(ffr_eval.FfrError, match=r"unknown protocol 'strict-2'\n.*strict-1"):
        ffr_eval.score(answers, lengths, protocol="strict-2")


def test_the_options_know_all_protocols() -> None:
    from ffr_eval.cli import options
    from ffr_eval.metrics import protocols

    assert options.PROTOCOL_NAMES == protocols.PROTOCOL_NAMES
