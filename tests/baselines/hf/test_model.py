"""``ffr run hf``, from the command line to the run folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from baselines.machine import Machine
from baselines.model import create
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.errors import InputError
from ffr_eval.runs import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.types import Image
    from tests.conftest import Cli

SMALL = ("-o", "max_pixels=3136", "--device", "cpu")


@pytest.fixture
def illustrated(tmp_path: Path, images: list[Image]) -> Path:
    """Dialogues of 3, 6 and 12 turns with 0, 1 and 3 images; of each, two samples."""
    with BenchmarkWriter(tmp_path / "illustrated", InfoRecord(name="illustrated")) as writer:
        for name, n_turns, n_images in (("a", 3, 0), ("b", 6, 1), ("c", 12, 3)):
            turns = tuple(
                TurnRecord(i, "AB"[i % 2], f"the cat {name} {i}", (i,) if i < n_images else ())
                for i in range(n_turns)
            )
            records = []
            for i in range(n_images):
                source = images[i].file
                assert source is not None
                records.append(writer.add_image_file(ImageRecord(i), source, f"{name}-{i}.png"))
            writer.add_dialogue(DialogueRecord(name, turns, tuple(records), "en"))
            writer.add_query(QueryRecord(f"{name}#0", name, "the cat", (1,), ()))
            writer.add_query(QueryRecord(f"{name}#1", name, "the rain", (), ()))
    return tmp_path / "illustrated"


def lines(folder: Path) -> dict[str, Any]:
    read = (folder / "predictions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in read]
    assert len({record["sample_id"] for record in records}) == len(records)
    return {record["sample_id"]: record for record in records}


def test_a_run(cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    options = ("-o", f"model={checkpoints['qwen2_5_vl']}", "-o", "max_tokens=4", *SMALL)
    command = ("run", "hf", illustrated, *options, "--logprobs")
    whole = tmp_path / "whole"
    cli(*command, "--out", whole)
    answers = lines(whole)
    assert len(answers) == 6
    for record in answers.values():
        assert record["outcome"] == "truncated"  # random weights do not come to an end
        assert record["usage"]["completion_tokens"] == len(record["logprobs"]["entropy"]) == 4
        assert record["logprobs"]["entropy_kind"] == "full"
        assert record["model"] == "qwen2_5_vl"
        assert record["latency_s"] > 0
    assert answers["c#0"]["reached_img_ids"] == [0, 1, 2]
    record = read_run(whole)
    assert record.model_revision is not None
    assert "device" not in json.dumps(record.options)
    # One at a time, and after an interruption, the answers are the same.
    parts = tmp_path / "parts"
    cli(*command, "--out", parts, "--batch-size", 1)
    written = (parts / "predictions.jsonl").read_text().splitlines(keepends=True)
    (parts / "predictions.jsonl").write_text("".join(written[:2]))
    cli(*command, "--out", parts, "--batch-size", 3)
    assert len(lines(parts)) == 6
    for name, record_of_part in lines(parts).items():
        assert record_of_part["response"] == answers[name]["response"]


def test_a_dry_run_counts_and_loads_nothing(
    cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    options = ("-o", f"model={checkpoints['qwen2_vl']}", "-o", "max_tokens=4", *SMALL)
    result = cli("run", "hf", illustrated, *options, "--dry-run")
    cli("run", "hf", illustrated, *options, "--out", tmp_path / "run")
    used = sum(record["usage"]["prompt_tokens"] for record in lines(tmp_path / "run").values())
    assert f"prompts: {used:,} tokens" in result.out
    assert "about" not in result.out.rpartition("prompts:")[2]  # counted, not estimated


def test_windows_where_the_context_is_short(
    cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    options = ("-o", f"model={checkpoints['qwen2_lm']}", "-o", "max_tokens=4", *SMALL)
    options = (*options, "-o", "images=text_only")
    out = tmp_path / "run"
    cli("run", "hf", illustrated, *options, "--out", out)
    longest = max(record["usage"]["prompt_tokens"] for record in lines(out).values())
    short = tmp_path / "short"
    cli("run", "hf", illustrated, *options, "-o", f"context={longest - 1}", "--out", short)
    steps = {name: record.get("steps") for name, record in lines(short).items()}
    assert len(lines(short)) == 6
    assert lines(short)["c#0"] != lines(out)["c#0"]
    assert lines(short)["c#0"]["outcome"] != "context_overflow"
    assert steps["a#0"] is None
    refused = tmp_path / "refused"
    more = ("-o", f"context={longest - 1}", "-o", "overflow=refuse")
    cli("run", "hf", illustrated, *options, *more, "--out", refused)
    outcomes = {name: record["outcome"] for name, record in lines(refused).items()}
    assert "context_overflow" in outcomes.values()
    assert outcomes["a#0"] == "truncated"


def test_a_text_model_and_images(
    cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    command = ("run", "hf", illustrated, "-o", f"model={checkpoints['qwen2_lm']}", *SMALL)
    message = cli.refused(*command, "--out", tmp_path / "run")
    assert "qwen2_lm reads text only" in message
    assert "images=text_only" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "names no model"),
        ({"model": "gpt-4o"}, "presets"),
        ({"answer": "json_schema"}, "option answer"),
        ({"answer": "tool"}, "ffr run api"),
        ({"max_pixels": "100"}, "option max_pixels"),
        ({"min_pixels": "700000"}, "option min_pixels"),
        ({"dtype": "float8"}, "float32, bfloat16, float16"),
        ({"attention": "fast"}, "sdpa, eager"),
        ({"adapter": "nowhere"}, "option adapter"),
    ],
)
def test_options_are_checked(
    checkpoints: dict[str, Path], options: dict[str, str], message: str
) -> None:
    base = {} if "model" in options or not options else {"model": str(checkpoints["qwen2_lm"])}
    with pytest.raises(InputError) as error:
        create("hf", {**base, **options}, Machine("cpu"))
    text = str(error.value)
    assert message in text or (message == "presets" and "llava-1.5-7b" in text)


def test_a_device_that_is_not_there(
    cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    command = ("run", "hf", illustrated, "-o", f"model={checkpoints['qwen2_vl']}")
    message = cli.refused(*command, "--device", "cuda:7", "--out", tmp_path / "run")
    assert "there is no device 'cuda:7' here" in message


def test_flash_attention_that_is_not_installed(
    cli: Cli, illustrated: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    command = ("run", "hf", illustrated, "-o", f"model={checkpoints['qwen2_vl']}", *SMALL)
    message = cli.refused(*command, "-o", "attention=flash_attention_2", "--out", tmp_path / "run")
    assert "flash-attn is not installed" in message


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_implementation_of_attention_is_taken_up(
    checkpoints: dict[str, Path], attention: str
) -> None:
    from tests.baselines.hf.conftest import loaded, make

    model = loaded(make(checkpoints["qwen2_vl"], attention=attention, dtype="bfloat16"))
    assert model.config.get_text_config()._attn_implementation == attention
    assert str(model.dtype) == "torch.bfloat16"
