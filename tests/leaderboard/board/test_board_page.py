"""The page Board: what it says, in what order, and where it leads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.pages.board_runs import PAGE
from leaderboard.queries import board as queries
from leaderboard.site.manifest import MANIFEST, FileRecord, file_hash, read_manifest
from leaderboard.site.reader import Site
from leaderboard.site.schema import ANSWERS, BOARD_METRICS, FIGURES, PAIRS, RUNS, SAMPLES
from leaderboard.texts import catalog
from leaderboard.view import View
from tests.leaderboard.board.conftest import checked
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from leaderboard.site.schema import Table

Opened: TypeAlias = "Callable[..., AppTest]"


@pytest.fixture(scope="module")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages and a bit of runs."""
    folder = tmp_path_factory.mktemp("large") / "site"
    return write_site(folder, n_runs=2 * PAGE + 7, n_samples=12, n_dialogues=3)


def table(app: AppTest) -> Any:
    return app.dataframe[0].value


def links(app: AppTest) -> dict[str, dict[str, list[str]]]:
    """What the links of the page ask for, by label."""
    found = app.get("page_link")
    return {link.proto.label: parse_qs(link.proto.query_string) for link in found}


def said(app: AppTest) -> str:
    elements = (*app.markdown, *app.caption, *app.text, *app.info, *app.success)
    return "\n".join(element.value for element in elements)


