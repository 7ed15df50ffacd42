"""``ffr run vllm`` with vLLM itself, in the interpreter that ``FFR_VLLM_PYTHON`` names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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

PYTHON = os.environ.get("FFR_VLLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="FFR_VLLM_PYTHON names no interpreter with vllm"),
]
N_DIALOGUES = 3
QUERIES = ("the cat on the sofa", "the train to the sea", "nothing of all this")
SPEECH = "The cat sleeps on the red sofa while the rain falls on the window."
SMALL = ("dtype=float32", "enforce_eager=true", "max_tokens=24", "max_pixels=12544")


@dataclass(frozen=True)
class Done:
    """A finished run."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def predictions(self) -> dict[str, dict[str, Any]]:
        lines = (self.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return {record["sample_id"]: record for record in map(json.loads, lines)}


def environment() -> dict[str, str]:
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("VLLM_")}
    return {**quiet, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}


def command(
    model: str, benchmark: Path, out: Path, *options: str, flags: tuple[str, ...] = ()
) -> Any:
    assert PYTHON is not None
    pairs = [word for option in options for word in ("-o", option)]
    # transformers and peft are in the environment of the tests.
    python = PYTHON if model == "vllm" else sys.executable
    return [python, "-m", "ffr_eval", "run", model, benchmark, "--out", out, *pairs, *flags]


