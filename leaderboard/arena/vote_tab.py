"""The tab on which people vote: fragments without names, a choice a criterion, then the names."""

from __future__ import annotations

import logging
import random
import secrets
import string
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

import streamlit as st

from ffr_eval.errors import FfrError
from leaderboard import names
from leaderboard.arena.drawing import Drawing, Drawn, contestants
from leaderboard.arena.fragments import image_bytes
from leaderboard.arena.store import ArenaStore, VoteRefused
from leaderboard.arena.tokens import read_tokens
from leaderboard.arena.votes import BOTH_BAD, CRITERIA, FEWEST, FORMS, TIE
from leaderboard.visitors import network_of

if TYPE_CHECKING:
    from pathlib import Path

    from leaderboard.arena.fragments import Fragment, Part
    from leaderboard.arena.store import Reason, RunSet
    from leaderboard.arena.tokens import Tokens
    from leaderboard.arena.votes import Criterion, Form
    from leaderboard.context import Context

_log = logging.getLogger("leaderboard.arena")
_SESSION: Final = "_arena_session"
_ROUND: Final = "_arena_round"
_SKIPPED: Final = "_arena_skipped"
_REFUSED: Final = "_arena_refused"
_FORM: Final = "arena.form"

_ANONYMOUS: Final = string.ascii_uppercase
_HEIGHT: Final = 420  # pixels of a long fragment, which scrolls
_MOST_PARTS: Final = 8
_MOST_LETTERS: Final = 900
_IMAGE_WIDTH: Final = 220
_PIECE: Final = 500  # characters; names.line cuts a longer line


@dataclass(slots=True)
class Round:
    """What a session is judging. It stays on the server: it knows whose the fragments are.

    Attributes:
        choices: By criterion, once the vote was taken.
    """

    board_id: str
    form: Form
    drawn: Drawn
    token: str
    choices: dict[Criterion, str] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """The key of a widget: the browser sees it, so it says nothing of the runs."""
        return f"arena.{name}.{self.drawn.pair.nonce[:8]}"


def show_vote_tab(context: Context) -> None:
    """Draw the tab."""
    text, board_id = context.text, context.view.board
    state = context.settings.state_path
    if state is None:
        st.info(text("arena.read_only"), icon=":material/lock:")
        return
    if context.site.board(board_id).hidden_gold:
        words = text("arena.hidden")
        if any(not board.hidden_gold for board in map(context.site.board, context.site.board_ids)):
            words = f"{words} {text('arena.hidden_other')}"
        st.info(words, icon=":material/visibility_off:")
        return
    n_runs = len(contestants(context.site, board_id))
    if n_runs < 2:
        st.info(text("arena.too_few_runs", n=n_runs), icon=":material/group_add:")
        return
    form = _form(context, n_runs)
    _say_refused(context)
    try:
        current = _current(context, state, form)
    except FfrError as error:
        trouble(error)
        st.error(text("arena.trouble"), icon=":material/error:")
        return
    if current is None:
        st.info(text("arena.nothing_left"), icon=":material/task_alt:")
        _forget_skipped_button(context)
        return
    _show_round(context, current)


def trouble(error: FfrError) -> None:
    """Tell the operator, and not the visitor: the message names folders of the server."""
    _log.error("the votes cannot be read or kept: %s", error)


def _form(context: Context, n_runs: int) -> Form:
    """Pairs, or the best of several; pairs where there are too few runs for that."""
    text = context.text
    if n_runs < FEWEST:
        return FORMS[0]
    titles = {form: text(f"arena.form_{form}") for form in FORMS}
    chosen: Form | None = st.segmented_control(
        text("arena.form"),
        list(FORMS),
        format_func=titles.__getitem__,
        default=FORMS[0],
        required=True,
        key=_FORM,
        help=text("arena.form_help"),
    )
    return chosen or FORMS[0]


def _say_refused(context: Context) -> None:
    """Why the last vote was not taken; said once."""
    reason: Reason | Literal["trouble"] | None = st.session_state.pop(_REFUSED, None)
    if reason is not None:
        st.warning(context.text(f"arena.refused_{reason}"), icon=":material/warning:")


