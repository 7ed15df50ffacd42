"""Options, arguments of vLLM, errors, logs, and what is made of its answers."""

from __future__ import annotations

import json
import math
import queue
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.generative.chat import ChatRequest, Message
from baselines.hf.checkpoint import find_source
from baselines.machine import Machine
from baselines.model import create
from baselines.vllm.completions import completion_of
from baselines.vllm.guarding import watched
from baselines.vllm.logs import EngineLog
from baselines.vllm.options import VllmOptions, as_hf_options
from baselines.vllm.prompts import Prompts, chat_of, estimated_tokens
from baselines.vllm.starting import adapter_rank, engine_arguments, explained, start
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.types import Image, Outcome
from tests.baselines.vllm.conftest import request_output

if TYPE_CHECKING:
    from pathlib import Path

    from tests.baselines.vllm.conftest import FakeLLM


def test_the_query_stands_last_by_default() -> None:
    assert VllmOptions().query == "last"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("answer", "tool"),
        ("dtype", "int4"),
        ("gpu_memory_utilization", "1.5"),
        ("tensor_parallel_size", "0"),
        ("top_logprobs", "0"),
        ("max_pixels", "10"),
        ("min_pixels", "700000"),
        ("quantisation", "awq"),
    ],
)
def test_bad_options_are_named(fake_vllm: FakeLLM, option: str, value: str) -> None:
    with pytest.raises(InputError, match=f"option {option}"):
        create_here({"model": "x/y", option: value})


def create_here(options: dict[str, str]) -> Any:
    from baselines.options import make_options
    from baselines.vllm.model import VllmModel

    return VllmModel(make_options(VllmOptions, options))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.modules.get("vllm") is not None, reason="vllm is installed")
def test_without_vllm_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"ffr-eval\[vllm\]"):
        create("vllm", {"model": "x/y"}, Machine())


def test_arguments(checkpoint: Path) -> None:
    options = VllmOptions(
        model=str(checkpoint),
        context=2048,
        quantization="fp8",
        dtype="float32",
        tensor_parallel_size=2,
        gpu_memory_utilization=0.5,
        enforce_eager=True,
        logprobs=True,
        seed=3,
    )
    source = find_source(as_hf_options(options))
    arguments = engine_arguments(source, options, 4, None)
    assert arguments["model"] == str(checkpoint)
    assert arguments["trust_remote_code"] is False
    expected = {"max_model_len": 2048, "quantization": "fp8", "dtype": "float32", "seed": 3}
    expected |= {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5, "enforce_eager": True}
    expected |= {"max_logprobs": 20, "limit_mm_per_prompt": {"image": 4, "video": 0}}
    assert expected.items() <= arguments.items()
    assert "enable_lora" not in arguments
    assert "limit_mm_per_prompt" not in engine_arguments(source, options, None, None)


# --- Adapters


def write_adapter(
    folder: Path, weight: str = "model.layers.0.q_proj.lora_A.weight", **more: Any
) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 8, **more}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file({weight: np.zeros(2, np.float32)}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(("rank", "reserved"), [(1, 1), (8, 8), (12, 16), (512, 512)])
def test_memory_is_reserved_for_the_rank(tmp_path: Path, rank: int, reserved: int) -> None:
    assert adapter_rank(write_adapter(tmp_path / "a", r=rank)) == reserved


def test_the_largest_rank_counts(tmp_path: Path) -> None:
    assert adapter_rank(write_adapter(tmp_path / "a", rank_pattern={"q_proj": 20})) == 32


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
        ({"use_dora": True}, "use_dora"),
        ({"r": 1024}, "rank 1 to 512"),
        ({"weight": "base_model.model.visual.blocks.0.attn.qkv.lora_A.weight"}, "vision tower"),
    ],
)
def test_adapters_that_vllm_cannot_use_are_refused(
    tmp_path: Path, settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError, match=field) as refused:
        adapter_rank(write_adapter(tmp_path / "a", **settings))
    assert "merge" in (refused.value.problem.remedy or "")


# --- Prompts


def test_messages_for_chat() -> None:
    messages = (
        Message("system", ("Be brief.",)),
        Message("user", ("Look: ", Image(0), " and ", Image(1))),
    )
    assert chat_of(messages, ["one", "two"]) == [  # type: ignore[list-item]
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look: "},
                {"type": "image_pil", "image_pil": "one"},
                {"type": "text", "text": " and "},
                {"type": "image_pil", "image_pil": "two"},
            ],
        },
    ]