def run(model: str, benchmark: Path, out: Path, *options: str, flags: tuple[str, ...] = ()) -> Done:
    done = subprocess.run(
        command(model, benchmark, out, *options, flags=flags),
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr, out)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dialogues of 8 turns with two pictures, and three queries on each."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictured")
    rng = np.random.default_rng(2)
    with BenchmarkWriter(folder / "benchmark", InfoRecord(name="pictured")) as writer:
        for number in range(N_DIALOGUES):
            images = []
            for k in range(2):
                source = folder / f"{number}-{k}.png"
                pixels = rng.integers(0, 256, size=(60 + 50 * k, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(source)
                images.append(writer.add_image_file(ImageRecord(k), source, source.name))
            turns = tuple(
                TurnRecord(
                    i, "AB"[i % 2], f"{SPEECH} {number} {i}", (i // 4,) if i % 4 == 1 else ()
                )
                for i in range(8)
            )
            writer.add_dialogue(DialogueRecord(f"d{number}", turns, tuple(images), "en"))
            for k, query in enumerate(QUERIES):
                writer.add_query(QueryRecord(f"d{number}#{k}", f"d{number}", query, (1,), (0,)))
    return folder / "benchmark"


@pytest.fixture(scope="module")
def plain(pictured: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("plain") / "run"
    return run("vllm", pictured, out, f"model={checkpoint}", *SMALL, "logprobs=true")


@pytest.fixture(scope="module")
def adapter(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with random weights, as peft saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    base = AutoModelForImageTextToText.from_pretrained(str(checkpoint))
    target = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    trained = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=target))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(trained.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    trained.save_pretrained(str(folder))
    return folder


def test_every_sample_has_an_answer(plain: Done) -> None:
    assert plain.code == 0, plain.err
    assert len(plain.predictions) == N_DIALOGUES * len(QUERIES)
    for record in plain.predictions.values():
        assert record["outcome"] in {"truncated", "parse_error", "ok", "empty"}
        assert record["response"]
        assert record["reached_utt_ids"] == list(range(8))
        assert record["reached_img_ids"] == [0, 1]


def test_standard_output_holds_the_result_only(plain: Done) -> None:
    assert "9 of 9 predictions" in plain.out
    assert "vllm" not in plain.out.lower().replace("model 'vllm'", "")
    assert "INFO" not in plain.err


def test_queries_of_a_dialogue_share_its_prefix(plain: Done) -> None:
    cached = {name: record["usage"]["cached_tokens"] for name, record in plain.predictions.items()}
    prompts = {name: record["usage"]["prompt_tokens"] for name, record in plain.predictions.items()}
    for name, tokens in cached.items():
        if not name.endswith("#0"):
            assert tokens > prompts[name] / 2
    assert "prefix cache: " in plain.err


def test_log_probabilities(plain: Done) -> None:
    for record in plain.predictions.values():
        logprobs = record["logprobs"]
        n_tokens = record["usage"]["completion_tokens"]
        assert logprobs["entropy_kind"] == "top-20"
        assert len(logprobs["token_logprobs"]) == len(logprobs["entropy"]) == n_tokens
        assert all(value <= 0 for value in logprobs["token_logprobs"])
        assert any(value > 0 for value in logprobs["entropy"])


def agreement(ours: Done, theirs: Done) -> float:
    """The share of samples with the same answer, letter by letter."""
    pairs = [(record, theirs.predictions[name]) for name, record in ours.predictions.items()]
    lengths = [[record["usage"]["prompt_tokens"] for record in pair] for pair in pairs]
    assert all(one == other for one, other in lengths)
    return sum(one["response"] == other["response"] for one, other in pairs) / len(pairs)


def run_hf(benchmark: Path, out: Path, *options: str) -> Done:
    small = ("dtype=float32", "max_tokens=24", "max_pixels=12544", "query=last")
    done = run("hf", benchmark, out, *options, *small, flags=("--device", "cpu"))
    assert done.code == 0, done.err
    return done


def test_answers_and_lengths_are_those_of_hf(
    plain: Done, pictured: Path, checkpoint: Path, tmp_path: Path
) -> None:
    theirs = run_hf(pictured, tmp_path / "hf", f"model={checkpoint}")
    # Rounding differs, so a close call may come out otherwise; but not often.
    assert agreement(plain, theirs) > 0.5


def test_an_adapter_works_as_in_hf(
    plain: Done, pictured: Path, checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    options = (f"model={checkpoint}", f"adapter={adapter}")
    ours = run("vllm", pictured, tmp_path / "vllm", *options, *SMALL)
    assert ours.code == 0, ours.err
    before = {name: record["response"] for name, record in plain.predictions.items()}
    after = {name: record["response"] for name, record in ours.predictions.items()}
    assert before != after
    assert agreement(ours, run_hf(pictured, tmp_path / "hf", *options)) > 0.5
    revisions = [
        json.loads((done.folder / "run.json").read_text())["model_revision"]
        for done in (plain, ours)
    ]
    assert revisions[1].startswith(revisions[0] + "+")


def test_structured_output_and_a_prompt_that_does_not_fit(
    pictured: Path, checkpoint: Path, tmp_path: Path
) -> None:
    options = (f"model={checkpoint}", *SMALL, "answer=json_schema", "max_tokens=40")
    done = run(
        "vllm", pictured, tmp_path / "run", *dict.fromkeys(options[:-1]), flags=("--limit", "2")
    )
    assert done.code == 0, done.err
    for record in done.predictions.values():
        assert record["response"].replace(" ", "").replace("\n", "").startswith('{"utt_ids":[')
    small = run(
        "vllm",
        pictured,
        tmp_path / "small",
        f"model={checkpoint}",
        *SMALL,
        "context=300",
        "overflow=refuse",
        flags=("--limit", "2"),
    )
    assert {record["outcome"] for record in small.predictions.values()} == {"context_overflow"}


def test_ctrl_c_records_no_failure_and_the_same_command_goes_on(
    pictured: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = command(
        "vllm", pictured, out, f"model={checkpoint}", *SMALL, flags=("--batch-size", "1")
    )
    process = subprocess.Popen(
        words,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        # Where the tests run in the background, the shell has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    wait_for(lambda: (out / "predictions.jsonl").is_file() and answered(out) >= 1, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    assert process.returncode != 0
    assert 1 <= answered(out) < 9
    again = run("vllm", pictured, out, f"model={checkpoint}", *SMALL)
    assert again.code == 0, again.err
    assert len(again.predictions) == 9
    assert not {r["outcome"] for r in again.predictions.values()} & {"request_error", "refusal"}


def test_a_killed_engine_ends_the_run(pictured: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = command(
        "vllm", pictured, out, f"model={checkpoint}", *SMALL, flags=("--batch-size", "1")
    )
    with subprocess.Popen(
        words,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        wait_for(lambda: (out / "predictions.jsonl").is_file() and answered(out) >= 1, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        engine = [
            pid for pid in children if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        os.kill(int(engine[0]), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "vllm broke down" in errors
    assert "Traceback" not in errors
    outcomes = [json.loads(line)["outcome"] for line in (out / "predictions.jsonl").open()]
    assert "request_error" not in outcomes


def answered(out: Path) -> int:
    return len((out / "predictions.jsonl").read_bytes().splitlines())


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
