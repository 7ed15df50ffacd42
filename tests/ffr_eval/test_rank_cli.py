"""``ffr rank``, ``ffr models``, ``ffr --version`` and the help, as a user calls them."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from ffr_eval import plugins
from ffr_eval.benchmark import read_benchmark, split_benchmark
from ffr_eval.ranking import rank_runs
from ffr_eval.report.ranking_terminal import print_ranking
from ffr_eval.uncertainty import Resampling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_run(cli: Any, tmp_path: Path) -> Callable[..., Path]:
    def make(model: str, benchmark: Path | str, *options: object, name: str | None = None) -> Path:
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
    parts = ("metric", "protocol", "benchmark", "hash", "split", "rows", "floors", "n_dialogues")
    assert list(ranking) == [*parts, "notes"]
    assert {name: ranking[name] for name in (*parts[:5], "n_dialogues")} == {
        "metric": "micro.joint.f1",
        "protocol": "strict-1",
        "benchmark": "lengths",
        "hash": benchmark.content_hash,
        "split": "test",
        "n_dialogues": 3,
    }
    keys = ["rank", "run", "model", "value", "n_samples", "n_scored", "outcomes"]
    keys += ["ci95", "adjusted_f1", "oracle_threshold", "incomplete"]
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
    assert (best["ci95"], best["adjusted_f1"], best["oracle_threshold"]) == ([1.0, 1.0], 1.0, None)
    floors = {floor["name"]: floor["value"] for floor in ranking["floors"]}
    assert list(floors) == ["none", "all", "random", "window"]
    assert floors["all"] == ranking["rows"][1]["value"]
    assert floors["none"] == ranking["rows"][2]["value"] == 0
    assert 0 < floors["random"] < 1
    assert cli("rank", *runs, "--json", tmp_path / "ranks.json").out.count(" oracle ") == 1
    assert json.loads((tmp_path / "ranks.json").read_text()) == ranking


def test_figures_beside_the_value_are_those_of_score(
    cli: Any, make_run: Callable[..., Path]
) -> None:
    run = make_run("window", "ffr-sample", "--split", "test")
    options = ("--interval", "bca", "--replicates", 500, "--seed", 3, "--json", "-")
    scores = cli("score", run, "--metrics", "adjusted_f1, exact", *options).json
    for name in ("exact", "micro.joint.f1"):
        ranking = cli("rank", run, "--metric", name, *options).json
        row = ranking["rows"][0]
        assert row["ci95"] == scores["ci95"][name]
        assert row["adjusted_f1"] == scores["metrics"]["adjusted_f1"]
        assert ranking["metric"] == ("macro.joint.exact" if name == "exact" else name)
    other = cli("rank", run, *options[:4], "--seed", 4, "--json", "-").json
    assert other["rows"][0]["ci95"] != row["ci95"]
    assert other["floors"][2]["value"] != ranking["floors"][2]["value"]


def test_intervals_can_be_left_out(cli: Any, make_run: Callable[..., Path], lengths: Path) -> None:
    run = make_run("all", lengths, "--split", "test")
    assert cli("rank", run, "--no-ci", "--json", "-").json["rows"][0]["ci95"] is None
    assert "95% CI" not in cli("rank", run, "--no-ci").out
    shown = cli("rank", run).out
    low, high = cli("rank", run, "--json", "-").json["rows"][0]["ci95"]
    assert "95% CI" in shown
    assert f"[{low:.3f}, {high:.3f}]" in shown


def test_one_dialogue_has_no_interval(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    run = make_run("all", lengths, "--split", "dev")
    ranking = cli("rank", run, "--json", "-").json
    assert (ranking["n_dialogues"], ranking["rows"][0]["ci95"]) == (1, None)
    assert ranking["notes"] == [
        "no intervals: with one dialogue nothing is known of how dialogues differ"
    ]
    assert cli("rank", run, "--no-ci", "--json", "-").json["notes"] == []


def test_floors_stand_in_their_places(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    runs = [make_run(model, lengths, "--split", "test") for model in ("none", "oracle", "all")]
    shown = [line.split() for line in cli("rank", *runs).out.splitlines()]
    table = [words for words in shown if words and words[0] in {"1", "2", "3", "–"}]
    names = [words[1] if words[0] != "–" else " ".join(words[1:3]) for words in table]
    assert names.index("oracle") == 0
    assert names.index("all") + 1 == names.index("floor: all")  # after the run of its value
    assert names[-2:] == ["none", "floor: none"]
    assert {"floor: random", "floor: window"} < set(names)
    values = [float(words[2] if words[0] != "–" else words[3]) for words in table]
    assert values == sorted(values, reverse=True)
    assert table[-1] == ["–", "floor:", "none", "0.0000"]


def test_lower_is_better_for_some(cli: Any, make_run: Callable[..., Path], lengths: Path) -> None:
    runs = [make_run(model, lengths) for model in ("all", "none", "oracle")]
    ranking = cli("rank", *runs, "--metric", "over_retrieval", "--json", "-").json
    assert [(row["rank"], row["run"], row["value"]) for row in ranking["rows"]] == [
        (1, "none", 0.0),
        (1, "oracle", 0.0),
        (3, "all", 1.0),
    ]
    shown = cli("rank", *runs, "--metric", "over_retrieval").out
    assert "by macro.joint.over_retrieval (lower is better)" in shown
    assert shown.index("floor: none") < shown.index("floor: all")


def test_what_is_neither_better_nor_worse_cannot_rank(
    cli: Any, make_run: Callable[..., Path], lengths: Path
) -> None:
    error = cli.refused("rank", make_run("all", lengths), "--metric", "cardinality_ratio")
    assert "--metric: micro.joint.cardinality_ratio cannot rank" in error
    assert "`ffr score` reports it" in error


def test_saved_scores_give_an_oracle_threshold(cli: Any, make_run: Callable[..., Path]) -> None:
    sample = "ffr-sample"
    runs = [
        make_run("tfidf", sample, "-o", "threshold=0.1", "-o", "policy=threshold", "--save-scores"),
        make_run("none", sample),
    ]
    rows = {row["run"]: row for row in cli("rank", *runs, "--json", "-").json["rows"]}
    assert rows["none"]["oracle_threshold"] is None
    assert rows["tfidf"]["value"] < rows["tfidf"]["oracle_threshold"] < 1
    shown = cli("rank", *runs).out
    assert f"{rows['tfidf']['oracle_threshold']:.4f}" in shown
    assert "oracle threshold: the value with one threshold" in shown
    assert "threshold" not in cli("rank", runs[1]).out


def test_wrong_scores_cost_a_run_its_oracle_only(
    cli: Any, jsonl: Callable[..., Path], lengths: Path
) -> None:
    line = {"sample_id": "b#0", "utt_ids": [3], "img_ids": [], "scores": {"utterance": [1, 2]}}
    file = jsonl([line])
    ranking = cli("rank", file, "--benchmark", lengths, "--split", "test", "--json", "-").json
    assert ranking["rows"][0]["value"] > 0
    assert ranking["rows"][0]["oracle_threshold"] is None
    note = "file.jsonl: no oracle threshold: b#0: scores.utterance: 2 scores, the dialogue has 40"
    assert ranking["notes"][0] == note


def test_the_table_fits_a_hundred_columns(make_run: Callable[..., Path]) -> None:
    sample = "ffr-sample"
    models = ("all", "random", "window", "oracle")
    runs = [make_run(model, sample, "--split", "test") for model in models]
    runs.append(make_run("bm25", sample, "--split", "test", "--save-scores"))
    stream = StringIO()
    console = Console(file=stream, width=100, highlight=False, markup=False)
    print_ranking(rank_runs(runs, resampling=Resampling(200)), console)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    for model in (*models, "bm25"):
        (line,) = (line for line in lines if line[:5].strip().isdigit() and f" {model} " in line)
        assert line.rstrip().endswith("104 of 104")
        assert "[" in line


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
    nothing = cli("rank", *runs[::2], "--metric", "micro.image.f1", "--json", "-").json
    assert [row["ci95"] for row in nothing["rows"]] == [None, None]
    assert nothing["notes"] == [
        "micro.image.f1 is undefined for all runs: these samples have nothing it counts"
    ]


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
    note = "oracle: the run was limited to 1 samples; the others count as missing"
    assert ranking["notes"][0] == note
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
    assert ranking["protocol"] == "official-1"
    assert cli("rank", run, "--protocol", "official-1", "--json", "-").json == ranking
    assert ranking["rows"][0]["value"] == scores["micro"]["joint"]["f1"]


# What cannot be ranked together ------------------------------------------------------------------


def test_other_benchmarks_splits_and_hashes_are_refused(
    cli: Any, make_run: Callable[..., Path], lengths: Path, tmp_path: Path
) -> None:
    first = make_run("none", lengths, "--split", "test")
    sample = make_run("none", "ffr-sample", "--split", "test", name="sample")
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
        ("micro.joint.tp", "`ffr metrics` lists them"),
        ("", "for example micro.joint.f1, tol_f1(1)"),
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
