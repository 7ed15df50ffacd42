"""Run folders as the command line makes them, on a copy of the bundled benchmark."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark.reader import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

MODELS = ("none", "all", "random", "oracle")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bench`` and ``runs``; copied by :func:`runs`, never changed."""
    folder = tmp_path_factory.mktemp("board")
    shutil.copytree(resolve("ffr-sample"), folder / "bench")
    for model in MODELS:
        command = [sys.executable, "-m", "ffr_eval", "run", model, str(folder / "bench")]
        out = str(folder / "runs" / model)
        subprocess.run([*command, "--split", "test", "--out", out], check=True, capture_output=True)
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """Run folders of four models, free to be changed."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def synthetic_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small published site of two boards, the second with hidden gold; never changed."""
    from tests.leaderboard.synthetic import write_site

    folder = tmp_path_factory.mktemp("synthetic") / "site"
    return write_site(folder, n_boards=2, hidden=True)


@pytest.fixture(autouse=True)
def same_main() -> Iterator[None]:
    """Streamlit's driver makes the script ``__main__``, which new processes would run again."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def open_page(synthetic_site: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """``open_page("model", models="a,b")``: a page by Streamlit's own test driver, run once.

    ``settings=Settings(…)`` opens it on another site than the synthetic one.
    """
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    from leaderboard import settings as store

    # Not app.py itself: the test driver would take the folder pages/ beside it for the menu.
    script = "from leaderboard.app import main\n\nmain()\n"

    def opened(page: str, *, settings: Any = None, **query: str) -> AppTest:
        monkeypatch.setenv(store.VARIABLE, "")
        store.store(settings or store.Settings(site=str(synthetic_site)))
        app = AppTest.from_string(script, default_timeout=60)
        app._page_hash = calc_hash(page)  # pages that are functions have no other way in
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return opened
