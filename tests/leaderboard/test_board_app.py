"""The page, run by Streamlit's own test driver on real run folders."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import leaderboard

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest

SCRIPT = Path(leaderboard.__file__).with_name("app.py")
NASTY = "![x](https:tracker.example) :material-verified: \u202egnp"


@pytest.fixture
def page(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens the page on ``runs``, with a query string."""
    from streamlit.testing.v1 import AppTest

    def opened(**query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(runs)])
        app = AppTest.from_file(SCRIPT, default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        return checked(app.run())

    return opened


def checked(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def table(app: AppTest) -> Any:
    return app.dataframe[0].value


def control(app: AppTest, key: str, value: str) -> None:
    checked(app.segmented_control(key=key).set_value(value).run())


def texts(app: AppTest) -> str:
    shown = [element.value for element in (*app.markdown, *app.text, *app.caption, *app.warning)]
    return "\n".join(shown)


def test_all_runs_best_first(page: Callable[..., AppTest]) -> None:
    frame = table(page())
    assert sorted(frame["run"]) == ["all", "none", "oracle", "random"]
    assert frame["run"].iloc[0] == "oracle"
    assert frame["value"].iloc[0] == 1.0
    assert frame["value"].is_monotonic_decreasing
    assert "parse_error" not in frame  # no run has one


def test_figures_are_those_of_the_runs(page: Callable[..., AppTest], cli: Any, runs: Path) -> None:
    told = cli("score", runs / "random", "--json", "-").json["micro"]["joint"]
    row = table(page()).set_index("run").loc["random"]
    assert row["value"] == told["f1"]
    assert row["precision"] == told["precision"]
    assert row["mcc"] == told["mcc"]


def test_filters_change_the_table(page: Callable[..., AppTest]) -> None:
    app = page()
    before = table(app).set_index("run")
    control(app, "modality", "image")
    image = table(app).set_index("run")
    assert image.loc["random", "value"] != before.loc["random", "value"]
    control(app, "figure", "R")
    assert table(app).set_index("run").loc["all", "value"] == 1.0  # all images: nothing is missed
    control(app, "average", "macro")
    assert table(app).set_index("run").loc["all", "value"] < 1.0  # but negative queries count 0


def test_official_and_strict_differ(page: Callable[..., AppTest]) -> None:
    app = page(samples="kind / negative")
    strict = table(app).set_index("run")
    control(app, "protocol", "official")
    official = table(app).set_index("run")
    assert strict["value"].isna()["none"]  # nothing to count
    assert official["value"]["none"] == 0.0
    assert official["rank"]["none"] == 1


def test_a_link_shows_what_was_seen(page: Callable[..., AppTest]) -> None:
    app = page(protocol="official", modality="image", samples="kind / image", run="random")
    assert app.segmented_control(key="protocol").value == "official"
    assert app.segmented_control(key="modality").value == "image"
    assert app.selectbox(key="samples").value == "kind / image"
    assert app.selectbox(key="run").value == "random"


def test_a_link_that_fits_nothing_is_forgiven(page: Callable[..., AppTest]) -> None:
    app = page(protocol="x", run="gone", samples="![x](y)", benchmark="=1", tab="none", figure="Q")
    assert len(table(app)) == 4
    assert app.selectbox(key="run").value is None


def test_groups(page: Callable[..., AppTest]) -> None:
    app = page()
    checked(app.selectbox(key="samples").set_value("kind / negative").run())
    frame = table(app)
    assert frame.loc[frame["run"] == "none", "value"].isna().all()
    assert frame.loc[frame["run"] == "none", "rank"].isna().all()


def test_details(page: Callable[..., AppTest]) -> None:
    app = page()
    assert not app.code
    checked(app.selectbox(key="run").set_value("random").run())
    (command,) = app.code
    assert command.value.startswith("ffr score ")
    assert "/random " in command.value
    assert [metric.label for metric in app.metric] == ["Rank", "F1", "Precision", "Recall", "MCC"]
    figures, outcomes, provenance = [frame.value for frame in app.dataframe[1:]]
    assert list(figures["figures"])[:2] == ["micro joint", "micro utterance"]
    assert outcomes["samples"].sum() == table(app)["samples"].iloc[0]
    said = dict(zip(provenance["field"], provenance["value"], strict=True))
    assert said["model"] == "random, version 1"
    assert said["benchmark hash"].startswith("sha256:")
    assert "ffr-eval=" in said["versions"]


def test_details_go_when_the_run_is_not_there(page: Callable[..., AppTest], runs: Path) -> None:
    app = page(run="random")
    shutil.rmtree(runs / "random")
    checked(app.run())
    assert app.selectbox(key="run").value is None
    assert not app.code


def test_new_and_growing_runs_are_seen(page: Callable[..., AppTest], runs: Path) -> None:
    app = page()
    file = runs / "oracle" / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    shutil.copytree(runs / "none", runs / "newer")
    checked(app.run())
    frame = table(app).set_index("run")
    assert "newer" in frame.index
    assert frame.loc["oracle", "value"] < 1
    assert frame.loc["oracle", "missing"] > 0
    assert "not complete" in texts(app)


def test_an_incomplete_run_is_marked_and_has_no_rank(
    page: Callable[..., AppTest], runs: Path
) -> None:
    file = runs / "oracle" / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[:10]:
        line |= {"utt_ids": [], "img_ids": [], "outcome": "request_error"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mark = f"incomplete: {10 / len(lines):.1%} request errors"
    app = page()
    frame = table(app)
    assert frame["run"].iloc[-1] == "oracle"
    assert frame["value"].iloc[-1] > frame["value"].iloc[0]
    assert frame["rank"].isna().tolist() == [False, False, False, True]
    assert frame["status"].iloc[-1] == mark
    assert "1 run has more than 5% request errors and no rank" in texts(app)
    assert mark not in texts(app)
    checked(app.selectbox(key="run").set_value("oracle").run())
    assert mark in texts(app)
    assert "10 request_error: ask them again with" in texts(app)
    assert app.metric[0].value == "–"
    checked(app.selectbox(key="run").set_value("all").run())
    assert mark not in texts(app)


def test_broken_runs_are_shown_with_their_reason(page: Callable[..., AppTest], runs: Path) -> None:
    (runs / "none" / "run.json").write_text("{")
    record = json.loads((runs / "all" / "run.json").read_text())
    record["benchmark"]["path"] = "/nowhere"
    (runs / "all" / "run.json").write_text(json.dumps(record))
    app = page()
    assert "2 folders could not be scored" in texts(app)
    assert sorted(table(app)["run"]) == ["oracle", "random"]
    app = page(tab="Not scored")
    frame = table(app).set_index("run")
    assert sorted(frame.index) == ["all", "none"]
    assert "/nowhere" in frame.loc["all", "reason"]
    assert frame.loc["all", "model"] == "all"
    assert frame["reason"].all()


def test_a_benchmark_goes_and_comes_back(
    page: Callable[..., AppTest], made: Path, runs: Path, tmp_path: Path
) -> None:
    bench = shutil.copytree(made / "bench", tmp_path / "bench")
    record = json.loads((runs / "all" / "run.json").read_text())
    record["benchmark"]["path"] = str(bench)
    (runs / "all" / "run.json").write_text(json.dumps(record))
    app = page()
    assert len(table(app)) == 4
    bench.rename(tmp_path / "away")
    checked(app.run())
    assert sorted(table(app)["run"]) == ["none", "oracle", "random"]
    assert "1 folder could not be scored" in texts(app)
    (tmp_path / "away").rename(bench)
    checked(app.run())
    assert len(table(app)) == 4


def test_nothing_can_be_scored(page: Callable[..., AppTest], runs: Path) -> None:
    for run in runs.iterdir():
        (run / "run.json").write_text("{")
    app = page()
    assert "4 folders" in texts(app)
    assert "ffr run" in app.code[0].value
    assert not app.dataframe


def test_the_folder_goes_away(page: Callable[..., AppTest], runs: Path) -> None:
    app = page()
    shutil.rmtree(runs)
    app.run()
    assert not app.exception
    assert app.error
    assert "no such folder" in texts(app)


def test_reported_results_are_apart(page: Callable[..., AppTest]) -> None:
    computed = page()
    assert not table(computed)["model"].str.contains("F2RVLM").any()
    app = page(tab="Reported in papers")
    assert "Reported by the authors, not computed here" in texts(app)
    frame = table(app).set_index("model")
    assert "rank" not in frame
    assert not set(frame.index) & {"oracle", "random"}
    assert frame.loc["F2RVLM-Qwen2-VL-7B", "f1"] == 0.8725
    assert frame.loc["GPT-4o", "setting"] == "zero-shot"
    assert frame.loc["InternVL3-8B", "windows"] == "yes"
    control(app, "dataset", "WeChat test")
    assert table(app).set_index("model").loc["F2RVLM-Qwen2-VL-7B", "f1"] == 0.6207


def test_definitions(page: Callable[..., AppTest]) -> None:
    app = page(tab="What is computed")
    assert len(app.latex) == 5
    assert "harmonic means" in texts(app)


def test_malicious_names_are_inert(page: Callable[..., AppTest], runs: Path) -> None:
    shutil.copytree(runs / "none", runs / NASTY)
    record = json.loads((runs / NASTY / "run.json").read_text())
    record |= {"model": "=HYPERLINK(1)\u202e", "options": {NASTY: NASTY}, "split": "test"}
    record["sessions"][0]["git"] = {"commit": NASTY, "dirty": True}
    (runs / NASTY / "run.json").write_text(json.dumps(record))
    app = page()
    (label,) = [name for name in table(app)["run"] if "tracker" in name]
    checked(app.selectbox(key="run").set_value(label).run())
    # Markdown widgets: none of them may carry anything from a run folder.
    for element in (*app.markdown, *app.caption, *app.warning, *app.info, *app.metric, *app.code):
        assert "tracker" not in str(element.value)
    assert "\u202e" not in "".join(map(str, table(app).to_numpy().ravel()))
    assert "not shown here" in texts(app)


def test_csv(page: Callable[..., AppTest], runs: Path) -> None:
    from leaderboard.board_table import csv_bytes
    from leaderboard.runs_table import View

    frame = table(page()).assign(model="=1+1")
    view = View(("@bench", "sha256:0"), "test")
    rows = list(csv.DictReader(io.StringIO(csv_bytes(frame, view, "strict").decode())))
    assert [row["run"] for row in rows] == list(frame["run"])
    assert [float(row["value"]) for row in rows] == list(frame["value"])
    assert {row["model"] for row in rows} == {"'=1+1"}
    assert {row["benchmark"] for row in rows} == {"'@bench"}
    assert float(rows[-1]["mcc"]) == frame["mcc"].iloc[-1]
    assert {row["metric"] for row in rows} == {"micro.joint.f1"}
