"""Sending a checked upload to review: what is asked about it, and the confirmation."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final, cast

import streamlit as st

from ffr_eval.errors import FfrError
from leaderboard import names
from leaderboard.pages.submit_report import show_limit, show_refusal
from leaderboard.submissions.checking import send
from leaderboard.submissions.file_kinds import UploadRefused
from leaderboard.submissions.limits import Limiter, LimitReached
from leaderboard.submissions.metadata import (
    LONGEST_CONTACT,
    LONGEST_DESCRIPTION,
    Details,
    composed,
    what_is_wrong,
)
from leaderboard.submissions.queue import Queue, QueueFull

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from leaderboard.context import Context
    from leaderboard.site.manifest import BoardRecord
    from leaderboard.submissions.checking import Checked
    from leaderboard.submissions.limits import Submitter
    from leaderboard.submissions.metadata import Field, Setting, Weights, Wrong

SENT: Final = "submit.sent"
"""The id of what this session sent last, and the hash of that upload."""
_UNKNOWN: Final = "unknown"
_WEIGHTS: Final = ("open", "closed", _UNKNOWN)
_SETTINGS: Final = ("zero-shot", "tuned", _UNKNOWN)


def show_sent(context: Context) -> None:
    """Confirm what was sent last in this session."""
    found = st.session_state.get(SENT)
    if found is not None:
        _confirm(context, found[0])


def _confirm(context: Context, submission_id: str) -> None:
    text = context.text
    st.success(text("submit.sent"), icon=":material/mark_email_read:")
    st.code(submission_id, language=None)
    st.markdown(text("submit.sent_help"))


def show(
    context: Context,
    board: BoardRecord,
    benchmark: Benchmark,
    source: IO[bytes],
    checked: Checked,
    who: Submitter,
    state: Path,
) -> None:
    """Draw the form; what is sent waits for review."""
    text = context.text
    st.subheader(text("submit.step_send"), anchor=False)
    sent = st.session_state.get(SENT)
    if sent is not None and sent[1] == (board.board_id, checked.sha256):
        _confirm(context, sent[0])
        return
    st.markdown(text("submit.send_help"))
    given = _form(context, who)
    if given is None:
        return
    details, unchosen = given
    wrong = {**what_is_wrong(details), **unchosen}
    for field, why in wrong.items():
        words = f"{text(f'submit.field_{field}')}: {text(f'submit.wrong_{why}')}"
        st.error(words, icon=":material/error:")
    if wrong:
        return
    try:
        with st.spinner(text("submit.sending")):
            limiter, queue = Limiter(state), Queue(state)
            found = send(board, benchmark, source, checked, details, who, limiter, queue)
    except UploadRefused as error:
        show_refusal(context, error)
    except LimitReached as error:
        show_limit(context, error)
    except QueueFull:
        st.error(text("submit.queue_full"), icon=":material/hourglass_top:")
    except FfrError:  # a path of this machine is in it
        st.error(text("submit.not_kept"), icon=":material/error:")
    else:
        st.session_state[SENT] = (found.id, (board.board_id, checked.sha256))
        st.rerun()


def _form(context: Context, who: Submitter) -> tuple[Details, Mapping[Field, Wrong]] | None:
    """What is asked, and what was not chosen; ``None`` until it is sent."""
    text = context.text
    with st.form("submit.form"):
        field = "submit.field_{}".format
        longest = names.LONGEST_NAME
        model = st.text_input(
            text(field("model")),
            max_chars=longest,
            help=text("submit.name_help"),
            key="submit.model",
        )
        team = st.text_input(
            text(field("team")), who.team, max_chars=longest, key="submit.form.team"
        )
        contact = st.text_input(
            text(field("contact")),
            max_chars=LONGEST_CONTACT,
            help=text("submit.contact_help"),
            key="submit.contact",
        )
        weights = _choice(context, "weights", _WEIGHTS)
        setting = _choice(context, "setting", _SETTINGS)
        params = st.number_input(
            text(field("params_b")), value=None, min_value=0.0, key="submit.params", format="%g"
        )
        link = st.text_input(
            text(field("link")),
            max_chars=names.LONGEST_LINK,
            placeholder="https://",
            key="submit.link",
        )
        description = st.text_area(
            text(field("description")),
            max_chars=LONGEST_DESCRIPTION,
            help=text("submit.description_help"),
            key="submit.description",
        )
        pressed = st.form_submit_button(
            text("submit.send"), type="primary", icon=":material/send:", key="submit.send"
        )
    if not pressed:
        return None
    choices: tuple[tuple[Field, str | None], ...] = (("weights", weights), ("setting", setting))
    unchosen: dict[Field, Wrong] = {name: "empty" for name, choice in choices if choice is None}
    details = composed(
        Details(
            model=model or "",
            team=team or "",
            contact=contact or "",
            weights=cast("Weights | None", _known(weights)),
            setting=cast("Setting | None", _known(setting)),
            params_b=params,
            link=link,
            description=description or "",
        )
    )
    return details, unchosen


def _known(choice: str | None) -> str | None:
    return None if choice == _UNKNOWN else choice


def _choice(context: Context, kind: str, options: tuple[str, ...]) -> str | None:
    """One of some words; none of them is chosen beforehand, as it would be a claim."""
    text = context.text
    shown = {option: text(f"submit.{kind}_{option}") for option in options}
    label = text(f"submit.field_{kind}")
    return st.selectbox(
        label,
        options,
        index=None,
        format_func=shown.__getitem__,
        key=f"submit.{kind}",
        placeholder=text("submit.choose"),
    )
