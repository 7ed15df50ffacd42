"""The frame around all pages: sites that cannot be read, languages, and reading runs again."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from leaderboard.publishing import publish
from leaderboard.settings import Settings
from tests.leaderboard.publishing.conftest import REPLICATES, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    OpenPage = Callable[..., AppTest]


@pytest.fixture
def local(tmp_path: Path) -> World:
    from ffr_eval.uncertainty import Resampling
    from tests.leaderboard.publishing.conftest import make_benchmark

    world = World(tmp_path)
    make_benchmark(world.bench)
    world.run("one", seed=1)
    publish([world.runs], world.site, resampling=Resampling(REPLICATES))
    return world


def again(page: AppTest) -> AppTest:
    button = next(b for b in page.button if b.label == "Read the folder again")
    return button.click().run()


def shown(page: AppTest) -> set[str]:
    return set(page.dataframe[0].value["label"]) if page.dataframe else set()


def test_new_runs_appear_when_the_folder_is_read_again(open_page: OpenPage, local: World) -> None:
    settings = Settings(site=str(local.site), places=(str(local.runs),))
    page = open_page("model", settings=settings, models="two")
    assert any("not have" in warning.value for warning in page.warning)
    local.run("two", seed=2)
    page = again(page)
    assert not page.exception
    assert len(json.loads((local.site / "manifest.json").read_text())["runs"]) == 2
    page.query_params["models"] = "two"
    assert not page.run().warning


def test_a_public_board_has_no_such_button(open_page: OpenPage, local: World) -> None:
    page = open_page("about", settings=Settings(site=str(local.site)))
    assert "Read the folder again" not in [button.label for button in page.button]


def test_what_went_wrong_is_said(open_page: OpenPage, local: World) -> None:
    settings = Settings(site=str(local.site), places=(str(local.path / "gone"),))
    page = again(open_page("about", settings=settings))
    assert any("could not be published" in error.value for error in page.error)
    assert any("gone" in element.value for element in page.text)


@pytest.mark.parametrize("damage", ["missing", "tampered", "no manifest"])
def test_a_site_that_is_not_what_was_published(
    open_page: OpenPage, synthetic_site: Path, tmp_path: Path, damage: str
) -> None:
    site = tmp_path / "copy"
    shutil.copytree(synthetic_site, site)
    figures = site / "public" / "figures.parquet"
    if damage == "missing":
        figures.unlink()
    elif damage == "tampered":
        data = bytearray(figures.read_bytes())
        data[len(data) // 2] ^= 1
        figures.write_bytes(bytes(data))
    else:
        (site / "manifest.json").unlink()
    page = open_page("board", settings=Settings(site=str(site)))
    assert "cannot be read" in page.error[0].value
    assert not page.dataframe


def test_the_language_of_the_address(open_page: OpenPage) -> None:
    assert open_page("about", lang="zh").title[0].value == "关于"
    assert open_page("about", lang="xx").title[0].value == "About"
