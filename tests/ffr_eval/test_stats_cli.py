"""`ffr data stats`: figures that can be counted by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.benchmark.statistics import count_words, describe, measure, topic_counts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


@pytest.fixture
def scattered(tmp_path: Path) -> Path:
    """Ten turns whose ids are not their places: 0, 10, … 90."""
    turns = tuple(TurnRecord(10 * i, "ABC"[i % 3], "two words") for i in range(9))
    last = TurnRecord(90, "", "", (0,))
    topics = [{"title": "t", "utt_ids": [0]}, {"title": "u", "utt_ids": [90]}]
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="in")) as writer:
        writer.add_dialogue(
            DialogueRecord("d", (*turns, last), (ImageRecord(0),), "en", {"topics": topics})
        )
        writer.add_dialogue(DialogueRecord("e", (TurnRecord(0, "A", "一二 three"),)))
        writer.add_query(QueryRecord("single", "d", "q", (40,), ()))
        writer.add_query(QueryRecord("dense", "d", "q", (10, 20, 30), (0,)))
        writer.add_query(QueryRecord("scattered", "d", "q", (0, 90), ()))
        writer.add_query(QueryRecord("none", "d", "q", (), (), "dev"))
    return tmp_path / "in"


def test_gold_and_its_places(scattered: Path) -> None:
    values = measure(read_benchmark(scattered))
    assert values.dispersion.tolist() == [1.0, 1.0, 5.0]
    assert values.position.tolist() == pytest.approx([0.45, 0.15, 0.25, 0.35, 0.05, 0.95])
    assert values.gold_utts.tolist() == [1, 3, 2, 0]
    assert values.gold_imgs.tolist() == [0, 1, 0, 0]


def test_dialogues_and_turns(scattered: Path) -> None:
    found = describe(measure(read_benchmark(scattered), topics=topic_counts(scattered)))
    assert (found.n_dialogues, found.n_turns, found.n_images) == (2, 11, 1)
    turns = found.turns_per_dialogue
    assert (turns.mean, turns.median, turns.min, turns.max) == (5.5, 5.5, 1, 10)
    assert found.speakers_per_dialogue.mean == 2.0  # three, and one; who has no name is no speaker
    assert found.words_per_turn.max == 3
    assert found.topics_per_dialogue is not None
    assert (found.topics_per_dialogue.n, found.topics_per_dialogue.mean) == (1, 2.0)
    assert found.languages == {"en": 1, "unknown": 1}


def test_one_split(scattered: Path) -> None:
    found = describe(measure(read_benchmark(scattered), "dev"))
    assert (found.n_dialogues, found.n_queries) == (1, 1)
    assert found.kinds == {"negative": 1}
    assert (found.gold_dispersion.n, found.gold_dispersion.mean) == (0, None)
    assert found.topics_per_dialogue is None


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("two words", 2),
        ("don't well-known, 3.5!", 4),
        ("我有3个apple", 5),
        ("こんにちは", 5),
        ("🙂 …", 0),
        ("une idée", 2),
    ],
)
def test_words(text: str, n: int) -> None:
    assert count_words(text) == n


def test_length_buckets_have_the_papers_edges(tmp_path: Path) -> None:
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="in")) as writer:
        for n_turns in (34, 35, 65, 66):
            turns = tuple(TurnRecord(i) for i in range(n_turns))
            writer.add_dialogue(DialogueRecord(f"d{n_turns}", turns))
        writer.add_query(QueryRecord("q", "d34", "q", (), ()))
    found = describe(measure(read_benchmark(tmp_path / "in")))
    assert found.lengths == {"short": 1, "medium": 2, "long": 1}


def test_the_command_prints_and_writes(cli: Cli, lengths: Path, tmp_path: Path) -> None:
    result = cli("data", "stats", lengths, "--json", tmp_path / "s.json")
    for line in ("turns per dialogue", "not tagged", "WeChat-MDR", "75.38", "MLDR", "25.45"):
        assert line in result.out
    found = cli("data", "stats", lengths, "--json", "-", "--split", "dev").json
    assert (found["n_queries"], found["n_dialogues"], found["split"]) == (1, 1, "dev")
    assert found["gold_position"]["mean"] == pytest.approx(69.5 / 70)
    assert found["topics_per_dialogue"] is None


@pytest.mark.parametrize(
    ("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_figure(cli: Cli, tmp_path: Path, suffix: str, begin: bytes) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"a.{suffix}"
    cli("data", "stats", "ffr-sample", "--plot", file)
    assert file.read_bytes().startswith(begin)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    if suffix == "svg":
        text = file.read_text(encoding="utf-8")
        assert "turns per dialogue" in text
        assert "gold span / gold size" in text


def test_a_figure_of_almost_nothing(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="$数据\x1b$")) as writer:
        writer.add_dialogue(DialogueRecord("d", (TurnRecord(0),)))
        writer.add_query(QueryRecord("q", "d", "q", (), ()))
    result = cli("data", "stats", tmp_path / "in", "--plot", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert "\x1b" not in result.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--plot", "a.gif"], ".gif"),
        (["--plot", "nowhere/a.png"], "no such folder"),
        (["--split", "none"], "no split 'none'"),
    ],
)
def test_mistakes(cli: Cli, args: list[str], said: str) -> None:
    assert said in cli.refused("data", "stats", "ffr-sample", *args)


def test_five_thousand_dialogues(tmp_path: Path) -> None:
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="in")) as writer:
        turns = tuple(
            TurnRecord(i, "AB"[i % 2], "some words of a turn 和一些字") for i in range(40)
        )
        for name in map(str, range(5000)):
            writer.add_dialogue(DialogueRecord(name, turns))
            writer.add_query(QueryRecord(name, name, "q", (3, 5, 30), ()))
    benchmark = read_benchmark(tmp_path / "in")
    began = time.perf_counter()
    found = describe(measure(benchmark, topics=topic_counts(tmp_path / "in")))
    assert time.perf_counter() - began < 10
    assert found.gold_dispersion.mean == pytest.approx(28 / 3)
    assert np.isclose(found.words_per_turn.mean or 0, 9)
