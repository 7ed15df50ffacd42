"""What every page works with: the site, the view that the address asks for, and the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamlit.navigation.page import StreamlitPage

    from leaderboard.settings import Settings
    from leaderboard.site.reader import Site
    from leaderboard.texts import Text
    from leaderboard.view import View

_KEY: Final = "_context"


@dataclass(frozen=True, slots=True)
class Context:
    """The context of a run of the script.

    Attributes:
        site: The published site.
        view: What is looked at.
        text: The words of the language: ``text("board.title")``.
        language: Its code.
        settings: What the server was started with.
        pages: The pages by name.
    """

    site: Site
    view: View
    text: Text
    language: str
    settings: Settings
    pages: Mapping[str, StreamlitPage]


def current() -> Context:
    """The context of the script that is running."""
    return cast("Context", st.session_state[_KEY])


def enter(context: Context) -> None:
    """Make this the current context."""
    st.session_state[_KEY] = context