def test_the_table_is_that_of_the_queries(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    site = Site(synthetic_site)
    rows = queries.board_table(site, View(site.board_ids[0])).to_pylist()
    labels = site.shown_labels(site.board_ids[0])
    frame = table(app)
    wanted = [row for row in rows if row["role"] != "ceiling"]
    assert [name.removeprefix("◐ ") for name in frame["name"]] == [
        labels[row["run_id"]] for row in wanted
    ]
    assert list(frame["value"]) == [row["value"] for row in wanted]
    first = wanted[0]
    assert frame["ci"].iloc[0] == f"[{first['lo']:.3f}, {first['hi']:.3f}]"
    low, high = first["rank_lo"], first["rank_hi"]
    assert frame["rank"].iloc[0] == (f"{low}" if low == high else f"{low}-{high}")
    assert set(frame["setting"]) == {"zero-shot", "tuned", "unknown"}
    assert set(frame["provenance"]) == {"verified", "submitted"}
    assert set(frame["weights"]) == {"open", "closed"}


def test_the_leader_is_told_first(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    site = Site(synthetic_site)
    best = queries.leader(site, View(site.board_ids[0]))
    assert best is not None
    labels = site.shown_labels(site.board_ids[0])
    (verdict,) = (*app.info, *app.success)
    assert f"**{labels[best.a]}**" in verdict.value
    assert labels[best.b or ""] in verdict.value
    assert f"{best.value_a:.3f}" in verdict.value
    real = best.significant(site.manifest.alpha)
    assert ("**significant**" in verdict.value) is real
    assert ("**not significant**" in verdict.value) is not real
    assert best.too_few(site.manifest.alpha)
    few = f"{best.n_dialogues} dialogues: too few for any difference to be significant among "
    assert f"{few}{best.n_pairs} pairs." in verdict.value
    assert "separable" not in verdict.value
    assert f"somewhat too narrow with {best.n_dialogues} dialogues" in verdict.value
    assert bool(app.success) is (best.n_inseparable == 0)


def test_a_clear_lead_is_told_as_such(opened: Opened, tmp_path: Path) -> None:
    """Two runs, and samples enough."""
    path = write_site(tmp_path / "site", n_runs=3, n_samples=600, n_dialogues=60)
    app = opened(path)
    (verdict,) = app.success
    assert "significantly better than both others" in verdict.value
    assert "**significant** (p < 0.0001" in verdict.value
    assert "too few" not in verdict.value
    assert "too narrow" not in verdict.value
    assert len(re.findall(r": significant$", verdict.value, re.MULTILINE)) == 3


def test_each_length_leads_to_its_comparison(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    site = Site(synthetic_site)
    found = links(app)
    for bucket, best in queries.by_length(site, View(site.board_ids[0])).items():
        asked = found[f"Compare on {bucket} dialogues"]
        assert asked["models"] == [f"{best.a},{best.b}"]
        assert asked["bucket"] == [bucket]


def test_what_is_selected_is_linked_to(opened: Opened, synthetic_site: Path) -> None:
    site = Site(synthetic_site)
    a, b, c = list(site.labels(site.board_ids[0]))[:3]
    app = opened(synthetic_site, models=f"{c},{a}", metric="exact")
    assert links(app)["Compare selected"]["models"] == [f"{c},{a}"]
    assert links(app)["Compare selected"]["metric"] == ["exact"]
    labels = site.shown_labels(site.board_ids[0])
    assert f"Selected: {labels[c]}, {labels[a]}" in said(app)
    selected = app.session_state["board.table"]["selection"]["rows"]
    found = {table(app)["name"].iloc[row].removeprefix("◐ ") for row in selected}
    assert found == {labels[a], labels[c]}
    app = opened(synthetic_site, models=b)
    assert "Compare selected" not in links(app)
    assert links(app)[f"About {labels[b]}"]["models"] == [b]
    checked(app.button(key="board.clear").click().run())
    assert "models" not in app.query_params
    assert "Selected" not in said(app)


def test_ceilings_and_incomplete_runs_have_no_rank(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    frame = table(app).set_index("name")
    assert "oracle" not in frame.index
    assert "oracle (ceiling) 1.000" in said(app)
    outage = frame.loc["outage"]
    assert outage["rank"] == "–"
    assert outage["status"].startswith("no rank: ")
    assert outage["status"].endswith("% request errors")
    assert outage.isna()["tier"]
    assert frame.index[-1] == "outage"
    assert list(frame["rank"]).count("–") == 1


def test_samples_that_are_missing_are_told(opened: Opened, synthetic_site: Path) -> None:
    rows = pq.read_table(synthetic_site / RUNS.file).to_pylist()
    stopped = [row for row in rows if row["n_missing"]]
    frame = table(opened(synthetic_site, board=stopped[0]["board_id"])).set_index("name")
    assert stopped[0]["n_missing"] > 0
    missing = f"not finished: {stopped[0]['n_missing']} samples missing"
    assert frame.loc[f"◐ {stopped[0]['label']}", "status"] == missing
    assert list(frame).index("status") < list(frame).index("answered")
    assert not frame.drop(f"◐ {stopped[0]['label']}").index.str.startswith("◐").any()


def changed_site(tmp_path: Path, change: Callable[[dict[str, Any]], None], **size: int) -> Path:
    """A site with other figures or runs; ``change`` is called with each row."""
    path = write_site(tmp_path / "site", **({"n_runs": 6} | size))
    for table in (RUNS, FIGURES):
        rows = pq.read_table(path / table.file).to_pylist()
        for row in rows:
            change(row)
        replace_table(path, table, pa.Table.from_pylist(rows, table.schema))
    return path


def test_an_unfinished_leader_is_marked(opened: Opened, tmp_path: Path) -> None:
    def unfinished(row: dict[str, Any]) -> None:
        if "n_missing" in row:
            row |= {"n_missing": 54, "status": "interrupted"}

    app = opened(changed_site(tmp_path, unfinished))
    leader = table(app)["name"].iloc[0].removeprefix("◐ ")
    assert f"**{leader}** is not finished: 54 samples missing." in app.info[0].value
    assert table(app)["name"].str.startswith("◐ ").all()


def test_a_run_that_goes_on_is_marked(opened: Opened, tmp_path: Path) -> None:
    def running(row: dict[str, Any]) -> None:
        if "n_missing" in row:
            row |= {"n_missing": 0, "status": "running"}

    app = opened(changed_site(tmp_path, running))
    assert "is not finished: still running." in app.info[0].value


@pytest.mark.parametrize("metric", ["micro.joint.f1", "micro.joint.precision"])
def test_nobody_leads_with_zero(opened: Opened, tmp_path: Path, metric: str) -> None:
    def zero(row: dict[str, Any]) -> None:
        if row.get("metric") == metric and row["bucket"] in ("negative", "long"):
            row |= {"value": 0.0, "lo": 0.0, "hi": 0.0, "rank": 1}

    app = opened(changed_site(tmp_path, zero), bucket="negative", metric=metric)
    assert not app.success
    (box,) = app.info
    assert f"{metric} cannot tell runs apart here" in box.value
    assert "exact" in box.value
    assert "share the highest" not in box.value
    assert "**long dialogues (> 65 turns)**: no run is above 0" in box.value
    assert set(table(app)["rank"]) == {"–"}
    assert table(app)["tier"].isna().all()
    assert "Compare on long dialogues" not in links(app)
    assert "Compare on short dialogues" in links(app)


def test_equal_runs_are_no_lead(opened: Opened, tmp_path: Path) -> None:
    def equal(row: dict[str, Any]) -> None:
        if row.get("metric") == "micro.joint.f1" and row["value"] is not None:
            row |= {"value": 0.25, "rank": 1}

    path = changed_site(tmp_path, equal, n_runs=12)
    app = opened(path)
    (box,) = app.info
    assert "more share the highest value, 0.250" in box.value
    assert "ahead" not in box.value.lower()
    assert len(re.findall(r"\d+ runs are equal$", box.value, re.MULTILINE)) == 3
    ranked = [
        p
        for p, rank in zip(table(app)["provenance"], table(app)["rank"], strict=True)
        if rank != "–"
    ]
    assert ranked == sorted(ranked, reverse=True)
    assert set(ranked) == {"verified", "submitted"}
    app = opened(path, lang="zh")
    assert "个运行相同" in app.info[0].value
    assert "**：" in app.info[0].value
    assert "（基线下限）" in app.info[0].value


def test_a_trade_off_needs_two(opened: Opened, tmp_path: Path) -> None:
    kept: list[str] = []

    def one(row: dict[str, Any]) -> None:
        if "cost" in row:
            row |= {"latency_s": None, "params_b": None}
            if row["ceiling"] or row["incomplete"] or kept or row["cost"] is None:
                row["cost"] = None
            else:
                kept.append(row["run_id"])

    app = opened(changed_site(tmp_path, one))
    checked(app.segmented_control(key="board.tab").set_value("tradeoff").run())
    assert kept
    assert "Nothing to compare" in said(app)
    assert not app.get("vega_lite_chart")


def test_room_is_kept_for_what_is_picked(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    assert app.button(key="board.none").label == "Compare selected"
    assert app.button(key="board.none").disabled
    site = Site(synthetic_site)
    app = opened(synthetic_site, models=next(iter(site.labels(site.board_ids[0]))))
    assert "board.none" not in [button.key for button in app.button]


def test_floors_are_apart(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    assert "random ids, as many as the gold has (floor) 0." in said(app)
    assert "For reference, not ranked" in said(app)
    assert not set(table(app)["name"]) & {"random", "window", "all", "none"}


def test_an_untested_metric_has_plain_ranks(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site, metric="micro.joint.mcc")
    assert list(table(app)["rank"])[:3] == ["1", "2", "3"]
    assert "This metric is not tested" in said(app)
    assert re.search(r"Intervals are somewhat too narrow with \d+ dialogues", said(app))
    assert said(app).count(": not tested") == 3


def test_metrics_change_the_address(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site, bucket="long")
    before = list(table(app)["value"])
    checked(app.selectbox(key="board.metric").set_value("micro.image.f1").run())
    assert app.query_params["metric"] == "micro.image.f1"
    assert app.query_params["bucket"] == "long"
    assert list(table(app)["value"]) != before


def test_the_filter_finds_names(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    checked(app.text_input(key="board.filter").set_value("  ZERO-shot ").run())
    shown = list(table(app)["name"])
    assert shown
    assert all("zero-shot" in name for name in shown)
    checked(app.text_input(key="board.filter").set_value("![x](y)").run())
    assert not app.dataframe
    assert "No run has this in its name" in said(app)


def test_long_boards_have_pages(opened: Opened, large_site: Path) -> None:
    app = opened(large_site)
    seen = list(table(app)["name"])
    assert len(seen) == PAGE
    for number in (2, 3):
        checked(app.pagination(key="board.page").set_value(number).run())
        seen += list(table(app)["name"])
    labels = Site(large_site).shown_labels(Site(large_site).board_ids[0])
    seen = [name.removeprefix("◐ ") for name in seen]
    assert sorted(seen) == sorted(name for name in labels.values() if name != "oracle")
    assert app.text_input(key="board.filter").label.startswith(f"{2 * PAGE + 6} runs")
    checked(app.text_input(key="board.filter").set_value("bm25").run())
    assert app.dataframe
    assert all("bm25" in name for name in table(app)["name"])


def test_a_page_that_is_gone_is_forgiven(opened: Opened, large_site: Path) -> None:
    app = opened(large_site)
    checked(app.pagination(key="board.page").set_value(3).run())
    app.session_state["board.filter"] = "gpt-4o"
    checked(app.run())
    assert len(table(app)) > 0


@pytest.mark.parametrize("tab", ["scores", "tradeoff", "lengths", "heat"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_charts(opened: Opened, synthetic_site: Path, tab: str, language: str) -> None:
    app = opened(synthetic_site, lang=language)
    assert not app.get("vega_lite_chart")
    checked(app.segmented_control(key="board.tab").set_value(tab).run())
    (chart,) = app.get("vega_lite_chart")
    assert chart.proto.spec


def test_the_trade_off_can_be_of_each(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    checked(app.segmented_control(key="board.tab").set_value("tradeoff").run())
    for what in ("latency_s", "params_b", "cost"):
        checked(app.segmented_control(key="board.against").set_value(what).run())
        assert len(app.get("vega_lite_chart")) == 1
    assert "runs without a record of this are not drawn" in said(app)


def test_reported_results_are_apart(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    assert not table(app)["name"].str.contains("F2RVLM").any()
    checked(app.segmented_control(key="board.tab").set_value("reported").run())
    frame = app.dataframe[1].value.set_index("model")
    assert frame.loc["F2RVLM-Qwen2-VL-7B", "f1"] == 0.8725
    assert frame.loc["GPT-4o", "setting"] == "zero-shot"
    assert "rank" not in frame
    assert "Reported by the authors, not computed here" in said(app)
    assert not app.get("vega_lite_chart")
    checked(app.segmented_control(key="board.dataset").set_value("WeChat test").run())
    frame = app.dataframe[1].value.set_index("model")
    assert frame.loc["F2RVLM-Qwen2-VL-7B", "f1"] == 0.6207


def test_what_was_not_scored_has_its_reason(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    checked(app.segmented_control(key="board.tab").set_value("unscored").run())
    frame = app.dataframe[1].value
    assert list(frame["label"]) == ["broken/half-written"]
    assert "line 3" in frame["reason"].iloc[0]


def test_nothing_to_count(opened: Opened, tmp_path: Path) -> None:
    path = write_site(tmp_path / "site", n_runs=4, n_samples=12, n_dialogues=3, images=False)
    app = opened(path, metric="micro.image.f1")
    assert "No run has a value here" in said(app)
    assert set(table(app)["rank"]) == {"–"}
    for tab in ("scores", "tradeoff", "lengths", "heat"):
        checked(app.segmented_control(key="board.tab").set_value(tab).run())


def test_a_board_without_runs(opened: Opened, tmp_path: Path) -> None:
    path = write_site(tmp_path / "site", n_runs=1, n_samples=8, n_dialogues=2)
    empty_runs(path)
    app = opened(path)
    assert "This benchmark has no runs yet" in said(app)
    assert "ffr publish" in said(app)
    assert not app.dataframe


def test_a_board_with_a_ceiling_only(opened: Opened, tmp_path: Path) -> None:
    path = write_site(tmp_path / "site", n_runs=1, n_samples=8, n_dialogues=2)
    runs = pq.read_table(path / RUNS.file)
    place = runs.column_names.index("ceiling")
    replace_table(path, RUNS, runs.set_column(place, "ceiling", [[True]]))
    app = opened(path)
    assert "No run has a value here" in said(app)
    assert "(ceiling)" in said(app)
    assert not app.dataframe
    for tab in ("scores", "tradeoff", "lengths", "heat"):
        checked(app.segmented_control(key="board.tab").set_value(tab).run())
    checked(app.text_input(key="board.filter").set_value("x").run())


def empty_runs(path: Path) -> None:
    """Take all runs out of a site."""
    for table in (RUNS, FIGURES, PAIRS, SAMPLES, ANSWERS):
        replace_table(path, table, table.schema.empty_table())


def replace_table(path: Path, table: Table, rows: pa.Table) -> None:
    """Publish other rows of a table."""
    manifest = read_manifest(path)
    file = path / table.file
    pq.write_table(rows, file)
    files = manifest.files | {table.file: FileRecord(file_hash(file), file.stat().st_size)}
    runs = manifest.runs if pq.read_metadata(path / RUNS.file).num_rows else ()
    changed = msgspec.structs.replace(manifest, runs=runs, files=files)
    (path / MANIFEST).write_bytes(msgspec.json.encode(changed))


def test_in_chinese(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site, lang="zh")
    words = catalog("zh")
    assert app.info[0].value.startswith(f"### {words['board.title']}")
    assert set(table(app)["provenance"]) == {"已核实", "由他人提交"}
    assert "在长对话上对比" in links(app)


def test_hidden_gold_boards_have_figures(opened: Opened, synthetic_site: Path) -> None:
    site = Site(synthetic_site)
    hidden = next(board for board in site.manifest.boards if board.hidden_gold)
    app = opened(synthetic_site, board=hidden.board_id)
    assert len(table(app)) == 11
    assert "Compare on long dialogues" in links(app)


def test_all_metrics_can_be_chosen(opened: Opened, synthetic_site: Path) -> None:
    app = opened(synthetic_site)
    options = app.selectbox(key="board.metric").options
    assert len(set(options)) == len(BOARD_METRICS) == 27
    assert options[0] == "Utterances and images: F1, micro (headline)"
    assert sum("(tested)" in option for option in options) == 3
