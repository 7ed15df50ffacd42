"""The board, run by Streamlit's own test driver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import leaderboard
from leaderboard import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest

SCRIPT = Path(leaderboard.__file__).parent / "script" / "board.py"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """``opened(site, **address)``: the first page of a site."""
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv(settings.VARIABLE, "")

    def open_site(site: Path, **address: Any) -> AppTest:
        settings.store(settings.Settings(site=str(site)))
        app = AppTest.from_file(SCRIPT, default_timeout=60)
        for name, value in address.items():
            app.query_params[name] = value
        return checked(app.run())

    return open_site


def checked(app: AppTest) -> AppTest:
    """The page, without an error on it."""
    assert not app.exception, app.exception
    assert not app.error, app.error
    return app
