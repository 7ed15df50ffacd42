"""Published figures are those of ``ffr score`` and ``ffr compare``, to the last digit."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.metrics.named import ALL_FIGURES, parse_metric
from leaderboard.site.schema import BOARD_METRICS, GROUPINGS, PAIR_METRICS, PROTOCOLS
from tests.leaderboard.publishing.conftest import REPLICATES, World, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

_SEED = 3


@pytest.fixture(scope="module")
def sample_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Runs on the bundled benchmark, published."""
    from baselines.runner import run
    from ffr_eval.uncertainty import Resampling

    world = World(tmp_path_factory.mktemp("oracle"))
    for model, options in (("bm25", {}), ("random", {}), ("tfidf", {"k": "3"}), ("none", {})):
        run(model, options, "ffr-sample", world.runs / model, "test")
    world.publish(resampling=Resampling(REPLICATES, _SEED))
    return world


def _scores(cli: Cli, run: Path, protocol: str, *options: object) -> dict[str, Any]:
    found: dict[str, Any] = cli(
        *("score", run, "--protocol", protocol, "--group-by", ",".join(GROUPINGS), "--ci"),
        *("--replicates", REPLICATES, "--seed", _SEED, "--json", "-", *options),
    ).json
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_figures_are_those_of_ffr_score(sample_world: World, cli: Cli, protocol: str) -> None:
    metrics = ("--metrics", ",".join(BOARD_METRICS))
    scores = _scores(cli, sample_world.runs / "bm25", protocol, *metrics)
    plain = _scores(cli, sample_world.runs / "bm25", protocol)
    rows = sample_world.table("figures", run_id="bm25", protocol=protocol)
    seen = set()
    for row in rows:
        by, name = row["grouping"], row["bucket"]
        found = scores if by == "all" else scores["groups"][by][name]
        metric = row["metric"]
        if metric in ALL_FIGURES:
            average, modality, figure = metric.split(".")
            value = (found[average][modality] or {}).get(figure)
        else:
            value = found["metrics"][metric]
        interval = found["ci95"][metric] or [None, None]
        assert (row["value"], row["lo"], row["hi"]) == (value, *interval), row
        assert row["n_samples"] == found["n_samples"]
        if by == "all" and metric in plain["ci95"]:  # also where no other metrics are asked for
            assert [row["lo"], row["hi"]] == pytest.approx(plain["ci95"][metric] or [None, None])
        seen.add((metric, by, name))
    buckets = {("all", "all")} | {(by, name) for by in GROUPINGS for name in scores["groups"][by]}
    assert seen == {(metric, *bucket) for metric in BOARD_METRICS for bucket in buckets}


@pytest.mark.parametrize("group", [None, "turns=long", "kind=image", "language=zh"])
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_pairs_are_those_of_ffr_compare(
    sample_world: World, cli: Cli, metric: str, group: str | None
) -> None:
    names = sorted(path.name for path in sample_world.runs.iterdir())
    options = () if group is None else ("--group", group)
    found = cli(
        *("compare", *(sample_world.runs / name for name in names), "--metric", metric),
        *("--replicates", REPLICATES, "--seed", _SEED, "--json", "-", *options),
    ).json
    by, _, bucket = (group or "all=all").partition("=")
    where = {"protocol": "strict", "metric": metric, "grouping": by, "bucket": bucket}
    pairs = {(row["a"], row["b"]): row for row in sample_world.table("pairs", **where)}
    assert len(pairs) == len(found["pairs"]) == 6
    for pair in found["pairs"]:
        row = pairs[pair["a"], pair["b"]]
        lo, hi = pair["ci95"] or [None, None]
        assert (row["delta"], row["lo"], row["hi"]) == (pair["delta"], lo, hi)
        for name in ("p", "p_holm", "n_dialogues", "dialogues_needed"):
            assert row[name] == pair[name], name
        assert row["n_samples"] == found["n_samples"]
    figures = {row["run_id"]: row for row in sample_world.table("figures", **where)}
    for run in found["ranks"]:
        row = figures[run["model"]]
        assert [row[n] for n in ("rank_lo", "rank_hi", "tier")] == [
            run[n] for n in ("rank_lo", "rank_hi", "tier")
        ]
        assert row["value"] == pytest.approx(run["value"], nan_ok=True)
    floors = {row["name"]: row["value"] for row in sample_world.table("floors", **where)}
    assert floors == {floor["name"]: floor["value"] for floor in found["floors"]}


