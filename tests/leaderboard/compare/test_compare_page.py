"""The Compare page: what it says of two models, and where it leads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from leaderboard.figures import p_text, value_text
from leaderboard.queries import compare
from leaderboard.site.reader import Site
from leaderboard.view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    OpenPage = Callable[..., AppTest]


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


@pytest.fixture(scope="module")
def view(site: Site) -> View:
    board = next(name for name in site.board_ids if not site.board(name).hidden_gold)
    return View(board, models=tuple(compare.leaders(site, View(board))))


def test_one_model_is_not_enough(open_page: OpenPage, site: Site, view: View) -> None:
    page = open_page("compare", board=view.board, models=view.models[0])
    assert "two to four" in page.info[0].value
    assert not page.metric


@pytest.mark.parametrize("code", ["all", "long"])
def test_the_verdict_is_that_of_the_test(
    open_page: OpenPage, site: Site, view: View, code: str
) -> None:
    view = view.with_bucket(code)
    found = next(d for d in compare.differences(site, view) if d.bucket == code)
    page = open_page("compare", **view.parameters())
    said = next(element.value for element in page.markdown if element.value.startswith("**"))
    assert found.delta is not None
    assert value_text(abs(found.delta)) in said
    assert p_text(found.p_holm) in said
    assert ("is better than" in said) == (found.better(site.manifest.alpha) is not None)
    values = [metric.value for metric in page.metric]
    assert values[:3] == [
        value_text(found.value_a),
        value_text(found.value_b),
        value_text(found.delta, signed=True),
    ]


def test_every_pair_of_four_models_and_every_bucket_is_in_the_table(
    open_page: OpenPage, site: Site, view: View
) -> None:
    models = tuple(list(site.labels(view.board))[:4])
    page = open_page("compare", **replace(view, models=models).parameters())
    page.session_state["compare.tab.en"] = "Table"
    table = page.run().dataframe[0].value
    assert len(table) == 6 * len(site.buckets(view.board))


def test_examples_lead_to_their_samples(open_page: OpenPage, site: Site, view: View) -> None:
    page = open_page("compare", **view.parameters())
    found = compare.disagreements(site, view, *view.models)
    assert found
    shown = [element.value for element in page.text]
    assert [sample.query for sample in found] == [text for text in shown if text]


def test_hidden_gold_has_no_examples(open_page: OpenPage, site: Site) -> None:
    board = next(name for name in site.board_ids if site.board(name).hidden_gold)
    models = ",".join(list(site.labels(board))[:2])
    page = open_page("compare", board=board, models=models)
    assert any("hidden" in element.value for element in page.info)
    assert not page.exception


def test_in_chinese(open_page: OpenPage, site: Site, view: View) -> None:
    page = open_page("compare", lang="zh", **view.parameters())
    assert page.title[0].value == "模型对比"
    assert any("p =" in element.value for element in page.markdown)
