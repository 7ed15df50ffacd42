"""``ffr review``: list, show, accept, reject."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.metrics.named import FIGURES
from ffr_eval.runs import read_run
from leaderboard.submissions import accepting
from leaderboard.submissions.checking import check, send
from leaderboard.submissions.limits import Limiter, Submitter
from leaderboard.submissions.queue import Queue
from leaderboard.submissions.store import FOLDER
from tests.leaderboard.submissions.conftest import Published, upload_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leaderboard.submissions.queue import Submission
    from leaderboard.submissions.scoring import PrivateReport

WHO = Submitter("session", None, "Us")


@pytest.fixture
def sent(
    published: Published, state: Path, details: Callable[..., Any]
) -> Callable[..., tuple[Submission, PrivateReport]]:
    """Checks an upload and sends it; the submission and the private report."""

    def call(**changes: Any) -> tuple[Submission, PrivateReport]:
        data, limiter = upload_of(published.predictions()[:-3]), Limiter(state)
        board, benchmark = published.board, published.benchmark
        checked = check(published.site, board, benchmark, data, "m.jsonl", WHO, limiter)
        assert checked.report is not None
        given = details(**changes)
        found = send(board, benchmark, data, checked, given, WHO, limiter, Queue(state))
        return found, checked.report

    return call


def test_accepting_makes_a_run_with_the_figures_of_the_report(
    sent: Any, published: Published, state: Path, tmp_path: Path, cli: Any
) -> None:
    submission, report = sent()
    runs = tmp_path / "runs"
    said = cli(
        *("review", "--state", state, "accept", submission.id),
        *("--site", published.site.path, "--runs", runs),
    ).out
    (folder,) = runs.iterdir()
    assert folder.name == f"submitted-Mine-7B-{submission.id[:8]}"
    assert f"ffr publish {runs} --site {published.site.path}" in said
    for protocol, part in zip(("strict", "official"), report.reports, strict=True):
        told = cli("score", folder, "--protocol", protocol, "--json", "-").json
        for average in ("micro", "macro"):
            for modality, figures in told[average].items():
                for name in FIGURES:
                    found = part.figure(f"{average}.{modality}.{name}")
                    assert found.value == (None if figures is None else figures[name])
        assert told["n_samples"] == report.n_samples
    card = json.loads((folder / "card.json").read_text())
    assert card == {
        "label": "Mine 7B",
        "team": "Us",
        "params_b": 7.6,
        "weights": "open",
        "setting": "zero-shot",
        "link": "https://ours.example/paper?x=1",
        "provenance": "submitted",
    }
    record = read_run(folder)
    assert (record.model, record.status, record.split) == ("Mine 7B", "finished", "test")
    assert record.options == {}
    assert record.n_samples == report.n_samples
    assert record.benchmark.hash == published.board.hash
    decided = Queue(state).get(submission.id)
    assert (decided.status, decided.run) == ("accepted", folder.name)
    for file in folder.iterdir():
        assert b"secret.example" not in file.read_bytes()  # the contact stays behind


def test_the_card_is_one_that_publishing_reads(
    sent: Any, published: Published, state: Path, tmp_path: Path, cli: Any
) -> None:
    from leaderboard.publishing.card import read_card

    submission, _ = sent(params_b=None, link=None)
    cli(
        *("review", "--state", state, "accept", submission.id, "--verified", "ran it again"),
        *("--site", published.site.path, "--runs", tmp_path / "runs"),
    )
    (folder,) = (tmp_path / "runs").iterdir()
    card = read_card(folder)
    assert (card.label, card.provenance, card.params_b) == ("Mine 7B", "verified", None)
    assert Queue(state).get(submission.id).verified == "ran it again"


def test_accepting_goes_on_where_it_was_stopped(
    sent: Any, published: Published, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, _ = sent()
    queue, site, runs = Queue(state), published.site.path, tmp_path / "runs"

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Queue, "decide", stop)
        with pytest.raises(KeyboardInterrupt):
            accepting.accept(queue, submission.id, site, runs)
    assert queue.get(submission.id).status == "pending"
    _, folder, _ = accepting.accept(queue, submission.id, site, runs, "again")
    assert json.loads((folder / "card.json").read_text())["provenance"] == "verified"
    assert queue.get(submission.id).status == "accepted"
    assert len(list(runs.iterdir())) == 1


def test_a_folder_of_another_run_is_not_replaced(
    sent: Any, published: Published, state: Path, tmp_path: Path, cli: Any
) -> None:
    first, second = sent()[0], sent(model="Other 2")[0]
    runs = tmp_path / "runs"
    arguments = ("--site", published.site.path, "--runs", runs)
    cli("review", "--state", state, "accept", first.id, *arguments)
    target = runs / accepting.run_name(second)
    shutil.copytree(runs / accepting.run_name(first), target)
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    said = cli.refused("review", "--state", state, "accept", second.id, *arguments)
    assert "is another run" in said
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    assert Queue(state).get(second.id).status == "pending"


def test_a_site_without_the_board_is_refused(
    sent: Any, hidden: Published, state: Path, tmp_path: Path, cli: Any
) -> None:
    submission, _ = sent()
    file = state / FOLDER / submission.id / "submission.json"
    file.write_text(file.read_text().replace(submission.benchmark.hash, "sha256:" + "0" * 64))
    said = cli.refused(
        *("review", "--state", state, "accept", submission.id),
        *("--site", hidden.site.path, "--runs", tmp_path / "runs"),
    )
    assert "has no board" in said
    assert not (tmp_path / "runs").exists()


def test_nothing_of_the_site_changes(
    sent: Any, published: Published, state: Path, tmp_path: Path, cli: Any
) -> None:
    before = {path: path.stat().st_mtime_ns for path in published.site.path.rglob("*")}
    submission, _ = sent()
    cli(
        *("review", "--state", state, "accept", submission.id),
        *("--site", published.site.path, "--runs", tmp_path / "runs"),
    )
    assert {path: path.stat().st_mtime_ns for path in published.site.path.rglob("*")} == before


def test_list_show_and_reject(sent: Any, state: Path, cli: Any) -> None:
    first, second = sent()[0], sent(model="Other 2")[0]
    review = ("review", "--state", state)
    listed = cli(*review, "list", "--json").json
    assert {item["id"] for item in listed} == {first.id, second.id}
    text = cli(*review, "list").out
    assert "Mine 7B" in text
    assert "2 pending" in text
    assert "secret.example" not in text + json.dumps(listed)  # only `show` says it
    assert "me@secret.example" in cli(*review, "show", first.id).out
    assert cli(*review, "show", first.id, "--json", "-").json["details"]["team"] == "Us"
    cli(*review, "reject", first.id, "--reason", "the wrong split")
    assert "1 pending" in cli(*review, "list").out
    assert len(cli(*review, "list", "--all", "--json").json) == 2
    assert "the wrong split" in cli(*review, "show", first.id).out
    assert "was rejected" in cli.refused(*review, "reject", first.id, "--reason", "again")


def test_mistakes_are_told(sent: Any, state: Path, tmp_path: Path, cli: Any) -> None:
    submission, _ = sent()
    review = ("review", "--state", state)
    assert "no submission" in cli.refused(*review, "show", "0" * 32)
    assert "no id" in cli.refused(*review, "show", "../x")
    assert "empty" in cli.refused(*review, "reject", submission.id, "--reason", " ")
    assert "no such folder" in cli.refused("review", "--state", tmp_path / "no", "list")
    assert "nothing waits" in cli("review", "--state", tmp_path, "list").out
    for command in ((), ("list",), ("show",), ("accept",), ("reject",)):
        assert (
            "Examples:"
            in cli("review", *(("--state", state) if command else ()), *command, "--help").out
        )


def test_no_text_of_a_submitter_reaches_the_terminal_as_it_is(
    sent: Any, state: Path, cli: Any
) -> None:
    submission, _ = sent(description="a\tb\nsecond line", contact="me")
    file = state / FOLDER / submission.id / "submission.json"
    record = json.loads(file.read_text())
    record["details"]["contact"] = "\x1b[2J\x1b]0;title\x07\u202eme"
    record["details"]["description"] = "\x1b[31mred"
    file.write_text(json.dumps(record))
    said = cli("review", "--state", state, "show", submission.id).out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\u202e" not in said
    assert "red" in said


def test_help_needs_no_state(cli: Any) -> None:
    for command in ("list", "show", "accept", "reject"):
        assert "Examples:" in cli("review", command, "--help").out
    assert "Missing option '--state'" in cli.refused("review", "list")


def test_a_site_that_is_not_there(sent: Any, state: Path, tmp_path: Path, cli: Any) -> None:
    submission, _ = sent()
    said = cli.refused(
        *("review", "--state", state, "accept", submission.id),
        *("--site", tmp_path / "nosuch", "--runs", tmp_path / "runs"),
    )
    assert "--site: no such folder" in said
