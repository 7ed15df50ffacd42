"""The walk-through of docs/training.md, executed as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.runs import read_run

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
CHAPTER = "## A walk-through on a CPU"
LONGEST = 20 * 60  # seconds
SERVES = "ffr board"
"""What does not end by itself: it is asked for its help only."""


@dataclass(frozen=True)
class Walk:
    """A folder where all commands of the page were given.

    Attributes:
        folder: Where.
        said: What each command printed, by its words.
        seconds: How long all of them took.
    """

    folder: Path
    said: dict[tuple[str, ...], str]
    seconds: float

    def of(self, *words: str) -> str:
        """What the commands that begin so printed."""
        found = [text for command, text in self.said.items() if command[: len(words)] == words]
        assert found, words
        return "\n".join(found)


def commands() -> list[list[str]]:
    """The lines of the blocks of the chapter's commands, without their comments."""
    _, found, chapter = PAGE.read_text(encoding="utf-8").partition(f"\n{CHAPTER}\n")
    assert found, f"{PAGE} has no chapter {CHAPTER!r}"
    chapter = re.split(r"\n## ", chapter)[0]
    blocks = re.findall(r"^```\n(ffr .*?)^```$", chapter, flags=re.MULTILINE | re.DOTALL)
    text = "".join(blocks).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def expanded(words: Sequence[str], folder: Path) -> list[str]:
    """As a shell does it: names with stars in place of patterns."""
    found = []
    for word in words:
        there = sorted(folder.glob(word)) if "*" in word else []
        found += [str(path.relative_to(folder)) for path in there] or [word]
    return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    # One thread: the trainings are tiny, and other things run beside the tests.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    said: dict[tuple[str, ...], str] = {}
    start = time.monotonic()
    for words in commands():
        program, *arguments = words
        assert program == "ffr", words
        if " ".join(words).startswith(SERVES):
            assert (folder / words[-1]).is_dir(), words
            arguments = [arguments[0], "--help"]
        done = subprocess.run(
            [sys.executable, "-m", "ffr_eval", *expanded(arguments, folder)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr[-3000:]}"
        said[tuple(words)] = done.stdout + done.stderr
    return Walk(folder, said, time.monotonic() - start)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def headline(evaluation: dict[str, Any]) -> float:
    figure = evaluation["strict"]["micro.joint.f1"]
    assert isinstance(figure, float)
    return figure


pytestmark = pytest.mark.slow


def test_it_takes_less_than_20_minutes(walk: Walk) -> None:
    assert walk.seconds < LONGEST


def test_init_names_the_commands_of_the_page(walk: Walk) -> None:
    named = re.findall(r"^  (ffr .*)$", walk.of("ffr", "train", "init"), flags=re.MULTILINE)
    given = list(walk.said)
    for command in named:
        words = tuple(shlex.split(command))
        assert any(set(words) <= set(line) for line in given), command


def test_sft_learns(walk: Walk) -> None:
    first, *_, last = lines(walk.folder / "toy/out/sft/evaluation.jsonl")
    assert headline(first) < 0.1
    assert headline(last) > 0.5
    assert (walk.folder / "toy/out/sft/model.safetensors").is_file()


def test_every_sample_to_train_on_has_a_level(walk: Walk) -> None:
    rows = lines(walk.folder / "toy/grpo/train.jsonl")
    difficulty = lines(walk.folder / "toy/difficulty.jsonl")
    levels = {each["sample_id"]: each["level"] for each in difficulty}
    assert {row["sample_id"] for row in rows} <= levels.keys()
    assert set(levels.values()) == {"easy", "medium", "confusing", "hard"}


def test_the_mean_reward_rises(walk: Walk) -> None:
    """On samples of one level: the order has easy ones first, which earn more to begin with."""
    rollouts = lines(walk.folder / "toy/out/grpo/rollouts.jsonl")
    earned = [each["f1"] + 0.3 * each["format"] for each in rollouts if each["level"] == "medium"]
    third = len(earned) // 3
    assert mean(earned[-third:]) > mean(earned[:third])


def test_grpo_shows_easy_samples_first(walk: Walk) -> None:
    shown = [each["level"] for each in lines(walk.folder / "toy/out/grpo/rollouts.jsonl")]
    assert list(dict.fromkeys(shown)) == ["easy", "medium", "confusing", "hard"]
    assert set(shown[: shown.count("easy") // 5]) == {"easy"}  # they come again in later stages


def test_the_adapter_is_on_what_sft_made(walk: Walk) -> None:
    settings = json.loads((walk.folder / "toy/out/grpo/adapter_config.json").read_text())
    base = Path(settings["base_model_name_or_path"])
    assert (walk.folder / base).resolve() == (walk.folder / "toy/out/sft").resolve()


def test_the_runs_are_scored_and_compared(walk: Walk) -> None:
    folders = sorted(path.parent for path in walk.folder.glob("toy/runs/*/run.json"))
    assert {"sft", "grpo"} < {path.name for path in folders}
    assert all(read_run(path).status == "finished" for path in folders)
    assert "micro" in walk.of("ffr", "score")
    said = walk.of("ffr", "compare")
    assert all(path.name in said for path in folders)


def test_the_board_has_the_runs(walk: Walk) -> None:
    manifest = json.loads((walk.folder / "toy/site/manifest.json").read_text(encoding="utf-8"))
    published = json.dumps(manifest)
    assert "grpo" in published
    assert walk.of("ffr", "board")
