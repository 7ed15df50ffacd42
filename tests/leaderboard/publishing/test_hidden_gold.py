"""Of benchmarks with hidden gold, only aggregates are public, and stay the only ones."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from ffr_eval.benchmark import read_benchmark
from leaderboard.publishing.check import check_site
from leaderboard.publishing.hidden import HiddenGold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.leaderboard.publishing.conftest import World


def _public_text(site: Path) -> str:
    """Everything that is served, and what Parquet and gzip hold."""
    found = [(site / "manifest.json").read_text()]
    for path in sorted((site / "public").rglob("*")):
        if path.suffix == ".parquet":
            found.append(json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False))
        elif path.suffix == ".gz":
            found.append(gzip.decompress(path.read_bytes()).decode())
        elif path.is_file() and path.suffix != ".webp":
            found.append(path.read_text())
    return "\n".join(found)


def _marked(world: World) -> dict[str, list[int]]:
    """Give every sample's gold and predictions numbers that stand nowhere else."""
    file = world.bench / "dialogues.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for number, record in enumerate(records):
        for turn in record["turns"]:
            turn["utt_id"] += 5_000 + 100 * number
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    queries = world.bench / "queries.jsonl"
    found = {}
    rows = [json.loads(line) for line in queries.read_text().splitlines()]
    for row in rows:
        number = int(row["dialogue_id"][1:])
        row["gold_utt_ids"] = [i + 5_000 + 100 * number for i in row["gold_utt_ids"]]
        found[row["sample_id"]] = row["gold_utt_ids"]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for run in ("run-0", "run-1", "run-2"):
        world.run(run, seed=int(run[-1]), keep=0.8, text=run == "run-0")
    return found


def _seen(world: World, gold: list[list[int]]) -> list[list[int]]:
    """Which lists of gold ids can be read off what is public."""
    text = _public_text(world.site)
    return [
        ids for ids in gold if any(between.join(map(str, ids)) in text for between in (", ", ","))
    ]


def test_nothing_of_single_samples_is_public(world: World) -> None:
    gold = _marked(world)
    several = [ids for ids in gold.values() if len(ids) > 1]
    world.publish()
    assert _seen(world, several) == several  # the test sees what it looks for
    world.publish(hidden_gold=["small"])
    assert _seen(world, several) == []
    assert "run-1.jsonl.gz" not in "".join(p.name for p in (world.site / "public").rglob("*"))
    for table in ("samples", "answers", "prompts"):
        assert world.table(table) == []
    queries = world.table("queries")
    assert [row["query"] for row in queries] == [
        sample.query for sample in read_benchmark(world.bench).samples("test")
    ]
    for row in queries:
        assert row["kind"] is row["gold_utt_ids"] is row["gold_img_ids"] is None
    assert world.table("figures")
    assert world.table("pairs")
    assert world.table("boards")[0]["hidden_gold"] is True
    for run in ("run-0", "run-1", "run-2"):
        assert check_site(world.site, run).wrong == ()


def test_what_is_hidden_stays_hidden(world: World) -> None:
    world.publish(hidden_gold=["small:test"])
    world.run("run-3", seed=3)
    world.publish()
    assert world.table("samples") == []
    assert world.table("boards")[0]["hidden_gold"] is True


def test_a_board_of_all_samples_would_show_the_hidden_split(world: World) -> None:
    world.run("all", split=None)
    world.run("dev", split="dev")
    world.publish(hidden_gold=["small:test"])
    boards = {row["split"]: row["hidden_gold"] for row in world.table("boards")}
    assert boards == {None: True, "dev": False, "test": True}
    assert {row["run_id"] for row in world.table("samples")} == {"dev"}


def test_another_name_does_not_show_it(world: World) -> None:
    world.publish(hidden_gold=["small:test"])
    run = world.run("all", split=None)
    record = json.loads((run / "run.json").read_text())
    record["benchmark"]["name"] = "renamed"
    (run / "run.json").write_text(json.dumps(record))
    world.publish()
    assert [row["hidden_gold"] for row in world.table("boards")] == [True, True]
    assert world.table("samples") == []


def test_examples_in_prompts_do_not_show_a_hidden_split(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.publishing import samples

    def render(record: object, benchmark: object, predictions: dict[str, object]) -> object:
        for name in predictions:
            yield {"sample_id": name, "requests": [{"part": 0, "text": "GOLD"}], "exact": True}

    monkeypatch.setattr(samples.plugins, "registered", lambda group: {"fake": None})
    monkeypatch.setattr(samples.plugins, "load", lambda *args: render)
    world.run("dev", split="dev", options={"shots": 2}, prompt_hash="sha256:1", tune_on="test")
    world.publish(world.runs / "dev")
    assert len(world.table("prompts")) == 1
    world.run("x", seed=5)
    world.publish(hidden_gold=["small:test"])
    assert world.table("prompts") == []
    notes = {row["prompt_note"] for row in world.table("answers", run_id="dev")}
    assert notes == {"its examples are of a split whose gold is hidden"}


@pytest.mark.parametrize("name", ["smal", "small:tset", "sha256:00000000", "other"])
def test_a_name_that_hides_nothing_is_refused(world: World, cli: Cli, name: str) -> None:
    err = cli.refused("publish", world.runs, "--site", world.site, "--hidden-gold", name)
    assert "is not a benchmark of any run" in err
    assert "small:test" in err
    assert not world.site.exists()


def test_a_benchmark_can_be_named_in_several_ways(world: World) -> None:
    content = read_benchmark(world.bench).content_hash
    for text in (
        "small",
        content,
        content[7:15],
        f"{content}:test",
        str(world.bench),
        "small:test",
    ):
        assert HiddenGold.of(text).hides("small", content, "test"), text
        assert HiddenGold.of(text).hides("small", content, None), text
    assert not HiddenGold.of("small:test").hides("small", content, "dev")
    assert not HiddenGold.of("small").hides("smaller", "sha256:1234", "test")
