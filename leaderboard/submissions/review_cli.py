"""``ffr review``: accept or reject what was sent for review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ffr_eval.cli.groups import SuggestingGroup

if TYPE_CHECKING:
    from leaderboard.submissions.queue import Queue, Submission

_JSON = click.option(
    "--json",
    "json_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write it as JSON, to standard output or to FILE.",
)
_LONGEST_REASON: Final = 1_000


@click.group(
    cls=SuggestingGroup,
    epilog="""\b
Examples:
  ffr review --state state list
  ffr review --state state show 0f3c…
  ffr review --state state accept 0f3c… --site site --runs runs
  ffr review --state state reject 0f3c… --reason "not on this benchmark"

\b
Exit codes: 0 done, 1 failed, 2 a mistake in what was given (an unknown id, a
submission that was decided on before, a site without its board).
""",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    # Asked for by the commands: `ffr review list --help` does without it.
    help="The state folder of the board (ffr board … --state DIR).  [required]",
)
@click.pass_context
def review(ctx: click.Context, state: Path | None) -> None:
    """Review submissions: list, show, accept, reject.

    Nothing is published: an accepted submission becomes a run folder, and `ffr publish` publishes
    it.
    """
    ctx.obj = state


@review.command(
    "list",
    epilog="""\b
Examples:
  ffr review --state state list
  ffr review --state state list --all --json | jq '.[].id'
""",
)
@click.option("--all", "everything", is_flag=True, help="Also those that were decided on.")
@_JSON
@click.pass_obj
def list_(state: Path | None, everything: bool, json_file: Path | None) -> None:
    """List the submissions that wait, the oldest first."""
    from ffr_eval.cli.output import write_report

    found = [item for item in _queue(state).all() if everything or item.status == "pending"]
    if json_file is not None:
        write_report([_listed(item) for item in found], json_file)
        return
    for item in found:
        click.echo("  ".join(map(str, _listed(item).values())))
    waiting = sum(item.status == "pending" for item in found)
    click.echo(f"{waiting} pending" if found else "nothing waits for review")


@review.command(
    epilog="""\b
Examples:
  ffr review --state state show 0f3c…
  ffr review --state state show 0f3c… --json submission.json
""",
)
@click.argument("submission_id", metavar="ID")
@_JSON
@click.pass_obj
def show(state: Path | None, submission_id: str, json_file: Path | None) -> None:
    """Show all that is known of the submission ID, and where its predictions are.

    This includes how to reach the submitter: do not pass it on.
    """
    import msgspec

    from ffr_eval.cli.output import write_report

    queue = _queue(state)
    found = queue.get(submission_id)
    if json_file is not None:
        write_report(msgspec.to_builtins(found), json_file)
        return
    for label, value in _shown(found).items():
        for place, line in enumerate(str(value).splitlines() or [""]):
            click.echo(f"{'' if place else label:<13} {_plain(line)}".rstrip())
    click.echo(f"{'predictions':<13} {queue.predictions(found.id)}")


@review.command(
    epilog="""\b
Examples:
  ffr review --state state accept 0f3c… --site site --runs runs
  ffr review --state state accept 0f3c… --site site --runs runs \\
      --verified "ran the released weights again, same figures"
""",
)
@click.argument("submission_id", metavar="ID")
@click.option(
    "--site",
    required=True,
    metavar="SITE",
    type=click.Path(path_type=Path),
    help="The published site, with its private folder.",
)
@click.option(
    "--runs",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the run folder goes: the folder that the site is published from.",
)
@click.option(
    "--verified",
    metavar="TEXT",
    help="How you reproduced it; the run is then shown as verified, else as submitted.",
)
@click.pass_obj
def accept(
    state: Path | None, submission_id: str, site: Path, runs: Path, verified: str | None
) -> None:
    """Make a run folder of the submission ID.

    It publishes nothing: the command that does is printed.
    """
    from ffr_eval.cli.output import progress
    from leaderboard.submissions import accepting

    _require_text("--verified", verified)
    with progress("scoring the submission …"):
        found, folder, scores = accepting.accept(_queue(state), submission_id, site, runs, verified)
    headline = scores.metrics["micro.joint.f1"]
    value = "undefined" if headline is None else f"{headline:.4f}"
    missing = scores.outcomes["missing"]
    click.echo(f"accepted {found.id}: {_plain(found.details.model)}")
    click.echo(f"micro joint F1 {value} on {scores.n_samples} samples, {missing} missing (strict)")
    click.echo(f"wrote {folder}")
    click.echo(f"nothing is published yet: ffr publish {runs} --site {site}")


@review.command(
    epilog="""\b
Examples:
  ffr review --state state reject 0f3c… --reason "the contact does not answer"
""",
)
@click.argument("submission_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the submission.")
@click.pass_obj
def reject(state: Path | None, submission_id: str, reason: str) -> None:
    """Reject the submission ID; its files stay in the state folder."""
    _require_text("--reason", reason)
    found = _queue(state).decide(submission_id, "rejected", reason=reason.strip())
    click.echo(f"rejected {found.id}: {_plain(found.details.model)}")


def _queue(state: Path | None) -> Queue:
    """The queue of a state folder that is there: a misspelt one is not made.

    Raises:
        InputError: If it is not there.
        click.UsageError: If none was given.
    """
    from ffr_eval.errors import InputError
    from leaderboard.submissions.queue import Queue

    if state is None:
        raise click.UsageError("Missing option '--state': ffr review --state DIR COMMAND …")
    if not state.is_dir():
        remedy = "give the state folder of the board (ffr board … --state DIR)"
        raise InputError("no such folder", file=state, field="--state", remedy=remedy)
    return Queue(state)


def _require_text(option: str, text: str | None) -> None:
    from ffr_eval.errors import InputError

    if text is not None and not 0 < len(text.strip()) <= _LONGEST_REASON:
        remedy = f"give a sentence of up to {_LONGEST_REASON} characters"
        raise InputError("empty or too long", field=option, remedy=remedy)


def _listed(submission: Submission) -> dict[str, str]:
    """What a list says of a submission; never how to reach who sent it."""
    return {
        "id": submission.id,
        "received": submission.received,
        "status": submission.status,
        "board_id": _plain(submission.board_id),
        "model": _plain(submission.details.model),
        "team": _plain(submission.details.team),
    }


def _shown(submission: Submission) -> dict[str, object]:
    details, benchmark, upload = submission.details, submission.benchmark, submission.upload
    split = benchmark.split or "(all samples)"
    found = {
        "id": submission.id,
        "status": submission.status,
        "received": submission.received,
        "decided": submission.decided,
        "reason": submission.reason,
        "verified": submission.verified,
        "run": submission.run,
        "model": details.model,
        "team": details.team,
        "contact": details.contact,
        "parameters": None if details.params_b is None else f"{details.params_b:g} billion",
        "weights": details.weights,
        "setting": details.setting,
        "link": details.link,
        "board": submission.board_id,
        "benchmark": f"{benchmark.name} {benchmark.version}, split {split}, {benchmark.hash}",
        "upload": f"{upload.bytes:,} bytes, sha256 {upload.sha256}",
        "answers": upload.n_predictions,
        "code": ", ".join(f"{name} {version}" for name, version in submission.code.items()),
        "description": details.description,
    }
    return {label: value for label, value in found.items() if value not in (None, "")}


def _plain(text: str) -> str:
    """A line for the terminal: nothing in it moves the cursor or changes colours."""
    from leaderboard import names

    return names.line(text)