def _session() -> str:
    """A random name of this session, which the browser does not learn."""
    if _SESSION not in st.session_state:
        st.session_state[_SESSION] = secrets.token_hex(16)
    return cast("str", st.session_state[_SESSION])


def _voter(tokens: Tokens) -> str:
    return tokens.voter("session", _session())


def _address(tokens: Tokens) -> str:
    return tokens.voter("address", network_of(st.context.ip_address))


def _current(context: Context, state: Path, form: Form) -> Round | None:
    """The round that is on, or a new one."""
    board_id = context.view.board
    current: Round | None = st.session_state.get(_ROUND)
    if current is not None and (current.board_id, current.form) == (board_id, form):
        return current
    tokens, store = read_tokens(state), ArenaStore(state)
    store.create()
    drawing = Drawing(context.site, store, random.Random(secrets.randbits(64)))  # noqa: S311
    skipped: frozenset[tuple[str, RunSet]] = st.session_state.get(_SKIPPED, frozenset())
    drawn = drawing.draw(board_id, _voter(tokens), form, skipped=skipped)
    if drawn is None:
        return None
    current = Round(board_id, form, drawn, tokens.issue(drawn.pair))
    st.session_state[_ROUND] = current
    return current


def _show_round(context: Context, current: Round) -> None:
    text = context.text
    with st.container(border=True):
        st.caption(text("arena.query"))
        st.text(names.line(current.drawn.query))
    _show_fragments(context, current)
    if current.choices:
        _show_choices(context, current)
        st.button(
            text("arena.next"),
            key=current.key("next"),
            on_click=_next,
            type="primary",
            shortcut="N",
        )
    else:
        _ask(context, current)


def _show_fragments(context: Context, current: Round) -> None:
    """The fragments, two beside each other; below each other where there is no room."""
    fragments = current.drawn.fragments
    labels = _labels(context, current)
    for start in range(0, len(fragments), 2):
        columns = st.columns(2)
        for place, column in zip(
            range(start, min(start + 2, len(fragments))), columns, strict=False
        ):
            with column:
                st.markdown(
                    f"##### {_ANONYMOUS[place]}" + (f" · {labels[place]}" if labels else "")
                )
                _show_fragment(
                    context, fragments[place], said_nothing=current.drawn.said_nothing[place]
                )


def _labels(context: Context, current: Round) -> list[str]:
    """The runs' names in the order shown; none before the vote was taken."""
    if not current.choices:
        return []
    labels = context.site.labels(current.board_id)
    return names.unique(names.name(labels[run_id]) for run_id in current.drawn.pair.runs)


def _show_fragment(context: Context, fragment: Fragment, *, said_nothing: bool) -> None:
    text = context.text
    n_images = sum(len(part.pictures) for part in fragment)
    n_utterances = sum(part.text is not None for part in fragment)
    st.caption(text("arena.size", n_utterances=n_utterances, n_images=n_images))
    with st.container(border=True, height=_HEIGHT if _is_long(fragment) else "content"):
        if not fragment:
            st.caption(text("arena.empty" if said_nothing else "arena.invented"))
        lines: list[str] = []
        for part in fragment:
            if part.text is not None:
                said = readable(part.text) or text("arena.no_text")
                lines.append(f"{names.line(part.speaker)}: {said}")
            if part.pictures:
                _show_lines(lines)
                _show_pictures(context, part)
        _show_lines(lines)


def _is_long(fragment: Fragment) -> bool:
    """Whether it would push the questions off the screen."""
    letters = sum(len(part.text or "") for part in fragment)
    n_images = sum(len(part.pictures) for part in fragment)
    return len(fragment) > _MOST_PARTS or n_images > 1 or letters > _MOST_LETTERS


def _show_lines(lines: list[str]) -> None:
    """Show what was said so far as one element, and begin anew."""
    if lines:
        st.text("\n\n".join(lines))
        lines.clear()


