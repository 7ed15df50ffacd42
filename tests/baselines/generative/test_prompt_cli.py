"""``ffr prompt``: what is sent, shown without anything that acts on the terminal."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from baselines import lexical
from baselines.generative.model import GenerativeModel
from baselines.generative.options import GenerativeOptions
from baselines.generative.prompts import PromptBuilder
from baselines.generative.shots import choose_shots
from baselines.generative.structured import ANSWER_SCHEMA
from baselines.model import hidden
from baselines.prompt_cli import prompt
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.plugins import COMMANDS, MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

EVIL = "[bold]x[/bold] \x1b[31mred\x07 \u202eabc \t ⟦image 9: no file⟧\nuser:\r\n:smile:"


class ApiOptions(GenerativeOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of an engine that is not there."""

    tier: str = "none"


class Unmakeable(GenerativeModel):
    """A model whose options are all that is looked at."""

    Options = ApiOptions
    requires = ("no_such_package",)

    def make_engine(self, machine: Any) -> Any:
        raise AssertionError("no engine is needed to show a prompt")


@dataclass(frozen=True, order=True)
class Point:
    name: str
    plugin: Any
    dist: Any = None

    def load(self) -> Any:
        return self.plugin


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        COMMANDS: [Point("prompt", prompt)],
        MODELS: [Point("api", Unmakeable), Point("bm25", lexical.Bm25)],
    }
    monkeypatch.setattr("ffr_eval.plugins.entry_points", lambda group: points.get(group, []))


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A dialogue whose speakers write what terminals and consoles act on."""
    folder = tmp_path / "evil"
    with BenchmarkWriter(folder, InfoRecord(name="evil")) as writer:
        turns = (TurnRecord(0, "A[i]", EVIL, (0, 1)), TurnRecord(5, "B", "fine"))
        images = (ImageRecord(0, path="images/a.png"), ImageRecord(1, caption="c"))
        writer.add_dialogue(DialogueRecord("d", turns, images, "en"))
        writer.add_query(QueryRecord("d#0", "d", "[red]q[/red]\x1b[2J", (0,), ()))
    return folder


# --- for people ----------------------------------------------------------------------------------


def test_each_message_with_its_role_and_images_in_their_places(cli: Cli) -> None:
    shown = cli("prompt", "ffr-sample", "en-01#0", "-o", "system=Be brief.").out
    lines = shown.splitlines()
    assert lines[0] == "sample  en-01#0 (split dev), dialogue en-01"
    made = PromptBuilder(ApiOptions(system="Be brief."))
    assert lines[1] == f"prompt  {made.hash}"
    assert lines[2].startswith("size    2 messages, ")
    assert lines[2].endswith(" characters, 5 images (33.7 kB)")
    assert lines[lines.index("system:") + 1] == "  Be brief."
    assert lines[lines.index("user:") + 1].startswith("  Below is a dialogue.")
    place = "⟦image 0: images/en01_floor_plan.png, 700 × 480 pixels, 5.7 kB⟧"
    assert f"things go<|img_id_start|>0<|img_id_end|>{place}\n  <|utt_id_start|>3" in shown
    assert shown.count("⟦image") == 5


def test_the_text_is_the_one_that_is_sent(cli: Cli) -> None:
    shown = cli("prompt", "ffr-sample", "zh-01#0", "-o", "images=text_only").out
    benchmark = read_benchmark("ffr-sample")
    row = benchmark.row_of("zh-01#0")
    assert row is not None
    sample = hidden(benchmark.sample(row))
    (message,) = PromptBuilder(ApiOptions(images="text_only")).messages(sample)
    indented = "".join(f"  {line}\n" for line in str(message.parts[0]).splitlines())
    assert shown.endswith(f"user:\n{indented}")


def test_what_speakers_write_acts_on_nothing(cli: Cli, evil: Path) -> None:
    shown = cli("prompt", evil, "d#0", "-o", "images=text_only").out
    for char in "\x1b\x07\u202e\t\r":
        assert char not in shown
    assert "A[i]: [bold]x[/bold] \\x1b[31mred\\x07 \\u202eabc \\t " in shown
    assert "\\u27e6image 9: no file\\u27e7" in shown  # not one of ours
    assert "\n  user:\\r\n  :smile:" in shown  # indented, so no heading
    assert shown.count("\nuser:\n") == 1
    assert "<|query_start|>[red]q[/red]\\x1b[2J<|query_end|>" in shown


def test_examples_are_those_of_a_run(cli: Cli) -> None:
    args = ("prompt", "ffr-sample", "en-02#0", "-o", "shots=2", "--tune-on", "dev")
    shown = cli(*args, "-o", "language=en").out
    titles = [line for line in shown.splitlines() if line and line[-1] == ":" and line[0] != " "]
    first, second = (title.partition("(")[2].rstrip("):") for title in titles[::2][:2])
    assert titles == [
        f"user, example 1 ({first}):",
        f"assistant, example 1 ({first}):",
        f"user, example 2 ({second}):",
        f"assistant, example 2 ({second}):",
        "user:",
    ]
    benchmark = read_benchmark("ffr-sample")
    options = ApiOptions(shots=2, language="en")
    assert [first, second] == choose_shots(list(benchmark.samples("dev")), options)


def test_every_window_is_shown(cli: Cli) -> None:
    args = ("prompt", "ffr-sample", "en-01#0", "-o", "window=20", "-o", "stride=15")
    shown = cli(*args).out
    windows = [line for line in shown.splitlines() if line.startswith("window")]
    assert windows == [
        "window  1 of 3: 20 turns, utterances 0 to 19",
        "window  2 of 3: 20 turns, utterances 15 to 34",
        "window  3 of 3: 20 turns, utterances 27 to 46",
    ]
    assert "⟦image 0 (image 2 of the dialogue): images/en01_bean_chart.png, " in shown
    record = cli(*args, "--json").json
    assert [request["part"] for request in record["requests"]] == [0, 1, 2]
    assert [request["img_ids"] for request in record["requests"]] == [[0, 1], [2, 3, 4], [3, 4]]


def test_a_file_that_is_no_image_and_one_that_is_missing_are_named(
    cli: Cli, tmp_path: Path
) -> None:
    root = read_benchmark("ffr-sample").root
    assert root is not None
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "images/en01_floor_plan.png").write_bytes(b"no picture")
    shown = cli("prompt", copy, "en-01#0").out
    assert "⟦image 0: images/en01_floor_plan.png, not an image that can be read, 10 bytes⟧" in shown


# --- as JSON -------------------------------------------------------------------------------------


def test_json_has_the_texts_as_they_are(cli: Cli, evil: Path) -> None:
    record = cli("prompt", evil, "d#0", "--json", "-o", "captions=true").json
    assert record["sample_id"] == "d#0"
    (request,) = record["requests"]
    (message,) = request["messages"]
    assert message["role"] == "user"
    text, image, *_ = message["content"]
    assert text["type"] == "text"
    assert EVIL in text["text"]
    missing = str(evil / "images" / "a.png")
    assert image == {
        "type": "image",
        "image": 0,
        "file": missing,
        "problem": "the file is missing",
    }
    captioned = next(part for part in message["content"][2:] if part["type"] == "image")
    assert (captioned["file"], captioned["problem"]) == (None, "no file")
    benchmark = read_benchmark(evil)
    made = PromptBuilder(ApiOptions(captions=True))
    (sent,) = made.messages(hidden(benchmark.sample(0)))
    parts = [part["text"] for part in message["content"] if part["type"] == "text"]
    assert parts == [part for part in sent.parts if isinstance(part, str)]
    assert record["prompt_hash"] == made.hash
    assert request["n_characters"] == sum(map(len, parts))
    assert "gold" not in json.dumps(record)


def test_json_names_files_and_sizes_and_the_schema(cli: Cli) -> None:
    record = cli("prompt", "ffr-sample", "en-01#0", "--json", "-o", "answer=json_schema").json
    content = record["requests"][0]["messages"][0]["content"]
    image = next(part for part in content if part["type"] == "image")
    assert (image["image"], image["width"], image["height"]) == (0, 700, 480)
    assert image["file"].endswith("en01_floor_plan.png")
    assert image["bytes"] > 1000
    assert record["schema"] == ANSWER_SCHEMA
    assert "schema" not in cli("prompt", "ffr-sample", "en-01#0", "--json").json


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["en-1#0"], "no sample 'en-1#0'"),
        (["en-1#0"], "did you mean 'en-"),
        (["en-01"], "did you mean 'en-01#0', 'en-01#1'"),
        (["~~"], "sample ids here are such as 'en-01#0'"),
        (["en-01#0", "--model", "bm25"], "the model 'bm25' sends no prompts"),
        (["en-01#0", "--model", "apo"], "did you mean 'api'"),
        (["en-01#0", "-o", "promt=cot"], "did you mean 'prompt'"),
        (["en-01#0", "-o", "prompt=long"], "one of zero-shot, cot"),
        (["en-01#0", "-o", "shots=2"], "add --tune-on SPLIT"),
        (["en-01#0", "--tune-on", "dev"], "no effect without examples"),
        (["en-01#0", "-o", "shots=99", "--tune-on", "dev"], "99 examples are wanted"),
        (["en-01#0", "-o", "shots=1", "--tune-on", "devel"], "no split 'devel'"),
        (["en-01#0", "-o", "stride=3"], "option stride"),
        (["en-01#0", "-o", "prompt=cot", "-o", "answer=tool"], "room for reasoning"),
        (["en-01#0", "-o", "system=@none.txt"], "no such file"),
        (["en-01#0", "-o", "template=none.jinja"], "no such file"),
    ],
)
def test_mistakes_are_named_with_their_remedy(cli: Cli, args: list[str], message: str) -> None:
    assert message in cli.refused("prompt", "ffr-sample", *args)


def test_a_sample_that_a_run_would_not_ask_for_is_remarked_on(cli: Cli) -> None:
    args = ("-o", "shots=1", "--tune-on", "dev")
    assert "does not ask for this sample" in cli("prompt", "ffr-sample", "en-01#0", *args).err
    assert cli("prompt", "ffr-sample", "en-02#0", *args).err == ""


def test_options_of_the_engine_are_known_and_its_packages_not_needed(cli: Cli) -> None:
    assert cli("prompt", "ffr-sample", "en-01#0", "-o", "tier=flex").out
