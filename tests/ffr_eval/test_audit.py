"""``ffr audit``: each rule by itself, and the way from official to strict as a whole."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

import ffr_eval
from ffr_eval.audit import ALSO, RULES, audit, waterfall
from ffr_eval.error_classes import CLASSES
from ffr_eval.markup import answer_text
from ffr_eval.metrics.named import ALL_FIGURES
from ffr_eval.metrics.protocols import OFFICIAL_1, STRICT_1
from ffr_eval.prediction_file import encode_prediction
from ffr_eval.sources import Request, load_under
from tests.ffr_eval.metrics.tasks import Task, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [rule.name for rule in RULES]
PARITY = Path(__file__).parents[1] / "data" / "official_parity"
RUNS = ("bm25", "random", "none", "all", "window")


def only(report: dict[str, Any], rule: str) -> tuple[float | None, float | None]:
    """The metric before and after the one rule that moves it; all others say why they do not."""
    steps = report["steps"]
    assert [step["rule"] for step in steps] == ["official", *NAMES]
    values = [step["value"] for step in steps]
    place = NAMES.index(rule) + 1
    assert set(values[:place]) == {report["official"]}
    assert set(values[place:]) == {report["strict"]}
    assert report["official"] != report["strict"]
    for step in steps[1:]:
        assert bool(step["why"]) == (step["rule"] != rule), step
        if step["rule"] == rule:
            assert step["n_touched"] > 0
    return report["official"], report["strict"]


# Each rule where only it matters -----------------------------------------------------------------


def test_parsing(cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]) -> None:
    unmarked = '{"utt_ids": [1, 2], "img_ids": []}'
    file = jsonl([inference(answer_text([1, 2], [])), inference(unmarked)])
    report = cli("audit", file, "--metric", "micro.utterance.f1", "--json", "-").json
    assert only(report, "parsing") == (2 * 2 / (2 * 2 + 2), 1.0)
    assert report["steps"][1]["n_touched"] == 1


def test_phantom_negatives(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(answer_text([2, 9], []), ((2,), ()), utts=(0, 2, 9))])
    report = cli("audit", file, "--metric", "micro.utterance.mcc", "--json", "-").json
    # tp 1, fp 1, fn 0; of 0 to 9 eight are true negatives, of the three that are there one.
    before, after = only(report, "phantom negatives")
    assert before == pytest.approx(8 / math.sqrt(2 * 1 * 9 * 8))
    assert after == pytest.approx(1 / math.sqrt(2 * 1 * 2 * 1))
    f1 = cli("audit", file, "--metric", "micro.utterance.f1", "--json", "-").json
    assert f1["official"] == f1["strict"]
    assert f1["steps"][2]["why"] == "moves true negatives only"
    assert (f1["steps"][2]["change"], f1["steps"][2]["n_touched"]) == (0, 1)


def test_invented_ids(cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]) -> None:
    file = jsonl([inference(answer_text([1, 7], []), ((1,), ()), utts=range(4))])
    report = cli("audit", file, "--metric", "macro.utterance.mcc", "--json", "-").json
    before, after = only(report, "invented ids")
    assert (before, after) == (1.0, pytest.approx(3 / math.sqrt(2 * 1 * 4 * 3)))


def test_absent_modality(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(answer_text([1, 2], []))])
    assert only(cli("audit", file, "--json", "-").json, "absent modality") == (0.5, 1.0)
    # In macro an absent modality counts as right under official: leaving it out costs.
    wrong = jsonl([inference(answer_text([3], []))], "wrong.jsonl")
    report = cli("audit", wrong, "--metric", "macro.joint.f1", "--json", "-").json
    assert only(report, "absent modality") == (0.5, 0.0)


def test_failed_requests_of_an_inference_file(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    silent = inference(None)
    del silent["response"]
    file = jsonl([inference(answer_text([1, 2], [])), silent])
    report = cli("audit", file, "--metric", "micro.utterance.f1", "--json", "-").json
    assert only(report, "failed requests") == (1.0, 2 * 2 / (2 * 2 + 2))
    assert [step["n_samples"] for step in report["steps"]] == [1] * 5 + [2] * 2
    assert any("left out" in note for note in report["notes"])


def test_failed_requests_of_a_prediction_file(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    """Nothing was said to the negative query a#1, but because the request failed."""
    answers: list[Any] = [
        {"sample_id": "a#0", "utt_ids": [1, 2], "img_ids": [0]},
        {"sample_id": "a#1", "utt_ids": [], "img_ids": [], "outcome": "request_error"},
        {"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []},
        {"sample_id": "c#0", "utt_ids": [], "img_ids": [0]},
    ]
    file = jsonl(answers)
    options = ("--benchmark", lengths, "--split", "test", "--json", "-")
    report = cli("audit", file, *options, "--metric", "macro.utterance.f1").json
    assert only(report, "failed requests") == (1.0, 0.75)
    assert (report["benchmark"], report["split"]) == ("lengths", "test")
    assert {step["n_samples"] for step in report["steps"]} == {4}
    micro = cli("audit", file, *options).json
    assert (micro["steps"][5]["n_touched"], micro["steps"][5]["why"]) == (1, "they count already")


def test_undefined_mcc(cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]) -> None:
    negative = inference(answer_text([], []), ((), ()))
    file = jsonl([inference(answer_text([1, 2], [])), negative])
    report = cli("audit", file, "--metric", "macro.utterance.mcc", "--json", "-").json
    assert only(report, "undefined MCC") == (0.5, 1.0)
    assert report["steps"][-1]["n_touched"] == 1


