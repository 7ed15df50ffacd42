"""A stand-in for vLLM, a checkpoint for it, and requests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from baselines.generative.chat import ChatRequest, Message
from baselines.machine import Machine
from baselines.vllm.engine import VllmEngine
from baselines.vllm.options import VllmOptions
from ffr_eval.types import Image
from tests.checkpoints import qwen2_vl_64

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class EngineDeadError(Exception):
    """As vLLM names it."""


@dataclass
class FakeLLM:
    """Answers a prompt with its length; prompts with certain words fail."""

    calls: list[list[dict[str, Any]]] = field(default_factory=list)
    arguments: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    before: Callable[[], None] = lambda: None
    queries: int = 0

    model_config = SimpleNamespace(max_model_len=8192)

    def generate(self, prompts: list[dict[str, Any]], **arguments: Any) -> list[Any]:
        self.calls.append(prompts)
        self.arguments.append(arguments)
        self.before()
        for prompt in prompts:
            if "DEAD" in prompt["prompt"]:
                raise EngineDeadError("EngineCore encountered an issue. See stack trace (above)")
            if "LONG" in prompt["prompt"]:
                raise ValueError("This model's maximum context length is 5 tokens. However, …")
            if "BAD" in prompt["prompt"]:
                raise ValueError("no such thing")
        self.queries += 100 * len(prompts)
        return [request_output([65, 66, 402], finish=self.finish) for _ in prompts]

    def get_metrics(self) -> list[Any]:
        return [
            SimpleNamespace(name="vllm:prefix_cache_queries", value=self.queries),
            SimpleNamespace(name="vllm:prefix_cache_hits", value=self.queries * 3 // 4),
            SimpleNamespace(name="vllm:e2e_request_latency_seconds", sum=1.0),
        ]


def request_output(
    tokens: list[int],
    *,
    finish: str = "stop",
    text: str = "text of vllm",
    logprobs: list[dict[int, float]] | None = None,
) -> Any:
    """What vLLM gives back, as far as it is read."""
    steps = logprobs and [
        {token: SimpleNamespace(logprob=value) for token, value in step.items()}
        for step in logprobs
    ]
    written = SimpleNamespace(text=text, token_ids=tokens, finish_reason=finish, logprobs=steps)
    return SimpleNamespace(
        outputs=[written],
        prompt_token_ids=list(range(10)),
        num_cached_tokens=8,
        metrics=SimpleNamespace(scheduled_ts=2.0, last_token_ts=2.5),
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen2_vl_64.build(tmp_path_factory.mktemp("qwen2_vl_64"))


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> FakeLLM:
    """Makes a stand-in importable as ``vllm``; its ``LLM(…)`` gives the object returned here."""
    llm = FakeLLM()
    modules = {
        name: ModuleType(name)
        for name in ("vllm", "vllm.sampling_params", "vllm.lora", "vllm.lora.request")
    }

    def make(**arguments: Any) -> FakeLLM:
        llm.started_with = arguments  # type: ignore[attr-defined]
        return llm

    modules["vllm"].LLM = make  # type: ignore[attr-defined]
    modules["vllm"].SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    modules["vllm.sampling_params"].StructuredOutputsParams = SimpleNamespace  # type: ignore[attr-defined]
    modules["vllm.lora.request"].LoRARequest = lambda *values: values  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("LOGGING_LEVEL", "LOGGING_STREAM", "NO_USAGE_STATS", "WORKER_MULTIPROC_METHOD"):
        monkeypatch.setenv(f"VLLM_{name}", "")  # so that what is set is undone
        monkeypatch.delenv(f"VLLM_{name}")
    return llm


@pytest.fixture
def make(checkpoint: Path, fake_vllm: FakeLLM) -> Callable[..., VllmEngine]:
    """Makes an engine with the stand-in behind it."""

    def engine(batch_size: int | None = None, **options: Any) -> VllmEngine:
        options = {"model": str(checkpoint), "max_tokens": 8, "max_pixels": 28 * 28 * 4, **options}
        return VllmEngine(VllmOptions(**options), Machine(batch_size=batch_size))

    return engine


@pytest.fixture
def images(tmp_path: Path) -> list[Image]:
    """Pictures of three sizes."""
    from PIL import Image as Picture

    made = []
    for number, size in enumerate(((60, 40), (90, 30), (200, 150))):
        file = tmp_path / f"{number}.png"
        Picture.new("RGB", size, (40 * number, 90, 200)).save(file)
        made.append(Image(number, file))
    return made


def request(name: str, *parts: str | Image, dialogue: str = "d", part: int = 0) -> ChatRequest:
    return ChatRequest(name, part, (Message("user", tuple(parts)),), dialogue)
