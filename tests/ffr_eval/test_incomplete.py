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


FAST = ("--replicates", 200)


def test_compare_neither_ranks_nor_tests_incomplete_runs(
    cli: Any, make_run: Callable[..., Path]
) -> None:
    whole = [make_run("all"), make_run("none"), make_run("random")]
    run = make_run("oracle", "b#0")
    without = cli("compare", *whole, *FAST, "--json", "-").json
    found = cli("compare", run, *whole, *FAST, "--json", "-").json
    # What is said of the others is what is said of them alone.
    assert found["ranks"][:3] == without["ranks"]
    assert [rank["incomplete"] for rank in found["ranks"]] == [False, False, False, True]
    tested = [pair for pair in found["pairs"] if "oracle-1" not in (pair["a"], pair["b"])]
    assert tested == without["pairs"]
    last = found["ranks"][3]
    assert last["value"] > found["ranks"][0]["value"]
    assert (last["model"], last["rank_lo"], last["rank_hi"], last["tier"]) == (
        *("oracle-1", None, None, None),
    )
    for pair in found["pairs"][:3]:
        assert pair["a"] == "oracle-1"
        assert pair["delta"] > 0
        assert pair["ci95"] is not None
        assert (pair["p"], pair["p_holm"], pair["dialogues_needed"]) == (None, None, None)
    assert "oracle-1" not in (found["disagreements"]["a"], found["disagreements"]["b"])
    (note,) = [note for note in found["notes"] if "incomplete" in note]
    assert note.startswith("oracle-1: incomplete: 20.0% request errors; above 5% there is no rank")
    assert HINT in note
    shown = cli("compare", run, *whole, *FAST).out
    lines = [line.split() for line in shown.splitlines() if line.strip()]
    (ranked,) = [words for words in lines if words[:4] == ["–", "–", "oracle-1", "(incomplete)"]]
    assert lines.index(ranked) > max(i for i, words in enumerate(lines) if words[0] == "1")


def test_compare_of_two_of_which_one_is_incomplete(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    whole, run = make_run("all"), make_run("none", "b#0")
    shown = cli("compare", whole, run, *FAST).out
    assert "no pair could be tested" in shown
    assert "none-1 (incomplete)" in shown
    file = run / "predictions.jsonl"
    found = cli("compare", whole, file, "--benchmark", lengths, *FAST, "--json", "-").json
    (note,) = [note for note in found["notes"] if "incomplete" in note]
    assert HINT not in note  # a file cannot be asked again


def test_compare_looks_at_the_samples_it_compares(cli: Any, make_run: Callable[..., Path]) -> None:
    runs = (make_run("all", "b#0"), make_run("none"))
    for group, incomplete in (("kind=utterance", True), ("kind=image", False)):
        ranks = cli("compare", *runs, "--group", group, *FAST, "--json", "-").json["ranks"]
        assert {rank["model"]: rank["incomplete"] for rank in ranks} == {
            "all-1": incomplete,
            "none-0": False,
        }


def test_compare_puts_incomplete_runs_below_undefined_ones(
    cli: Any, make_run: Callable[..., Path]
) -> None:
    runs = [make_run("all", "a#1"), make_run("none"), make_run("all")]
    options = ("--group", "kind=negative", "--json", "-")
    ranks = cli("compare", *runs, *FAST, *options).json["ranks"]
    assert [(rank["model"], rank["tier"]) for rank in ranks] == [
        ("all-0", 1),
        ("none-0", None),
        ("all-1", None),
    ]
    assert ranks[1]["value"] is None


@pytest.fixture
def make_report(
    cli: Any, make_run: Callable[..., Path], lengths: Path, jsonl: Callable[..., Path]
) -> Callable[[str], str]:
    """A report on a run and one with the best figures that is incomplete; returns its text."""

    def make(out: str) -> str:
        path = lengths.parent / out
        right = [
            json.loads(line)
            for line in (make_run("oracle", "b#0") / "predictions.jsonl").read_text().splitlines()
        ]
        best = jsonl([line | {"latency_s": 0.1} for line in right], "best.jsonl")
        options = ("--benchmark", lengths, "--out", path, *FAST)
        cli("report", best, make_run("all"), make_run("none", "a#0"), make_run("random"), *options)
        return path.read_text(encoding="utf-8")

    return make


def test_report_in_markdown(make_report: Callable[[str], str]) -> None:
    page = make_report("r.md")
    table = page.partition("## Results")[2].partition("Bold:")[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert [row[2] for row in cells[:4]] == [
        "all-0",
        "random-0",
        "best.jsonl (incomplete)",
        "none-1 (incomplete)",
    ]
    assert [row[:2] for row in cells[2:4]] == [["–", "–"]] * 2
    assert all(row[0] and row[1] for row in cells[:2])
    assert not any("**" in cell or "<ins>" in cell for row in cells for cell in row)
    assert "all-0 has the best micro joint F1" in page
    assert (
        "* best.jsonl (incomplete) and none-1 (incomplete) were not tested against other runs:"
        in page
    )
    assert "1 pair tested" in page
    notes = page.partition("## Notes")[2]
    share = "incomplete: 20.0% request errors; above 5% there is no rank"
    assert notes.count(share) == 2
    (note,) = [line for line in notes.splitlines() if "none-1: incomplete" in line]
    assert "--retry-outcomes request\\_error" in note
    (note,) = [line for line in notes.splitlines() if "best.jsonl: incomplete" in line]
    assert "--retry-outcomes" not in note


def test_report_in_html(make_report: Callable[[str], str]) -> None:
    page = make_report("r.html")
    header = '<th scope="row" class="name" dir="auto">'
    line = page.partition(f"{header}best.jsonl (incomplete)</th>")
    assert line[1]
    assert line[0].rstrip().endswith('<td>–</td><td class="num">–</td>')
    assert "none-1: incomplete: 20.0% request errors" in page
    assert 'class="differs"' not in page


def test_report_in_latex(make_report: Callable[[str], str]) -> None:
    table = make_report("r.tex")
    assert "-- & -- & best.jsonl (incomplete) &" in table
    assert "best.jsonl (incomplete: 20.0\\% request errors)" in table
    assert "% note: none-1: incomplete: 20.0% request errors" in table
    assert "--retry-outcomes request_error" in table


def test_report_on_one_run_and_on_a_ceiling(
    cli: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "r.md"
    cli("report", make_run("all", "b#0"), make_run("oracle", "c#0"), "--out", path, *FAST)
    page = path.read_text(encoding="utf-8")
    assert "| all-1 (incomplete) |" in page
    assert "| *oracle-1 (incomplete)* |" in page
    assert page.count("above 5% there is no rank") == 2
    assert "is first" not in page