def _show_pictures(context: Context, part: Part) -> None:
    text = context.text
    for picture in part.pictures:
        data = image_bytes(context.site, picture.sha256)
        speaker = names.line(part.speaker) or text("arena.nobody")
        if data is not None:
            if part.text is None:
                st.text(f"{speaker}:")
            st.image(data, width=_IMAGE_WIDTH, alt=text("arena.image", number=picture.img_id))
        else:
            shown = text("arena.no_file", number=picture.img_id)
            caption = readable(picture.caption or "")
            st.text(f"{speaker}: {shown} {caption}".rstrip())


def readable(words: str) -> str:
    """The whole of a text on one line, without control, bidi and other invisible characters."""
    return " ".join(filter(None, map(names.line, textwrap.wrap(words, _PIECE))))


def _options(current: Round) -> list[str]:
    """What can be chosen, without names: letters, and of a pair a tie and neither."""
    letters = list(_ANONYMOUS[: len(current.drawn.fragments)])
    return [*letters, TIE, BOTH_BAD] if current.form == "pair" else letters


def _ask(context: Context, current: Round) -> None:
    text = context.text
    titles = {option: option for option in _options(current)}
    titles |= {TIE: text("arena.tie"), BOTH_BAD: text("arena.both_bad")}
    chosen = [
        st.segmented_control(
            text(f"arena.ask_{criterion}"),
            _options(current),
            format_func=titles.__getitem__,
            key=current.key(criterion),
            help=text(f"arena.help_{criterion}"),
        )
        for criterion in CRITERIA
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            text("arena.submit"),
            key=current.key("submit"),
            on_click=_submit,
            args=(context,),
            type="primary",
            disabled=None in chosen,
            shortcut="V",  # Enter would also press the choice that has the focus
        )
        st.button(text("arena.skip"), key=current.key("skip"), on_click=_skip, shortcut="S")
        if None in chosen:
            st.caption(text("arena.choose_all"))


def _submit(context: Context) -> None:
    """Cast the vote of the round that is on."""
    current: Round | None = st.session_state.get(_ROUND)
    state = context.settings.state_path
    if current is None or state is None or current.choices:
        return
    runs = current.drawn.pair.runs
    chosen = {criterion: st.session_state.get(current.key(criterion)) for criterion in CRITERIA}
    choices: dict[Criterion, str] = {
        criterion: runs[_ANONYMOUS.index(option)] if option in _ANONYMOUS else option
        for criterion, option in chosen.items()
        if option is not None
    }
    try:
        tokens = read_tokens(state)
        voter, address = _voter(tokens), _address(tokens)
        ArenaStore(state).cast(tokens.ballot(current.token, voter, address, choices))
    except VoteRefused as error:
        st.session_state[_REFUSED] = error.reason
        if error.reason != "too_many":  # later the same vote may be cast
            del st.session_state[_ROUND]
    except FfrError as error:
        trouble(error)
        st.session_state[_REFUSED] = "trouble"
    else:
        current.choices = choices


def _skip() -> None:
    current: Round | None = st.session_state.get(_ROUND)
    if current is None:
        return
    pair = current.drawn.pair
    skipped: frozenset[tuple[str, RunSet]] = st.session_state.get(_SKIPPED, frozenset())
    st.session_state[_SKIPPED] = skipped | {(pair.sample_id, tuple(sorted(pair.runs)))}
    _next()


def _next() -> None:
    st.session_state.pop(_ROUND, None)


def _forget_skipped_button(context: Context) -> None:
    if st.session_state.get(_SKIPPED):
        st.button(
            context.text("arena.skipped_again"),
            on_click=lambda: st.session_state.pop(_SKIPPED, None),
        )


def _show_choices(context: Context, current: Round) -> None:
    """What was chosen, with names now."""
    text = context.text
    labels = dict(zip(current.drawn.pair.runs, _labels(context, current), strict=True))
    labels |= {TIE: text("arena.tie"), BOTH_BAD: text("arena.both_bad")}
    st.success(text("arena.thanks"), icon=":material/how_to_vote:")
    for criterion in CRITERIA:
        st.markdown(f"{text(f'arena.{criterion}')}: **{labels[current.choices[criterion]]}**")