def test_a_model_that_only_vllm_knows_gets_estimates(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unknown"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "new_vl"}))
    options = VllmOptions(model=str(folder))
    prompts = Prompts(find_source(as_hf_options(options)), options)
    request = ChatRequest("s", 0, (Message("user", ("你好", Image(0))),), "d")
    count = prompts.count(request)
    assert (count.exact, count.tokens) == (False, estimated_tokens(request))
    assert count.tokens > 2
    assert "new_vl" in (prompts.unknown or "")
    assert prompts.reads_images is None
    assert prompts.decoder() is None


# --- Completions


def test_a_finished_answer() -> None:
    done = completion_of(request_output([1, 2, 3]), "m", None, lambda tokens: f"{len(tokens)}")
    assert (done.text, done.outcome, done.finish_reason, done.model) == ("3", None, "stop", "m")
    assert done.usage == {"prompt_tokens": 10, "completion_tokens": 3, "cached_tokens": 8}
    assert done.latency_s == 0.5
    assert done.logprobs is None
    assert completion_of(request_output([1]), "m", None, None).text == "text of vllm"


def test_a_truncated_answer_keeps_its_text() -> None:
    done = completion_of(request_output([1], finish="length"), "m", None, None)
    assert (done.outcome, done.text) == (Outcome.TRUNCATED, "text of vllm")


@pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
def test_any_other_end_is_a_failure(reason: str) -> None:
    done = completion_of(request_output([1], finish=reason), "m", None, None)
    assert (done.outcome, done.text) == (Outcome.REQUEST_ERROR, None)
    assert reason in (done.error or "")


def test_entropy_of_the_most_likely_tokens() -> None:
    half, quarter = math.log(0.5), math.log(0.25)
    steps = [
        {7: math.log(0.01), 1: half, 2: quarter},  # the third was drawn, and is not of the top two
        {1: 0.0, 2: float("-inf")},
    ]
    done = completion_of(request_output([7, 1], logprobs=steps), "m", 2, None)
    assert done.logprobs is not None
    assert done.logprobs["entropy_kind"] == "top-2"
    assert done.logprobs["token_logprobs"] == pytest.approx([math.log(0.01), 0.0], abs=1e-6)
    assert done.logprobs["entropy"] == pytest.approx([-0.5 * half - 0.25 * quarter, 0.0], abs=1e-6)


# --- Starting


@pytest.mark.parametrize(
    ("printed", "said", "kind"),
    [
        ("RuntimeError: Failed to infer device type", "no device", FfrError),
        (
            "ValueError: To serve at least one request with the models's max seq len (131072), …",
            "option context: vllm: ValueError: To serve",
            InputError,
        ),
        ("ValueError: User-specified max_model_len (9)", "option context: vllm: Val", InputError),
        ("ValueError: Unknown quantization method: x.", "option quantization", InputError),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "lower -o context", FfrError),
        ("ValueError: No available memory for the cache blocks.", "memory is short", FfrError),
        ("KeyError: 'layers.0.qkv'", "does not start: KeyError: 'layers.0.qkv'", FfrError),
    ],
)
def test_why_it_does_not_start(printed: str, said: str, kind: type[FfrError]) -> None:
    log = EngineLog(everything=False)
    log._lines.extend([f"(EngineCore pid=1) ERROR 11-21 [core.py:1] {printed}"])
    log._lines.append("RuntimeError: Engine core initialization failed. See root cause above.")
    error = explained(RuntimeError("Engine core initialization failed."), log)
    assert type(error) is kind
    assert said in str(error)


def test_the_log_takes_what_children_print(capfd: pytest.CaptureFixture[str]) -> None:
    log = EngineLog(everything=False)
    child = (
        "import os; os.write(1, b'noise\\n'); os.write(2, b'(E pid=1) WARNING 11-21 07:00 w\\n')"
    )
    with log.attached():
        subprocess.run([sys.executable, "-c", child], check=True)
    for _ in range(100):
        if "WARNING" in log.text:
            break
        time.sleep(0.05)
    assert log.text.splitlines() == ["noise", "(E pid=1) WARNING 11-21 07:00 w"]
    sys.stdout.write("result\n")
    captured = capfd.readouterr()
    assert captured.out == "result\n"
    assert captured.err == "(E pid=1) WARNING 11-21 07:00 w\n"


def test_a_killed_engine_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.vllm.guarding._EVERY_S", 0.02)
    answers: queue.Queue[Any] = queue.Queue()
    resources = SimpleNamespace(engine_dead=False)
    core = SimpleNamespace(outputs_queue=answers, resources=resources)
    llm = SimpleNamespace(llm_engine=SimpleNamespace(engine_core=core))
    with watched(llm):
        time.sleep(0.1)
        assert answers.empty()
        resources.engine_dead = True
        assert "killed" in str(answers.get(timeout=10))
    with watched(SimpleNamespace()):
        pass


def test_starting_sets_what_the_user_has_not(
    fake_vllm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("VLLM_LOGGING_STREAM", "ext://sys.stdout")
    running = start({"model": "m"}, None)
    assert running.llm is fake_vllm
    assert running.adapter is None
    assert os.environ["VLLM_LOGGING_LEVEL"] == "WARNING"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_LOGGING_STREAM"] == "ext://sys.stdout"
