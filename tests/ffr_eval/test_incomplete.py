"""Request errors: the hint how to ask again, and runs that have too many of them to be ranked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.scoring import INCOMPLETE_ABOVE, incomplete_mark
from ffr_eval.types import Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HINT = "ask them again with `ffr run … --retry-outcomes request_error`"


@pytest.fixture
def make_run(cli: Any, lengths: Path, tmp_path: Path) -> Callable[..., Path]:
    """A run of a model on ``lengths``, in which the samples named were never answered."""

    def make(model: str, *failed: str) -> Path:
        run = tmp_path / "runs" / f"{model}-{len(failed)}"
        cli("run", model, lengths, "--out", run)
        file = run / "predictions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if line["sample_id"] in failed:
                line |= {"utt_ids": [], "img_ids": [], "outcome": "request_error"}
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return make


@pytest.mark.parametrize(
    ("failed", "n_samples", "mark"),
    [
        (0, 100, None),
        (5, 100, None),  # not above
        (6, 100, "incomplete: 6.0% request errors"),
        (72, 1000, "incomplete: 7.2% request errors"),
        (0, 0, None),
        (1, 1, "incomplete: 100.0% request errors"),
    ],
)
def test_the_mark(failed: int, n_samples: int, mark: str | None) -> None:
    assert INCOMPLETE_ABOVE == 0.05
    assert incomplete_mark({"request_error": failed, "ok": n_samples - failed}, n_samples) == mark
    assert incomplete_mark({"refusal": n_samples}, n_samples) is None


def test_scores_are_incomplete_only_because_of_request_errors(lengths: Path) -> None:
    for outcome in Outcome:
        if outcome is Outcome.MISSING:
            continue
        scores = ffr_eval.score([Prediction("a#0", outcome, Fragment())], lengths)
        assert scores.incomplete is (outcome is Outcome.REQUEST_ERROR), outcome
        assert scores.to_dict()["incomplete"] is scores.incomplete


def test_score_says_how_to_ask_again(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all", "b#0", "c#1")
    shown = cli("score", run).out
    assert f"2 request_error: {HINT}" in shown
    assert "incomplete: 40.0% request errors" in shown
    assert cli("score", run, "--json", "-").json["incomplete"] is True
    whole = make_run("all")
    assert "request_error" not in cli("score", whole).out
    assert "incomplete" not in cli("score", whole).out
    assert cli("score", whole, "--json", "-").json["incomplete"] is False


def test_a_file_cannot_be_asked_again(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    file = make_run("all", "b#0") / "predictions.jsonl"
    shown = cli("score", file, "--benchmark", lengths).out
    assert "--retry-outcomes" not in shown
    assert "incomplete: 20.0% request errors" in shown


def test_incomplete_runs_come_last_and_have_no_rank(
    cli: Any, make_run: Callable[..., Path]
) -> None:
    runs = [make_run("oracle", "b#0"), make_run("none"), make_run("all")]
    ranking = cli("rank", *runs, "--json", "-").json
    assert [(row["rank"], row["run"], row["incomplete"]) for row in ranking["rows"]] == [
        (1, "all-0", False),
        (2, "none-0", False),
        (None, "oracle-1", True),
    ]
    assert ranking["rows"][2]["value"] > ranking["rows"][0]["value"]
    (note,) = [note for note in ranking["notes"] if "incomplete" in note]
    assert note.startswith("oracle-1: incomplete: 20.0% request errors; above 5% there is no rank;")
    assert HINT in note
    lines = [line.split() for line in cli("rank", *runs).out.splitlines() if line.strip()]
    # It begins with its name: there is no rank before it.
    (marked,) = [words for words in lines if words[:2] == ["oracle-1", "(incomplete)"]]
    assert lines.index(marked) > max(
        place for place, words in enumerate(lines) if words[:2] == ["–", "floor:"]
    )


def test_asked_again_it_ranks(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("oracle", "b#0")
    with (run / "predictions.jsonl").open("a") as stream:
        stream.write(json.dumps({"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []}) + "\n")
    row = cli("rank", run, "--json", "-").json["rows"][0]
    assert (row["rank"], row["value"], row["incomplete"]) == (1, 1.0, False)


def test_rescoring_keeps_the_mark(cli: Any, make_run: Callable[..., Path]) -> None:
    run = make_run("all", "b#0")
    cli("rescore", run, "--protocol", "strict-1")
    assert json.loads((run / "scores" / "strict-1.json").read_text())["incomplete"] is True
