"""The samples page by Streamlit's own test driver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from leaderboard.queries import samples as queries
from leaderboard.queries.samples import PAGE_ROWS, Filters
from leaderboard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from leaderboard.site.reader import Site

    Opened = Callable[..., AppTest]

A, B = "gpt-4o-zero-shot", "qwen2.5-vl-7b-zero-shot"
PROMPTLESS = "bm25-tuned"
LONG = "dlg-0002#25"


@pytest.fixture
def opened(open_page: Opened, samples_site: Path, board: str) -> Opened:
    def go(**query: str) -> AppTest:
        settings = Settings(site=str(samples_site))
        return open_page("samples", settings=settings, **({"board": board} | query))

    return go


def table(page: AppTest) -> Any:
    return page.dataframe[0].value


def component(page: AppTest, number: int = 0) -> Any:
    return json.loads(page.get("bidi_component")[number].proto.json)


def words(page: AppTest) -> str:
    elements = (*page.text, *page.caption, *page.info, *page.success, *page.warning)
    return "\n".join(element.value for element in elements)


def run(element: Any) -> None:
    page = element.run()
    assert not page.exception, page.exception


def asked(page: AppTest) -> dict[str, str]:
    found = page.query_params.items()
    return {name: value if isinstance(value, str) else value[0] for name, value in found}


def test_without_a_model_it_says_what_to_do(opened: Opened) -> None:
    page = opened()
    assert "Pick a model" in page.info[0].value
    assert not page.dataframe
    run(page.selectbox(key="samples.a").set_value(A))
    assert asked(page)["models"] == A
    assert len(table(page)) == PAGE_ROWS


def test_the_list_is_that_of_the_query(opened: Opened, site: Site, board: str) -> None:
    page = opened(models=f"{A},{B}", bucket="long")
    filters = Filters(board, A, B, grouping="turns", bucket="long", sort="difference")
    rows = queries.matching(site, filters)
    found = queries.listed(site, board, rows, 1).to_pylist()
    shown = table(page)
    assert list(shown["query"]) == [row["query"] for row in found]
    assert [None if x != x else x for x in shown["delta"]] == [row["delta"] for row in found]
    assert (shown["turns"] > 65).all()
    assert f"of {len(rows)}" in words(page)


def test_every_filter_goes_into_the_address_and_comes_back(opened: Opened) -> None:
    page = opened(models=f"{A},{B}")
    before = len(table(page))
    run(page.selectbox(key="samples.kind").set_value("image"))
    run(page.selectbox(key="samples.answers").set_value("differ"))
    run(page.selectbox(key="samples.sort").set_value("low"))
    run(page.selectbox(key="samples.bucket").set_value("short"))
    run(page.text_input(key="samples.find").set_value("Number 1"))
    said = asked(page)
    wanted = {"kind": "image", "answers": "differ", "sort": "low", "find": "Number 1"}
    assert {name: said[name] for name in wanted} == wanted
    assert said["bucket"] == "short"
    shown = table(page)
    assert 0 < len(shown) < before
    assert (shown["kind"] == "images").all()
    assert shown["f1"].is_monotonic_increasing
    again = opened(**said)
    assert table(again).equals(shown)
    assert again.selectbox(key="samples.kind").value == "image"
    assert again.text_input(key="samples.find").value == "Number 1"


def test_no_sample_fits(opened: Opened) -> None:
    page = opened(models=A, find="100% _ ' OR 1=1 --", kind="image")
    assert "No sample fits" in page.info[0].value
    run(next(button for button in page.button if "Clear" in button.label).click())
    assert len(table(page)) == PAGE_ROWS
    assert "find" not in asked(page)


def test_pages(opened: Opened, site: Site, board: str) -> None:
    page = opened(models=A, sort="order")
    first = table(page)
    assert page.button(key="samples.page_before").disabled
    run(page.button(key="samples.page_after").click())
    assert asked(page)["p"] == "2"
    assert not set(table(page)["sample_id"]) & set(first["sample_id"])
    run(page.button(key="samples.page_after").click())
    assert len(table(page)) == 130 - 2 * PAGE_ROWS
    assert page.button(key="samples.page_after").disabled
    beyond = opened(models=A, sort="order", p="999")
    assert len(table(beyond)) == 130 - 2 * PAGE_ROWS
    for nonsense in ("-1", "x", "9" * 5000, "²"):
        assert table(opened(models=A, sort="order", p=nonsense)).equals(first)


def test_previous_and_next_go_through_the_filter(opened: Opened, site: Site, board: str) -> None:
    page = opened(models=f"{A},{B}", answers="differ")
    filters = Filters(board, A, B, answers="differ", sort="difference")
    rows = queries.matching(site, filters).rows
    names = [queries.sample_at(site, board, int(row)) for row in rows[:3]]
    run(page.button(key="samples.open_first").click())
    assert asked(page)["sample"] == names[0]
    assert page.button(key="samples.sample_before").disabled
    run(page.button(key="samples.sample_after").click())
    run(page.button(key="samples.sample_after").click())
    assert asked(page)["sample"] == names[2]
    assert f"3 of {len(rows)}" in words(page)
    run(page.button(key="samples.sample_before").click())
    assert asked(page)["sample"] == names[1]
    run(page.button(key="samples.close").click())
    assert "sample" not in asked(page)
    assert asked(page)["answers"] == "differ"
    assert page.dataframe


def test_closing_leads_to_the_page_of_the_sample(opened: Opened, site: Site, board: str) -> None:
    name = queries.sample_at(site, board, 110)
    page = opened(models=A, sort="order", sample=name)
    run(page.button(key="samples.close").click())
    assert asked(page)["p"] == "3"
    assert name in set(table(page)["sample_id"])


def test_a_link_to_a_sample_shows_it_at_once(opened: Opened) -> None:
    page = opened(models=f"{A},{B}", bucket="long", sample=LONG)
    data = component(page)
    assert len(data["turns"]) == 600
    assert [column["label"] for column in data["columns"][1:]] == [
        "gpt-4o/zero-shot",
        "qwen2.5-vl-7b/zero-shot",
    ]
    assert data["turns"][data["open"]]["gold"]
    assert not any(turn["gold"] for turn in data["turns"][: data["open"]])
    assert LONG in words(page)
    assert not page.dataframe


def test_a_sample_outside_the_filters_is_shown_and_said_to_be(opened: Opened) -> None:
    page = opened(models=A, bucket="short", sample=LONG)
    assert "not among" in words(page)
    assert component(page)["turns"]
    assert page.button(key="samples.sample_before").disabled
    assert not page.button(key="samples.sample_after").disabled


def test_a_sample_without_models_shows_the_gold(opened: Opened) -> None:
    page = opened(sample=LONG)
    data = component(page)
    assert [column["name"] for column in data["columns"]] == ["gold"]
    run(page.selectbox(key="samples.a").set_value(A))
    assert [column["name"] for column in component(page)["columns"]] == ["gold", "A"]
    assert asked(page)["sample"] == LONG
    run(page.button(key="samples.close").click())
    assert "sample" not in asked(page)


def test_an_unknown_sample_is_said_to_be(opened: Opened) -> None:
    page = opened(models=A, sample="![x](https://evil.example)")
    assert "does not have" in page.warning[0].value
    assert "evil" not in page.warning[0].value
    assert len(table(page)) == PAGE_ROWS


def test_unknown_choices_are_left_out(opened: Opened) -> None:
    plain = table(opened(models=A))
    page = opened(models=A, kind="x", outcome="y", answers="1=1", sort="; DROP", show="z")
    assert table(page).equals(plain)
    # B's words without B
    assert table(opened(models=A, answers="a_right", sort="difference")).equals(plain)


def test_the_exact_prompt_is_one_click_away(opened: Opened) -> None:
    page = opened(models=f"{A},{PROMPTLESS}", sample=LONG)
    parts = page.segmented_control(key="samples.show")
    assert "The exact prompt" in parts.options
    run(parts.set_value("prompt"))
    assert asked(page)["show"] == "prompt"
    (request,) = component(page)["requests"]
    roles = [message["role"] for message in request["messages"]]
    assert roles == ["system", "user"]
    assert "<|utt_id_start|>599<|utt_id_end|>" in request["messages"][1]["parts"][0]["text"]
    said = words(page)
    assert "recorded" in said
    assert "This model has no prompt" in said
    assert "temperature" in said


def test_the_same_prompt_is_drawn_once(opened: Opened) -> None:
    page = opened(models=f"{A},{B}", sample=LONG, show="prompt")
    assert len(page.get("bidi_component")) == 1
    assert "word by word, as that of A" in words(page)


def test_a_model_that_knows_the_gold_is_asked_nothing(opened: Opened) -> None:
    said = words(opened(models="oracle", sample=LONG, show="prompt"))
    assert "knows the gold" in said
    assert "temperature" not in said


def test_a_sample_without_a_prediction_has_no_prompt(
    opened: Opened, site: Site, board: str
) -> None:
    missing = site.query(
        "SELECT run_id, sample_id FROM samples WHERE board_id = ? AND outcome = 'missing' LIMIT 1",
        (board,),
    ).to_pylist()[0]
    page = opened(models=missing["run_id"], sample=missing["sample_id"], show="prompt")
    said = words(page)
    assert "missing" in said
    if not page.get("bidi_component"):
        assert "no prediction" in said


def test_raw_answers(opened: Opened) -> None:
    page = opened(models=f"{A},{PROMPTLESS}", sample=LONG, show="answers")
    said = words(page)
    assert "<|utt_ids_start|>" in said
    assert "Finish reason: stop" in said
    assert "the model gives ids only" in said


def test_swap(opened: Opened) -> None:
    page = opened(models=f"{A},{B}", sort="order")
    before = table(page)
    run(next(button for button in page.button if button.label == "Swap").click())
    assert asked(page)["models"] == f"{B},{A}"
    assert list(table(page)["f1"].fillna(-1)) == list(before["f1_b"].fillna(-1))


def test_models_can_be_taken_away(opened: Opened) -> None:
    page = opened(models=f"{A},{B}")
    run(page.selectbox(key="samples.b").set_value(None))
    assert asked(page)["models"] == A
    run(page.selectbox(key="samples.a").set_value(None))
    assert "models" not in asked(page)
    page = opened(models=f"{A},{B}")
    run(page.selectbox(key="samples.a").set_value(None))
    assert asked(page)["models"] == B


def test_hidden_gold(opened: Opened, site: Site, hidden_board: str) -> None:
    page = opened(board=hidden_board, models=A)
    assert "hidden" in page.info[0].value
    assert not page.dataframe
    name = queries.sample_at(site, hidden_board, 0)
    page = opened(board=hidden_board, models=A, sample=name)
    data = component(page)
    assert data["columns"] == []
    assert len(page.get("bidi_component")) == 1
    assert not [each for each in page.segmented_control if each.key == "samples.show"]


def test_in_chinese(opened: Opened) -> None:
    page = opened(models=f"{A},{B}", sample=LONG, lang="zh")
    assert component(page)["words"]["tp"] == "命中"
    assert "完整提示词" in page.segmented_control(key="samples.show").options
