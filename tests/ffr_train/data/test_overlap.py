"""Training data that are evaluation data as well."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_train.data import read_manifest
from ffr_train.data.overlap import find_overlap, jaccard, other_splits, pieces_of, training_set
from tests.ffr_train.data.conftest import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result
    from tests.ffr_train.data.conftest import Dialogues

_ENGLISH = [f"word{i}" for i in range(400)]
_CHINESE = [chr(0x4E00 + i) for i in range(600)]


def english(seed: int, n_turns: int = 20) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(_ENGLISH, k=8)) for _ in range(n_turns)]


def chinese(seed: int, n_turns: int = 20) -> list[str]:
    drawn = random.Random(seed)
    return ["".join(drawn.choices(_CHINESE, k=12)) + "。" for _ in range(n_turns)]


def ids(folder: Path) -> list[str]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["sample_id"] for line in lines]


@pytest.fixture
def leaky(dialogues: Dialogues) -> Path:
    """Two of five training dialogues are in the test split, with a turn changed."""
    zh, en = chinese(1), english(2)
    return dialogues(
        "leaky",
        [
            ("zh", "train", zh),
            ("en", "train", en),
            ("zh-own", "train", chinese(3)),
            ("en-own", "train", english(4)),
            ("half", "train", [*english(5)[:10], *english(6)[:10]]),
            ("zh-test", "test", [*zh[:-1], "完全不同的一句话"]),
            ("en-dev", "dev", [line.upper() + " !" for line in en]),
            ("half-test", "test", [*english(5)[:10], *english(7)[:10]]),
        ],
    )


def test_samples_of_the_evaluation_data_are_left_out(
    make: Callable[..., Result], leaky: Path, tmp_path: Path
) -> None:
    result = make(leaky)
    assert result.code == 0, result.err
    assert "overlap   2 samples on 2 dialogues" in result.out
    assert ids(tmp_path / "out") == ["zh-own#0", "en-own#0", "half#0"]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.counts["dropped_overlap"] == 2
    pairs = manifest.overlap["pairs"]
    assert [(pair["dialogue_id"], pair["other_dialogue_id"]) for pair in pairs] == [
        ("zh", "zh-test"),
        ("en", "en-dev"),
    ]
    assert pairs[1]["similarity"] == 1.0
    assert 0.8 <= pairs[0]["similarity"] < 1.0
    assert [pair["splits"] for pair in pairs] == [["test"], ["dev"]]
    report = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "zh-test" in report


def test_they_can_be_kept_or_refused(
    make: Callable[..., Result], leaky: Path, tmp_path: Path
) -> None:
    refused = make(leaky, "sft", "--overlap", "refuse")
    assert refused.code == 2
    assert "2 dialogues with 2 samples are in the evaluation data" in refused.err
    assert "'zh'" in refused.err
    assert not (tmp_path / "out").exists()
    assert make(leaky, "sft", "--overlap", "keep").code == 0
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.n_rows, manifest.overlap["samples"]) == (5, 2)


def test_a_lower_similarity_finds_more(
    make: Callable[..., Result], leaky: Path, tmp_path: Path
) -> None:
    assert make(leaky, "sft", "--similarity", 0.3).code == 0
    assert ids(tmp_path / "out") == ["zh-own#0", "en-own#0"]


def test_other_benchmarks_but_not_their_training_splits(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    mine = [(f"d{i}", "train", english(i)) for i in range(3)]
    benchmark = dialogues("mine", mine)
    other = dialogues("other", [("x", "test", english(1)), ("y", "train", english(2))])
    result = make(benchmark, "sft", "--check-against", other, "--check-against", benchmark)
    assert result.code == 0
    assert ids(tmp_path / "out") == ["d0#0", "d2#0"]
    against = read_manifest(tmp_path / "out").overlap["against"]
    assert [(one["benchmark"], one["splits"], one["dialogues"]) for one in against] == [
        ("other", ["test"], 1)
    ]


def test_a_dialogue_in_two_splits(dialogues: Dialogues, tmp_path: Path) -> None:
    folder = dialogues("two", [("d", "train", ["?!"]), ("e", "test", english(1))])
    queries = folder / "queries.jsonl"
    line = json.loads(queries.read_text(encoding="utf-8").splitlines()[0])
    line |= {"sample_id": "d#1", "split": "test"}
    with queries.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    benchmark = read_benchmark(folder)
    found = find_overlap(training_set(benchmark, "train"), [other_splits(benchmark, "train")], 0.8)
    assert [(pair.dialogue_id, pair.splits) for pair in found.pairs] == [("d", ("test",))]


def test_equal_image_files_are_reported_and_kept(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    shared = picture(tmp_path / "shared.png", (60, 50), seed=1)
    own = picture(tmp_path / "own.png", (60, 50), seed=2)
    benchmark = dialogues(
        "pictures",
        [("a", "train", english(1)), ("b", "train", english(2)), ("t", "test", english(3))],
        a=shared,
        b=own,
        t=shared,
    )
    result = make(benchmark)
    assert result.code == 0
    assert "1 training images are in the evaluation data" in result.out
    overlap = read_manifest(tmp_path / "out").overlap
    assert (overlap["images"], overlap["images_compared"], overlap["dialogues"]) == (1, 2, 0)
    assert overlap["image_pairs"][0]["dialogue_id"] == "a"
    assert ids(tmp_path / "out") == ["a#0", "b#0"]


def test_without_anything_to_compare_with(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    assert make(dialogues("alone", [("a", "train", english(1))])).code == 0
    assert "Nothing to compare with" in (tmp_path / "out/report.md").read_text(encoding="utf-8")


def test_near_duplicates_are_found_and_others_are_not(dialogues: Dialogues) -> None:
    """200 dialogues in both languages, a fifth of them with a copy of which a part is changed."""
    drawn = random.Random(0)
    made: list[tuple[str, str, Any]] = []
    expected = {}
    for i in range(200):
        texts = (english if i % 2 else chinese)(1000 + i)
        made.append((f"d{i}", "train", texts))
        if i % 5 == 0:
            changed = list(texts)
            for place in drawn.sample(range(20), drawn.randint(0, 6)):
                changed[place] = (english if i % 2 else chinese)(5000 + i * 30 + place, 1)[0]
            similar = jaccard(pieces_of(texts), pieces_of(changed))
            if similar >= 0.7:
                expected[f"d{i}"] = similar
            made.append((f"t{i}", "test", changed))
    benchmark = read_benchmark(dialogues("many", made))
    train, test = training_set(benchmark, "train"), other_splits(benchmark, "train")
    found = find_overlap(train, [test], 0.7)
    similarities = {pair.dialogue_id: pair.similarity for pair in found.pairs}
    assert similarities == pytest.approx(expected)
    assert 10 < len(expected) < 40
    assert find_overlap(train, [test], 0.7) == found


def test_pieces() -> None:
    def share(one: str, other: str) -> float:
        return jaccard(pieces_of([one]), pieces_of([other]))

    assert share("The cat, sleeps here!", "the CAT sleeps here") == 1.0
    assert share("a b c d", "a b c e") == pytest.approx(1 / 3)
    assert share("我们去看电影吧", "我们去看电影吧！") == 1.0
    assert share("我们去看电影吧", "我们去看画展吧") == pytest.approx(2 / 8)
    assert share("ＡＢＣ １２３ x", "abc 123 x") == 1.0  # full width
    assert share("hello", "hello") == 1.0
    assert share("hello", "hello there") == 0.0
    assert len(pieces_of(["…", "?!", ""])) == 0
    assert jaccard(pieces_of(["?"]), pieces_of(["!"])) == 0.0
    assert share("a\ud800b c d", "a\ud800b c d") == 1.0  # half of a pair
