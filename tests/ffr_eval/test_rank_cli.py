"""``ffr rank``, ``ffr models``, ``ffr --version`` and the help, as a user calls them."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval import plugins
from ffr_eval.benchmark import read_benchmark, split_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_run(cli: Any, tmp_path: Path) -> Callable[..., Path]:
    def make(model: str, benchmark: Path, *options: object, name: str | None = None) -> Path:
        path = tmp_path / "runs" / (name or model)
        cli("run", model, benchmark, "--out", path, *options)
        return path

    return make


def test_json_has_the_promised_keys(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    runs = [make_run(model, lengths, "--split", "test") for model in ("none", "oracle", "all")]
    ranking = cli("rank", *runs, "--json", "-").json
    benchmark = read_benchmark(lengths)
    assert {name: value for name, value in ranking.items() if name not in {"rows", "notes"}} == {
        "metric": "micro.joint.f1",
        "protocol": "strict",
        "benchmark": "lengths",
        "hash": benchmark.content_hash,
        "split": "test",
    }
    keys = ["rank", "run", "model", "value", "n_samples", "n_scored", "outcomes"]
    assert [list(row) for row in ranking["rows"]] == [keys] * 3
    assert [(row["rank"], row["model"]) for row in ranking["rows"]] == [
        (1, "oracle"),
        (2, "all"),
        (3, "none"),
    ]
    best = ranking["rows"][0]
    assert (best["run"], best["value"], best["n_samples"], best["n_scored"]) == (
        "oracle",
        1.0,
        4,
        4,
    )
    assert (best["outcomes"]["ok"], best["outcomes"]["empty"]) == (3, 1)
    assert cli("rank", *runs, "--json", tmp_path / "ranks.json").out.count("oracle") == 2
    assert json.loads((tmp_path / "ranks.json").read_text()) == ranking


def test_equal_values_share_a_rank(cli: Any, make_run: Callable[..., Path], lengths: Path) -> None:
    runs = [
        make_run("none", lengths),
        make_run("all", lengths, name="all-1"),
        make_run("all", lengths, name="all-2"),
        make_run("oracle", lengths),
    ]
    rows = cli("rank", *runs, "--json", "-").json["rows"]
    assert [(row["rank"], row["run"]) for row in rows] == [
        (1, "oracle"),
        (2, "all-1"),
        (2, "all-2"),
        (4, "none"),
    ]


def test_undefined_values_come_last(cli: Any, make_run: Callable[..., Path], lengths: Path) -> None:
    """In split dev no image is asked for: a model that predicts none has no image figure."""
    runs = [make_run(model, lengths, "--split", "dev") for model in ("none", "all", "oracle")]
    shown = cli("rank", *runs, "--metric", "micro.image.f1", "--json", "-").json
    assert [(row["rank"], row["run"], row["value"]) for row in shown["rows"]] == [
        (1, "all", 0.0),
        (2, "none", None),
        (2, "oracle", None),
    ]
    assert "–" in cli("rank", *runs, "--metric", "micro.image.f1").out


def test_a_prediction_file_ranks_beside_runs(
    cli: Any, make_run: Callable[..., Path], jsonl: Callable[..., Path], lengths: Path
) -> None:
    file = jsonl([{"sample_id": "b#0", "utt_ids": [3, 4, 5], "img_ids": []}], "mine.jsonl")
    ranking = cli("rank", file, "--benchmark", lengths, "--split", "test", "--json", "-").json
    assert ranking["rows"][0]["run"] == "mine.jsonl"
    assert ranking["rows"][0]["outcomes"]["missing"] == 3
    both = (make_run("none", lengths, "--split", "test"), file)
    rows = cli("rank", *both, "--benchmark", lengths, "--split", "test", "--json", "-").json["rows"]
    assert [row["run"] for row in rows] == ["mine.jsonl", "none"]


def test_runs_of_the_same_folder_name_are_told_apart(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    runs = [make_run(model, lengths, name=f"{model}/run") for model in ("none", "all")]
    rows = cli("rank", *runs, "--json", "-").json["rows"]
    assert [row["run"] for row in rows] == [str(runs[1]), str(runs[0])]


def test_a_limited_run_ranks_with_what_it_lacks(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    runs = [make_run("oracle", lengths, "--limit", "1"), make_run("all", lengths)]
    ranking = cli("rank", *runs, "--metric", "micro.joint.recall", "--json", "-").json
    assert [row["run"] for row in ranking["rows"]] == ["all", "oracle"]
    assert ranking["rows"][1]["outcomes"]["missing"] == 4
    assert ranking["notes"] == [
        "oracle: the run was limited to 1 samples; the others count as missing"
    ]
    assert "4 missing" in cli("rank", *runs).out


@pytest.mark.parametrize("metric", ["macro.utterance.mcc", "micro.image.precision"])
def test_any_metric_ranks(
    cli: Any, make_run: Callable[..., Path], lengths: Path, metric: str
) -> None:
    run = make_run("all", lengths)
    average, modality, figure = metric.split(".")
    expected = cli("score", run, "--json", "-").json[average][modality][figure]
    ranking = cli("rank", run, "--metric", metric, "--json", "-").json
    assert (ranking["metric"], ranking["rows"][0]["value"]) == (metric, expected)


def test_the_official_protocol_ranks(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    run = make_run("all", lengths)
    ranking = cli("rank", run, "--protocol", "official", "--json", "-").json
    scores = cli("score", run, "--protocol", "official", "--json", "-").json
    assert ranking["protocol"] == "official"
    assert ranking["rows"][0]["value"] == scores["micro"]["joint"]["f1"]


# What cannot be ranked together ------------------------------------------------------------------


def test_other_benchmarks_splits_and_hashes_are_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    first = make_run("none", lengths, "--split", "test")
    sample = make_run("none", "ffr-sample", "--split", "test", name="sample")  # type: ignore[arg-type]
    error = cli.refused("rank", first, sample)
    assert f"{sample}: benchmark: {first} is of benchmark lengths" in error
    assert "ffr-sample" in error
    dev = make_run("none", lengths, "--split", "dev", name="dev")
    error = cli.refused("rank", first, dev)
    assert "split: " in error
    assert "of split test, this is of split dev" in error
    assert [
        row["run"] for row in cli("rank", first, dev, "--split", "dev", "--json", "-").json["rows"]
    ]
    changed = tmp_path / "changed" / "lengths"
    shutil.copytree(lengths, changed)
    split_benchmark(changed, {"dev": 0.5, "test": 0.5}, 1)
    other = make_run("none", changed, "--split", "test", name="other")
    error = cli.refused("rank", first, other)
    assert f"of hash {read_benchmark(lengths).content_hash}" in error
    assert f"of hash {read_benchmark(changed).content_hash}" in error


def test_an_inference_file_cannot_be_ranked(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    error = cli.refused("rank", jsonl([inference("x")]))
    assert "an inference file cannot be ranked" in error
    assert "`ffr score`" in error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("micro.joint.f2", "did you mean 'micro.joint.f1'?"),
        ("f1", "a metric is micro|macro.utterance|image|joint.precision|recall|f1|mcc"),
        ("micro.joint.tp", "a metric is"),
        ("", "a metric is"),
    ],
)
def test_an_unknown_metric_is_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path, name: str, hint: str
) -> None:
    error = cli.refused("rank", make_run("none", lengths), "--metric", name)
    assert f"metric: unknown metric {name!r}" in error
    assert hint in error


# Models, version, help ---------------------------------------------------------------------------


def test_models_lists_what_is_registered(cli: Any) -> None:
    models = cli("models", "--json").json
    assert [model["name"] for model in models] == list(plugins.registered(plugins.MODELS))
    assert {"all", "bm25", "none", "oracle", "random", "tfidf", "window"} <= {
        model["name"] for model in models
    }
    for model in models:
        assert list(model) == ["name", "capabilities", "extra", "installed"]
        assert {"text", "images", "captions", "needs_tuning"} <= set(model["capabilities"])
    by_name = {model["name"]: model for model in models}
    assert by_name["bm25"]["extra"] == "lexical"
    assert by_name["none"] == {**by_name["none"], "extra": None, "installed": True}
    assert "bm25" in cli("models").out


def test_version_is_the_distributions(cli: Any) -> None:
    assert cli("--version").out == f"ffr {version('ffr-eval')}\n"


def test_help_lists_all_commands_and_each_has_examples(cli: Any) -> None:
    commands = list(plugins.registered(plugins.COMMANDS))
    listed = cli("--help").out
    assert "Examples:" in listed
    for command in commands:
        assert f"\n  {command} " in listed
    paths = [(command,) for command in commands]
    paths += [("data", part) for part in ("import", "check", "split")]
    for path in paths:
        shown = cli(*path, "--help").out
        assert "Examples:" in shown, path
        assert "  ffr " + path[0] in shown, path


def test_the_short_help_option(ffr: Callable[..., Any]) -> None:
    shown = ffr("data", "check", "-h")  # in a new process: click remembers a command's help option
    assert (shown.code, shown.err) == (0, "")
    assert "Examples:" in shown.out


def test_no_command_shows_the_help(cli: Any) -> None:
    result = cli.run()
    assert result.code == 2
    assert "Commands:" in result.err
    assert "score" in result.err


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["scor"], "did you mean 'score'?"),
        (["xyz"], "known: "),
        (["data", "chek"], "did you mean 'check'?"),
        (["score", "x", "--bench", "y"], "Did you mean '--benchmark'?"),
        (["score", "x", "--protocol", "offical"], "'official', 'strict'"),
        (["score"], "Missing argument 'PRED_OR_RUN'"),
        (["rank"], "Missing argument 'RUNS…'"),
        (["run", "none", "ffr-sample"], "Missing option '--out'"),
        (["run", "none", "ffr-sample", "--out", "x", "--limit", "0"], "0 is not in the range"),
        (["score", "a", "b"], "unexpected extra argument (b)"),
        (["--nope"], "No such option"),
    ],
)
def test_a_wrong_word_is_answered_with_a_hint(cli: Any, args: list[str], hint: str) -> None:
    error = cli.refused(*args)
    assert hint in error
    assert "--help" in error


def test_a_broken_plugin_does_not_break_the_others(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint, entry_points

    def with_broken(group: str) -> list[EntryPoint]:
        return [*entry_points(group=group), EntryPoint("zap", "no_such_module:zap", group)]

    monkeypatch.setattr(plugins, "entry_points", with_broken)
    shown = cli("--help").out
    assert "score" in shown
    assert "(cannot be loaded)" in shown
    result = cli.run("zap", "--any", "thing")
    assert result.code == 1
    assert "the command 'zap' cannot be loaded: No module named 'no_such_module'" in result.err
    assert "zap" in cli("data", "import", "--help").out
    result = cli.run("data", "import", "zap", "x", "--out", "y")
    assert result.code == 1
    assert "the importer 'zap' cannot be loaded" in result.err
    assert "bm25" in cli("models").out
