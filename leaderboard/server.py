"""The web server of the board: Streamlit's app with our files beside it, and guards before both.

``ffr board`` starts it. The settings come by the environment (:mod:`leaderboard.settings`,
:mod:`leaderboard.server_options`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from ffr_eval.errors import FfrError
from leaderboard.http_guards import guards, write_down
from leaderboard.private_logs import keep_content_out
from leaderboard.public_files import PublicFiles
from leaderboard.server_options import CLOSED, base_path, server_settings
from leaderboard.settings import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPT: Final = Path(__file__).parent / "script" / "board.py"

_settings = settings()


def on_script_error(error: Exception) -> bool:
    """Tell the user a number, and write down what happened under it."""
    from leaderboard.texts import language_of, texts
    from leaderboard.view_bar import LANGUAGE

    text = texts(language_of(st.query_params.get(LANGUAGE), st.context.locale))
    st.error(f"**{text('app.error_title')}**", icon=":material/error:")
    st.markdown(text("app.error_help", reference=write_down(error)))
    return True


@asynccontextmanager
async def _lifespan(_: st.App) -> AsyncIterator[None]:
    keep_content_out()
    open_options = [name for name, value in CLOSED.items() if st.get_option(name) != value]
    if open_options:
        raise FfrError(f"not started by `ffr board`: set otherwise: {', '.join(open_options)}")
    yield


app = st.App(
    Path(__file__).parent / "script" / "board.py",
    lifespan=_lifespan,
    routes=PublicFiles(_settings.site_path).routes(base_path(_settings.public_url)),
    on_script_error=on_script_error,
    **guards(server_settings(), _settings.public_url),
)
