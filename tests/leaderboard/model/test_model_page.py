"""The model page: its numbers are those of the tables, and nothing of what it shows is markup."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from ffr_eval.types import Outcome
from leaderboard.figures import UNDEFINED, interval_text, rank_text, value_text
from leaderboard.pages import model_charts
from leaderboard.queries import model as queries
from leaderboard.settings import Settings
from leaderboard.site.reader import Site
from leaderboard.texts import catalog
from leaderboard.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    OpenPage = Callable[..., AppTest]

TABS = ("figures", "groups", "worst", "outcomes", "record")
HOSTILE = (
    '![x](https://tracker.example/p.png) <img src="https://tracker.example/q"> '
    "[click](javascript:alert(1)) :material/verified: :red-badge[fake] $x$ \u202egnp"
)
MARKS = (
    "![x]",
    "https://tracker",
    "<img",
    "javascript:",
    ":material/verified",
    ":red-badge[fake",
    "\u202e",
)
PLAIN = {"text", "dataframe", "selectbox"}


@pytest.fixture(scope="module")
def view(site: Site) -> View:
    return View(next(name for name in site.board_ids if not site.board(name).hidden_gold))


@pytest.fixture(scope="module")
def hidden(site: Site) -> View:
    return View(next(name for name in site.board_ids if site.board(name).hidden_gold))


def run_like(site: Site, view: View, **wanted: Any) -> str:
    """A run whose record is as wanted."""
    for run_id in site.labels(view.board):
        record = queries.record(site, view.board, run_id)
        if all(record[name] == value for name, value in wanted.items()):
            return run_id
    raise AssertionError(wanted)


def open_tab(page: AppTest, tab: str, language: str = "en") -> AppTest:
    page.session_state[f"model.tab.{language}"] = catalog(language)[f"model.tab_{tab}"]
    page.run()
    assert not page.exception, page.exception
    return page


def metrics(page: AppTest) -> dict[str, tuple[str, str]]:
    return {metric.label: (metric.value, metric.delta) for metric in page.metric}


def links(page: AppTest) -> dict[str, dict[str, list[str]]]:
    return {
        link.proto.label: parse_qs(link.proto.query_string) | {"page": [link.proto.page]}
        for link in page.get("page_link")
    }


def record_of(page: AppTest) -> dict[str, str]:
    frame = page.dataframe[0].value
    return dict(zip(frame["field"], frame["value"], strict=True))


def elements(page: AppTest) -> Iterator[Any]:
    for node in page._tree:
        if getattr(node, "proto", None) is not None:
            yield node


def test_without_a_model_it_asks_for_one(open_page: OpenPage, view: View) -> None:
    page = open_page("model", board=view.board)
    assert "there are 12" in page.info[0].value
    assert page.selectbox(key="model.choice").value is None
    assert not page.metric
    assert page.title[0].value == "Model"
    assert links(page).keys() == {"See all of them on the board"}


def test_an_unknown_model_is_said_and_none_is_guessed(open_page: OpenPage, view: View) -> None:
    page = open_page("model", board=view.board, models="![x](https://tracker.example)")
    assert "does not have" in page.warning[0].value
    assert "![x]" not in page.warning[0].value
    assert "Choose a model above" in page.info[0].value
    assert not page.metric


def test_choosing_a_model_changes_the_address(open_page: OpenPage, site: Site, view: View) -> None:
    first, second, third = list(site.labels(view.board))[:3]
    page = open_page("model", board=view.board)
    page.selectbox(key="model.choice").set_value(second).run()
    assert page.query_params["models"] == second
    assert page.title[0].value == site.labels(view.board)[second]
    page = open_page("model", board=view.board, models=f"{first},{second}")
    page.selectbox(key="model.choice").set_value(third).run()
    assert page.query_params["models"] == f"{third},{second}"
    page.selectbox(key="model.choice").set_value(None).run()
    assert "models" not in page.query_params
    assert "Choose a model above" in page.info[0].value


@pytest.mark.parametrize("code", ["all", "long", "negative"])
@pytest.mark.parametrize("metric", ["micro.joint.f1", "macro.image.mcc"])
def test_key_figures_are_those_of_the_tables(
    open_page: OpenPage, site: Site, view: View, code: str, metric: str
) -> None:
    asked = View(view.board, metric=metric).with_bucket(code)
    for run_id in list(site.labels(view.board))[:3]:
        page = open_page("model", **asked.parameters(), models=run_id)
        found = queries.figures(site, asked, run_id)
        shown = metrics(page)
        labels = {name: name for name in (metric, "micro.joint.f1")}
        labels["micro.joint.adjusted_f1"] = "Adjusted F1"
        for name, label in labels.items():
            figure = found[name]
            assert shown[label][0] == value_text(figure.value)
            assert shown[label][1] == interval_text(figure.lo, figure.hi)
        figure = found[metric]
        if figure.rank_lo is not None:
            assert shown["Rank interval"][0] == rank_text(figure.rank_lo, figure.rank_hi)
            n_ranked = queries.standing(site, asked, run_id).n_ranked
            assert shown["Rank interval"][1] == f"of {n_ranked} ranked · tier {figure.tier}"
        elif figure.rank is not None:
            assert shown["Place"][0] == str(figure.rank)
        else:
            assert not {"Rank interval", "Place"} & shown.keys()
            assert "No rank" in page.caption[0].value
        assert f"samples: {figure.n_samples}" in " ".join(c.value for c in page.caption)


@pytest.mark.parametrize("protocol", ["strict", "official"])
def test_all_27_figures_stand_in_the_tables(
    open_page: OpenPage, site: Site, view: View, protocol: str
) -> None:
    asked = View(view.board, protocol=protocol)
    run_id = list(site.labels(view.board))[1]
    page = open_page("model", **asked.parameters(), models=run_id)
    found = queries.figures(site, asked, run_id)
    matrix = page.dataframe[0].value
    places = {"joint": "joint", "utterances": "utterance", "images": "image"}
    seen = 0
    for row in matrix.to_dict("records"):
        average, _, modality = row["of"].partition(" · ")
        for name in ("precision", "recall", "f1", "mcc"):
            figure = found[f"{average}.{places[modality]}.{name}"]
            text = f"{value_text(figure.value)} {interval_text(figure.lo, figure.hi)}"
            assert row[name] == text
            seen += 1
    others = next(m.value for m in page.markdown if m.value.startswith("* **"))
    for line in others.splitlines()[:3]:
        metric = line.split("**")[1]
        figure = found[metric]
        text = f"{value_text(figure.value)} {interval_text(figure.lo, figure.hi)}"
        assert line.startswith(f"* **{metric}** {text} · ")
        seen += 1
    assert seen == 27


def test_groups_are_those_of_the_table(open_page: OpenPage, site: Site, view: View) -> None:
    run_id = list(site.labels(view.board))[1]
    page = open_tab(open_page("model", board=view.board, models=run_id), "groups")
    shown = page.dataframe[0].value.to_dict("records")
    found = queries.groups(site, view, run_id)
    assert [row["n_samples"] for row in shown] == [figure.n_samples for figure in found]
    for row, figure in zip(shown, found, strict=True):
        for name in ("value", "lo", "hi", "best", "floor"):
            value = getattr(figure, name)
            assert row[name] == value if value is not None else row[name] != row[name]
        assert row["rank"] == rank_text(figure.rank_lo, figure.rank_hi)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("micro.joint.f1", {"text only or images only", "cannot tell runs apart"}),
        ("micro.image.f1", {"cannot tell runs apart"}),
        ("macro.joint.f1", set()),
        ("exact", set()),
    ],
)
def test_groups_say_what_a_metric_cannot_tell(
    open_page: OpenPage, site: Site, view: View, metric: str, words: set[str]
) -> None:
    run_id = list(site.labels(view.board))[1]
    page = open_page("model", board=view.board, models=run_id, metric=metric)
    captions = " ".join(caption.value for caption in open_tab(page, "groups").caption)
    for said in ("text only or images only", "cannot tell runs apart"):
        assert (said in captions) == (said in words)


@pytest.mark.parametrize(("n_dialogues", "few"), [(49, True), (50, False)])
def test_few_dialogues_are_said_beside_the_interval(
    open_page: OpenPage,
    changed_site: Callable[..., Path],
    view: View,
    n_dialogues: int,
    few: bool,
) -> None:
    def change(row: dict[str, Any]) -> None:
        row["n_dialogues"] = n_dialogues

    settings = Settings(site=str(changed_site(runs=change)))
    page = open_page("model", settings=settings, board=view.board, models="outage")
    captions = " ".join(caption.value for caption in page.caption)
    assert (f"dialogues in all: {n_dialogues}, so that intervals are" in captions) == few


def test_rates_name_their_denominators(open_page: OpenPage, view: View) -> None:
    page = open_tab(open_page("model", board=view.board, models="outage"), "outcomes")
    shown = metrics(page)
    assert shown["Invented ids"][1] == "of the predicted ids"
    assert shown["Repeated ids"][1] == "of the predicted items"


def test_every_outcome_is_named_and_failed_requests_are_explained(
    open_page: OpenPage, site: Site, view: View
) -> None:
    page = open_tab(open_page("model", board=view.board, models="outage"), "outcomes")
    run = queries.record(site, view.board, "outage")
    shown = {row["outcome"]: row for row in page.dataframe[0].value.to_dict("records")}
    assert list(shown) == [outcome.value for outcome in Outcome]
    for name, row in shown.items():
        assert row["n"] == run[f"n_{name}"]
        assert row["share"] == pytest.approx(run[f"n_{name}"] / run["n_samples"])
        assert row["meaning"]
    said = " ".join(caption.value for caption in page.caption)
    assert f"Failed requests: {run['n_request_error']}." in said
    assert "--retry-outcomes request_error" in said
    assert "incomplete" in " ".join(badge.value for badge in page.markdown)
    assert run["incomplete"] in [element.value for element in page.text]


def test_what_was_not_recorded_is_not_a_zero(open_page: OpenPage, site: Site, view: View) -> None:
    run_id = run_like(site, view, latency_s=None, cost=None, prompt_hash=None, ceiling=False)
    page = open_tab(open_page("model", board=view.board, models=run_id), "outcomes")
    shown = metrics(page)
    assert shown["Seconds an answer"][0] == UNDEFINED
    assert shown["Cost of the run"] == (UNDEFINED, "")
    record = record_of(open_tab(page, "record"))
    assert record["hash of the prompt"].startswith("none")
    assert record["team"] == "not given"
    run = queries.record(site, view.board, run_id)
    assert record["hash of what it was computed from"] == run["source_hash"]
    assert record["hash of the benchmark"] == site.board(view.board).hash
    assert record["scorer protocols"] == "strict-1, official-1"
    assert record["option: temperature"] == "0"


def test_nothing_at_all_recorded(
    open_page: OpenPage, changed_site: Callable[..., Path], view: View
) -> None:
    kept = ("board_id", "run_id", "label", "setting", "weights", "provenance", "source_hash")

    def forget(row: dict[str, Any]) -> None:
        row.update({name: None for name in row if name not in kept})

    settings = Settings(site=str(changed_site(runs=forget)))
    page = open_page("model", settings=settings, board=view.board, models="outage")
    for tab in TABS:
        open_tab(page, tab)
    assert record_of(page)["seed"] == "none"


def test_badges_come_from_data(open_page: OpenPage, site: Site, view: View) -> None:
    for wanted, words in (
        ({"provenance": "submitted"}, ("submitted", "setting unknown")),
        ({"setting": "tuned", "provenance": "verified"}, ("verified", "tuned")),
        ({"weights": "closed"}, ("closed weights",)),
        ({"ceiling": True}, ("ceiling",)),
    ):
        page = open_page("model", board=view.board, models=run_like(site, view, **wanted))
        badges = [element.value for element in page.markdown if "badge[" in element.value]
        for word in words:
            assert any(f"[{word}]" in badge for badge in badges), (word, badges)
    assert not metrics(page).keys() & {"Rank interval", "Place"}
    assert "knows the gold" in page.caption[0].value


def test_links_lead_to_the_leader_the_neighbours_and_a_failure(
    open_page: OpenPage, site: Site, view: View
) -> None:
    best = queries.standing(site, view, "oracle").leader
    assert best is not None
    second = queries.standing(site, view, best).below
    assert second is not None
    for run_id in ("oracle", "outage", best, second):
        page = open_page("model", board=view.board, models=run_id)
        standing = queries.standing(site, view, run_id)
        others = {name for name in (standing.leader, standing.above, standing.below) if name}
        found = links(page)
        compared = {query["models"][0] for query in found.values() if query["page"] == ["compare"]}
        assert compared == {f"{run_id},{other}" for other in others}
        worst = queries.worst(site, view, run_id)
        samples = [query for query in found.values() if query["page"] == ["samples"]]
        assert len(samples) == 1
        assert samples[0]["models"] == [run_id]
        assert samples[0].get("sample") == ([worst[0].sample_id] if worst else None)


def test_worst_samples_are_shown_with_links(open_page: OpenPage, site: Site, view: View) -> None:
    run_id = next(iter(site.labels(view.board)))
    page = open_tab(open_page("model", board=view.board, models=run_id, bucket="long"), "worst")
    worst = queries.worst(site, view.with_bucket("long"), run_id)
    assert worst
    shown = {element.value for element in page.text}
    assert {sample.query for sample in worst} <= shown
    opened = [link for link in page.get("page_link") if link.proto.label.startswith("F1 ")]
    for link, sample in zip(opened, worst, strict=True):
        assert parse_qs(link.proto.query_string)["sample"] == [sample.sample_id]
        assert link.proto.label.startswith(f"F1 {value_text(sample.f1)}, ")
        assert f"{sample.n_missed} missed · turns: {sample.turns}" in link.proto.label


def test_hidden_gold_shows_no_sample_and_no_raw_output(
    open_page: OpenPage, site: Site, hidden: View
) -> None:
    run_id = next(iter(site.labels(hidden.board)))
    page = open_page("model", board=hidden.board, models=run_id)
    for tab in TABS:
        open_tab(page, tab)
        assert not any(query["page"] == ["samples"] for query in links(page).values())
        assert not page.get("link_button")
        assert not raw_links(page)
        if tab == "worst":
            assert "hidden" in page.info[0].value
            assert not page.text
    said = [element.value for element in page.markdown if "not public" in element.value]
    assert [value.count("not public") for value in said] == [1]


def raw_links(page: AppTest) -> list[str]:
    return [
        address
        for element in page.markdown
        for address in re.findall(r"\]\(([^)]*)\)", element.value)
    ]


def test_raw_outputs_are_linked_where_the_site_lists_them(
    open_page: OpenPage, site: Site, view: View
) -> None:
    run_id = next(iter(site.labels(view.board)))
    settings = Settings(site=str(site.path), public_url="https://example.org/ffr")
    page = open_page("model", settings=settings, board=view.board, models=run_id)
    addresses = raw_links(open_tab(page, "record"))
    assert addresses == [f"/ffr/data/raw/{run_id}.jsonl.gz", f"/ffr/data/raw/{run_id}.run.json"]
    for address in addresses:
        assert (site.path / "public" / address.removeprefix("/ffr/data/")).is_file()


def test_the_command_scores_it_again(
    open_page: OpenPage, site: Site, view: View, hidden: View
) -> None:
    run_id = next(iter(site.labels(view.board)))
    asked = View(view.board, protocol="official")
    page = open_tab(open_page("model", **asked.parameters(), models=run_id), "record")
    command = page.code[0].value
    assert f"gzip -dc {run_id}.jsonl.gz > {run_id}/predictions.jsonl" in command
    assert f"ffr score {run_id} --benchmark ffr-sample --protocol official" in command
    runs = ("/runs/other", f"/my runs/{site.labels(view.board)[run_id]}")
    settings = Settings(site=str(site.path), runs=runs)
    page = open_tab(
        open_page("model", settings=settings, board=view.board, models=run_id), "record"
    )
    assert page.code[0].value == f"ffr score '{runs[1]}' --group-by turns,kind,language"
    run_id = next(iter(site.labels(hidden.board)))
    page = open_tab(open_page("model", board=hidden.board, models=run_id), "record")
    expected = f"ffr score {run_id}.jsonl.gz --benchmark qmsum-evidence --split test"
    assert page.code[0].value.startswith(expected)


def test_hostile_text_arrives_in_plain_elements_only(
    open_page: OpenPage, changed_site: Callable[..., Path], view: View
) -> None:
    def poison(row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name in ("board_id", "run_id", "date"):
                continue
            if isinstance(value, str) or name in ("team", "link", "git", "selection", "incomplete"):
                row[name] = HOSTILE
        row["options"] = json.dumps({HOSTILE: HOSTILE})
        row["notes"] = [HOSTILE]

    def poison_query(row: dict[str, Any]) -> None:
        row["query"] = HOSTILE

    settings = Settings(site=str(changed_site(runs=poison, queries=poison_query)))
    page = open_page("model", settings=settings, board=view.board, models="outage")
    seen: set[str] = set()
    for tab in TABS:
        open_tab(page, tab)
        for node in elements(page):
            data = node.proto.SerializeToString()
            found = [mark for mark in MARKS if mark.encode() in data]
            if found:
                seen.add(node.type)
                assert node.type in PLAIN, (node.type, found, node)
            if node.type == "dataframe":
                columns = json.loads(node.proto.columns).values()
                kinds = {
                    column["type_config"]["type"] for column in columns if "hidden" not in column
                }
                assert kinds <= {"text", "number"}
        assert not any("tracker" in button.proto.url for button in page.get("link_button"))
        assert not any(element.value.startswith(HOSTILE[:4]) for element in page.title)
    assert {"text", "dataframe"} <= seen
    shown = record_of(page)
    assert all("\u202e" not in value for value in shown.values())
    assert shown["team"].startswith("![x](https://tracker")


@pytest.mark.parametrize(
    ("link", "linked"),
    [
        ("https://example.org/model", True),
        ("http://example.org/model", False),
        ("javascript:alert(1)", False),
        ("https://example.org@evil.example/", False),
    ],
)
def test_only_https_links_are_linked(
    open_page: OpenPage, changed_site: Callable[..., Path], view: View, link: str, linked: bool
) -> None:
    def change(row: dict[str, Any]) -> None:
        row["link"] = link

    settings = Settings(site=str(changed_site(runs=change)))
    page = open_page("model", settings=settings, board=view.board, models="oracle")
    open_tab(page, "record")
    away = page.get("link_button")
    assert [button.proto.url for button in away] == ([link] if linked else [])
    assert all("example.org" in button.proto.label for button in away)
    assert record_of(page)["link"] == link


def test_it_speaks_chinese(open_page: OpenPage, site: Site, view: View) -> None:
    run_id = next(iter(site.labels(view.board)))
    page = open_page("model", board=view.board, models=run_id, lang="zh")
    assert page.title[0].value == site.labels(view.board)[run_id]
    assert "名次区间" in metrics(page)
    for tab in TABS:
        open_tab(page, tab, "zh")


def test_a_second_look_asks_the_tables_nothing(
    open_page: OpenPage, site: Site, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = next(iter(site.labels(view.board)))
    page = open_page("model", board=view.board, models=run_id)
    for tab in TABS:
        open_tab(page, tab)
    asked: list[str] = []
    whole = Site.query

    def counted(self: Site, sql: str, parameters: Any = ()) -> Any:
        asked.append(sql)
        return whole(self, sql, parameters)

    monkeypatch.setattr(Site, "query", counted)
    for tab in TABS:
        open_tab(page, tab)
    assert asked == []


def test_charts_hold_names_as_data_only() -> None:
    vl_convert = pytest.importorskip("vl_convert")
    row = {"name": "language: NAME", "value": 0.5, "lo": 0.4, "hi": 0.6, "best": 0.8}
    other = {"name": "nothing", "value": None, "lo": None, "hi": None, "best": None}
    outcome = {"outcome": "NAME", "share": 0.25, "text": "3 (25.0%)", "answered": True}
    for table, spec in (
        model_charts.group_intervals([row, other], "micro.joint.f1"),
        model_charts.outcome_bars([outcome]),
    ):
        assert "NAME" not in json.dumps(spec)
        drawn = vl_convert.vegalite_to_svg(
            {**spec, "width": 400, "data": {"values": table.to_pylist()}}
        )
        assert "NAME" in drawn
    assert table.num_rows == 1