def test_a_figure_that_strict_does_not_have_is_null_and_explained(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(answer_text([1, 2], []))])
    result = cli("audit", file, "--metric", "micro.image.f1", "--json", "-")
    assert only(result.json, "absent modality") == (0.0, None)
    assert [step["change"] for step in result.json["steps"]][3:] == [0, None, None, None]
    assert result.json["change"] is None
    assert "micro.image.f1 is undefined under strict" in result.json["notes"][-1]
    assert "–" in cli("audit", file, "--metric", "micro.image.f1").out


# The whole way -----------------------------------------------------------------------------------


def test_the_rules_lead_from_official_to_strict() -> None:
    protocols = waterfall()
    assert (protocols[0], protocols[-1]) == (OFFICIAL_1, STRICT_1)
    assert len(set(protocols)) == len(RULES) + 1


def ends_agree(file: Path, benchmark: Any = None) -> None:
    official = ffr_eval.score(file, benchmark, protocol="official")
    strict = ffr_eval.score(file, benchmark, protocol="strict")
    for name in ALL_FIGURES:
        found = audit(file, benchmark, metric=name)
        assert found.official == official.metric(name), name
        assert found.strict == strict.metric(name), name
        assert (found.steps[0].n_samples, found.steps[-1].n_samples) == (
            official.n_samples,
            strict.n_samples,
        )
        changes = [step.change for step in found.steps[1:]]
        if found.official is not None and found.strict is not None and None not in changes:
            total = math.fsum(change for change in changes if change is not None)
            assert total == pytest.approx(found.strict - found.official, abs=1e-12), name
        for step in found.steps[1:]:
            assert not (step.change and step.why), (name, step)


@pytest.mark.parametrize("name", ["quirks", "parity_a"])
def test_the_ends_are_those_of_score_on_inference_files(cli: Any, name: str) -> None:
    file = PARITY / f"{name}.jsonl"
    ends_agree(file)
    report = cli("audit", file, "--json", "-").json
    for end in ("official", "strict"):
        scores = cli("score", file, "--protocol", end, "--no-ci", "--json", "-").json
        assert report[end] == scores["micro"]["joint"]["f1"]
        also = report["steps"][0 if end == "official" else -1]["also"]
        assert also["micro.joint.mcc"] == scores["micro"]["joint"]["mcc"]
        assert also["macro.joint.f1"] == pytest.approx(scores["macro"]["joint"]["f1"], abs=1e-15)


@given(task=tasks())
@settings(deadline=None, max_examples=40)
def test_the_ends_are_those_of_score_on_prediction_files(
    tmp_path_factory: pytest.TempPathFactory, task: Task
) -> None:
    benchmark, made, _ = task
    if made:
        file = tmp_path_factory.mktemp("made") / "predictions.jsonl"
        file.write_bytes(b"".join(encode_prediction(each) for each in made))
        ends_agree(file, benchmark)


@pytest.mark.parametrize("model", RUNS)
def test_the_ends_are_those_of_score_on_a_run(cli: Any, tmp_path: Path, model: str) -> None:
    cli("run", model, "ffr-sample", "--split", "test", "--out", tmp_path / model)
    ends_agree(tmp_path / model)
    report = cli("audit", tmp_path / model, "--json", "-").json
    assert (report["benchmark"], report["split"]) == ("ffr-sample", "test")


