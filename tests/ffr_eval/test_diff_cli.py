"""``ffr diff`` as a user calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """One dialogue of 30 turns, image 0 in turn 4 and image 1 in turn 20."""
    folder = tmp_path / "thirty"
    with BenchmarkWriter(folder, InfoRecord(name="thirty")) as writer:
        images = {4: (0,), 20: (1,)}
        turns = tuple(TurnRecord(i, "Ann", f"turn {i}.", images.get(i, ())) for i in range(30))
        shown = (ImageRecord(0, caption="a boat"), ImageRecord(1, url="https://example.org/1.jpg"))
        writer.add_dialogue(DialogueRecord("d", turns, shown))
        writer.add_query(QueryRecord("d#0", "d", "the boat", (3, 4), (0,)))
        writer.add_query(QueryRecord("d#1", "d", "nothing", (), ()))
        writer.add_query(QueryRecord("d#2", "d", "later", (29,), (), "dev"))
    return folder


@pytest.fixture
def files(jsonl: Callable[..., Path]) -> list[Path]:
    first = [{"sample_id": "d#0", "utt_ids": [4, 15, 99, 15], "img_ids": [0]}]
    second = [{"sample_id": "d#0", "utt_ids": [3, 4], "img_ids": [1]}]
    return [jsonl(first, "first.jsonl"), jsonl(second, "second.jsonl")]


def marks(shown: str) -> dict[str, tuple[str, str]]:
    """The marks before each turn and image, by its id."""
    lines = shown.split("G A B", 1)[1].splitlines()[1:]
    found = {}
    for line in lines:
        if "…" in line or not line.strip() or " ids: " in line:
            continue
        head, text = line[:6], line[6:].split()
        name = " ".join(text[:2]).rstrip("]") if text[0].startswith("[image") else text[0]
        found[name] = (head, " ".join(text))
    return found


def test_gold_and_both_answers_are_marked(cli: Any, benchmark: Path, files: list[Path]) -> None:
    shown = cli("diff", *files, "--sample", "d#0", "--benchmark", benchmark).out
    found = {name: head for name, (head, _) in marks(shown).items() if head.strip()}
    assert found == {
        "3": "G – ✓ ",
        "4": "G ✓ ✓ ",
        "[image 0": "G ✓ – ",
        "15": "  ✗   ",
        "[image 1": "    ✗ ",
    }
    assert "[image 0] a boat (no file)" in shown
    assert "(https://example.org/1.jpg)" in shown
    assert "A invented utterance ids: 99" in shown
    assert "A repeated utterance ids: 15" in shown
    assert "B invented" not in shown
    assert "the boat" in shown


def test_stretches_without_marks_are_folded(cli: Any, benchmark: Path, files: list[Path]) -> None:
    def turns(*options: object) -> tuple[list[int], list[str]]:
        shown = cli("diff", *files, "--sample", "d#0", "--benchmark", benchmark, *options).out
        gaps = [line.strip() for line in shown.splitlines() if line.strip().startswith("…")]
        return [int(name) for name in marks(shown) if name.isdigit()], gaps

    assert turns() == (
        [1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22],
        ["… 1 turn …", "… 6 turns …", "… 7 turns …"],
    )
    assert turns("--around", "0") == (
        [3, 4, 15, 20],
        ["… 3 turns …", "… 10 turns …", "… 4 turns …", "… 9 turns …"],
    )
    assert turns("--all") == (list(range(30)), [])


def test_figures_and_outcomes_are_those_of_the_sample(
    cli: Any, benchmark: Path, files: list[Path]
) -> None:
    shown = cli("diff", *files, "--sample", "d#0", "--benchmark", benchmark).out
    lines = [line.split() for line in shown.splitlines()]
    first = next(place for place, line in enumerate(lines) if line[:2] == ["A", "first.jsonl"])
    assert lines[first][2:7] == ["ok", "utterance", "0.333", "0.500", "0.400"]
    assert lines[first + 1][:4] == ["image", "1.000", "1.000", "1.000"]
    assert lines[first + 2][:4] == ["joint", "0.500", "0.667", "0.700"]
    shown = cli("diff", *files, "--sample", "d#1", "--benchmark", benchmark).out
    assert "gold: none (a negative query)" in shown
    assert shown.count("missing") == 2
    assert "… 30 turns …" in shown
    assert "✗" not in shown.split("G A B")[1]


def test_answers_are_read_again_as_for_the_figures(
    cli: Any, jsonl: Callable[..., Path], benchmark: Path
) -> None:
    """Ids come from the response where there is one; what is no answer marks nothing."""
    from ffr_eval.markup import answer_text

    text = answer_text([3], [0])
    parsed = {"sample_id": "d#0", "outcome": "ok", "utt_ids": [29], "response": text}
    failed = {"sample_id": "d#0", "outcome": "refusal", "utt_ids": [], "response": text}
    files = [jsonl([parsed], "parsed.jsonl"), jsonl([failed], "failed.jsonl")]
    shown = cli("diff", *files, "--sample", "d#0", "--benchmark", benchmark).out
    found = {name: head for name, (head, _) in marks(shown).items() if head.strip()}
    assert found == {"3": "G ✓ – ", "4": "G – – ", "[image 0": "G ✓ – "}
    assert "refusal" in shown


def test_run_folders_and_colour(ffr: Callable[..., Any], tmp_path: Path) -> None:
    for model in ("oracle", "all"):
        made = ffr("run", model, "ffr-sample", "--split", "test", "--out", tmp_path / model)
        assert made.code == 0
    runs = (tmp_path / "oracle", tmp_path / "all")
    plain = ffr("diff", *runs, "--sample", "en-02#2")
    assert (plain.code, "\x1b" in plain.out) == (0, False)
    assert "✓ ✓" in plain.out
    assert "missed" in plain.out
    assert plain.out.count("✗") > 5
    coloured = ffr("diff", *runs, "--sample", "en-02#2", FORCE_COLOR="1", COLUMNS="160")
    assert "\x1b[32m" in coloured.out
    assert "\x1b[31m" in coloured.out


def test_text_of_users_does_not_control_the_terminal(
    cli: Any, jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    with BenchmarkWriter(tmp_path / "odd", InfoRecord(name="odd")) as writer:
        turns = tuple(TurnRecord(i, "\x1b[2JS", f"\x1b[31m[red]:smile:\n{i}", (i,)) for i in (0, 1))
        images = tuple(ImageRecord(i, caption="\x07[bold]") for i in (0, 1))
        writer.add_dialogue(DialogueRecord("d", turns, images))
        writer.add_query(QueryRecord("d#0", "d", "\x1b]0;title\x07[red]", (1,), ()))
    files = [
        jsonl([{"sample_id": "d#0", "utt_ids": [1], "img_ids": []}], f"{name}.jsonl")
        for name in "ab"
    ]
    shown = cli("diff", *files, "--sample", "d#0", "--benchmark", tmp_path / "odd").out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\\x1b[31m[red]:smile:" in shown


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        ("d#9", (), "did you mean 'd#0'"),
        ("d", (), "'d' is a dialogue, not a sample"),
        ("d#2", ("--split", "test"), "sample 'd#2' is not of split test"),
        ("d#0", ("--split", "nope"), "no split 'nope'"),
        ("d#0", ("--around", "-1"), "-1 is not in the range"),
    ],
)
def test_wrong_words_are_refused(
    cli: Any, benchmark: Path, files: list[Path], sample: str, options: Any, message: str
) -> None:
    args = ("diff", *files, "--sample", sample, "--benchmark", benchmark, *options)
    error = cli.refused(*args)
    if sample != "d#9":
        assert message in error
    else:
        assert "did you mean" in error
        assert "'d#0'" in error


def test_files_that_cannot_be_shown_are_refused(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any], files: list[Path]
) -> None:
    assert "--benchmark" in cli.refused("diff", *files, "--sample", "d#0")
    records = [inference("x")]
    two = [jsonl(records, "a.jsonl"), jsonl(records, "b.jsonl")]
    error = cli.refused("diff", *two, "--sample", "d#0")
    assert "an inference file has no dialogues to show" in error
    assert "`ffr data import mswift`" in error
    assert "is given twice" in cli.refused("diff", two[0], two[0], "--sample", "d#0")
    assert "Missing option '--sample'" in cli.refused("diff", *files)