def test_wins_are_samples_on_which_runs_disagree(sample_world: World, cli: Cli) -> None:
    found = cli(
        *("compare", sample_world.runs / "bm25", sample_world.runs / "tfidf"),
        *("--replicates", REPLICATES, "--json", "-", "--group", "turns=long"),
    ).json
    (row,) = sample_world.table(
        "pairs", protocol="strict", metric="micro.joint.f1", bucket="long", a="bm25", b="tfidf"
    )
    assert row["wins"] + row["losses"] == found["disagreements"]["n_samples"] > 0
    samples = {
        run: {
            row["sample_id"]: row["f1"]
            for row in sample_world.table("samples", run_id=run, bucket="long")
        }
        for run in ("bm25", "tfidf")
    }
    counted = [
        (value, samples["tfidf"][name])
        for name, value in samples["bm25"].items()
        if value is not None and samples["tfidf"][name] is not None
    ]
    assert row["wins"] == sum(a > b for a, b in counted)
    assert row["ties"] == sum(a == b for a, b in counted)


def test_ranks_are_those_of_ffr_rank(sample_world: World, cli: Cli) -> None:
    names = sorted(path.name for path in sample_world.runs.iterdir())
    runs = [sample_world.runs / name for name in names]
    found = cli("rank", *runs, "--json", "-").json
    rows = sample_world.table("figures", protocol="strict", metric="micro.joint.f1", grouping="all")
    assert {row["run_id"]: row["rank"] for row in rows} == {
        row["run"]: row["rank"] for row in found["rows"]
    }


def test_metrics_that_rank_nothing_have_no_rank(sample_world: World) -> None:
    for metric in BOARD_METRICS:
        ranked = any(row["rank"] for row in sample_world.table("figures", metric=metric))
        assert ranked == (parse_metric(metric).better != "none")


def test_tables_have_their_schema_and_order(sample_world: World) -> None:
    import pyarrow.parquet as pq

    from leaderboard.site.schema import TABLES

    for table in TABLES.values():
        file = pq.ParquetFile(sample_world.site / table.file)
        assert file.schema_arrow.equals(table.schema), table.name
        rows = file.read(columns=list(table.order)).to_pylist()
        keys = [tuple(row.values()) for row in rows]
        assert keys == sorted(keys), table.name
        metadata = file.metadata
        for group in range(metadata.num_row_groups - 1):
            assert metadata.row_group(group).num_rows == table.row_group
        if metadata.num_row_groups:
            assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_samples_agree_with_the_figures(sample_world: World) -> None:
    samples = sample_world.table("samples", run_id="bm25")
    queries = {row["sample_id"]: row for row in rows_of(sample_world.site, "queries")}
    tp, fp, fn = (sum(row[f"utt_{name}"] for row in samples) for name in ("tp", "fp", "fn"))
    (figure,) = sample_world.table(
        "figures", run_id="bm25", protocol="strict", metric="micro.utterance.f1", grouping="all"
    )
    assert figure["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-12)
    for row in samples:
        gold = queries[row["sample_id"]]
        hits = set(gold["gold_utt_ids"]) & set(row["utt_ids"])
        assert len(hits) == row["utt_tp"]
        assert row["row"] == gold["row"]
        assert row["kind"] == gold["kind"]
    macro = [row["f1"] for row in samples if row["f1"] is not None]
    (figure,) = sample_world.table(
        "figures", run_id="bm25", protocol="strict", metric="macro.joint.f1", grouping="all"
    )
    assert figure["value"] == pytest.approx(math.fsum(macro) / len(macro), abs=1e-12)


def test_a_run_without_many_answers_has_no_rank(world: World) -> None:
    file = world.runs / "run-1" / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[:3]:
        line.pop("utt_ids"), line.pop("img_ids")
        line["outcome"] = "request_error"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    world.publish()
    (run,) = world.table("runs", run_id="run-1")
    assert run["incomplete"].startswith("incomplete: ")
    for row in world.table("figures", run_id="run-1", grouping="all"):
        assert row["rank"] is None
        assert row["rank_lo"] is None
        assert row["tier"] is None
    pairs = world.table("pairs", a="run-0", b="run-1", grouping="all")
    assert pairs
    assert all(row["p"] is None and row["p_holm"] is None for row in pairs)
    assert any(row["delta"] is not None for row in pairs)


def test_a_run_that_knows_the_gold_shifts_nobody(world: World) -> None:
    world.publish()
    alone = world.table("figures"), world.table("pairs")
    world.run("zz-oracle", keep=1.0, model="oracle")
    world.publish()
    assert [row["ceiling"] for row in world.table("runs", run_id="zz-oracle")] == [True]
    figures = world.table("figures", run_id="zz-oracle")
    assert figures
    assert {row[name] for row in figures for name in ("rank", "rank_lo", "tier")} == {None}
    assert any(row["value"] == 1 for row in figures)
    rest = [row for row in world.table("figures") if row["run_id"] != "zz-oracle"]
    assert (rest, world.table("pairs")) == alone
