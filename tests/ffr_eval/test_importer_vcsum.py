"""VCSum: counts and gold on real meetings, the order of segments, and wrong files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import Benchmark, read_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = "vcsum"

SHORT_DEV = (
    Path(__file__).resolve().parents[3] / "shared/data/vcsum/vcsum_data/short_dev.txt"
)  # the development data beside the checkout


@pytest.fixture
def imported(cli: Any, tmp_path: Path) -> Callable[..., tuple[Benchmark, str]]:
    """Imports files through the CLI; the benchmark, and what was printed."""

    def run(*sources: Path) -> tuple[Benchmark, str]:
        out = tmp_path / "out"
        printed = cli("data", "import", "vcsum", *sources, "--out", out).out
        cli("data", "check", out)
        return read_benchmark(out), printed

    return run


def segment(name: str, n_turns: int = 2, **changes: Any) -> dict[str, Any]:
    """A line; a change to ``None`` removes the key."""
    record = {
        "id": name,
        "av_num": 7,
        "context": [[f"{name}话{i}，", " 完。 "] for i in range(n_turns)],
        "speaker": [i % 2 + 1 for i in range(n_turns)],
        "discussion": f"总结{name}",
        "agenda": f" 标题{name} ",
        "highlights": [[[0, 1]]],
    } | changes
    return {key: value for key, value in record.items() if value is not None}


@pytest.mark.shared
class TestRealMeetings:
    def test_counts(self, imported: Callable[..., tuple[Benchmark, str]]) -> None:
        benchmark, printed = imported(SHORT_DEV)
        for line in (
            "dialogues     22",
            "queries       135",
            "mean turns    76.8",
            "gold          12.5 utterances, 0.0 images",
            "kinds         utterance 135",
        ):
            assert line in printed
        assert "note:" not in printed
        assert (benchmark.info.language, benchmark.info.licence) == ("zh", "MIT")
        assert "Wu et al." in str(benchmark.info.citation)

    def test_every_turn_is_gold_for_one_headline_of_its_meeting(
        self, imported: Callable[..., tuple[Benchmark, str]]
    ) -> None:
        benchmark, _ = imported(SHORT_DEV)
        gold: dict[str, list[int]] = {}
        for sample in benchmark.samples():
            assert sample.gold is not None
            gold.setdefault(sample.dialogue.dialogue_id, []).extend(sample.gold.utt_ids)
        n_turns = {s.dialogue.dialogue_id: len(s.dialogue.turns) for s in benchmark.samples()}
        assert gold == {name: list(range(count)) for name, count in n_turns.items()}

    def test_gold_turns_hold_the_words_of_the_summary(
        self, imported: Callable[..., tuple[Benchmark, str]]
    ) -> None:
        """Gold that belonged to another headline would drop to the level of other turns."""
        benchmark, _ = imported(SHORT_DEV)
        generator = np.random.default_rng(0)
        in_gold = in_others = wins = 0.0
        for sample in benchmark.samples():
            assert sample.gold is not None
            texts = [turn.text for turn in sample.dialogue.turns]
            others = [i for i in range(len(texts)) if i not in sample.gold.utt_ids]
            chosen = generator.permutation(others)[: len(sample.gold.utt_ids)]
            summary = sample.meta["summary"]
            # Three characters: pairs are in any long talk on the meeting's subject.
            words = {summary[i : i + 3] for i in range(len(summary) - 2)}
            found = [
                sum(word in text for word in words) / len(words)
                for text in (
                    "".join(texts[i] for i in sample.gold.utt_ids),
                    "".join(texts[i] for i in chosen),
                )
            ]
            in_gold += found[0]
            in_others += found[1]
            wins += found[0] > found[1]
        assert in_gold > 2 * in_others
        assert wins > 0.9 * len(benchmark)


def test_segments_are_ordered_by_number_wherever_their_lines_are(
    imported: Callable[..., tuple[Benchmark, str]], jsonl: Callable[..., Path]
) -> None:
    first = jsonl([segment("8_10", 1), segment("9_0", 1), segment("8_2")], "short_train.txt")
    second = jsonl([segment("9_a_0"), segment("8_0", 3), segment("9_2", 1)], "more.txt")
    benchmark, printed = imported(first, second)
    dialogues = {s.dialogue.dialogue_id: s.dialogue for s in benchmark.samples()}
    assert list(dialogues) == ["9_a", "8", "9"]  # in the order in which they were complete
    assert [turn.text for turn in dialogues["8"].turns] == [
        *("8_0话0， 完。", "8_0话1， 完。", "8_0话2， 完。"),
        *("8_2话0， 完。", "8_2话1， 完。", "8_10话0， 完。"),
    ]
    assert [turn.utt_id for turn in dialogues["8"].turns] == [0, 1, 2, 3, 4, 5]
    assert [turn.speaker for turn in dialogues["8"].turns][:2] == ["发言人1", "发言人2"]
    assert dialogues["8"].language == "zh"
    samples = [s for s in benchmark.samples() if s.dialogue.dialogue_id == "8"]
    assert [(s.sample_id, s.query, s.gold and s.gold.utt_ids) for s in samples] == [
        ("8#0", "标题8_0", (0, 1, 2)),
        ("8#1", "标题8_2", (3, 4)),
        ("8#2", "标题8_10", (5,)),
    ]
    assert samples[1].meta == {"segment": "8_2", "summary": "总结8_2"}
    assert "note: 1 meetings have a single segment" in printed
    stored = (benchmark.root or Path()) / "dialogues.jsonl"
    records = map(json.loads, stored.read_text(encoding="utf-8").splitlines())
    metas = {record["dialogue_id"]: record["meta"] for record in records}
    assert metas["8"] == {"av_num": 7}


def test_what_is_optional(
    imported: Callable[..., tuple[Benchmark, str]], jsonl: Callable[..., Path]
) -> None:
    bare = segment("1_0", discussion=None, av_num=None, highlights=None, speaker=["主持人", 2])
    benchmark, _ = imported(jsonl([bare, segment("1_1", context=[["a"], []])], "bare.txt"))
    sample = benchmark.sample(0)
    assert sample.meta == {"segment": "1_0"}
    assert [turn.speaker for turn in sample.dialogue.turns][:2] == ["主持人", "发言人2"]
    assert sample.dialogue.turns[3].text == ""


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"agenda": None}, "agenda"),
        ({"agenda": " "}, "agenda"),
        ({"agenda": 3}, "agenda"),
        ({"context": None}, "context"),
        ({"context": [], "speaker": []}, "context"),
        ({"context": [["a"], "b"]}, "context[1]"),
        ({"context": [["a"], [1]]}, "context[1][0]"),
        ({"speaker": None}, "speaker"),
        ({"speaker": [1]}, "speaker"),
        ({"speaker": [1, 2, 3]}, "speaker"),
        ({"speaker": [1, None]}, "speaker[1]"),
        ({"id": None}, "id"),
        ({"id": 3}, "id"),
        ({"id": "3"}, "id"),
        ({"id": "_3"}, "id"),
        ({"id": "3_b"}, "id"),
        ({"id": "1_0"}, "id"),
        ({"id": "1_00"}, "id"),
    ],
)
def test_a_wrong_line_is_named(
    refused: Callable[..., str], jsonl: Callable[..., Path], changes: dict[str, Any], field: str
) -> None:
    file = jsonl([segment("1_0"), segment("1_1", **changes)], "short_dev.txt")
    assert f"{file}:2: {field}: " in refused(file)


def test_a_segment_in_two_files_names_both_places(
    refused: Callable[..., str], jsonl: Callable[..., Path]
) -> None:
    first = jsonl([segment("1_0")], "a.txt")
    second = jsonl([segment("2_0"), segment("1_0")], "b.txt")
    message = refused(first, second)
    assert f"{second}:2: id: " in message
    assert f"first in {first}:1" in message


def test_files_of_whole_meetings_are_refused_with_the_right_ones_named(
    refused: Callable[..., str], jsonl: Callable[..., Path]
) -> None:
    whole = {"id": "13", "av_num": 1, "eos_index": [11, 62], "summary": "此次会议"}
    message = refused(jsonl([whole], "long_dev.txt"))
    assert "id: '13'" in message
    assert "short_*.txt" in message


def test_a_file_without_segments_is_refused(
    refused: Callable[..., str], jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    assert "no segments" in refused(jsonl([], "empty.txt"))
    assert "no such file" in refused(tmp_path / "none.txt")


def test_a_line_that_was_cut_is_refused(
    refused: Callable[..., str], jsonl: Callable[..., Path]
) -> None:
    cut = json.dumps(segment("1_1"))[:-30]
    file = jsonl([segment("1_0"), cut], "short_dev.txt", end="\n")
    assert f"{file}:2: " in refused(file)
