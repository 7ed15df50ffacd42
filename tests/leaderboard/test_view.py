"""Addresses: every view survives the way through one, and a made-up one does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard.site.reader import Site
from leaderboard.site.schema import BOARD_METRICS, PROTOCOLS
from leaderboard.view import MOST_MODELS, View, bucket_code, bucket_of, read_view

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


def test_an_empty_address_is_the_first_board(site: Site) -> None:
    assert read_view({}, site) == (View(site.board_ids[0]), [])


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_view_comes_back(site: Site, data: st.DataObject) -> None:
    board = data.draw(st.sampled_from(site.board_ids))
    grouping, bucket = data.draw(st.sampled_from(list(site.buckets(board))))
    runs = st.lists(st.sampled_from(list(site.labels(board))), unique=True, max_size=MOST_MODELS)
    view = View(
        board,
        data.draw(st.sampled_from(PROTOCOLS)),
        data.draw(st.sampled_from(BOARD_METRICS)),
        grouping,
        bucket,
        tuple(data.draw(runs)),
    )
    assert read_view(view.parameters(), site) == (view, [])


@given(
    st.dictionaries(
        st.sampled_from(["board", "protocol", "metric", "bucket", "models", "sample"]), st.text()
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_for_the_view_is_of_the_site(site: Site, asked: dict[str, str]) -> None:
    view, unknown = read_view(asked, site)
    assert view.board in site.board_ids
    assert view.protocol in PROTOCOLS
    assert view.metric in BOARD_METRICS
    assert (view.grouping, view.bucket) in site.buckets(view.board)
    assert set(view.models) <= set(site.labels(view.board))
    assert view.sample is None or site.has_sample(view.board, view.sample)
    if "metric" in asked and asked["metric"] not in BOARD_METRICS:
        assert "app.unknown_choice" in [found.key for found in unknown]


def test_what_is_not_there_is_said(site: Site) -> None:
    _, unknown = read_view({"models": "nobody", "sample": "x' OR 1=1 --", "board": "b"}, site)
    assert [found.key for found in unknown] == [
        "app.unknown_board",
        "app.unknown_model",
        "app.unknown_sample",
    ]


@pytest.mark.parametrize(
    ("code", "pair"),
    [
        ("all", ("all", "all")),
        ("long", ("turns", "long")),
        ("image", ("kind", "image")),
        ("language.en", ("language", "en")),
    ],
)
def test_bucket_codes(code: str, pair: tuple[str, str]) -> None:
    assert bucket_of(code) == pair
    assert bucket_code(*pair) == code
