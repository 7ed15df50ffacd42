"""A synthetic site for the samples page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leaderboard.site.reader import Site
from tests.leaderboard.browser.conftest import (  # noqa: F401 - for the browser tests here
    boards,
    chromium,
    page,
    served,
    visitor,
    watched,
)
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def samples_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two boards with more than a page of samples, the second with hidden gold."""
    folder = tmp_path_factory.mktemp("samples") / "site"
    return write_site(
        folder,
        n_boards=2,
        n_runs=20,
        n_samples=130,
        n_dialogues=12,
        hidden=True,
        long_dialogue_turns=600,
    )


@pytest.fixture(scope="session")
def site(samples_site: Path) -> Site:
    return Site(samples_site)


@pytest.fixture(scope="session")
def board(site: Site) -> str:
    """The board whose gold is known."""
    return next(each for each in site.board_ids if not site.board(each).hidden_gold)


@pytest.fixture(scope="session")
def hidden_board(site: Site) -> str:
    return next(each for each in site.board_ids if site.board(each).hidden_gold)
