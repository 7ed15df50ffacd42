"""The leaderboard, drawn anew for every session and every change."""

from __future__ import annotations

import gc
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

import streamlit as st
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from ffr_eval.errors import FfrError, InputError
from leaderboard import names
from leaderboard.context import Context, enter
from leaderboard.settings import Settings, settings
from leaderboard.site.manifest import MANIFEST
from leaderboard.site.reader import Site
from leaderboard.texts import LANGUAGES, Text, language_of, texts
from leaderboard.view import read_view
from leaderboard.view_bar import LANGUAGE, remember, remembered, write_address

PAGES: Final = {
    "board": ":material/leaderboard:",
    "compare": ":material/balance:",
    "samples": ":material/forum:",
    "model": ":material/deployed_code:",
    "arena": ":material/how_to_vote:",
    "submit": ":material/upload:",
    "about": ":material/info:",
}
"""The pages and their icons, in the order of the menu; the first one opens. Room: ``corpus``."""
_PAGE: Final = "_page"
_TRYING: Final = Retrying(
    retry=retry_if_exception_type((InputError, OSError)),
    wait=wait_fixed(0.1),
    stop=stop_after_attempt(4),
    reraise=True,
)
"""For some milliseconds of publishing, the tables are new and the manifest is old."""
ICON: Final = str(Path(__file__).parent / "icons" / "board.svg")
"""A file of ours: for an icon by name the browser would ask another host."""


def main() -> None:
    """Draw the page that the address names."""
    language = language_of(st.query_params.get(LANGUAGE), st.context.locale)
    text = texts(language)
    st.set_page_config(page_title=text("app.title"), page_icon=ICON, layout="wide")
    started = settings()
    pages = {
        name: st.Page(
            partial(_draw, name),
            title=text(f"app.{name}"),
            icon=icon,
            url_path=name,
            default=place == 0,
        )
        for place, (name, icon) in enumerate(PAGES.items())
    }
    page = st.navigation(list(pages.values()), position="top")
    site = _open(started, text)
    _language_switch(started, language, text)
    if not site.board_ids:
        st.info(text("app.no_board"), icon=":material/inbox:")
        st.markdown(text("app.no_board_help"))
        st.stop()
    asked = {name: value for name, value in st.query_params.items() if name != LANGUAGE}
    # Going back to an address without anything must stay there: nothing is written into it again.
    arrived = st.session_state.get(_PAGE) != page.url_path
    st.session_state[_PAGE] = page.url_path
    view, unknown = read_view(asked or (remembered() if arrived else {}), site)
    for found in unknown:
        st.warning(text(found.key, model=found.value[:80], what=found.value[:80]))
    if not asked and arrived:
        write_address(view)
    remember(view)
    enter(Context(site, view, text, language, started, pages))
    page.run()


def _draw(name: str) -> None:
    import_module(f"leaderboard.pages.{name}").page()


def _open(started: Settings, text: Text) -> Site:
    try:
        return _TRYING(_opened, started)
    except (InputError, OSError) as error:
        st.error(text("app.no_site_title"), icon=":material/error:")
        st.text(names.line(str(error)))
        st.markdown(text("app.no_site_help"))
        st.stop()


def _opened(started: Settings) -> Site:
    stamp = (started.site_path / MANIFEST).stat()
    return _site(started.site, stamp.st_mtime_ns, stamp.st_ino)


@st.cache_resource(max_entries=2, show_spinner=False)
def _site(path: str, changed: int, number: int) -> Site:
    """The site as it was published at a time: publishing it anew opens it anew."""
    del changed, number
    site = Site(Path(path))
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after every run: what stays need not be looked at
    return site


def _language_switch(started: Settings, language: str, text: Text) -> None:
    """A choice of languages, kept in the address; on a board of run folders, reading them again."""
    st.session_state["language"] = language

    def changed() -> None:
        st.query_params[LANGUAGE] = st.session_state["language"] or language

    with st.container(horizontal=True, horizontal_alignment="right"):
        if started.places:
            _publish_again(started, text)
        st.segmented_control(
            text("app.language"),
            list(LANGUAGES),
            format_func=LANGUAGES.__getitem__,
            required=True,
            key="language",
            label_visibility="collapsed",
            on_change=changed,
        )


def _publish_again(started: Settings, text: Text) -> None:
    """A button that brings the site up to date with the run folders it was made from."""
    if not st.button(text("app.again"), icon=":material/refresh:", type="tertiary"):
        return
    from leaderboard.publishing import publish

    try:
        with st.spinner(text("app.publishing"), show_time=True):
            publish([Path(place) for place in started.places], started.site_path, prune=True)
    except FfrError as error:
        st.error(text("app.not_published"), icon=":material/error:")
        st.text(names.line(str(error)))
    else:
        st.rerun()
