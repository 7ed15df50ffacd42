"""`ffr data export datasets`: the library loads what we wrote, offline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    iter_dialogues,
    read_benchmark,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Cli

datasets = pytest.importorskip("datasets")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.utils.logging.disable_progress_bar()

    def load(folder: Path, *args: Any, **named: Any) -> Any:
        return datasets.load_dataset(str(folder), *args, cache_dir=str(tmp_path / "c"), **named)

    return load


def test_queries_and_dialogues_are_the_benchmark_s(
    cli: Cli, tmp_path: Path, load: Callable[..., Any]
) -> None:
    cli("data", "export", "datasets", "ffr-sample", "--out", tmp_path / "hub")
    benchmark = read_benchmark("ffr-sample")
    assert benchmark.root is not None
    for split in benchmark.splits:
        rows = load(tmp_path / "hub", "queries", split=split)
        samples = list(benchmark.samples(split))
        assert rows["sample_id"][:] == [sample.sample_id for sample in samples]
        for row, sample in zip(rows, samples, strict=True):
            gold = sample.gold
            assert gold is not None
            assert (row["query"], row["kind"]) == (sample.query, sample.kind)
            assert (row["gold_utt_ids"], row["gold_img_ids"]) == (
                list(gold.utt_ids),
                list(gold.img_ids),
            )
            assert json.loads(row["meta"] or "{}") == sample.meta
    dialogues = load(tmp_path / "hub", "dialogues")["dialogues"]
    assert len(dialogues) == len(benchmark.dialogues)
    for row, located in zip(dialogues, iter_dialogues(benchmark.root), strict=True):
        record = located.record
        assert (row["dialogue_id"], row["language"]) == (record.dialogue_id, record.language)
        assert [(turn["utt_id"], turn["text"], turn["time"]) for turn in row["turns"]] == [
            (turn.utt_id, turn.text, turn.time) for turn in record.turns
        ]
        assert [tuple(turn["images"]) for turn in row["turns"]] == [
            turn.images for turn in record.turns
        ]
        assert [image["caption"] for image in row["images"]] == [
            image.caption for image in record.images
        ]
        assert all(image["image"].size[0] > 100 for image in row["images"])


def test_the_bytes_of_the_images_are_the_files(
    cli: Cli, tmp_path: Path, load: Callable[..., Any]
) -> None:
    cli("data", "export", "datasets", "ffr-sample", "--out", tmp_path / "hub")
    table = load(tmp_path / "hub", "dialogues", split="dialogues").data.to_pylist()
    benchmark = read_benchmark("ffr-sample")
    files = [
        image.file
        for row in range(len(benchmark.dialogues))
        for image in benchmark.dialogue(row).images
    ]
    found = [image["image"]["bytes"] for row in table for image in row["images"]]
    assert found == [file.read_bytes() for file in files if file is not None]


def test_the_card(cli: Cli, tmp_path: Path) -> None:
    cli("data", "export", "datasets", "ffr-sample", "--out", tmp_path / "hub", "--split", "dev")
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    benchmark = read_benchmark("ffr-sample")
    assert "license: cc-by-4.0" in card
    assert str(benchmark.info.citation) in card
    assert benchmark.content_hash in card
    assert "path: queries/dev/*.parquet" in card
    assert "queries/test" not in card
    assert not (tmp_path / "hub" / "queries" / "test").exists()


def test_images_without_a_sound_file(cli: Cli, tmp_path: Path, load: Callable[..., Any]) -> None:
    (tmp_path / "bad.png").write_bytes(b"not an image")
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="a: b\n# c", licence="My own")) as writer:
        bad = writer.add_image_file(ImageRecord(0), tmp_path / "bad.png", "bad.png")
        gone = ImageRecord(3, url="https://x.org/3.png", caption='a "caption"')
        turns = (TurnRecord(0, "S", "t", (0, 3)),)
        writer.add_dialogue(DialogueRecord("d", turns, (bad, gone), meta={"topics": []}))
        writer.add_dialogue(DialogueRecord("alone", (TurnRecord(5),)))
        writer.add_query(QueryRecord("d#0", "d", "q", (), ()))
    said = cli("data", "export", "datasets", tmp_path / "in", "--out", tmp_path / "hub").out
    assert "1 images have no file" in said
    assert "bad.png" in said
    row, alone = load(tmp_path / "hub", "dialogues", split="dialogues")
    assert [image["image"] for image in row["images"]] == [None, None]
    assert [image["url"] for image in row["images"]] == [None, "https://x.org/3.png"]
    assert alone["images"] == []
    assert load(tmp_path / "hub", "queries", split="test")[0]["gold_utt_ids"] == []


def test_many_dialogues_go_into_several_files(
    cli: Cli, tmp_path: Path, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ffr_eval.exporters import hf_datasets

    monkeypatch.setattr(hf_datasets, "_SHARD_ROWS", 4)
    cli("data", "export", "datasets", "ffr-sample", "--out", tmp_path / "hub")
    n_dialogues = len(read_benchmark("ffr-sample").dialogues)
    assert len(list((tmp_path / "hub" / "dialogues").iterdir())) == -(-n_dialogues // 4)
    names = load(tmp_path / "hub", "dialogues", split="dialogues")["dialogue_id"][:]
    assert names == read_benchmark("ffr-sample").dialogues.dialogue_id


def test_a_split_name_that_the_library_has_not(cli: Cli, tmp_path: Path) -> None:
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="in")) as writer:
        writer.add_dialogue(DialogueRecord("d", (TurnRecord(0),)))
        writer.add_query(QueryRecord("d#0", "d", "q", (), (), "my split"))
    error = cli.refused("data", "export", "datasets", tmp_path / "in", "--out", tmp_path / "hub")
    assert "'my split'" in error
    assert not (tmp_path / "hub").exists()


def test_nothing_is_replaced(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    error = cli.refused("data", "export", "datasets", "ffr-sample", "--out", tmp_path / "hub")
    assert "already exists" in error
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