def test_an_inference_file_read_as_official_has_no_universe_of_real_ids() -> None:
    with pytest.raises(ValueError, match="largest"):
        load_under(PARITY / "quirks.jsonl", [replace(OFFICIAL_1, real_ids=True)], Request())


# The command -------------------------------------------------------------------------------------


def test_json_has_the_promised_keys(cli: Any, tmp_path: Path) -> None:
    file = PARITY / "quirks.jsonl"
    report = cli("audit", file, "--json", "-").json
    assert list(report) == [
        *("file", "benchmark", "split", "metric", "official", "strict", "change", "steps"),
        *("headline", "errors", "notes"),
    ]
    assert (report["file"], report["benchmark"]) == (str(file), None)
    keys = ["rule", "what", "value", "change", "also", "n_samples", "n_touched", "why"]
    for step in report["steps"]:
        assert list(step) == keys
        assert list(step["also"]) == list(ALSO)
    assert [found["name"] for found in report["errors"]] == list(CLASSES)
    strict = cli("score", file, "--protocol", "strict", "--no-ci", "--json", "-").json["micro"]
    for key, name in (("fp", "n_wrong"), ("fn", "n_missed")):
        counted = sum(strict[modality][key] for modality in ("utterance", "image"))
        assert sum(found[name] for found in report["errors"]) == counted > 0
    assert report["headline"] == strict["joint"]["f1"]
    assert cli("audit", file, "--json", tmp_path / "audit.json").out.count("parsing") == 1
    assert json.loads((tmp_path / "audit.json").read_text()) == report


def test_the_terminal_shows_rules_classes_and_how_to_look_at_an_error(
    cli: Any, tmp_path: Path
) -> None:
    run = tmp_path / "bm25"
    cli("run", "bm25", "ffr-sample", "--split", "test", "--out", run)
    out = cli("audit", run, "--metric", "macro.joint.mcc").out
    report = cli("audit", run, "--metric", "macro.joint.mcc", "--json", "-").json
    for name in (*NAMES, *CLASSES):
        assert name in out
    moved = report["steps"][-1]
    line = next(line for line in out.splitlines() if "undefined MCC" in line)
    assert f"{moved['value']:.4f}" in line
    assert f"{moved['change']:+.4f}" in line
    assert "│██████" in line
    most = max(report["errors"], key=lambda found: found["gain"])
    example = next(line for line in out.splitlines() if "ffr data show" in line)
    assert f"ffr data show ffr-sample '{most['example']}'" in example
    cli("data", "show", "ffr-sample", most["example"])


def test_a_narrow_terminal_folds_no_name_and_no_number(ffr: Any) -> None:
    lines = ffr("audit", PARITY / "quirks.jsonl", COLUMNS="80", FORCE_COLOR="1").out.splitlines()
    for name in (*NAMES, *CLASSES):
        assert any(name in line for line in lines), name
    assert sum("0.5727" in line for line in lines) == 5  # macro.joint.f1, in each of its rows


def test_a_perfect_run_has_no_errors(cli: Any, tmp_path: Path) -> None:
    cli("run", "oracle", "ffr-sample", "--split", "test", "--out", tmp_path / "oracle")
    assert "none: every id is right" in cli("audit", tmp_path / "oracle").out


def test_names_cannot_control_the_terminal(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference("no", dialogue_id="\x1b[31mred [bold]x")])
    out = cli("audit", file).out
    assert "\x1b" not in out
    assert r"\x1b[31mred [bold]x#0" in out


def test_bad_input_is_refused(cli: Any, jsonl: Callable[..., Path], lengths: Path) -> None:
    quirks = PARITY / "quirks.jsonl"
    assert "did you mean" in cli.refused("audit", quirks, "--metric", "micro.joint.f")
    assert "carries its own gold" in cli.refused("audit", quirks, "--benchmark", lengths)
    answers = jsonl([{"sample_id": "a#0", "utt_ids": [1], "img_ids": []}])
    assert "--benchmark DIR" in cli.refused("audit", answers)
    assert "no sample 'z'" in cli.refused(
        *("audit", jsonl([{"sample_id": "z", "utt_ids": [1], "img_ids": []}])),
        *("--benchmark", lengths),
    )
    assert "nothing.jsonl" in cli.refused("audit", "nothing.jsonl")
