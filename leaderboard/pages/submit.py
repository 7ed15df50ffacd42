"""Submit: check predictions in private, and send them to review. Nothing publishes itself."""

from __future__ import annotations

import secrets
from typing import IO, TYPE_CHECKING, Final, cast

import streamlit as st

from ffr_eval.errors import FfrError
from leaderboard import names
from leaderboard.context import current
from leaderboard.pages import submit_form, submit_report
from leaderboard.submissions.checking import check
from leaderboard.submissions.file_kinds import UploadRefused
from leaderboard.submissions.limits import DailyLimits, Limiter, LimitReached, Submitter
from leaderboard.submissions.metadata import is_name
from leaderboard.submissions.scoring import private_benchmark
from leaderboard.submissions.template import template
from leaderboard.submissions.upload_limits import UploadLimits
from leaderboard.view_bar import show_view_bar

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from leaderboard.context import Context
    from leaderboard.site.manifest import BoardRecord
    from leaderboard.site.reader import Site
    from leaderboard.submissions.checking import Checked

ENDINGS: Final = ("jsonl", "json", "ndjson", "gz", "parquet")
"""Of the files that the browser offers; what a file is, its content says."""
CHECKED: Final = "submit.checked"
"""What was found last, and in which upload: in the session of whoever uploaded, nowhere else."""

_SESSION: Final = "submit.session"
_EXAMPLE: Final = (
    '{"sample_id": "en-02#0", "utt_ids": [4, 5, 6], "img_ids": [0]}\n'
    '{"sample_id": "en-02#1", "utt_ids": [], "img_ids": []}\n'
    '{"sample_id": "en-02#2", "response": "<|utt_ids_start|>[3]<|utt_ids_end|>;…"}'
)


def page() -> None:
    """Draw the page."""
    context = current()
    text = context.text
    st.title(text("submit.title"), anchor=False)
    st.markdown(text("submit.intro"))
    show_view_bar(metric=False, protocol=False, bucket=False)
    board = context.site.board(context.view.board)
    if board.hidden_gold:
        st.info(text("submit.hidden"), icon=":material/lock:")
    _format(context, board)
    state = context.settings.state_path
    if state is None:
        st.info(text("submit.closed"), icon=":material/lock:")
        return
    submit_form.show_sent(context)
    _upload(context, board, state)


def _format(context: Context, board: BoardRecord) -> None:
    text = context.text
    st.subheader(text("submit.step_file"), anchor=False)
    limits = UploadLimits()
    st.markdown(text("submit.format"))
    st.code(_EXAMPLE, language=None, wrap_lines=True)
    st.caption(
        text(
            "submit.limits",
            mb=limits.upload_bytes // 2**20,
            unpacked=limits.unpacked_bytes // 2**20,
            lines=limits.lines,
        )
    )
    site, board_id = context.site, board.board_id
    st.download_button(
        text("submit.template"),
        lambda: template(site, board_id),
        file_name=f"{board_id}.template.jsonl",
        mime="application/x-ndjson",
        icon=":material/download:",
        on_click="ignore",
        key="submit.template",
    )


def _upload(context: Context, board: BoardRecord, state: Path) -> None:
    text = context.text
    st.subheader(text("submit.step_check"), anchor=False)
    file = st.file_uploader(
        text("submit.upload"),
        type=list(ENDINGS),
        key=f"submit.upload.{board.board_id}",
        max_upload_size=UploadLimits().upload_bytes // 2**20,
    )
    team = ""
    if board.hidden_gold:
        team = st.text_input(
            text("submit.team"), max_chars=names.LONGEST_NAME, key="submit.team", width=400
        ).strip()
        st.caption(text("submit.daily", n=DailyLimits().team))
    ready = file is not None and (not board.hidden_gold or is_name(team))
    pressed = st.button(
        text("submit.check"), type="primary", disabled=not ready, key="submit.check"
    )
    if board.hidden_gold and team and not is_name(team):
        st.caption(text("submit.wrong_name"))
    if file is None:
        st.session_state.pop(CHECKED, None)
        return
    who = Submitter(_session(), st.context.ip_address, team)
    source = cast("IO[bytes]", file)
    if pressed:
        st.session_state.pop(CHECKED, None)
        checked = _check(context, board, source, file.name, who, state)
        if checked is not None:
            st.session_state[CHECKED] = (file.file_id, checked)
    file_id, checked = st.session_state.get(CHECKED, (None, None))
    if checked is None or (file_id, checked.board_id) != (file.file_id, board.board_id):
        return
    submit_report.show(context, checked)
    if checked.report is None:
        return
    benchmark = _benchmark_or_none(context, board)
    if benchmark is not None:
        submit_form.show(context, board, benchmark, source, checked, who, state)


def _check(
    context: Context,
    board: BoardRecord,
    source: IO[bytes],
    name: str,
    who: Submitter,
    state: Path,
) -> Checked | None:
    """What is in the upload; ``None`` if it is not read, which is told."""
    text = context.text
    benchmark = _benchmark_or_none(context, board)
    if benchmark is None:
        return None
    try:
        with st.spinner(text("submit.checking")):
            return check(context.site, board, benchmark, source, name, who, Limiter(state))
    except UploadRefused as error:
        submit_report.show_refusal(context, error)
    except LimitReached as error:
        submit_report.show_limit(context, error)
    except FfrError:  # not why: there are paths of this machine in it
        st.error(text("submit.unavailable"), icon=":material/error:")
    return None


def _benchmark_or_none(context: Context, board: BoardRecord) -> Benchmark | None:
    try:
        return _benchmark(context.site, context.site.key, board.hash, board)
    except FfrError:  # likewise
        st.error(context.text("submit.no_benchmark"), icon=":material/error:")
        return None


@st.cache_resource(max_entries=2, show_spinner=False)
def _benchmark(_site: Site, key: str, content_hash: str, _board: BoardRecord) -> Benchmark:
    del key, content_hash
    return private_benchmark(_site.path, _board)


def _session() -> str:
    """Something random that stands for this session, for its daily limit."""
    found: str = st.session_state.setdefault(_SESSION, secrets.token_hex(16))
    return found
