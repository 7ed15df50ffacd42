"""The private report: the same figures as ``ffr score``, and little about gold that is hidden."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ffr_eval.comparison import compare_runs
from ffr_eval.errors import InputError
from ffr_eval.metrics.named import ALL_FIGURES
from ffr_eval.uncertainty import Resampling
from leaderboard.site.manifest import BoardRecord
from leaderboard.submissions import checking, scoring
from leaderboard.submissions.checking import check, send
from leaderboard.submissions.file_kinds import UploadRefused
from leaderboard.submissions.limits import DailyLimits, Limiter, LimitReached, Submitter
from leaderboard.submissions.queue import Queue
from leaderboard.submissions.scoring import (
    benchmark_folder,
    private_benchmark,
    private_report,
    resampling_of,
)
from leaderboard.submissions.template import template
from tests.leaderboard.submissions.conftest import BOARD, REPLICATES, Published, upload_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leaderboard.submissions.scoring import PrivateReport

WHO = Submitter("session", "10.0.0.1", "Us")


def report_on(published: Published, records: list[dict[str, Any]]) -> PrivateReport:
    from leaderboard.submissions.reading import read_upload

    upload = read_upload(upload_of(records), "mine.jsonl", published.benchmark, "test")
    assert upload.can_be_scored
    return private_report(
        published.site, published.board, published.benchmark, upload.predictions.values()
    )


def checked_of(
    published: Published, state: Path, records: list[dict[str, Any]], **options: Any
) -> checking.Checked:
    limiter = options.pop("limiter", None) or Limiter(state)
    return check(
        published.site,
        published.board,
        published.benchmark,
        upload_of(records),
        "mine.jsonl",
        options.pop("who", WHO),
        limiter,
    )


@pytest.mark.parametrize("protocol", ["strict", "official"])
def test_the_figures_are_those_of_ffr_score(
    published: Published, tmp_path: Path, cli: Any, protocol: str
) -> None:
    records = published.predictions()[:-2]  # two are missing: they count
    file = tmp_path / "mine.jsonl"
    file.write_bytes(upload_of(records))
    folder = benchmark_folder(published.site.path, published.board.hash)
    told = cli(
        *("score", file, "--benchmark", folder, "--split", "test", "--protocol", protocol),
        *("--replicates", REPLICATES, "--ci", "--json", "-"),
    ).json
    report = report_on(published, records)
    found = next(part for part in report.reports if part.protocol == protocol)
    for metric in ALL_FIGURES:
        average, modality, name = metric.split(".")
        figure = found.figure(metric)
        part = told[average][modality]
        assert figure.value == (None if part is None else part[name])
        ci95 = told["ci95"][metric]
        assert (figure.lo, figure.hi) == ((None, None) if ci95 is None else tuple(ci95))
    assert report.outcomes == told["outcomes"] or protocol == "official"
    assert report.outcomes["missing"] == 2


def test_it_is_compared_with_the_leader_on_the_same_samples(
    published: Published, tmp_path: Path
) -> None:
    records = published.predictions()
    report = report_on(published, records)
    mine, theirs = tmp_path / "mine.jsonl", tmp_path / "theirs.jsonl"
    mine.write_bytes(upload_of(records))
    right = [
        {"sample_id": name, "utt_ids": published.gold(name)[0], "img_ids": published.gold(name)[1]}
        for name in published.sample_ids[::2]
    ]
    theirs.write_bytes(upload_of(right))
    folder = benchmark_folder(published.site.path, published.board.hash)
    wanted = compare_runs(
        [mine, theirs],
        benchmark=folder,
        split="test",
        resampling=Resampling(REPLICATES),
    ).pairs[0]
    found = report.leader
    assert found is not None
    assert wanted.ci95 is not None
    assert found.leader.label == "Leader 7B"
    assert (found.delta, found.p) == (wanted.delta, wanted.p)
    assert (found.lo, found.hi) == (wanted.ci95.lo, wanted.ci95.hi)
    assert report.place == ((2, 2) if (found.delta or 0) < 0 else (1, 2))
    assert report.floors == {"all": 0.1}


def test_a_perfect_upload_takes_the_first_place(published: Published) -> None:
    report = report_on(published, published.predictions(right=1_000))
    assert report.headline.value == 1.0
    assert report.place == (1, 2)
    assert report_on(published, published.predictions(right=0)).place == (2, 2)


def test_the_worst_samples_and_groups_are_named_where_gold_is_public(published: Published) -> None:
    report = report_on(published, published.predictions(right=20))
    wrong = set(published.sample_ids[20:])
    assert {sample.sample_id for sample in report.worst[: len(wrong)]} == wrong
    assert report.worst[0].f1 == 0
    assert report.worst[0].fp == 1
    groups = {(group.grouping, group.name): group.n_samples for group in report.reports[0].groups}
    assert groups["turns", "short"] + groups["turns", "medium"] + groups["turns", "long"] == 24
    assert ("kind", "image") in groups


def test_invented_ids_are_counted(published: Published) -> None:
    records = published.predictions(right=24)
    records[0]["utt_ids"] = [999]
    report = report_on(published, records)
    assert report.rates["utterance"].invented > 0
    assert report.rates["image"].invented == 0


# --- hidden gold ---------------------------------------------------------------------------------


def everything(report: PrivateReport) -> str:
    return msgspec.json.encode(report).decode() + repr(report)


def test_a_report_on_hidden_gold_says_nothing_of_single_samples(
    hidden: Published, published: Published
) -> None:
    records = [
        {"sample_id": name, "utt_ids": [7_300_001], "img_ids": [], "latency_s": 0.125}
        for name in hidden.sample_ids
    ]
    report = report_on(hidden, records)
    said = everything(report)
    assert not [name for name in hidden.sample_ids if name in said]
    assert not [number for number in hidden.gold_ids if number in said]
    assert "latency" not in said
    assert report.worst == ()
    assert report.notes == ()
    assert not report.reports[0].groups  # they are small
    # The same upload where gold is public says all that: the test can fail.
    open_report = report_on(published, records)
    assert [name for name in published.sample_ids if name in everything(open_report)]
    assert open_report.reports[0].groups


def test_figures_on_hidden_gold_are_rounded(hidden: Published, published: Published) -> None:
    records = published.predictions(right=7)
    report, exact = report_on(hidden, records), report_on(published, records)
    for part, exact_part in zip(report.reports, exact.reports, strict=True):
        for figure, exact_figure in zip(part.figures, exact_part.figures, strict=True):
            for name in ("value", "lo", "hi"):
                number, unrounded = getattr(figure, name), getattr(exact_figure, name)
                assert number == (None if unrounded is None else round(unrounded, 3))
    assert exact.headline.value != report.headline.value
    assert report.leader is not None
    assert report.headline.value is not None
    theirs = round(report.leader.leader.value, 3)
    assert report.leader.delta == round(report.headline.value - theirs, 3)
    assert report.leader.p is None
    assert report.leader.lo is None


def test_groups_on_hidden_gold_are_large_and_never_by_kind(
    hidden: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = hidden.predictions()
    monkeypatch.setattr(scoring, "SMALLEST_GROUP", 6)  # turns: 9, 9 and 6
    groups = report_on(hidden, records).reports[0].groups
    assert {group.grouping for group in groups} == {"turns"}  # one language is all samples
    monkeypatch.setattr(scoring, "SMALLEST_GROUP", 7)
    assert not report_on(hidden, records).reports[0].groups  # or 9 and 9 would give 6 away


def test_hidden_gold_answers_so_many_times_a_day(hidden: Published, state: Path) -> None:
    limiter = Limiter(state, DailyLimits(team=2))
    records = hidden.predictions()
    assert checked_of(hidden, state, records, limiter=limiter).left == 1
    assert checked_of(hidden, state, records, limiter=limiter).left == 0
    with pytest.raises(LimitReached):
        checked_of(hidden, state, records, limiter=limiter)
    wrong = [*records, {"sample_id": "no", "utt_ids": [], "img_ids": []}]
    assert checked_of(hidden, state, wrong, limiter=limiter).report is None  # costs nothing


def test_public_gold_answers_as_often_as_one_uploads(published: Published, state: Path) -> None:
    limiter = Limiter(state, DailyLimits(team=1, session=1, address=1))
    for _ in range(3):
        found = checked_of(published, state, published.predictions(), limiter=limiter)
        assert found.report is not None
        assert found.left is None


def test_what_is_asked_is_counted_before_it_is_answered(
    hidden: Published, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise MemoryError

    limiter = Limiter(state)
    monkeypatch.setattr(scoring, "private_report", crash)
    with pytest.raises(MemoryError):
        checked_of(hidden, state, hidden.predictions(), limiter=limiter)
    assert limiter.scores_left(WHO, hidden.board.hash) == 4


def test_uploads_are_limited_by_the_hour(published: Published, state: Path) -> None:
    limiter = Limiter(state, DailyLimits(uploads_an_hour=2))
    for _ in range(2):
        with pytest.raises(UploadRefused):
            check(published.site, published.board, published.benchmark, b"", "x", WHO, limiter)
    with pytest.raises(LimitReached):
        checked_of(published, state, published.predictions(), limiter=limiter)


def test_too_many_at_once_are_told_to_wait(
    published: Published, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_PATIENCE", 0.01)
    for _ in range(checking.AT_ONCE):
        assert checking._slots.acquire(blocking=False)
    try:
        with pytest.raises(UploadRefused) as caught:
            checked_of(published, state, published.predictions())
        assert caught.value.reason == "busy"
    finally:
        checking._slots.release(checking.AT_ONCE)
    assert checked_of(published, state, published.predictions()).report is not None


# --- sending -------------------------------------------------------------------------------------


def test_what_was_checked_can_be_sent_and_nothing_else(
    published: Published, state: Path, details: Callable[..., Any]
) -> None:
    records = published.predictions()
    checked = checked_of(published, state, records)
    limiter, queue = Limiter(state), Queue(state)
    board, benchmark = published.board, published.benchmark

    def sent(source: bytes, found: checking.Checked = checked) -> Any:
        return send(board, benchmark, source, found, details(), WHO, limiter, queue)

    with pytest.raises(UploadRefused, match="not the file that was checked"):
        sent(upload_of(records[1:]))
    broken = checked_of(published, state, [*records, {"sample_id": "no", "outcome": "refusal"}])
    with pytest.raises(UploadRefused):
        sent(upload_of([*records, {"sample_id": "no", "outcome": "refusal"}]), broken)
    assert not queue.all()
    submission = sent(upload_of(records))
    assert submission.board_id == BOARD
    assert submission.benchmark.hash == board.hash
    assert submission.upload.sha256 == checked.sha256
    assert submission.upload.n_predictions == len(records)
    assert {"python", "ffr-eval"} <= set(submission.code)


def test_checking_alone_keeps_nothing(published: Published, state: Path) -> None:
    checked = checked_of(published, state, published.predictions())
    assert not Queue(state).all()
    assert "predictions" not in {field.name for field in fields(checked)}


# --- the benchmark of a board --------------------------------------------------------------------


def test_the_benchmark_is_that_of_the_board(published: Published) -> None:
    assert private_benchmark(published.site.path, published.board).content_hash == (
        published.board.hash
    )
    assert resampling_of(published.site.manifest) == Resampling(REPLICATES)


@pytest.mark.parametrize(
    "wrong", ["", "sha256:", "../..", "sha256:../../x", "sha256:" + "A" * 64, "sha256:" + "0" * 64]
)
def test_a_hash_leads_nowhere_else(published: Published, wrong: str) -> None:
    board = BoardRecord(BOARD, "tiny", "1", wrong, "test")
    with pytest.raises(InputError):
        private_benchmark(published.site.path, board)


def test_a_benchmark_that_was_changed_is_refused(published: Published, tmp_path: Path) -> None:
    import shutil

    folder = benchmark_folder(published.site.path, published.board.hash)
    copy = tmp_path / "private" / "benchmarks" / folder.name
    shutil.copytree(folder, copy)
    queries = copy / "queries.jsonl"
    queries.write_text(queries.read_text().replace("query 0", "another query"))
    with pytest.raises(InputError, match="has content"):
        private_benchmark(tmp_path, published.board)


def test_the_template_has_all_ids_and_no_answer(hidden: Published, published: Published) -> None:
    for site in (hidden, published):
        lines = [json.loads(line) for line in template(site.site, BOARD).splitlines()]
        assert [line["sample_id"] for line in lines] == list(site.sample_ids)
        assert all(line["utt_ids"] == line["img_ids"] == [] for line in lines)
    assert report_on(published, lines).headline.value in (0.0, None)
