"""Accepting a submission: it becomes a run folder, which ``ffr publish`` takes like any other."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.benchmark.writer import sha256_of, write_json
from ffr_eval.errors import InputError
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.runs import PREDICTIONS, RECORD, BenchmarkRef, RunRecord, SessionRecord, read_run
from ffr_eval.scoring import score_table
from ffr_eval.sources import Request, load_source
from ffr_eval.writing import cannot_write, work_folder
from leaderboard.publishing.store import require_folder
from leaderboard.site.manifest import read_manifest
from leaderboard.submissions.queue import require_pending
from leaderboard.submissions.scoring import benchmark_folder, private_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.scoring import Scores
    from leaderboard.submissions.queue import Queue, Submission

CARD: Final = "card.json"
_DIGITS: Final = 8
_LONGEST: Final = 40
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


def accept(
    queue: Queue, submission_id: str, site: Path, runs: Path, verified: str | None = None
) -> tuple[Submission, Path, Scores]:
    """Make a run folder of a submission, and note that it was accepted.

    The folder appears whole. If this is stopped before the decision is noted, the same call goes
    on.

    Args:
        queue: Where the submission waits.
        submission_id: Its id.
        site: The published site that it was sent to.
        runs: Where the run folder goes.
        verified: How the reviewer reproduced it, if that was done.

    Returns:
        The submission, the run folder and its scores under ``strict``.

    Raises:
        InputError: If there is no such submission, it was decided on before, the site does not
            have its board, or the run folder cannot be written.
    """
    require_folder(site)
    submission = queue.get(submission_id)
    require_pending(submission)
    benchmark = _benchmark(submission, site)
    target = runs / run_name(submission)
    record = _record(submission, benchmark, site)
    predictions = queue.predictions(submission_id)
    card = _card(submission, verified)
    if target.exists():
        _require_same(target, record, predictions)
        write_json(target / CARD, card)
    else:
        with work_folder(target, "accept") as work:
            made = work / target.name
            try:
                made.mkdir()
                shutil.copyfile(predictions, made / PREDICTIONS)
                write_json(made / RECORD, record)
                write_json(made / CARD, card)
                _check(made, benchmark)
                made.replace(target)
            except OSError as error:
                raise cannot_write(target, error) from None
    scores = _check(target, benchmark)
    decided = queue.decide(submission_id, "accepted", verified=verified, run=target.name)
    return decided, target, scores


def run_name(submission: Submission) -> str:
    """The name of the run folder of a submission."""
    slug = _NOT_IN_NAMES.sub("-", submission.details.model)[:_LONGEST].strip("-.") or "model"
    return f"submitted-{slug}-{submission.id[:_DIGITS]}"


def _benchmark(submission: Submission, site: Path) -> Benchmark:
    wanted = submission.benchmark
    for board in read_manifest(site).boards:
        if (board.hash, board.split) == (wanted.hash, wanted.split):
            return private_benchmark(site, board)
    message = f"has no board of {wanted.name} {wanted.hash}, split {wanted.split or '(all)'}"
    raise InputError(message, file=site, field="--site", remedy="give the site it was sent to")


def _record(submission: Submission, benchmark: Benchmark, site: Path) -> RunRecord:
    of = submission.benchmark
    folder = benchmark_folder(site.resolve(), of.hash)
    return RunRecord(
        model=submission.details.model,
        benchmark=BenchmarkRef(of.name, of.version, of.hash, str(folder)),
        split=of.split,
        n_samples=len(benchmark.rows(of.split)),
        status="finished",
        sessions=(SessionRecord(started=submission.received, ended=submission.received),),
    )


def _card(submission: Submission, verified: str | None) -> dict[str, object]:
    """What ``leaderboard.publishing.card`` reads."""
    details = submission.details
    card: dict[str, object] = {
        "label": details.model,
        "team": details.team,
        "params_b": details.params_b,
        "weights": details.weights,
        "setting": details.setting,
        "link": details.link,
        "provenance": "submitted" if verified is None else "verified",
    }
    return {name: value for name, value in card.items() if value is not None}


def _check(folder: Path, benchmark: Benchmark) -> Scores:
    """Read the run folder as ``ffr score`` does."""
    source = load_source(folder, Request(benchmark=benchmark, protocol="strict"))
    return score_table(source.table, source.protocol, metrics=(HEADLINE,))


def _require_same(target: Path, record: RunRecord, predictions: Path) -> None:
    """Refuse a folder that this submission was not made into."""
    same_record = msgspec.json.encode(read_run(target)) == msgspec.json.encode(record)
    if not same_record or sha256_of(target / PREDICTIONS) != sha256_of(predictions):
        remedy = "remove it, or give another folder with --runs"
        raise InputError("already exists, and is another run", file=target, remedy=remedy)
