"""From an upload to the board: what is published is what the private report said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.metrics.named import ALL_FIGURES
from ffr_eval.runs import PREDICTIONS
from leaderboard.site.reader import Site
from leaderboard.submissions.checking import check, send
from leaderboard.submissions.limits import Limiter, Submitter
from leaderboard.submissions.queue import Queue
from leaderboard.submissions.scoring import private_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("hidden", [False, True])
def test_the_board_shows_what_the_report_said(
    runs: Path, state: Path, tmp_path: Path, cli: Any, details: Callable[..., Any], hidden: bool
) -> None:
    site_path = tmp_path / "site"
    uploaded = (runs / "random" / PREDICTIONS).read_bytes()
    options = ("--hidden-gold", "ffr-sample") if hidden else ()
    cli("publish", runs, "--site", site_path, "--replicates", 200, *options)
    site = Site(site_path)
    board = site.board(site.board_ids[0])
    assert board.hidden_gold == hidden
    benchmark = private_benchmark(site_path, board)
    who, limiter, queue = Submitter("s", None, "Us"), Limiter(state), Queue(state)
    checked = check(site, board, benchmark, uploaded, "mine.jsonl", who, limiter)
    report = checked.report
    assert report is not None
    assert report.place is not None
    assert report.leader is not None
    assert report.leader.leader.label != "oracle"  # it knows the gold
    given = details()
    sent = send(board, benchmark, uploaded, checked, given, who, limiter, queue)
    review = ("review", "--state", state, "accept", sent.id)
    cli(*review, "--site", site_path, "--runs", runs)
    before = {path: path.read_bytes() for path in (site_path / "public").glob("*.parquet")}
    assert before  # nothing was published by accepting
    assert site.query("SELECT 1 FROM runs WHERE label = 'Mine 7B'").num_rows == 0
    cli("publish", runs, "--site", site_path)
    after = Site(site_path)
    (row,) = after.query("SELECT * FROM runs WHERE label = 'Mine 7B'").to_pylist()
    assert (row["provenance"], row["team"], row["weights"]) == ("submitted", "Us", "open")
    assert (row["setting"], row["params_b"], row["link"]) == (
        "zero-shot",
        7.6,
        "https://ours.example/paper?x=1",
    )
    for part in report.reports:
        found = after.query(
            "SELECT metric, value, lo, hi FROM figures WHERE run_id = ? AND protocol = ?"
            " AND grouping = 'all'",
            (row["run_id"], part.protocol),
        ).to_pylist()
        figures = {figure["metric"]: figure for figure in found}
        assert set(ALL_FIGURES) <= set(figures)
        for figure in part.figures:
            for name in ("value", "lo", "hi"):
                wanted = figures[figure.metric][name]
                if hidden and wanted is not None:
                    wanted = round(wanted, 3)
                assert getattr(figure, name) == (
                    None if wanted is None else pytest.approx(wanted, abs=1e-12)
                ), (part.protocol, figure.metric, name)
    for path in site_path.joinpath("public").rglob("*"):
        assert not path.is_file() or b"secret.example" not in path.read_bytes()
    record = json.loads((site_path / "manifest.json").read_text())
    assert sent.id not in json.dumps(record)
